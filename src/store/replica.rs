//! Who serves from a store, how far each has followed its log, and for how long it may go on unheard.
//!
//! A row here can only make an answer come sooner: whoever waits for replicas waits at the most until none of them can serve
//! from what it read before (REVOCATION, "Membership is advisory"). A store that one process has to itself has no rows.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::log::Tail;
use super::sql::log;
use super::sqlite::load;
use super::{Backend, Store, StoreError};
use crate::clock::Timestamp;

/// The name of one process that serves from a store: random for every start, and never another's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ReplicaId(Box<str>);

impl ReplicaId {
    /// A name of these random bytes.
    #[must_use]
    pub fn of(random: [u8; 8]) -> Self {
        Self(format!("rep_{:016x}", u64::from_be_bytes(random)).into())
    }

    /// The name a store has kept.
    #[must_use]
    pub fn known(text: &str) -> Self {
        Self(text.into())
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One registration of a replica: random, so that what an earlier one acknowledged counts for no later one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Incarnation(pub i64);

/// What others take a replica for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplicaState {
    /// It is waited for.
    Live,
    /// It was silent for too long: it is waited for still, and gets no more time before it registers anew.
    Suspect,
    /// It was told so for longer than anything it read can count, or it said goodbye: nobody waits for it.
    Dead,
}

/// A replica as the store has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// The process.
    pub id: ReplicaId,
    /// Its registration.
    pub incarnation: Incarnation,
    /// What it is taken for.
    pub state: ReplicaState,
    /// The position up to which it has said that it applied the log; none before it first did.
    pub applied: Option<u64>,
    /// The machine it runs on, as it calls itself.
    pub node: String,
    /// Its keyward.
    pub version: String,
    /// When it registered, by the store's clock.
    pub joined: Timestamp,
    /// When it last acknowledged, by the store's clock.
    pub heard: Timestamp,
}

/// What a replica says of itself when it registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The process.
    pub id: ReplicaId,
    /// This registration.
    pub incarnation: Incarnation,
    /// The machine it runs on.
    pub node: String,
    /// Its keyward.
    pub version: String,
}

/// Which database answers: another one after a failover, or after a restore. Compared and never read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Instance(pub Box<str>);

impl Instance {
    /// Whether both are of one store, which a failover does not change.
    pub(super) fn is_of(&self, other: &Self) -> bool {
        self.0.split('/').next() == other.0.split('/').next()
    }

    /// A file, which has one history.
    pub(super) fn sqlite() -> Self {
        Self("sqlite".into())
    }
}

/// What a store answers a replica that asks what is new.
#[derive(Debug)]
pub struct Renewal {
    /// What changed since the position it asked after.
    pub tail: Tail,
    /// Whether the registration it named is live: only then may it go on serving from what it read.
    pub live: bool,
    /// How long what it read may count, from the moment it asked.
    pub fence: Duration,
    /// How much longer a replica may serve by it nonetheless: those who wait for changes wait that long, too.
    pub stale: Duration,
    /// Who answered.
    pub instance: Instance,
    /// The store's clock; none where it is this machine's.
    pub time: Option<Timestamp>,
}

/// All replicas that are to be waited for.
#[derive(Clone, Debug)]
pub struct Replicas {
    /// The log's last position in the same snapshot.
    pub head: u64,
    /// The longest that anything any of them has read may count.
    pub fence: Duration,
    /// Who answered.
    pub instance: Instance,
    /// The live and the suspect ones, by name.
    pub replicas: Vec<Replica>,
}

impl Replicas {
    /// Those that have not said that they applied the log up to `position`.
    pub fn behind(&self, position: u64) -> impl Iterator<Item = &Replica> {
        self.replicas.iter().filter(move |replica| replica.applied.is_none_or(|applied| applied < position))
    }
}

/// A fence that was made shorter, while what was read under the longer one may count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortened {
    /// The longer one, with what some served beyond it.
    pub before: Duration,
    /// Which change of it this was.
    pub change: i64,
}

/// What a store remembers of one position of its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revision {
    /// When it was committed, by the store's clock.
    pub at: Timestamp,
    /// Whether it took something away.
    pub narrowing: bool,
    /// Whether somebody has seen it complete.
    pub complete: bool,
}

