//! The store in a PostgreSQL database, for many processes.
//!
//! ```text
//!  look-ups, tails: one statement on a shared connection -> primary? this very question? -> answer
//!  lists:   queue -> a reading thread -> repeatable-read transaction -> answer
//!  changes: queue -> the writing thread -> one lock for all replicas -> transaction, commit -> position
//! ```
//!
//! Changes of keys are made one at a time, whichever replica makes them: what a change checks still holds when it is written, as
//! in SQLite. What is upkeep (last uses, callers, trims) takes another lock, and keeps no revocation waiting. Every statement
//! runs against a limit here and, where it runs in a transaction, against one of the server's too.
//!
//! SQL stays in this folder and in `store/sql`, and so do the driver's types.

pub(super) mod address;
mod ahead;
mod connection;
mod lines;
pub(super) mod link;
mod load;
mod replica;
mod schema;
pub(super) mod trouble;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

use self::address::{Address, CONNECT};
use self::lines::Lines;
use self::link::{Became, Committed, Link, NotCommitted, PLACE, SINCE, STANDBY};
use self::trouble::Trouble;
use super::replica::{
    Incarnation, Instance, Registration, Renewal, ReplicaId, ReplicaState, Replicas, Revision, Shortened,
};
use super::sql::{Db, Error, Row, Stop, Value, Words, values};
use super::threads::Lane;
use super::{Access, Changed, Chunk, Config, Loaded, Place, Policy, Rejected, StoreError, Tail};
use crate::key::Digest;

/// An open database.
#[derive(Clone)]
pub(super) struct Postgres {
    shared: Arc<Shared>,
}

struct Shared {
    manner: Manner,
    reads: Lane<Link>,
    writes: Lane<Link>,
    upkeep: Lane<Link>,
    lookups: Lines,
    /// The renewals' own, that no flood of look-ups may hold up; and the one that hears of changes.
    follower: Lines,
    /// The database that `store.url` led to first, where notices and renewals have an address of their own.
    first: Option<OnceLock<Instance>>,
    /// Where it was not asked for when it was opened: how it is found.
    unseen: Option<Unseen>,
    runtime: Mutex<Option<Runtime>>,
}

/// A database that nobody has talked to yet.
struct Unseen {
    address: Arc<Address>,
    listener: Arc<Address>,
    mark: [u8; 8],
    runtime: Handle,
}

/// How transactions begin, and what the store is called.
struct Manner {
    name: Arc<str>,
    path: PathBuf,
    load_timeout: Duration,
    fence: Duration,
    /// How long a transaction may take to begin: whose turn it is, and the way. A server that is gone is not waited for as one is
    /// that works.
    beginning: Duration,
    reading: String,
    changing: String,
    tending: String,
    settings: String,
    renew: String,
    all: String,
    complete: String,
}

/// The locks that changes, upkeep and growth take, by number; they are the database's and this program's.
const CHANGING: i32 = 1;
const TENDING: i32 = 2;
const MIGRATING: i32 = 3;
/// "kywd".
const OURS: i32 = 0x6b79_7764;

/// The longest that one statement may take; an import of a hundred thousand rows is a hundred thousand statements.
const STATEMENT: Duration = Duration::from_secs(30);
/// The same for who waits for its answer, and the way.
const LIMIT: Duration = Duration::from_secs(35);
/// What a notice takes to come back, at the most.
const HEARING: Duration = Duration::from_secs(1);
/// The longest that a transaction of ours may do nothing, as when this process is stopped: it holds others up.
const IDLE: Duration = Duration::from_secs(2);

impl Manner {
    fn of(address: &Address, config: &Config) -> Self {
        let settings = format!(
            "SET LOCAL search_path = keyward; SET LOCAL jit = off; SET LOCAL statement_timeout = {}; SET LOCAL lock_timeout = {};
             SET LOCAL idle_in_transaction_session_timeout = {}",
            STATEMENT.as_millis(),
            config.busy_timeout.0.as_millis().max(1),
            IDLE.as_millis()
        );
        let mut manner = Self {
            name: Arc::clone(&address.name),
            path: PathBuf::from(&*address.name),
            load_timeout: config.load_timeout.0,
            fence: config.fence(),
            beginning: config.busy_timeout.0 + CONNECT * 2,
            reading: format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {settings}; {STANDBY}"),
            changing: String::new(),
            tending: String::new(),
            settings,
            renew: load::renew(),
            all: replica::all(),
            complete: replica::complete(),
        };
        (manner.changing, manner.tending) = (manner.begin(CHANGING), manner.begin(TENDING));
        manner
    }

