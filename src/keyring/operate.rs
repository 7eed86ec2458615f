//! What happens to a key happens here, once: the command line, its socket and every dialect end in
//! [`Keyring::operate`].
//!
//! Rules that need no look at the store are checked here; those that do are checked inside the change's own transaction.
//! After the commit the log is applied before anybody is told, so what the answer says holds at every worker and on every
//! connection from then on.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::adopted::Adopted;
use super::command::{By, Command, Fate, Found, NewKey, Old, Outcome, Problem, Replacement, SecretUse, Trial};
use super::effect::Effect;
use super::receipt::{Committed, Done, Receipt};
use super::{Keyring, Shared, audit};
use crate::clock::Timestamp;
use crate::key::rotation::{Mode, Rotation};
use crate::key::{Digester, Imprint, KeyId, Kind, Permissions};
use crate::store::{Along, Changed, Clash, Draft, Kept, Rejected, SecretDraft, StoreError};
use crate::telemetry::chain;

impl Keyring {
    /// Carries out a command that `by` asks for. What it takes away is taken away everywhere when this answers, which may take as
    /// long as a silent replica could go on serving.
    ///
    /// # Errors
    /// [`Problem`]: nothing was changed; but where the store failed while it committed or afterwards, that is not known, and
    /// says so.
    pub async fn operate(&self, by: &By, command: Command) -> Result<Outcome, Problem> {
        self.operate_within(by, command, Duration::MAX).await?.in_force()
    }

    /// The same, but waits for others no longer than patience lasts, and tells how far it came.
    ///
    /// # Errors
    /// As there.
    pub async fn operate_within(&self, by: &By, command: Command, patience: Duration) -> Result<Done, Problem> {
        let committed = self.commit(by, command).await?;
        Ok(self.until_complete(committed, patience).await)
    }

    /// Carries out a command, and waits for nobody: it holds here. [`Self::until_complete`] tells when it does everywhere.
    ///
    /// # Errors
    /// As there.
    pub async fn commit(&self, by: &By, command: Command) -> Result<Committed, Problem> {
        self.commit_along(by, command, None).await
    }

    /// As [`Self::commit`], and keeps the answer for whoever asks again.
    pub(super) async fn commit_along(
        &self,
        by: &By,
        command: Command,
        kept: Option<Kept>,
    ) -> Result<Committed, Problem> {
        let now = self.shared.clock.now();
        let note = audit::note(by, now, &command);
        let effect = command.effect();
        let mut revision = None;
        let along = Along { note: note.clone(), kept };
        // Apart: its future is as large as the largest of all that a command may do.
        let carried = Box::pin(self.carry_out(command, along, now, &mut revision)).await;
        if let (Some(note), Err(problem)) = (note, &carried) {
            self.shared.note_refused(note, problem).await;
        }
        let outcome = carried?;
        let awaited = effect == Effect::Narrows || matches!(outcome, Outcome::Revision(_));
        Ok(Committed { outcome, revision, awaited })
    }

    /// Waits until what was committed is true everywhere, or patience ends. Before anything else is done: the clock of the wait
    /// begins here.
    pub async fn until_complete(&self, committed: Committed, patience: Duration) -> Done {
        let Committed { outcome, revision, awaited } = committed;
        let receipt = match (&outcome, revision.filter(|_| awaited)) {
            (Outcome::Revision(position), _) => Some(self.shared.looked_up(*position, patience).await),
            (_, Some(position)) => Some(self.shared.until_complete(position, patience).await),
            (_, None) => {
                if let Some(position) = revision {
                    self.shared.until_known(position, patience).await;
                }
                None
            }
        };
        Done { outcome, revision, receipt }
    }

    /// How far a change has come that an earlier request made, as [`Self::until_complete`] tells it.
    pub async fn came_to(&self, position: u64, patience: Duration) -> Receipt {
        self.shared.looked_up(position, patience).await
    }

    /// The longest that it is worth while to wait for a change.
    #[must_use]
    pub fn longest_wait(&self) -> Duration {
        self.shared.completion.longest_wait()
    }

