//! One caller's view of the keys: what every wire form goes through, so that what a caller may is asked in one place.

use std::cell::{Cell, Ref, RefCell};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::caller::Caller;
use super::holder::Holder;
use super::leaks::tally::Tally;
use super::pace::Pace;
use super::problem::{Code, Problem};
use crate::clock::{Clock, Timestamp};
use crate::key::rotation::Rotation;
use crate::key::token::{self, Prefix};
use crate::key::{
    Account, AccountId, Imprint, Key, KeyId, KeyState, Kind, Membership, Permissions, Seen, User, UserId,
};
use crate::keyring::command::{
    By, Command, Completed, KeyChange, KeyFilter, MemberFilter, NewKey, Outcome, Problem as NotDone, Replacement,
    SecretUse, Slice,
};
use crate::keyring::once::{Made, Once, Running, Turn};
use crate::keyring::receipt::{Done, Progress, Receipt};
use crate::keyring::{Denied, Keyring};
use crate::secret::Secret;

/// What carries commands out.
#[derive(Clone, Debug)]
pub struct Hand {
    /// Verifies callers and carries out what they ask.
    pub keyring: Arc<Keyring>,
    /// What time it is.
    pub clock: Clock,
    /// Where commands run, whoever still listens.
    pub control: Handle,
    /// How reports of found secrets fare.
    pub leaks: Arc<Tally>,
    /// How many more of them holders may have under way.
    room: Arc<Semaphore>,
    /// How many more long commands may be under way.
    long: Arc<Semaphore>,
    /// How often each holder asks for a change.
    pub(super) pace: Pace,
}

impl Hand {
    /// What carries commands out on this runtime.
    #[must_use]
    pub fn new(keyring: Arc<Keyring>, clock: Clock, control: Handle, leaks: Arc<Tally>) -> Self {
        let (room, long) = (Semaphore::new(OF_HOLDERS), Semaphore::new(LONG));
        Self { keyring, clock, control, leaks, room: Arc::new(room), long: Arc::new(long), pace: Pace::new() }
    }

    /// How many changes holders asked for beyond their number in a minute.
    #[must_use]
    pub fn limited(&self) -> u64 {
        self.pace.limited()
    }

    /// Waits until there is room for what one more holder asks of the store. So however many they are, no queue of the store is
    /// full of them, and an operator's command waits behind few.
    pub(super) async fn room(&self) -> Option<OwnedSemaphorePermit> {
        // It is never closed.
        Arc::clone(&self.room).acquire_owned().await.ok()
    }

    /// Waits until there is room for what one more long command has in memory.
    pub(super) async fn long_command(&self) -> Option<OwnedSemaphorePermit> {
        // It is never closed.
        Arc::clone(&self.long).acquire_owned().await.ok()
    }
}

/// Long commands of operators that are under way at one time; the others wait.
const LONG: usize = 4;

/// Commands of holders that are under way at one time; the others wait.
const OF_HOLDERS: usize = 16;

/// A caller at it, who is one for as long as it takes to answer them.
pub(super) struct Desk<'a> {
    pub(super) hand: &'a Hand,
    pub(super) caller: &'a Caller,
    /// The caller, as the keyring is told of them.
    pub(super) by: By,
    /// What they presented.
    secret: Option<Secret>,
    /// Their turn, where they ask for what may come again.
    turn: Cell<Option<Running>>,
    /// How long to wait until a change is true everywhere; none for who cannot be told that it is not.
    patience: Cell<Option<Duration>>,
    /// What is to be told of the change.
    told: RefCell<Option<Told>>,
    /// Whether holders make keys like their own here, whatever its kind is.
    alike: bool,
}

/// When a change became true, and where.
pub(super) struct Told {
    /// Its position in the log.
    pub(super) revision: u64,
    /// Of one that may have taken something away.
    pub(super) receipt: Option<Receipt>,
}

impl<'a> Desk<'a> {
    /// A caller, who presented `secret`.
    pub(super) const fn new(hand: &'a Hand, caller: &'a Caller, by: By, secret: Option<Secret>) -> Self {
        Self {
            hand,
            caller,
            by,
            secret,
            turn: Cell::new(None),
            patience: Cell::new(None),
            told: RefCell::new(None),
            alike: false,
        }
    }

    /// One where holders make keys like their own, whatever its kind is.
    pub(super) fn making_alike(self) -> Self {
        Self { alike: true, ..self }
    }
}