impl Store {
    /// Whether several processes may serve from it at once. Where not, nothing another one has read has to be waited for.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        match &self.backend {
            Backend::Sqlite(_) => false,
            Backend::Postgres(_) => true,
        }
    }

    /// Makes it known that a replica serves from the store. Once this is answered, changes wait for it. A connection on which no
    /// answer came within `limit` is given up.
    ///
    /// # Errors
    /// The store could not write: then the replica may count nothing that it reads.
    pub async fn register(&self, registration: Registration, limit: Duration) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(()),
            Backend::Postgres(db) => db.register(&registration, limit).await,
        }
    }

    /// What changed after a position, and for how long that counts. It writes nothing. A connection on which no answer came within
    /// `limit` is given up.
    ///
    /// # Errors
    /// The store could not tell.
    pub async fn renew(
        &self,
        id: &ReplicaId,
        incarnation: Incarnation,
        after: u64,
        limit: Duration,
    ) -> Result<Renewal, StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(Renewal {
                tail: self.tail(after).await?,
                live: true,
                fence: Duration::MAX,
                stale: Duration::ZERO,
                instance: Instance::sqlite(),
                time: None,
            }),
            Backend::Postgres(db) => db.renew(id, incarnation, after, limit).await,
        }
    }

    /// Notes that a replica has applied the log up to a position. False where that registration is no longer live.
    ///
    /// # Errors
    /// The store could not write: nothing is lost but time.
    pub async fn acknowledge(
        &self,
        id: &ReplicaId,
        incarnation: Incarnation,
        applied: u64,
    ) -> Result<bool, StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(true),
            Backend::Postgres(db) => db.acknowledge(id, incarnation, applied).await,
        }
    }

    /// Whom a change has to wait for.
    ///
    /// # Errors
    /// The store could not tell.
    pub async fn replicas(&self) -> Result<Replicas, StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(Replicas {
                head: self.in_time(self.backend.read(log::head)).await?,
                fence: Duration::ZERO,
                instance: Instance::sqlite(),
                replicas: Vec::new(),
            }),
            Backend::Postgres(db) => db.replicas().await,
        }
    }

    /// Takes a replica for worse than it was, if it is still in the state `from`: a live one for suspect, a suspect one for dead.
    /// Whether it was.
    ///
    /// # Errors
    /// The store could not write.
    pub async fn doubt(
        &self,
        id: &ReplicaId,
        incarnation: Incarnation,
        from: ReplicaState,
    ) -> Result<bool, StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(false),
            Backend::Postgres(db) => db.doubt(id, incarnation, from).await,
        }
    }

    /// Notes that a registration has ended: nobody waits for it any more.
    ///
    /// # Errors
    /// The store could not write: then changes wait for it until they need not any more.
    pub async fn leave(&self, id: &ReplicaId, incarnation: Incarnation) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(()),
            Backend::Postgres(db) => db.leave(id, incarnation).await,
        }
    }

    /// What is remembered of a position of the log; none where it was never reached, or is trimmed away.
    ///
    /// # Errors
    /// The store could not tell.
    pub async fn revision(&self, position: u64) -> Result<Option<Revision>, StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => self.in_time(self.backend.read(move |db| load::revision(db, position))).await,
            Backend::Postgres(db) => db.revision(position).await,
        }
    }

    /// Has what replicas read count for so long, and lets them serve for `stale` beyond that. Where both together are longer than
    /// before that holds at once. Where they are shorter it does too, but whoever waits goes on waiting for what was before: until
    /// whoever was told so has waited that long, and says so with [`Self::end_shortening`].
    ///
    /// # Errors
    /// The store could not write.
    pub async fn set_fence(&self, fence: Duration, stale: Duration) -> Result<Option<Shortened>, StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(None),
            Backend::Postgres(db) => db.set_fence(fence, stale).await,
        }
    }

    /// Nothing counts any more that was read under the longer fence.
    ///
    /// # Errors
    /// The store could not write: then changes may go on waiting longer than they need.
    pub async fn end_shortening(&self, shortened: Shortened) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(()),
            Backend::Postgres(db) => db.end_shortening(shortened).await,
        }
    }

    /// Notes that changes up to a position of this database are complete. Another one that answers by now may have lost some of
    /// them, and gives their positions out once more: it notes nothing.
    ///
    /// # Errors
    /// The store could not write: nothing is lost but that somebody waits again.
    pub async fn note_complete(&self, position: u64, instance: &Instance) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(()),
            Backend::Postgres(db) => db.note_complete(position, instance).await,
        }
    }

    /// How often a connection was opened for renewals. A new one may lead to a server that has crashed meanwhile, and forgotten what
    /// was to wait for no disk.
    #[must_use]
    pub fn connected(&self) -> usize {
        match &self.backend {
            Backend::Sqlite(_) => 0,
            Backend::Postgres(db) => db.connected(),
        }
    }

    /// Says to other replicas that there is something new. Nothing depends on it.
    pub async fn wake_others(&self) {
        match &self.backend {
            Backend::Sqlite(_) => {}
            Backend::Postgres(db) => db.wake_others().await,
        }
    }

    /// Whether this process hears others' notices: it tells itself one. Where it does not, it looks often enough.
    ///
    /// # Errors
    /// It cannot tell one.
    pub async fn hears(&self) -> Result<bool, StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(true),
            Backend::Postgres(db) => db.hears().await,
        }
    }

    /// Waits until another replica says that there is something new; it may be told without reason, and may miss some.
    ///
    /// # Errors
    /// It cannot hear.
    pub async fn woken(&self) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => std::future::pending().await,
            Backend::Postgres(db) => db.woken().await,
        }
    }
}
