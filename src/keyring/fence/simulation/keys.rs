//! The keys of a history: six of them in two accounts.

use std::sync::Arc;

use crate::key::{AccountState, Digest, KeyState, Kind, Permissions, Presented, Standing};
use crate::store::log::Subject;

pub(super) const KEYS: usize = 6;
pub(super) const ACCOUNTS: [&str; 2] = ["101", "102"];

/// What a change takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Key(usize),
    Account(usize),
    /// A key, told as a change of anything.
    Anything(usize),
}

impl What {
    pub(super) fn subject(self) -> Subject {
        match self {
            Self::Key(key) => {
                let mut head = [0; 16];
                head.copy_from_slice(&digest(key).as_bytes()[..16]);
                Subject::Secret(head)
            }
            Self::Account(account) => Subject::Account(ACCOUNTS[account].into()),
            Self::Anything(_) => Subject::Everything,
        }
    }
}

/// What the store says of each, before and after it is taken away.
#[derive(Debug)]
pub(super) struct Keys {
    before: Vec<Arc<Standing>>,
    after: Vec<Arc<Standing>>,
}

impl Keys {
    pub(super) fn new() -> Self {
        let all = |state| (0..KEYS).map(|key| Arc::new(standing(key, state))).collect();
        Self { before: all(KeyState::Active), after: all(KeyState::Revoked) }
    }

    pub(super) fn standing(&self, key: usize, revoked: bool) -> &Arc<Standing> {
        if revoked { &self.after[key] } else { &self.before[key] }
    }

    /// Those that a change takes away.
    pub(super) fn of(&self, what: What) -> impl Iterator<Item = usize> + use<> {
        (0..KEYS).filter(move |key| match what {
            What::Key(one) | What::Anything(one) => one == *key,
            What::Account(account) => account_of(*key) == account,
        })
    }
}

pub(super) fn digest(key: usize) -> Digest {
    let mut bytes = [0; 32];
    bytes[0] = key as u8;
    Digest::from_bytes(bytes)
}

const fn account_of(key: usize) -> usize {
    key % ACCOUNTS.len()
}

fn standing(key: usize, state: KeyState) -> Standing {
    Standing {
        id: format!("key_{key}").parse().unwrap(),
        serial: 1,
        kind: Kind::Service,
        state,
        secret: Presented::Current,
        number: 1,
        not_before: None,
        expires_at: None,
        account: Some((ACCOUNTS[account_of(key)].parse().unwrap(), AccountState::Active)),
        user: None,
        memberships: Vec::new(),
        licensed: true,
        permissions: Permissions::default(),
        allowed_ips: Vec::new(),
    }
}