    /// Begins a transaction under one of our locks, whose commit outlives the server, and in which the log is written at once.
    fn begin(&self, lock: i32) -> String {
        format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; {}; SET LOCAL synchronous_commit = on; SET CONSTRAINTS ALL IMMEDIATE;
             SELECT pg_advisory_xact_lock({OURS}, {lock});
             SELECT pg_current_xact_id()::text || ' ' || {PLACE} || ' ' || {SINCE}",
            self.settings
        )
    }
}

impl Postgres {
    pub(super) fn open(config: &Config, mark: [u8; 8], access: Access) -> Result<Self, StoreError> {
        Self::started(config, mark, Some(access))
    }

    /// The same without asking for it: nobody is let through to it before it was found by [`Self::prepare`].
    pub(super) fn unseen(config: &Config, mark: [u8; 8]) -> Result<Self, StoreError> {
        Self::started(config, mark, None)
    }

    fn started(config: &Config, mark: [u8; 8], access: Option<Access>) -> Result<Self, StoreError> {
        // A process of its own to the driver: its sockets and timers are nobody's who is busy.
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("store-net").enable_all().build();
        let failed = |source: std::io::Error| StoreError::Failed { path: "store.url".into(), source: source.into() };
        let runtime = runtime.map_err(failed)?;
        let opened = Self::connect(config, mark, access, runtime.handle());
        match opened {
            Ok(shared) => {
                *shared.runtime.lock().unwrap_or_else(PoisonError::into_inner) = Some(runtime);
                Ok(Self { shared: Arc::new(shared) })
            }
            Err(error) => {
                runtime.shutdown_background();
                Err(error)
            }
        }
    }

    fn connect(config: &Config, mark: [u8; 8], access: Option<Access>, runtime: &Handle) -> Result<Shared, StoreError> {
        let address = Arc::new(Address::of(&config.url, "store.url", config)?);
        let listener = match &config.listen_url {
            None => Arc::clone(&address),
            Some(url) => Arc::new(Address::of(url, "store.listen_url", config)?),
        };
        let manner = Manner::of(&address, config);
        let path = manner.path.clone();
        let failed = |source: std::io::Error| StoreError::Failed { path: path.clone(), source: source.into() };
        let beginning = manner.beginning;
        let link = || Link::new(Arc::clone(&address), runtime.clone(), beginning, LIMIT);
        let unseen = access.is_none().then(|| {
            let (address, listener, runtime) = (Arc::clone(&address), Arc::clone(&listener), runtime.clone());
            address.hide();
            listener.hide();
            Unseen { address, listener, mark, runtime }
        });
        std::thread::scope(|scope| {
            // Its threads block, and whoever opens a store may be one of a runtime.
            let first = link();
            let prepared = scope.spawn(|| {
                let found = access.map(|access| schema::prepare(&first, &manner, mark, access)).transpose()?;
                Ok((first, found))
            });
            prepared.join().unwrap_or_else(|_| Err(StoreError::Closed))
        })
        .and_then(|(first, found)| {
            let nonce = getrandom::u64().map_err(|error| failed(std::io::Error::other(error)))?.cast_signed() >> 1;
            let reads = (0..config.readers.max(1)).map(|_| link()).collect();
            let lines = |address: &Arc<Address>, many| Lines::new(Arc::clone(address), runtime.clone(), many, nonce);
            Ok(Shared {
                reads: Lane::start("store-read", reads).map_err(failed)?,
                writes: Lane::start("store-write", vec![first]).map_err(failed)?,
                upkeep: Lane::start("store-upkeep", vec![link()]).map_err(failed)?,
                lookups: lines(&address, config.lookups),
                follower: lines(&listener, 1),
                first: config.listen_url.is_some().then(|| found.map_or_else(OnceLock::new, OnceLock::from)),
                unseen,
                runtime: Mutex::new(None),
                manner,
            })
        })
    }

