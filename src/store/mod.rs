//! Where keys, accounts and users are kept: two dozen verbs over a closed set of backends.
//!
//! A backend is chosen by `store.url`. SQL stays in `sql` and in the backends' folders and rows do not leave them; what comes out
//! are the records of the key floor. Every change is one transaction, and answering it means that it is committed. Every
//! change also appends to the [`log`], which is how caches learn of it, whoever made it.

pub mod audit;
mod backend;
mod caller;
pub mod config;
mod draft;
mod error;
mod lock;
pub mod log;
mod policy;
mod postgres;
pub mod replica;
mod sql;
mod sqlite;
#[cfg(test)]
pub(crate) mod tests;
mod threads;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::key::rotation::Rotation;
use crate::key::token::Prefix;
use crate::key::{
    Account, AccountId, AccountState, Digest, Key, KeyId, KeyState, Line, Membership, Seen, User, UserId,
};

use self::backend::Backend;
pub use self::caller::{Caller, Completed, LegacyUse, Old, Replaced, Replacement, SecretUse, Tally, Trace, What};
pub use self::config::Config;
pub use self::draft::{
    Access, AccountChange, Along, Changed, Chunk, Draft, Fate, Imported, Kept, KeyChange, KeyFilter, Loaded,
    MemberChange, MemberFilter, Place, Reuse, SecretDraft, Slice, Trial, UserChange, Which,
};
pub use self::error::{Clash, Rejected, StoreError};
pub use self::lock::Seat;
pub use self::log::Tail;
pub use self::policy::Policy;
use self::postgres::Postgres;
pub use self::sql::Words;
use self::sql::{bulk, change, edit, list, rotate, usage};
use self::sqlite::{Sqlite, ahead, load};

/// An open store. Dropping the last of its clones waits for what is running, then releases it to others.
///
/// Look-ups answer within `load_timeout` or fail, and need a runtime with a timer for that. A change waits its turn behind
/// other changes; whoever stops waiting for one does not know whether it happened.
#[derive(Clone, Debug)]
pub struct Store {
    backend: Backend,
    load_timeout: Duration,
    policy: Arc<Policy>,
    along: Along,
    #[cfg(test)]
    gate: std::sync::Arc<tests::Gate>,
}

impl Store {
    /// Opens the store that `config` names, making it or bringing it up to date as needed. `mark` tells the pepper.
    ///
    /// # Errors
    /// A sentence that says what to do.
    pub fn open(config: &Config, mark: [u8; 8], access: Access) -> Result<Self, StoreError> {
        let backend = if config.is_postgres() {
            Backend::Postgres(Postgres::open(config, mark, access)?)
        } else {
            Backend::Sqlite(Sqlite::open(config, mark, access)?)
        };
        Ok(Self::over(backend, config))
    }

    /// The store that `config` names, without asking for it: every question is answered with an error until [`Self::prepare`]
    /// has found it. Only a shared one can be away.
    ///
    /// # Errors
    /// The settings are wrong.
    pub fn unseen(config: &Config, mark: [u8; 8]) -> Result<Self, StoreError> {
        let backend = Backend::Postgres(Postgres::unseen(config, mark)?);
        Ok(Self::over(backend, config))
    }

    fn over(backend: Backend, config: &Config) -> Self {
        Self {
            backend,
            load_timeout: config.load_timeout.0,
            policy: Arc::default(),
            along: Along::default(),
            #[cfg(test)]
            gate: std::sync::Arc::default(),
        }
    }