    /// Carries out a command; what goes along with its change is written in the change's own transaction.
    /// Where it changes something, `revision` is the log's position with that.
    pub(super) async fn carry_out(
        &self,
        command: Command,
        along: Along,
        now: Timestamp,
        revision: &mut Option<u64>,
    ) -> Result<Outcome, Problem> {
        let shared = &*self.shared;
        let evicts = matches!(command, Command::EvictReplica(_)).then(|| along.note.clone()).flatten();
        let store = &shared.store.along(along);
        Ok(match command {
            Command::CreateAccount(id, name) => {
                Outcome::Account(shared.settle(store.create_account(id, name, now).await, revision).await?)
            }
            Command::ListAccounts(some) => Outcome::Accounts(store.accounts(some).await?),
            Command::ShowAccount(id) => match store.account(id.clone()).await? {
                Some(found) => Outcome::Account(found),
                None => return Err(missing("account", &id)),
            },
            Command::ChangeAccount(id, change) => {
                Outcome::Account(shared.settle(store.change_account(id, change).await, revision).await?)
            }
            Command::SetAccountState(id, state) => {
                Outcome::Account(shared.settle(store.set_account_state(id, state).await, revision).await?)
            }
            Command::CreateUser(id, said) => {
                Outcome::User(shared.settle(store.create_user(id, said, now).await, revision).await?)
            }
            Command::ListUsers(some) => Outcome::Users(store.users(some).await?),
            Command::ShowUser(id) => match store.user(id.clone()).await? {
                Some(found) => Outcome::User(found),
                None => return Err(missing("user", &id)),
            },
            Command::ChangeUser(id, change) => {
                Outcome::User(shared.settle(store.change_user(id, change).await, revision).await?)
            }
            Command::AddMember(member) => {
                Outcome::Member(shared.settle(store.put_member(member).await, revision).await?)
            }
            Command::ListMembers(filter) => {
                let account = filter.account.clone();
                let members = store.members(filter).await?;
                // An account without members is another thing than none.
                if let Some(id) = account.filter(|_| members.is_empty())
                    && store.account(id.clone()).await?.is_none()
                {
                    return Err(missing("account", &id));
                }
                Outcome::Members(members)
            }
            Command::RemoveMember(account, user) => {
                Outcome::Member(shared.settle(store.remove_member(account, user).await, revision).await?)
            }
            Command::MintKey(new) => {
                check_owner(&new)?;
                check_name(&new.name)?;
                check_bounds(Some(&new.permissions), Some(&new.allowed_ips))?;
                check_times(&new, now)?;
                key(shared.settle(store.mint(draft(*new, &shared.digester), now).await, revision).await?)
            }
            Command::ListKeys(filter) => Outcome::Keys(store.keys(filter, now).await?),
            Command::ShowKey(id) => match store.key(id.clone()).await? {
                Some(found) => key(found),
                None => return Err(missing("key", &id)),
            },
            Command::ShowCallers(id) => Outcome::Callers(shared.shown_callers(id, now).await?),
            Command::RotateKey(id, imprint, rotation) => {
                check_rotation(&rotation)?;
                let secret = secret(imprint, &shared.digester);
                key(shared.settle(store.rotate(id, secret, rotation, now).await, revision).await?)
            }
            Command::CompleteRotation(id) => {
                shared.write_callers().await;
                let completed = store.complete(id, shared.callers.most(), now).await;
                Outcome::Completed(Box::new(shared.settle(completed, revision).await?))
            }
            Command::CancelRotation(id) => {
                // What was accepted before this began is seen by it.
                let _no_first_use = shared.first_uses.written().await;
                key(shared.settle(store.cancel(id, now).await, revision).await?)
            }
            Command::SetKeyState(id, state, seen) => {
                key(shared.settle(store.set_key_state(id, state, seen, now).await, revision).await?)
            }
            Command::ChangeKey(id, change, seen) => {
                if let Some(name) = &change.name {
                    check_name(name)?;
                }
                check_bounds(change.permissions.as_ref(), change.allowed_ips.as_deref())?;
                key(shared.settle(store.change_key(id, *change, seen, now).await, revision).await?)
            }
            Command::FindSecret(imprint) => Outcome::Found(shared.whose(&imprint, now).await?.map(Box::new)),
            Command::Import(rows) => {
                for (at, row) in rows.iter().enumerate() {
                    check_row(row).map_err(|what| Problem::Invalid(format!("row {}: {what}", at + 1)))?;
                }
                let drafts = rows.into_iter().map(|row| draft(row, &shared.digester)).collect();
                Outcome::Imported(shared.settle(store.import(drafts, now).await, revision).await?)
            }
            Command::TryImport(rows) => Outcome::Tried(shared.try_import(rows, now).await?),
            Command::ShowMigration(after, many) => Outcome::Migration(shared.migration(after, many, now).await?),
            Command::ReplaceKey(replacement) => {
                check_replacement(&replacement, now)?;
                Outcome::Replaced(Box::new(shared.replace(store, *replacement, now, revision).await?))
            }
            Command::ResetOperator(new) => {
                if new.kind != Kind::Operator {
                    return Err(Problem::Invalid("only an operator key can take the place of a lost one".into()));
                }
                check_owner(&new)?;
                check_times(&new, now)?;
                key(shared.settle(store.reset_operator(draft(*new, &shared.digester), now).await, revision).await?)
            }
            Command::ListAudit(filter) => Outcome::Audit(store.audit(*filter).await?),
            Command::ShowRehearsal => Outcome::Rehearsal(shared.rehearsal.shown()),
            Command::ForgetRehearsal => Outcome::Rehearsal(shared.rehearsal.taken()),
            Command::ShowRevision(position) => Outcome::Revision(shared.reached(position).await?),
            Command::ShowReplicas => Outcome::Replicas(shared.roster().await?),
            Command::EvictReplica(id) => shared.evict(id, evicts).await?,
        })
    }