    /// Finds a database that was not asked for when it was opened.
    pub(super) async fn prepare(&self) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        let Some(unseen) = self.shared.unseen.as_ref().filter(|unseen| !unseen.address.is_seen()) else {
            return Ok(());
        };
        let prepared = self.shared.upkeep.ask(move |_| {
            let Some(Unseen { address, mark, runtime, .. }) = &shared.unseen else { return Ok(()) };
            let link = Link::new(Arc::new(address.to_be_seen()), runtime.clone(), shared.manner.beginning, LIMIT);
            let found = schema::prepare(&link, &shared.manner, *mark, Access::Existing)?;
            if let Some(first) = &shared.first {
                let _ = first.set(found);
            }
            Ok(())
        });
        prepared.await??;
        unseen.listener.show();
        unseen.address.show();
        Ok(())
    }

    /// What it is called in messages.
    pub(super) fn path(&self) -> &Path {
        &self.shared.manner.path
    }

    /// Waits for what is running and closes the connections.
    pub(super) fn close(&self) {
        let shared = &self.shared;
        shared.reads.close();
        shared.upkeep.close();
        shared.writes.close();
        shared.end();
    }

    /// Asks within one snapshot.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Db<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        let answer = self.shared.reads.ask(move |link| {
            let answer = link.roll(&shared.manner.reading, |link| question(&Db::Postgres(link)));
            answer.map_err(|error| said(error, &shared.manner.path))
        });
        answer.await?
    }

    /// Changes within one transaction. What it answers is committed.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Db<'_>) -> Result<T, Stop> + Send + 'static,
    ) -> Result<Changed<T>, Rejected> {
        let shared = Arc::clone(&self.shared);
        self.shared.writes.ask(move |link| commit(link, &shared.manner, &shared.manner.changing, change)).await?
    }

    /// Upkeep within one transaction: it waits for no change, nor does a change wait for it.
    pub(super) async fn write_apart<T: Send + 'static>(
        &self,
        upkeep: impl FnOnce(&Db<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Rejected> {
        let shared = Arc::clone(&self.shared);
        let upkeep = |db: &Db<'_>| Ok(upkeep(db)?);
        let tended = self.shared.upkeep.ask(move |link| commit(link, &shared.manner, &shared.manner.tending, upkeep));
        tended.await?.map(|changed| changed.record)
    }

    /// Changes within one transaction, and takes it back: what it answers is what would have been.
    pub(super) async fn attempt<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Db<'_>) -> Result<T, Stop> + Send + 'static,
    ) -> Result<T, Rejected> {
        let shared = Arc::clone(&self.shared);
        let answer = self.shared.writes.ask(move |link| {
            let answer = link.roll(&shared.manner.changing, |link| change(&Db::Postgres(link)));
            answer.map_err(|stop| stopped(stop, &shared.manner.path))
        });
        answer.await?
    }

    pub(super) async fn load(&self, policy: &Policy, digest: &Digest) -> Result<Loaded, StoreError> {
        let Shared { lookups, manner, .. } = &*self.shared;
        let nonce = lookups.nonce();
        let read = |rows: &[Row<'_>]| load::loaded(rows, policy, nonce);
        self.told(lookups.ask(load::LOAD, values![digest, nonce], manner.load_timeout, read).await)
    }

    pub(super) async fn living(
        &self,
        policy: &Policy,
        place: Place,
        mut words: Words,
        most: usize,
    ) -> Result<(Chunk, Words), StoreError> {
        let lookups = &self.shared.lookups;
        let nonce = lookups.nonce();
        let (sql, since) = ahead::living(place);
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let read = |rows: &[Row<'_>]| ahead::chunk(rows, policy, place, nonce, &mut words);
        let chunk = lookups.ask(sql, values![place.below, since, most, nonce], STATEMENT, read).await;
        Ok((self.told(chunk)?, words))
    }

    pub(super) async fn renew(
        &self,
        id: &ReplicaId,
        incarnation: Incarnation,
        after: u64,
        limit: Duration,
    ) -> Result<Renewal, StoreError> {
        let Shared { follower, manner, .. } = &*self.shared;
        let nonce = follower.nonce();
        let values = values![after.cast_signed(), nonce, id.as_str(), incarnation.0];
        let renewal = follower.ask(&manner.renew, values, limit, |rows| replica::renewal(rows, after, nonce)).await;
        let renewal = self.told(renewal)?;
        self.is_this(&renewal.instance)?;
        Ok(renewal)
    }

    /// What changed after a position, for whom no change waits.
    pub(super) async fn tail(&self, after: u64) -> Result<Tail, StoreError> {
        let limit = self.shared.manner.load_timeout;
        Ok(self.renew(&ReplicaId::known(""), Incarnation(0), after, limit).await?.tail)
    }

    pub(super) async fn replicas(&self) -> Result<Replicas, StoreError> {
        let Shared { follower, manner, .. } = &*self.shared;
        let nonce = follower.nonce();
        let replicas = self.follow(&manner.all, values![nonce], |rows| replica::replicas(rows, nonce)).await?;
        self.is_this(&replicas.instance)?;
        Ok(replicas)
    }

    /// What another store says of its log and its replicas must not be taken for what this one does.
    fn is_this(&self, instance: &Instance) -> Result<(), StoreError> {
        let first = self.shared.first.as_ref().and_then(OnceLock::get);
        if first.is_some_and(|first| !first.is_of(instance)) {
            return Err(StoreError::Elsewhere);
        }
        Ok(())
    }

    pub(super) async fn revision(&self, position: u64) -> Result<Option<Revision>, StoreError> {
        let nonce = self.shared.follower.nonce();
        let values = values![position.cast_signed(), nonce];
        self.follow(replica::REVISION, values, |rows| replica::revision(rows, position, nonce)).await
    }

    pub(super) async fn register(&self, who: &Registration, limit: Duration) -> Result<(), StoreError> {
        let Shared { follower, manner, .. } = &*self.shared;
        let Registration { id, incarnation, node, version } = who;
        let values = values![id.as_str(), incarnation.0, node, version];
        let registered = follower.execute(replica::REGISTER, values, limit).await;
        registered.map(drop).map_err(|trouble| trouble.of(&manner.path))
    }

    pub(super) async fn acknowledge(
        &self,
        id: &ReplicaId,
        incarnation: Incarnation,
        applied: u64,
    ) -> Result<bool, StoreError> {
        let values = values![id.as_str(), incarnation.0, applied.cast_signed()];
        Ok(self.note(replica::ACKNOWLEDGE, values).await? > 0)
    }

    pub(super) async fn doubt(
        &self,
        id: &ReplicaId,
        incarnation: Incarnation,
        from: ReplicaState,
    ) -> Result<bool, StoreError> {
        let to = match from {
            ReplicaState::Live => ReplicaState::Suspect,
            ReplicaState::Suspect | ReplicaState::Dead => ReplicaState::Dead,
        };
        let values = values![id.as_str(), incarnation.0, replica::word(from), replica::word(to)];
        Ok(self.note(replica::DOUBT, values).await? > 0)
    }

    pub(super) async fn leave(&self, id: &ReplicaId, incarnation: Incarnation) -> Result<(), StoreError> {
        self.note(replica::LEAVE, values![id.as_str(), incarnation.0]).await?;
        self.note(replica::BURY, &[]).await.map(drop)
    }

    pub(super) async fn set_fence(&self, fence: Duration, stale: Duration) -> Result<Option<Shortened>, StoreError> {
        let millis = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        let set = |rows: &[Row<'_>]| {
            let Some(row) = rows.first() else { return Ok(None) };
            let before = row.optional_int(0)?.and_then(|before| u64::try_from(before).ok());
            let change = row.int(1)?;
            Ok(before.map(|before| Shortened { before: Duration::from_millis(before), change }))
        };
        self.follow(replica::SET_FENCE, values![millis(fence), millis(stale)], set).await
    }

    pub(super) async fn end_shortening(&self, shortened: Shortened) -> Result<(), StoreError> {
        self.note(replica::SHORTENED, values![shortened.change]).await.map(drop)
    }

    pub(super) async fn note_complete(&self, position: u64, instance: &Instance) -> Result<(), StoreError> {
        let values = values![position.cast_signed(), &*instance.0];
        self.note(&self.shared.manner.complete, values).await.map(drop)
    }

    /// Really asks a primary.
    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        let Shared { lookups, manner, .. } = &*self.shared;
        let nonce = lookups.nonce();
        let sql = "SELECT seq, pg_is_in_recovery(), $1 FROM keyward.head";
        let read = |rows: &[Row<'_>]| load::first(rows, 1, nonce).map(drop);
        self.told(lookups.ask(sql, values![nonce], manner.load_timeout, read).await)
    }

    /// How many connections were opened for renewals.
    pub(super) fn connected(&self) -> usize {
        self.shared.follower.opened()
    }

    /// Has others look at the log at once. Nothing depends on it.
    pub(super) async fn wake_others(&self) {
        let _ = self.note(replica::NOTIFY, &[]).await;
    }

    /// Whether this process hears what it says itself within a second. Behind a pooler it does not.
    pub(super) async fn hears(&self) -> Result<bool, StoreError> {
        let Shared { follower, lookups, manner, .. } = &*self.shared;
        let told = async {
            let (connection, _) = follower.line(0).await?;
            connection.listen(manner.load_timeout).await?;
            // On another connection: a session hears what it says itself, though a pooler keeps all others' notices.
            lookups.execute(replica::NOTIFY, &[], manner.load_timeout).await?;
            Ok::<_, Trouble>(connection)
        };
        let connection = told.await.map_err(|trouble| trouble.of(&manner.path))?;
        Ok(tokio::time::timeout(HEARING, connection.heard().bell.notified()).await.is_ok())
    }

    /// Waits until another replica says that there is something new, or the connection on which it would has ended.
    ///
    /// # Errors
    /// The connection could not be opened.
    pub(super) async fn woken(&self) -> Result<(), StoreError> {
        let Shared { follower, manner, .. } = &*self.shared;
        let listened = async {
            let (connection, _) = follower.line(0).await?;
            connection.listen(manner.load_timeout).await?;
            Ok::<_, Trouble>(connection)
        };
        let connection = listened.await.map_err(|trouble| trouble.of(&manner.path))?;
        connection.heard().bell.notified().await;
        Ok(())
    }

    /// Reads on the connection that no look-up delays.
    async fn follow<T>(
        &self,
        sql: &str,
        values: &[Value<'_>],
        read: impl FnOnce(&[Row<'_>]) -> Result<T, Error>,
    ) -> Result<T, StoreError> {
        let Shared { follower, manner, .. } = &*self.shared;
        self.told(follower.ask(sql, values, manner.load_timeout, read).await)
    }

    /// One statement that writes, on that connection; how many rows.
    async fn note(&self, sql: &str, values: &[Value<'_>]) -> Result<u64, StoreError> {
        let Shared { follower, manner, .. } = &*self.shared;
        follower.execute(sql, values, manner.load_timeout).await.map_err(|trouble| trouble.of(&manner.path))
    }

    fn told<T>(&self, answer: Result<T, Error>) -> Result<T, StoreError> {
        answer.map_err(|error| said(error, &self.shared.manner.path))
    }
}

fn commit<T>(
    link: &Link,
    manner: &Manner,
    begin: &str,
    change: impl FnOnce(&Db<'_>) -> Result<T, Stop>,
) -> Result<Changed<T>, Rejected> {
    let path = &manner.path;
    let unsure = |why: &str| StoreError::Unsure { path: path.clone(), source: why.into() };
    let warned = "the database warned while it committed: a failover may lose the change";
    match link.commit(begin, |link| change(&Db::Postgres(link))) {
        Ok(Committed { warned: true, .. }) => Err(unsure(warned).into()),
        Ok(Committed { made: record, at: (head, instance), .. }) => Ok(Changed { record, head, instance }),
        Err(NotCommitted::Work(stop)) => Err(stopped(stop, path)),
        Err(NotCommitted::Nothing(trouble)) => Err(trouble.of(path).into()),
        Err(NotCommitted::Unsure { made: record, trouble, number }) => match link.became(&number) {
            Some(Became::Committed((head, instance))) => Ok(Changed { record, head, instance }),
            Some(Became::Nothing) => Err(trouble.of(path).into()),
            None => Err(unsure("the connection ended before the database had answered").into()),
        },
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Postgres").field(&self.shared.manner.name).finish()
    }
}

impl Shared {
    fn end(&self) {
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(runtime) = runtime {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.end();
    }
}

/// An answer's error as the store's.
fn said(error: Error, path: &Path) -> StoreError {
    match error {
        Error::Postgres(trouble) => trouble.of(path),
        Error::Value { .. } => StoreError::Row { path: path.to_owned(), what: error.to_string() },
        error @ (Error::NoRow | Error::Sqlite(_)) => StoreError::Failed { path: path.to_owned(), source: error.into() },
    }
}

fn stopped(stop: Stop, path: &Path) -> Rejected {
    match stop {
        Stop::Rejected(rejected) => rejected,
        Stop::Sql(error) => said(error, path).into(),
    }
}
