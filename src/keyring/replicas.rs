//! Who serves from the store: this process, and where the store is shared, all others, as they say of themselves.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::command::{Outcome, Problem};
use super::receipt::{Heard, How};
use super::{Keyring, Shared};
use crate::clock::{Clock, Timestamp};
use crate::store::StoreError;
use crate::store::audit::Note;
use crate::store::replica::{Replica, ReplicaId, ReplicaState};

/// This process, as a replica.
#[derive(Clone, Debug)]
pub(super) struct Own {
    /// Its name, and no other's.
    pub(super) id: ReplicaId,
    /// The machine it runs on.
    pub(super) node: String,
    /// Its keyward.
    pub(super) version: String,
    /// When it began.
    pub(super) began: Timestamp,
}

impl Own {
    /// This process from now on.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub(super) fn new(clock: &Clock) -> Result<Self, getrandom::Error> {
        let mut random = [0; 8];
        getrandom::fill(&mut random)?;
        Ok(Self {
            id: ReplicaId::of(random),
            node: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            began: clock.now(),
        })
    }

    /// It, as one that has applied a change.
    pub(super) fn acknowledged(&self) -> Heard {
        Heard { id: self.id.clone(), node: self.node.clone(), how: How::Acknowledged }
    }
}

/// Who serves from the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roster {
    /// The log's last position.
    pub head: u64,
    /// The longest that a change waits for a silent one; nothing where one process has the store to itself.
    pub fence: Option<Duration>,
    /// They, by name.
    pub replicas: Vec<Listed>,
}

/// A replica, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// What the store has of it.
    pub replica: Replica,
    /// By how many positions it is behind, as far as it has said; none before it first did.
    pub lag: Option<u64>,
    /// Whether it is the process that was asked.
    pub own: bool,
    /// For how long yet it may serve from what it remembers. Known of the process that was asked, and none where that has no end.
    pub lease: Option<Duration>,
}

impl Keyring {
    /// This process's name among the replicas.
    #[must_use]
    pub fn replica(&self) -> &ReplicaId {
        &self.shared.own.id
    }
}

impl Shared {
    /// Who serves from the store.
    pub(super) async fn roster(&self) -> Result<Roster, StoreError> {
        let all = self.replicas().await?;
        let listed = |replica: Replica| {
            let own = replica.id == self.own.id;
            Listed {
                lag: replica.applied.map(|applied| all.head.saturating_sub(applied)),
                lease: if own { self.fence.left(self.clock.boot()) } else { None },
                replica,
                own,
            }
        };
        if self.is_shared() {
            return Ok(Roster {
                head: all.head,
                fence: Some(all.fence),
                replicas: all.replicas.into_iter().map(listed).collect(),
            });
        }
        let Own { id, node, version, began } = self.own.clone();
        let own = Replica {
            id,
            incarnation: Default::default(),
            state: ReplicaState::Live,
            applied: Some(self.fence.applied().min(all.head)),
            node,
            version,
            joined: began,
            heard: self.clock.now(),
        };
        Ok(Roster { head: all.head, fence: None, replicas: vec![listed(own)] })
    }

    /// Has nobody wait any longer for a replica that somebody knows to be dead.
    pub(super) async fn evict(&self, id: ReplicaId, note: Option<Note>) -> Result<Outcome, Problem> {
        if !self.is_shared() {
            let why = "the store is one process's alone, and changes wait for nobody else";
            return Err(Problem::Invalid(why.to_owned()));
        }
        if id == self.own.id {
            return Err(Problem::Invalid(format!("replica {id} is the one that was asked, and lives")));
        }
        let found = self.roster().await?.replicas.into_iter().find(|listed| listed.replica.id == id);
        let Some(found) = found else {
            return Err(Problem::NotFound { what: "replica".into(), id: id.to_string() });
        };
        let incarnation = found.replica.incarnation;
        // Whether it was live or suspect before: what counts is that it is dead now.
        self.store.doubt(&id, incarnation, ReplicaState::Live).await?;
        if !self.store.doubt(&id, incarnation, ReplicaState::Suspect).await? {
            let why = format!("replica {id} registered anew meanwhile, so it lives");
            return Err(Problem::Invalid(why));
        }
        tracing::warn!(replica = %id, node = found.replica.node, "a replica was evicted: nobody waits for it any longer");
        if let Some(note) = note {
            self.store.note_told(note).await?;
        }
        Ok(Outcome::Evicted(Box::new(found)))
    }
}