impl Desk<'_> {
    /// Whether the request, whose parts these are, came under this `Idempotency-Key` before, and what it made then. Where not,
    /// what it makes now is kept. What `narrows` is waited for once more: whoever asked first may have left before it was true.
    ///
    /// # Errors
    /// It still runs, the key came with another request, or we cannot tell.
    pub(super) async fn came_before(
        &self,
        name: &str,
        request: &[&[u8]],
        narrows: bool,
    ) -> Result<Option<Made>, Problem> {
        let Some(secret) = &self.secret else { return Ok(None) };
        let room = self.room().await;
        let turn = self.hand.keyring.begin(Once::of(secret, name, request)).await?;
        drop(room);
        match turn {
            Turn::Again(made) => {
                if let Some(revision) = made.revision {
                    let patience = self.patience.get().unwrap_or(Duration::MAX);
                    let receipt =
                        if narrows { Some(self.hand.keyring.came_to(revision, patience).await) } else { None };
                    self.tell(revision, receipt)?;
                }
                Ok(Some(made))
            }
            Turn::First(running) => {
                self.turn.set(Some(running));
                Ok(None)
            }
        }
    }

    /// Has changes waited for no longer than so; who asks is told how far they came.
    pub(super) fn wait(&self, patience: Duration) {
        self.patience.set(Some(patience));
    }

    /// What is to be told of the change.
    pub(super) fn told(&self) -> Ref<'_, Option<Told>> {
        self.told.borrow()
    }

    fn tell(&self, revision: u64, receipt: Option<Receipt>) -> Result<(), NotDone> {
        if receipt.as_ref().is_some_and(|receipt| receipt.progress == Progress::Lost) {
            return Err(NotDone::lost());
        }
        if self.patience.get().is_none() && receipt.as_ref().is_some_and(|receipt| !receipt.is_complete()) {
            return Err(NotDone::not_in_force());
        }
        self.told.replace(Some(Told { revision, receipt }));
        Ok(())
    }

    /// What time it is.
    pub(super) fn now(&self) -> Timestamp {
        self.hand.clock.now()
    }

    /// Carries a command out, whoever asks; in a task of its own, for a client that leaves ends what answers it, and not what it
    /// began.
    pub(super) async fn carry_out(&self, command: Command) -> Result<Outcome, NotDone> {
        self.carry_out_once(command, None).await
    }

    /// The same; what it makes is kept where it is the caller's turn.
    async fn carry_out_once(&self, command: Command, made: Option<Made>) -> Result<Outcome, NotDone> {
        let (keyring, by) = (Arc::clone(&self.hand.keyring), self.by.clone());
        let turn = made.and_then(|made| Some((self.turn.take()?, made)));
        let room = self.room().await;
        let patience = self.patience.get().unwrap_or(Duration::MAX);
        let task = self.hand.control.spawn(async move {
            let committed = match turn {
                Some((running, made)) => keyring.commit_once(&by, command, running, &made).await,
                None => keyring.commit(&by, command).await,
            }?;
            // Nobody waits for room behind who waits for replicas.
            drop(room);
            Ok(keyring.until_complete(committed, patience).await)
        });
        let done = task.await.unwrap_or_else(|_| Err(NotDone::Unavailable("keyward is stopping".to_owned())))?;
        let Done { outcome, revision, receipt } = done;
        let revision = revision.or_else(|| receipt.as_ref().map(|receipt| receipt.revision));
        if let Some(revision) = revision {
            self.tell(revision, receipt)?;
        }
        Ok(outcome)
    }

    /// Operators need none.
    async fn room(&self) -> Option<OwnedSemaphorePermit> {
        match self.caller {
            Caller::Holder(_) => self.hand.room().await,
            Caller::Operator(_) => None,
        }
    }

    /// A key that the caller may see.
    ///
    /// # Errors
    /// [`Code::KeyNotFound`] also where it is another's: nobody is told which ids there are.
    pub(super) async fn key(&self, id: KeyId) -> Result<Key, Problem> {
        let found = self.one(Command::ShowKey(id)).await;
        let Caller::Holder(holder) = self.caller else { return found };
        match found {
            Ok(key) if holder.reaches(&key) => Ok(key),
            Err(problem) if problem.code != Code::KeyNotFound => Err(problem),
            // In the same words, be it another's or nobody's.
            Ok(_) | Err(_) => Err(Problem::new(Code::KeyNotFound)),
        }
    }

    /// A key that the caller may see, by its number.
    ///
    /// # Errors
    /// [`Code::KeyNotFound`], as for [`Self::key`].
    pub(super) async fn numbered(&self, serial: i64) -> Result<Key, Problem> {
        let next = KeyFilter { after: Some(serial.saturating_sub(1)), most: Some(1), ..KeyFilter::default() };
        let key = self.some(next).await?.into_iter().find(|key| key.serial == serial);
        let seen = key.filter(|key| match self.caller {
            Caller::Holder(holder) => holder.reaches(key),
            Caller::Operator(_) => true,
        });
        seen.ok_or_else(|| Problem::new(Code::KeyNotFound))
    }

    /// An account that the caller may act in.
    pub(super) async fn account(&self, id: AccountId) -> Result<Account, Problem> {
        if let Caller::Holder(holder) = self.caller
            && !holder.accounts().any(|own| *own == id)
        {
            return Err(Problem::new(Code::AccountNotFound));
        }
        match self.carry_out(Command::ShowAccount(id)).await? {
            Outcome::Account(account) => Ok(account),
            _ => Err(unexpected()),
        }
    }

    /// The accounts that the caller may act in, by id.
    pub(super) async fn accounts(&self) -> Result<Vec<Account>, Problem> {
        let Caller::Holder(holder) = self.caller else {
            return match self.carry_out(Command::ListAccounts(Slice::ALL)).await? {
                Outcome::Accounts(accounts) => Ok(accounts),
                _ => Err(unexpected()),
            };
        };
        let mut own: Vec<_> = holder.accounts().cloned().collect();
        own.sort();
        let mut accounts = Vec::with_capacity(own.len());
        for id in own {
            accounts.push(self.account(id).await?);
        }
        Ok(accounts)
    }

    /// A user: of a holder, their own, or any where they manage an account.
    pub(super) async fn user(&self, id: UserId) -> Result<User, Problem> {
        if let Caller::Holder(holder) = self.caller
            && holder.user() != Some(&id)
        {
            Self::must_manage(holder)?;
        }
        match self.carry_out(Command::ShowUser(id)).await? {
            Outcome::User(user) => Ok(user),
            _ => Err(unexpected()),
        }
    }

    /// All users, to who manages an account.
    pub(super) async fn users(&self) -> Result<Vec<User>, Problem> {
        if let Caller::Holder(holder) = self.caller {
            Self::must_manage(holder)?;
        }
        match self.carry_out(Command::ListUsers(Slice::ALL)).await? {
            Outcome::Users(users) => Ok(users),
            _ => Err(unexpected()),
        }
    }

    fn must_manage(holder: &Holder) -> Result<(), Problem> {
        let manages = holder.accounts().any(|account| holder.manages(account));
        if manages { Ok(()) } else { Err(Problem::new(Code::UserNotFound)) }
    }

    /// A user's place in an account, where they have one.
    pub(super) async fn member(&self, account: &AccountId, user: &UserId) -> Result<Option<Membership>, Problem> {
        let filter =
            MemberFilter { account: Some(account.clone()), user: Some(user.clone()), ..MemberFilter::default() };
        match self.carry_out(Command::ListMembers(filter)).await {
            Ok(Outcome::Members(members)) => Ok(members.into_iter().next()),
            Ok(_) | Err(NotDone::NotFound { .. }) => Ok(None),
            Err(problem) => Err(problem.into()),
        }
    }

    /// The keys that fit; of a holder, their own, or `all` that they manage.
    pub(super) async fn keys(&self, filter: KeyFilter, all: bool) -> Result<Vec<Key>, Problem> {
        let Caller::Holder(holder) = self.caller else { return self.some(filter).await };
        if all {
            let account = filter.account.clone().or_else(|| holder.account().cloned());
            return match account.filter(|account| holder.manages(account)) {
                Some(account) => self.some(KeyFilter { account: Some(account), ..filter }).await,
                None => Err(Problem::new(Code::ScopeInsufficient)),
            };
        }
        if holder.standing().kind == Kind::Service {
            // An account's own key is nobody else's.
            let key = self.one(Command::ShowKey(holder.key().clone())).await?;
            let KeyFilter { account, user, kind, status, unrevoked, after, most: _ } = filter;
            let fits = (account.is_none() || account == key.account)
                && user.is_none()
                && kind.is_none_or(|kind| kind == key.kind)
                && (!unrevoked || key.state != KeyState::Revoked)
                && status.is_none_or(|status| status == key.status_at(self.now()))
                && (!unrevoked || key.state != KeyState::Revoked)
                && after.is_none_or(|after| key.serial > after);
            return Ok(Some(key).filter(|_| fits).into_iter().collect());
        }
        let mut within = KeyFilter { user: filter.user.or_else(|| holder.user().cloned()), ..filter };
        within.account = within.account.or_else(|| holder.account().cloned());
        let wanted = within.most.map_or(usize::MAX, |most| most as usize);
        let mut keys = Vec::new();
        loop {
            let some = self.some(within.clone()).await?;
            let last = some.last().filter(|_| some.len() >= wanted).map(|last| last.serial);
            // Not all of its user or account are theirs; personal keys of accounts that its user left are shown no more.
            keys.extend(some.into_iter().filter(|key| holder.owns(key)));
            within.after = last;
            if last.is_none() || keys.len() >= wanted {
                keys.truncate(wanted);
                return Ok(keys);
            }
        }
    }

    /// Makes a key like the one that asks, with a new secret that begins with `prefix`.
    pub(super) async fn mint_alike(
        &self,
        prefix: &Prefix,
        name: String,
        expires_at: Option<Timestamp>,
    ) -> Result<(Key, Secret), Problem> {
        let Caller::Holder(holder) = self.caller else { return Err(Problem::new(Code::ScopeInsufficient)) };
        if !self.alike {
            return Err(Problem::new(Code::ScopeInsufficient));
        }
        let (id, secret, imprint) = fresh(prefix)?;
        let mut new = NewKey { name, expires_at, ..NewKey::bare(id, imprint, holder.standing().kind) };
        holder.liken(&mut new)?;
        self.made(new, secret).await
    }

    /// Makes a key with a new secret that begins with `prefix`; `draft` says what else it is.
    pub(super) async fn mint(
        &self,
        prefix: &Prefix,
        draft: impl FnOnce(KeyId, Imprint) -> Result<NewKey, Problem>,
    ) -> Result<(Key, Secret), Problem> {
        let (id, secret, imprint) = fresh(prefix)?;
        let mut new = draft(id, imprint)?;
        if let Caller::Holder(holder) = self.caller {
            let of_user = self.of_user(&new, holder).await?;
            holder.narrow(&mut new, of_user.as_ref())?;
        }
        self.made(new, secret).await
    }

    async fn made(&self, new: NewKey, secret: Secret) -> Result<(Key, Secret), Problem> {
        let made = Made::one(new.id.clone(), Some(secret.clone()));
        match self.carry_out_once(Command::MintKey(Box::new(new)), Some(made)).await {
            Ok(made) => Ok((a_key(made)?, secret)),
            Err(problem) => Err(not_minted(problem)),
        }
    }

    /// Gives a key that the caller was shown another secret, which begins with `prefix`.
    pub(super) async fn rotate(
        &self,
        key: &Key,
        prefix: &Prefix,
        rotation: Rotation,
    ) -> Result<(Key, Secret), Problem> {
        if let Caller::Holder(holder) = self.caller {
            holder.may_become(key)?;
            if !(self.alike && holder.is_like(key)) {
                holder.may_last(key, &rotation.expires_at)?;
            }
            if key.id == *holder.key() {
                // It was read after they were verified. Who was overtaken in between would undo what they never saw, with a
                // secret that is dead.
                self.still_good().await?;
            }
        }
        let (secret, imprint) = token::mint(prefix, getrandom::fill).map_err(no_entropy)?;
        let made = Made::one(key.id.clone(), Some(secret.clone()));
        let rotate = Command::RotateKey(key.id.clone(), imprint, rotation);
        Ok((a_key(self.carry_out_once(rotate, Some(made)).await?)?, secret))
    }

    /// Whether what the caller presented is still good to manage keys with, in the store itself.
    async fn still_good(&self) -> Result<(), Problem> {
        let Some(secret) = &self.secret else { return Err(Problem::new(Code::KeyRequired)) };
        match self.hand.keyring.verify_anew(secret).await {
            Ok(verified) if verified.superseded_until().is_none() => Ok(()),
            Ok(_) => Err(Problem::new(Code::KeySuperseded)),
            Err(Denied::Refused(refusal)) => Err(Problem::new(Code::of(&refusal))),
            Err(Denied::Failed(_)) => Err(Problem::new(Code::AuthUnavailable)),
        }
    }

    /// Makes what takes the place of a user's key, with these secrets.
    pub(super) async fn replace(
        &self,
        replacement: Replacement<Imprint>,
        secrets: &[Secret],
    ) -> Result<Outcome, NotDone> {
        let new = replacement.keys.iter().map(|(_, id, _)| id.clone());
        let made =
            Made { instead: new.zip(secrets.iter().cloned()).collect(), ..Made::one(replacement.key.clone(), None) };
        self.carry_out_once(Command::ReplaceKey(Box::new(replacement)), Some(made)).await
    }

    /// Changes a key, where it is still one of these.
    pub(super) async fn change(&self, id: KeyId, change: KeyChange, seen: Option<Vec<Seen>>) -> Result<Key, Problem> {
        if let Caller::Holder(holder) = self.caller {
            holder.may_change(&self.key(id.clone()).await?, &change)?;
        }
        self.one(Command::ChangeKey(id, Box::new(change), seen)).await
    }

    /// Ends a key for good, where it is still one of these.
    pub(super) async fn revoke(&self, id: KeyId, seen: Option<Vec<Seen>>) -> Result<Key, Problem> {
        self.must_see(&id).await?;
        self.one(Command::SetKeyState(id, KeyState::Revoked, seen)).await
    }

    /// Who uses which secret of a key.
    pub(super) async fn callers(&self, id: KeyId) -> Result<Vec<SecretUse>, Problem> {
        self.must_see(&id).await?;
        match self.carry_out(Command::ShowCallers(id)).await? {
            Outcome::Callers(secrets) => Ok(secrets),
            _ => Err(unexpected()),
        }
    }

    /// Ends a rotation, and tells who had not left the old secret.
    pub(super) async fn complete(&self, id: KeyId) -> Result<Completed, Problem> {
        self.must_see(&id).await?;
        match self.carry_out(Command::CompleteRotation(id)).await? {
            Outcome::Completed(completed) => Ok(*completed),
            _ => Err(unexpected()),
        }
    }

    /// Takes a rotation back.
    pub(super) async fn cancel(&self, id: KeyId) -> Result<Key, Problem> {
        self.must_see(&id).await?;
        let made = Made::one(id.clone(), None);
        a_key(self.carry_out_once(Command::CancelRotation(id), Some(made)).await?)
    }

    async fn must_see(&self, id: &KeyId) -> Result<(), Problem> {
        if let Caller::Holder(_) = self.caller {
            self.key(id.clone()).await?;
        }
        Ok(())
    }

    /// What another user may in the account of a personal key to be made for them.
    async fn of_user(&self, new: &NewKey, holder: &Holder) -> Result<Option<Permissions>, Problem> {
        let (Kind::Personal, Some(account), Some(user)) = (new.kind, &new.account, &new.user) else { return Ok(None) };
        if holder.user() == Some(user) {
            return Ok(None);
        }
        let member = self.member(account, user).await?;
        Ok(Some(member.map(|member| member.permissions).unwrap_or_default()))
    }

    async fn one(&self, command: Command) -> Result<Key, Problem> {
        a_key(self.carry_out(command).await?)
    }

    async fn some(&self, filter: KeyFilter) -> Result<Vec<Key>, Problem> {
        match self.carry_out(Command::ListKeys(filter)).await? {
            Outcome::Keys(keys) => Ok(keys),
            _ => Err(unexpected()),
        }
    }
}

