//! What must be in one account, and what can be done to it next.

use std::collections::{BTreeMap, BTreeSet};

use keyward::key::rotation::Rotation;
use keyward::key::token::{mint, random_id};
use keyward::key::{AccountId, Imprint, Key, KeyId, KeyState, Kind, Membership, Permissions, UserId};
use keyward::keyring::command::{Command, NewKey, UserChange};

/// Seeded choices (SplitMix64).
#[derive(Clone, Debug)]
pub(super) struct Chance {
    seed: u64,
    state: u64,
}

impl Chance {
    /// With this seed, or one that nobody chose.
    pub(super) fn new(seed: Option<u64>) -> Self {
        let seed = seed.unwrap_or_else(|| {
            let mut bytes = [0; 8];
            getrandom::fill(&mut bytes).unwrap();
            u64::from_le_bytes(bytes)
        });
        Self { seed, state: seed }
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    pub(super) fn split(&mut self) -> Self {
        Self::new(Some(self.next()))
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// One change, with everything that is needed to make it and to know it again.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Account(AccountId),
    User(UserId),
    Join(Membership),
    Leave(AccountId, UserId),
    Mint(NewKey, Plain),
    Rotate(KeyId, Imprint, Plain),
    State(KeyId, KeyState),
    Import(Vec<(NewKey, Plain)>),
}

/// A secret in plain text; never printed.
#[derive(Clone)]
pub(super) struct Plain(String);

impl std::fmt::Debug for Plain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

impl Change {
    pub(super) fn command(&self) -> Command {
        match self.clone() {
            Self::Account(id) => Command::CreateAccount(id, None),
            Self::User(id) => Command::CreateUser(id, UserChange::default()),
            Self::Join(member) => Command::AddMember(member.into()),
            Self::Leave(account, user) => Command::RemoveMember(account, user),
            Self::Mint(new, _) => Command::MintKey(Box::new(new)),
            Self::Rotate(id, imprint, _) => Command::RotateKey(id, imprint, Rotation::IMMEDIATE),
            Self::State(id, state) => Command::SetKeyState(id, state, None),
            Self::Import(rows) => Command::Import(rows.into_iter().map(|(new, _)| new).collect()),
        }
    }
}

/// What one client made, as far as it knows.
#[derive(Clone, Debug)]
pub(super) struct World {
    account: AccountId,
    user: UserId,
    /// Whether the account and the user are there.
    there: (bool, bool),
    member: bool,
    keys: BTreeMap<String, Known>,
    /// Keys that were changed since they were last asked about.
    touched: BTreeSet<String>,
}

#[derive(Clone, Debug)]
struct Known {
    kind: Kind,
    state: KeyState,
    generation: i64,
    current: Plain,
    retired: Vec<Plain>,
}

/// What a list shows of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    there: bool,
    member: bool,
    keys: BTreeMap<String, (String, i64)>,
}

impl Shown {
    pub(super) fn of(there: bool, member: bool, keys: &[Key]) -> Self {
        let keys = keys.iter().map(|key| (key.id.to_string(), (key.state.to_string(), key.generation)));
        Self { there, member, keys: keys.collect() }
    }
}

impl World {
    pub(super) fn new(account: &str, user: &str) -> Self {
        Self {
            account: account.parse().unwrap(),
            user: user.parse().unwrap(),
            there: (false, false),
            member: false,
            keys: BTreeMap::new(),
            touched: BTreeSet::new(),
        }
    }

    pub(super) fn account(&self) -> AccountId {
        self.account.clone()
    }

    pub(super) fn shown(&self) -> Shown {
        let keys = self.keys.iter().map(|(id, key)| (id.clone(), (key.state.to_string(), key.generation)));
        Shown { there: self.there.0, member: self.member, keys: keys.collect() }
    }

    /// Every secret, with the status that a request with it must get.
    pub(super) fn secrets(&self) -> Vec<(String, u16)> {
        self.keys.values().flat_map(Known::secrets).collect()
    }

    /// Those of the keys changed since this was last asked.
    pub(super) fn touched(&mut self) -> Vec<(String, u16)> {
        let touched = std::mem::take(&mut self.touched);
        touched.iter().filter_map(|id| self.keys.get(id)).flat_map(Known::secrets).collect()
    }