    /// Whether there has never been an operator key: the first start makes one.
    ///
    /// # Errors
    /// The store could not tell.
    pub async fn is_new(&self) -> Result<bool, StoreError> {
        Ok(!self.shared.store.has_operator().await?)
    }

    /// Makes the first operator key, unless there is one by now: of replicas that start at once on a new store, one makes it. Whether
    /// this did.
    ///
    /// # Errors
    /// As [`Self::operate`].
    pub async fn make_first_operator(&self, new: NewKey) -> Result<bool, Problem> {
        let (shared, now) = (&self.shared, self.shared.clock.now());
        let command = Command::MintKey(Box::new(new.clone()));
        let store = shared.store.along(Along { note: audit::note(&By::KEYWARD, now, &command), kept: None });
        let mut revision = None;
        match store.first_operator(draft(new, &shared.digester), now).await {
            Err(Rejected::Conflict(Clash::State, _)) => Ok(false),
            made => shared.settle(made, &mut revision).await.map(|_| true),
        }
    }
}

impl Shared {
    /// Whose secret this is. Asked of the store, since only living keys are sure to be remembered.
    async fn whose(&self, imprint: &Imprint, now: Timestamp) -> Result<Option<Found>, Problem> {
        let loaded = self.store.load(self.digester.seal(&imprint.sha256)).await?;
        let Some(standing) = loaded.standing else { return Ok(None) };
        let secret = standing.secret.state_at(now);
        Ok(self.store.key(standing.id).await?.map(|key| Found { key, secret }))
    }

    /// What an import of these rows would do. No change is settled, since none is made.
    async fn try_import(&self, rows: Vec<NewKey>, now: Timestamp) -> Result<Trial, Problem> {
        let faults: Vec<_> = rows.iter().map(|row| check_row(row).err().map(|fault| fault.to_string())).collect();
        let sound = rows.into_iter().zip(&faults).filter(|(_, fault)| fault.is_none());
        let drafts = sound.map(|(row, _)| draft(row, &self.digester)).collect();
        let tried = self.store.try_import(drafts, now).await?;
        let mut told = tried.fates.into_iter();
        let fates = faults.into_iter().filter_map(|fault| fault.map(Fate::Refused).or_else(|| told.next())).collect();
        Ok(Trial { fates, ..tried })
    }

    /// Who uses which secret, until now as far as that could be written.
    async fn shown_callers(&self, id: KeyId, now: Timestamp) -> Result<Vec<SecretUse>, Problem> {
        self.write_callers().await;
        let shown = self.store.callers(id.clone(), self.callers.most(), now).await?;
        shown.ok_or_else(|| Problem::NotFound { what: "key".into(), id: id.to_string() })
    }