/// Who a new key names must be there: that they are not is the body's fault, and no missing page.
fn not_minted(problem: NotDone) -> Problem {
    let NotDone::NotFound { what, .. } = &problem else { return problem.into() };
    let pointer = if what == "account" { "/account_id" } else { "/user_id" };
    Problem::member(pointer, problem.to_string())
}

fn a_key(outcome: Outcome) -> Result<Key, Problem> {
    match outcome {
        Outcome::Key(key) => Ok(*key),
        _ => Err(unexpected()),
    }
}

/// An id and a secret that nobody has had, the secret beginning with `prefix`.
pub(super) fn fresh(prefix: &Prefix) -> Result<(KeyId, Secret, Imprint), Problem> {
    let (secret, imprint) = token::mint(prefix, getrandom::fill).map_err(no_entropy)?;
    let id = token::random_id("key_", 16, getrandom::fill).map_err(no_entropy)?;
    Ok((id.parse().map_err(no_entropy)?, secret, imprint))
}

/// A command has one kind of outcome.
pub(super) fn unexpected() -> Problem {
    Problem::new(Code::StoreUnavailable)
}

fn no_entropy<E>(_: E) -> Problem {
    tracing::error!("the system gives no random bytes");
    Problem::new(Code::StoreUnavailable)
}