    /// Something that can be done now.
    pub(super) fn choose(&self, chance: &mut Chance) -> Change {
        match self.there {
            (false, _) => return Change::Account(self.account.clone()),
            (true, false) => return Change::User(self.user.clone()),
            (true, true) => {}
        }
        let alive: Vec<_> = self.keys.iter().filter(|(_, key)| key.state != KeyState::Revoked).collect();
        let one = |chance: &mut Chance| alive[chance.below(alive.len())];
        match chance.below(10) {
            0 => Change::Import((0..3).map(|_| fresh(Kind::Service, &self.account, None)).collect()),
            1 if self.member => Change::Leave(self.account.clone(), self.user.clone()),
            1 => {
                let (account, user) = (self.account.clone(), self.user.clone());
                Change::Join(Membership { account, user, permissions: Permissions::default(), licence: None })
            }
            2 | 3 if self.member => minted(fresh(Kind::Personal, &self.account, Some(&self.user))),
            4 | 5 if !alive.is_empty() => {
                let (secret, imprint) = secret();
                Change::Rotate(one(chance).0.parse().unwrap(), imprint, secret)
            }
            6 if !alive.is_empty() => Change::State(one(chance).0.parse().unwrap(), KeyState::Revoked),
            7 | 8 if !alive.is_empty() => {
                let (id, key) = one(chance);
                let other = if key.state == KeyState::Active { KeyState::Suspended } else { KeyState::Active };
                Change::State(id.parse().unwrap(), other)
            }
            _ => minted(fresh(Kind::Service, &self.account, None)),
        }
    }

    /// The same with a change made.
    pub(super) fn with(mut self, change: &Change) -> Self {
        match change {
            Change::Account(_) => self.there.0 = true,
            Change::User(_) => self.there.1 = true,
            Change::Join(_) => self.member = true,
            Change::Leave(..) => {
                self.member = false;
                for (id, key) in self.keys.iter_mut().filter(|(_, key)| key.kind == Kind::Personal) {
                    key.state = KeyState::Revoked;
                    self.touched.insert(id.clone());
                }
            }
            Change::Mint(new, secret) => self.add(new, secret),
            Change::Import(rows) => rows.iter().for_each(|(new, secret)| self.add(new, secret)),
            Change::Rotate(id, _, secret) => {
                let key = self.touch(id);
                let old = std::mem::replace(&mut key.current, secret.clone());
                key.retired.push(old);
                key.generation += 1;
            }
            Change::State(id, state) => self.touch(id).state = *state,
        }
        self
    }

    fn add(&mut self, new: &NewKey, secret: &Plain) {
        let id = new.id.to_string();
        let current = secret.clone();
        let known = Known { kind: new.kind, state: KeyState::Active, generation: 1, current, retired: Vec::new() };
        self.touched.insert(id.clone());
        self.keys.insert(id, known);
    }

    fn touch(&mut self, id: &KeyId) -> &mut Known {
        self.touched.insert(id.to_string());
        self.keys.get_mut(id.as_str()).unwrap()
    }
}

impl Known {
    fn secrets(&self) -> Vec<(String, u16)> {
        let status = match self.state {
            KeyState::Active => 200,
            KeyState::Suspended => 403,
            KeyState::Revoked => 401,
        };
        let retired = self.retired.iter().map(|secret| (secret.0.clone(), 401));
        retired.chain([(self.current.0.clone(), status)]).collect()
    }
}

fn secret() -> (Plain, Imprint) {
    let (secret, imprint) = mint(&"kw_live".parse().unwrap(), getrandom::fill).unwrap();
    (Plain(secret.expose_str().unwrap().to_owned()), imprint)
}

fn fresh(kind: Kind, account: &AccountId, user: Option<&UserId>) -> (NewKey, Plain) {
    let (secret, imprint) = secret();
    let id = random_id("key_", 16, getrandom::fill).unwrap().parse().unwrap();
    let new = NewKey { account: Some(account.clone()), user: user.cloned(), ..NewKey::bare(id, imprint, kind) };
    (new, secret)
}

fn minted((new, secret): (NewKey, Plain)) -> Change {
    Change::Mint(new, secret)
}