    /// Makes a committed change hold here before it is answered.
    pub(super) async fn settle<T>(
        &self,
        changed: Result<Changed<T>, Rejected>,
        revision: &mut Option<u64>,
    ) -> Result<T, Problem> {
        self.counts.changed(&changed);
        let Changed { record, head, instance } = changed?;
        *revision = Some(head);
        if self.store.is_shared() {
            self.completion.met(&instance, false, Duration::ZERO, self.clock.boot());
        }
        self.tell_others().await;
        // Apart, so that the future of a command that changes something is not as large as all that follows it.
        if let Err(error) = Box::pin(self.follow_once()).await {
            tracing::warn!(error = chain(&error), "the log could not be followed after a change");
        }
        if self.fence.applied() < head {
            // It may be that the change made a secret, or adopted some of a prefix.
            self.known.void();
            self.adopted.store(Arc::new(Adopted::Unsure));
            self.fence.flush(head);
        }
        Ok(record)
    }
}

fn missing(what: &str, id: &dyn ToString) -> Problem {
    Problem::NotFound { what: what.into(), id: id.to_string() }
}

fn key(key: crate::key::Key) -> Outcome {
    Outcome::Key(Box::new(key))
}

/// Whose key it is must fit its kind. A user key may name an account: its user must then be a member there.
fn check_owner(new: &NewKey) -> Result<(), Problem> {
    let fault = match (new.kind, &new.account, &new.user) {
        (Kind::Service, None, _) => "a service key belongs to an account: name it",
        (Kind::Service, Some(_), Some(_)) => "a service key is its account's own and has no user",
        (Kind::Personal, Some(_), None) | (Kind::Personal, None, _) => {
            "a personal key is one user's in one account: name both"
        }
        (Kind::User, _, None) => "a user key belongs to a user: name them",
        (Kind::Operator, Some(_), _) | (Kind::Operator, _, Some(_)) => {
            "an operator key runs keyward and has neither account nor user"
        }
        (Kind::Service, Some(_), None)
        | (Kind::Personal, Some(_), Some(_))
        | (Kind::User, _, Some(_))
        | (Kind::Operator, None, None) => return Ok(()),
    };
    Err(Problem::Invalid(fault.into()))
}

/// What takes a user's key's place is held to an account, and there is one of it in each.
fn check_replacement(new: &Replacement<Imprint>, now: Timestamp) -> Result<(), Problem> {
    let invalid = |why: String| Err(Problem::Invalid(why));
    if !matches!(new.kind, Kind::Personal | Kind::Service) {
        return invalid("a user's key is replaced with personal or service keys".into());
    }
    let mut accounts: Vec<_> = new.keys.iter().map(|(account, ..)| account).collect();
    accounts.sort();
    if accounts.windows(2).any(|two| two[0] == two[1]) || !(1..=MOST_AT_ONCE).contains(&accounts.len()) {
        return invalid(format!("name each account once, and from 1 to {MOST_AT_ONCE} of them"));
    }
    for end in [new.expires_at, if let Old::Expires(end) = new.old { Some(end) } else { None }].into_iter().flatten() {
        if end <= now {
            return invalid(format!("a key would have expired at {end} already"));
        }
    }
    check_bounds(new.permissions.as_ref(), None)?;
    new.name.as_deref().map_or(Ok(()), check_name)
}

/// A user's key in more accounts is replaced in several steps.
const MOST_AT_ONCE: usize = 16;

/// A name is shown in tables and logs.
fn check_name(name: &str) -> Result<(), Problem> {
    if name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) {
        return Err(Problem::Invalid(format!("a key's name is one line of at most {LONGEST_NAME} characters")));
    }
    Ok(())
}

pub(super) const LONGEST_NAME: usize = 200;

/// Whoever holds a key may make another, and every request with that one goes through all it is bound to.
fn check_bounds(permissions: Option<&Permissions>, networks: Option<&[IpNet]>) -> Result<(), Problem> {
    let many = permissions.is_some_and(|all| all.iter().count() > MOST_BOUNDS)
        || networks.is_some_and(|all| all.len() > MOST_BOUNDS);
    if many {
        return Err(Problem::Invalid(format!("a key has at most {MOST_BOUNDS} permissions, and as many networks")));
    }
    Ok(())
}