    /// Finds an unseen store, if it answers and is what it should be. Of any other there is nothing to do.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn prepare(&self) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(()),
            Backend::Postgres(db) => db.prepare().await,
        }
    }

    /// The same store, with holders of keys held to `policy`.
    #[must_use]
    pub fn under(self, policy: Policy) -> Self {
        Self { policy: Arc::new(policy), ..self }
    }

    /// The same store, whose changes take this along: it is written in the transaction of the change, or not at all.
    #[must_use]
    pub fn along(&self, along: Along) -> Self {
        Self { along, ..self.clone() }
    }

    /// The file it is kept in.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.backend.path()
    }

    /// Waits for what is running and closes the files. Whatever is asked afterwards is answered with
    /// [`StoreError::Closed`]; others may open it once it is dropped.
    pub fn close(&self) {
        self.backend.close()
    }

    /// How long a look-up may take.
    #[must_use]
    pub const fn load_timeout(&self) -> Duration {
        self.load_timeout
    }

    /// The key behind a digest, and the log's position of that very snapshot.
    ///
    /// # Errors
    /// The store could not tell.
    pub async fn load(&self, digest: Digest) -> Result<Loaded, StoreError> {
        let policy = Arc::clone(&self.policy);
        let loaded = match &self.backend {
            Backend::Sqlite(db) => {
                self.in_time(db.read(move |db| load::load(&sql::Db::Sqlite(db), &policy, &digest))).await?
            }
            Backend::Postgres(db) => db.load(&policy, &digest).await?,
        };
        #[cfg(test)]
        self.gate.pass().await;
        Ok(loaded)
    }

    /// What changed after a position.
    ///
    /// # Errors
    /// The store could not tell.
    pub async fn tail(&self, after: u64) -> Result<Tail, StoreError> {
        #[cfg(test)]
        self.gate.tail()?;
        match &self.backend {
            Backend::Sqlite(db) => self.in_time(db.read(move |db| load::tail(&sql::Db::Sqlite(db), after))).await,
            Backend::Postgres(db) => db.tail(after).await,
        }
    }

    /// Really reads, to tell whether it can.
    ///
    /// # Errors
    /// It cannot.
    pub async fn ping(&self) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => self.in_time(self.backend.read(sql::log::head)).await.map(drop),
            Backend::Postgres(db) => db.ping().await,
        }
    }

    /// Prefixes under which foreign secrets were adopted whose checksum is not ours.
    ///
    /// # Errors
    /// The store could not tell.
    pub async fn adopted_prefixes(&self) -> Result<Vec<Prefix>, StoreError> {
        self.in_time(self.backend.read(list::adopted_prefixes)).await
    }

    /// About `most` active keys and their current secrets, read in one snapshot, by falling serial. `words` keeps what they
    /// share from one chunk to the next.
    ///
    /// # Errors
    /// The store could not tell.
    pub async fn living(&self, place: Place, words: Words, most: usize) -> Result<(Chunk, Words), StoreError> {
        let policy = Arc::clone(&self.policy);
        let read = match &self.backend {
            Backend::Sqlite(_) => self.backend.read(move |db| ahead::living(db, &policy, place, words, most)).await?,
            Backend::Postgres(db) => db.living(&policy, place, words, most).await?,
        };
        #[cfg(test)]
        self.gate.pass().await;
        Ok(read)
    }

    /// When `most` keys with serials above this one were last used, by rising serial.
    ///
    /// # Errors
    /// The store could not tell.
    pub async fn uses(&self, above: i64, most: usize) -> Result<Vec<(i64, Timestamp)>, StoreError> {
        self.backend.read(move |db| ahead::uses(db, above, most)).await
    }

    /// How many secrets there are, counted up to `most`.
    ///
    /// # Errors
    /// The store could not tell.
    pub async fn secrets(&self, most: usize) -> Result<usize, StoreError> {
        self.backend.read(move |db| ahead::secrets(db, most)).await
    }

    /// The digests of `most` secrets after this one, in their order, whatever became of their keys; `into` a list that is
    /// handed on from chunk to chunk, because one made by a reader's thread and dropped by another is long in coming back.
    ///
    /// # Errors
    /// The store could not tell.
    pub async fn digests(
        &self,
        after: Option<Digest>,
        most: usize,
        into: Vec<Digest>,
    ) -> Result<Vec<Digest>, StoreError> {
        let read = self.backend.read(move |db| ahead::digests(db, after.as_ref(), most, into)).await?;
        #[cfg(test)]
        self.gate.pass().await;
        Ok(read)
    }

    /// Whether there has ever been an operator key; where not, this is the first start.
    ///
    /// # Errors
    /// The store could not tell.
    pub async fn has_operator(&self) -> Result<bool, StoreError> {
        self.in_time(self.backend.read(list::has_operator)).await
    }

    /// One key, by its id.
    ///
    /// # Errors
    /// The store could not tell.
    pub async fn key(&self, id: KeyId) -> Result<Option<Key>, StoreError> {
        self.backend.read(move |db| list::key(db, &id)).await
    }

    /// Keys, oldest first, by their status at `now`.
    ///
    /// # Errors
    /// The store could not tell.
    pub async fn keys(&self, filter: KeyFilter, now: Timestamp) -> Result<Vec<Key>, StoreError> {
        self.backend.read(move |db| list::keys(db, &filter, now)).await
    }

    /// One account, by its id.
    ///
    /// # Errors
    /// The store could not tell.
    pub async fn account(&self, id: AccountId) -> Result<Option<Account>, StoreError> {
        self.backend.read(move |db| list::account(db, &id)).await
    }

    /// Accounts, by id.
    ///
    /// # Errors
    /// The store could not tell.
    pub async fn accounts(&self, some: Slice<AccountId>) -> Result<Vec<Account>, StoreError> {
        self.backend.read(move |db| list::accounts(db, &some)).await
    }

    /// One user, by their id.
    ///
    /// # Errors
    /// The store could not tell.
    pub async fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        self.backend.read(move |db| list::user(db, &id)).await
    }

    /// Users, by id.
    ///
    /// # Errors
    /// The store could not tell.
    pub async fn users(&self, some: Slice<UserId>) -> Result<Vec<User>, StoreError> {
        self.backend.read(move |db| list::users(db, &some)).await
    }

    /// Memberships, by account, then user.
    ///
    /// # Errors
    /// The store could not tell.
    pub async fn members(&self, filter: MemberFilter) -> Result<Vec<Membership>, StoreError> {
        self.backend.read(move |db| list::members(db, &filter)).await
    }

    /// Makes an account.
    ///
    /// # Errors
    /// It exists, or the store could not write.
    pub async fn create_account(
        &self,
        id: AccountId,
        name: Option<Line>,
        now: Timestamp,
    ) -> Result<Changed<Account>, Rejected> {
        self.backend.change(self.along.clone(), move |db| change::create_account(db, id, name, now)).await
    }

    /// Changes what an account is called, and whether it is served.
    ///
    /// # Errors
    /// There is none, or the store could not write.
    pub async fn change_account(&self, id: AccountId, change: AccountChange) -> Result<Changed<Account>, Rejected> {
        self.backend.change(self.along.clone(), move |db| edit::change_account(db, &id, change)).await
    }

    /// Suspends or resumes an account.
    ///
    /// # Errors
    /// There is none, or the store could not write.
    pub async fn set_account_state(&self, id: AccountId, state: AccountState) -> Result<Changed<Account>, Rejected> {
        self.change_account(id, AccountChange { state: Some(state), ..AccountChange::default() }).await
    }

    /// Makes a user.
    ///
    /// # Errors
    /// They exist, or the store could not write.
    pub async fn create_user(&self, id: UserId, said: UserChange, now: Timestamp) -> Result<Changed<User>, Rejected> {
        self.backend.change(self.along.clone(), move |db| change::create_user(db, id, said, now)).await
    }

    /// Changes what a user is called, and where mail reaches them.
    ///
    /// # Errors
    /// There is none, or the store could not write.
    pub async fn change_user(&self, id: UserId, change: UserChange) -> Result<Changed<User>, Rejected> {
        self.backend.change(self.along.clone(), move |db| edit::change_user(db, &id, change)).await
    }

    /// Makes a user a member of an account, or changes what they may do there. Where they lose the licence that keys ask for,
    /// their personal keys there are revoked.
    ///
    /// # Errors
    /// There is no such account or user, or the store could not write.
    pub async fn put_member(&self, member: MemberChange) -> Result<Changed<Membership>, Rejected> {
        let policy = Arc::clone(&self.policy);
        self.backend.change(self.along.clone(), move |db| change::put_member(db, &policy, member)).await
    }

    /// Ends a membership and revokes the user's personal keys there.
    ///
    /// # Errors
    /// There is none, or the store could not write.
    pub async fn remove_member(&self, account: AccountId, user: UserId) -> Result<Changed<Membership>, Rejected> {
        self.backend.change(self.along.clone(), move |db| change::remove_member(db, account, user)).await
    }

    /// Makes a key.
    ///
    /// # Errors
    /// Its id or secret is taken, its account, user or membership is missing, the policy does not allow it, or the store could
    /// not write.
    pub async fn mint(&self, draft: Draft, now: Timestamp) -> Result<Changed<Key>, Rejected> {
        let policy = Arc::clone(&self.policy);
        self.backend.change(self.along.clone(), move |db| change::mint(db, &policy, &draft, now)).await
    }

    /// Gives a key another secret; what becomes of the one it had is in `rotation`.
    ///
    /// # Errors
    /// There is no such key, it is revoked, the secret is taken, a rotation runs that does not give way, the policy does not
    /// allow it, or the store could not write.
    pub async fn rotate(
        &self,
        id: KeyId,
        secret: SecretDraft,
        rotation: Rotation,
        now: Timestamp,
    ) -> Result<Changed<Key>, Rejected> {
        let policy = Arc::clone(&self.policy);
        self.backend
            .change(self.along.clone(), move |db| rotate::rotate(db, &policy, &id, &secret, rotation, now))
            .await
    }

    /// Notes that a secret that a rotation made was accepted for the first time, and has it take its place.
    ///
    /// # Errors
    /// The store could not write.
    pub async fn first_used(&self, digest: Digest, now: Timestamp) -> Result<Changed<()>, Rejected> {
        self.backend.change(self.along.clone(), move |db| rotate::first_used(db, &digest, now)).await
    }

    /// Ends a running rotation: the new secret is the only one. Tells at most `most` callers of the old one.
    ///
    /// # Errors
    /// There is no such key, it is revoked, no rotation of it runs, or the store could not write.
    pub async fn complete(&self, id: KeyId, most: usize, now: Timestamp) -> Result<Changed<Completed>, Rejected> {
        self.backend.change(self.along.clone(), move |db| rotate::complete(db, &id, most, now)).await
    }

    /// Takes a running rotation back: the old secret is the only one again.
    ///
    /// # Errors
    /// There is no such key, it is revoked, no rotation of it runs, its new secret was used, or the store could not write.
    pub async fn cancel(&self, id: KeyId, now: Timestamp) -> Result<Changed<Key>, Rejected> {
        self.backend.change(self.along.clone(), move |db| rotate::cancel(db, &id, now)).await
    }

    /// Changes a key; where `seen` says so, only one that is still as somebody has seen it.
    ///
    /// # Errors
    /// There is no such key, it is revoked already, it is not as it was seen, the policy does not allow it, or the store could
    /// not write.
    pub async fn change_key(
        &self,
        id: KeyId,
        change: KeyChange,
        seen: Option<Vec<Seen>>,
        now: Timestamp,
    ) -> Result<Changed<Key>, Rejected> {
        let policy = Arc::clone(&self.policy);
        self.backend
            .change(self.along.clone(), move |db| edit::change_key(db, &policy, &id, change, seen.as_deref(), now))
            .await
    }

    /// Suspends, resumes or revokes a key: see [`Self::change_key`].
    ///
    /// # Errors
    /// As there.
    pub async fn set_key_state(
        &self,
        id: KeyId,
        state: KeyState,
        seen: Option<Vec<Seen>>,
        now: Timestamp,
    ) -> Result<Changed<Key>, Rejected> {
        self.change_key(id, KeyChange::state(state), seen, now).await
    }

    /// Makes an operator key where there has never been one: of several processes that start on a new store one makes it.
    ///
    /// # Errors
    /// There was one, or the store could not write.
    pub async fn first_operator(&self, draft: Draft, now: Timestamp) -> Result<Changed<Key>, Rejected> {
        self.backend.change(self.along.clone(), move |db| change::first_operator(db, &draft, now)).await
    }

    /// Revokes every operator key and makes this one.
    ///
    /// # Errors
    /// Its id or secret is taken, or the store could not write.
    pub async fn reset_operator(&self, draft: Draft, now: Timestamp) -> Result<Changed<Key>, Rejected> {
        self.backend.change(self.along.clone(), move |db| change::reset_operator(db, &draft, now)).await
    }

    /// Adopts keys, all or none, with the accounts, users and memberships they need.
    ///
    /// # Errors
    /// A row's secret is another owner's already (rows count from 1), or the store could not write.
    pub async fn import(&self, drafts: Vec<Draft>, now: Timestamp) -> Result<Changed<Imported>, Rejected> {
        self.backend
            .change_telling(self.along.clone(), Imported::details, move |db| bulk::import(db, &drafts, now))
            .await
    }

    /// What [`Self::import`] would do, found out by doing it and undoing it.
    ///
    /// # Errors
    /// The store could not tell.
    pub async fn try_import(&self, drafts: Vec<Draft>, now: Timestamp) -> Result<Trial, Rejected> {
        self.backend.attempt(move |db| bulk::attempt(db, &drafts, now)).await
    }

    /// Notes when keys (by serial) were last used. Written in chunks, so that no change waits long behind it.
    ///
    /// # Errors
    /// The store could not write; earlier chunks are written.
    pub async fn record_uses(&self, mut uses: Vec<(i64, Timestamp)>) -> Result<(), Rejected> {
        // In one order everywhere: where several replicas write, two orders would deadlock.
        uses.sort_unstable();
        for chunk in uses.chunks(10_000).map(<[_]>::to_vec) {
            self.backend.write_apart(move |db| usage::record_uses(db, &chunk)).await?;
        }
        Ok(())
    }

    /// Trims the log's old end; how many entries went.
    ///
    /// # Errors
    /// The store could not write.
    pub async fn trim(&self, now: Timestamp) -> Result<usize, Rejected> {
        self.backend.write_apart(move |db| sql::log::trim(db, now)).await
    }

    /// Where a test holds look-ups back.
    #[cfg(test)]
    pub(crate) fn gate(&self) -> &tests::Gate {
        &self.gate
    }

    async fn in_time<T>(&self, answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        tokio::time::timeout(self.load_timeout, answer).await.unwrap_or(Err(StoreError::TimedOut))
    }
}
