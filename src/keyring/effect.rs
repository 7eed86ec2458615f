//! What a command does to those who hold keys: nothing, only good, or perhaps harm. Whoever takes something away is told when
//! that is true everywhere; who only gives need not wait.
//!
//! Decided here for every command there is, without a look at the store and without a wildcard: a new command, state or field
//! does not compile until somebody has decided. What cannot be proven to take nothing away takes something away.

use super::command::{AccountChange, Command, KeyChange, MemberChange, NewKey, Old, Replacement, UserChange};
use crate::key::rotation::{Mode, Rotation};
use crate::key::{AccountState, Edit, Imprint, KeyState};

/// What a command does, ordered by how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// It changes nothing that a request is judged by.
    Shows,
    /// It changes something, and no request is refused by it that was served before.
    Widens,
    /// It may take something away.
    Narrows,
}

use Effect::{Narrows, Shows, Widens};

impl Command {
    /// What it does.
    #[must_use]
    pub fn effect(&self) -> Effect {
        match self {
            Self::CreateAccount(..) | Self::CreateUser(..) => Widens,
            Self::ChangeAccount(_, change) => of_account_change(change),
            Self::SetAccountState(_, state) => of_account(*state),
            Self::ChangeUser(_, change) => of_user_change(change),
            Self::AddMember(change) => of_member(change),
            Self::RemoveMember(..) => Narrows,
            Self::MintKey(new) => of_new(new),
            Self::RotateKey(_, _, rotation) => of_rotation(rotation),
            // The old secret ends, or the new one.
            Self::CompleteRotation(_) | Self::CancelRotation(_) => Narrows,
            Self::SetKeyState(_, state, _) => of_key(*state),
            Self::ChangeKey(_, change, _) => of_key_change(change),
            Self::Import(rows) => rows.iter().map(of_new).max().unwrap_or(Widens),
            Self::ReplaceKey(replacement) => of_replacement(replacement),
            Self::ResetOperator(new) => of_new(new).max(Narrows),
            Self::ListAccounts(_)
            | Self::ShowAccount(_)
            | Self::ListUsers(_)
            | Self::ShowUser(_)
            | Self::ListMembers(_)
            | Self::ListKeys(_)
            | Self::ShowKey(_)
            | Self::ShowCallers(_)
            | Self::FindSecret(_)
            | Self::TryImport(_)
            | Self::ShowMigration(..)
            | Self::ListAudit(_)
            | Self::ShowRehearsal
            | Self::ForgetRehearsal
            | Self::ShowRevision(_)
            | Self::ShowReplicas
            | Self::EvictReplica(_) => Shows,
        }
    }
}

const fn of_account(state: AccountState) -> Effect {
    match state {
        AccountState::Active => Widens,
        AccountState::Suspended => Narrows,
    }
}

fn of_account_change(change: &AccountChange) -> Effect {
    let AccountChange { name: _, state } = change;
    state.map_or(Widens, of_account)
}

/// What a person is called decides nothing.
const fn of_user_change(change: &UserChange) -> Effect {
    let UserChange { name: _, email: _ } = change;
    Widens
}

/// Who is a member already may have had more permissions, and a licence.
const fn of_member(change: &MemberChange) -> Effect {
    let MemberChange { account: _, user: _, permissions: _, licence: _ } = change;
    Narrows
}

/// What a key is bound to takes nothing from others; an import makes the places that it needs, and leaves those that are there.
const fn of_new(new: &NewKey) -> Effect {
    let NewKey {
        id: _,
        secret: _,
        kind: _,
        account: _,
        user: _,
        name: _,
        permissions: _,
        allowed_ips: _,
        not_before: _,
        expires_at: _,
        licence: _,
    } = new;
    Widens
}

const fn of_key(state: KeyState) -> Effect {
    match state {
        KeyState::Active => Widens,
        KeyState::Suspended | KeyState::Revoked => Narrows,
    }
}

fn of_key_change(change: &KeyChange) -> Effect {
    let KeyChange { state, name: _, permissions, allowed_ips, expires_at } = change;
    let of_state = state.map_or(Widens, of_key);
    // Fewer perhaps; and none at all are the most or the least, by the kind of the key.
    let of_permissions = if permissions.is_some() { Narrows } else { Widens };
    // None named is any.
    let of_networks = if allowed_ips.as_ref().is_some_and(|all| !all.is_empty()) { Narrows } else { Widens };
    of_state.max(of_permissions).max(of_networks).max(of_end(expires_at))
}

/// Until when something is accepted: a moment may be sooner than it was.
const fn of_end<T>(end: &Edit<T>) -> Effect {
    match end {
        Edit::Keep | Edit::Clear => Widens,
        Edit::Set(_) => Narrows,
    }
}

fn of_rotation(rotation: &Rotation) -> Effect {
    let Rotation { mode, supersede: _, until_quiet: _, generation: _, name: _, expires_at } = rotation;
    let of_mode = match mode {
        // The old secret ends, now or then, and manages no keys from now on.
        Mode::Immediate | Mode::Grace(_) => Narrows,
        // The old one stays; but a new one that waits already gives way, and somebody may have that.
        Mode::FirstUse { within: _, grace: _ } => Narrows,
    };
    of_mode.max(of_end(expires_at))
}

const fn of_replacement(replacement: &Replacement<Imprint>) -> Effect {
    let Replacement { key: _, kind: _, keys: _, name: _, permissions: _, expires_at: _, old } = replacement;
    match old {
        Old::Stays => Widens,
        Old::Expires(_) | Old::Revoked => Narrows,
    }
}

#[cfg(test)]
mod tests;