pub(super) const MOST_BOUNDS: usize = 256;

fn check_times(new: &NewKey, now: Timestamp) -> Result<(), Problem> {
    let Some(end) = new.expires_at else { return Ok(()) };
    if end <= now {
        return Err(Problem::Invalid(format!("the key would have expired at {end} already")));
    }
    if new.not_before.is_some_and(|start| end <= start) {
        return Err(Problem::Invalid("the key would expire before it becomes valid".into()));
    }
    Ok(())
}

/// A second secret that is good for no time, or for ever, is no rotation.
fn check_rotation(rotation: &Rotation) -> Result<(), Problem> {
    if let Some(name) = &rotation.name {
        check_name(name)?;
    }
    if let Some(quiet) = rotation.until_quiet {
        let grace = match rotation.mode {
            Mode::Immediate => Duration::ZERO,
            Mode::Grace(grace) | Mode::FirstUse { grace, .. } => grace,
        };
        if grace.is_zero() {
            return Err(Problem::Invalid(
                "an old secret without a grace cannot end when it was quiet; give it one".into(),
            ));
        }
        if quiet < SHORTEST_QUIET || quiet >= grace {
            let what = "the time without a use that ends the old secret is at least a minute, and less than its grace";
            return Err(Problem::Invalid(what.into()));
        }
    }
    let (span, what) = match rotation.mode {
        Mode::Immediate => return Ok(()),
        Mode::Grace(span) => (span, "the grace of the old secret"),
        Mode::FirstUse { within, grace } if grace > LONGEST_GRACE => (within.max(grace), "the grace of the old secret"),
        Mode::FirstUse { within, .. } => (within, "the time in which the new secret must be used"),
    };
    if span.is_zero() {
        return Err(Problem::Invalid(format!("{what} must not be zero; leave it out to rotate at once")));
    }
    if span > LONGEST_GRACE {
        return Err(Problem::TooLong(format!("{what} is at most 30 days"), LONGEST_GRACE.as_secs()));
    }
    Ok(())
}

/// Uses are seen in intervals: of less nothing could be told.
const SHORTEST_QUIET: Duration = Duration::from_secs(60);

/// Two secrets of one key are twice as easy to lose; whoever needs them for longer makes a second key.
const LONGEST_GRACE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// An adopted key keeps its past: one that has expired is adopted as such, so that it is known as expired. The row of a
/// user key may name the account its user becomes a member of.
fn check_row(row: &NewKey) -> Result<(), Problem> {
    check_name(&row.name)?;
    check_bounds(Some(&row.permissions), Some(&row.allowed_ips))?;
    match row.kind {
        Kind::Operator => Err(Problem::Invalid("operator keys are minted, never adopted".into())),
        Kind::User if row.user.is_some() => Ok(()),
        Kind::User | Kind::Personal | Kind::Service => check_owner(row),
    }
}

fn draft(new: NewKey, digester: &Digester) -> Draft {
    new.knowing(|imprint| secret(imprint, digester))
}

pub(super) fn secret(imprint: Imprint, digester: &Digester) -> SecretDraft {
    SecretDraft {
        digest: digester.seal(&imprint.sha256),
        prefix: imprint.prefix,
        kid: imprint.kid,
        hint: imprint.hint,
        foreign_checksum: imprint.foreign_checksum,
    }
}

impl From<Rejected> for Problem {
    fn from(rejected: Rejected) -> Self {
        match rejected {
            Rejected::Missing { what, id } => Self::NotFound { what: what.into(), id },
            Rejected::Exists { what, id } => Self::Exists { what: what.into(), id },
            Rejected::Conflict(clash, why) => Self::Conflict(clash, why),
            Rejected::Invalid(why) => Self::Invalid(why),
            Rejected::ExpiryTooLong(why, most) => Self::ExpiryTooLong(why, most),
            Rejected::LimitReached(why, most) => Self::LimitReached(why, most),
            Rejected::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(chain(&error))
    }
}
