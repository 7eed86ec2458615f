//! What the audit log says of a command. What only shows something is not noted.

use serde::Serialize;

use super::command::{AccountChange, By, Command, KeyChange, NewKey, Problem, Replacement, UserChange};
use super::operate::{LONGEST_NAME, MOST_BOUNDS};
use super::{Keyring, Shared};
use crate::clock::Timestamp;
use crate::key::rotation::{Mode, Rotation};
use crate::key::{AccountState, Edit, Imprint, KeyId, KeyState};
use crate::store::audit::{Action, Note};
use crate::telemetry::chain;

/// What is to be noted of a command.
pub(super) fn note(by: &By, now: Timestamp, command: &Command) -> Option<Note> {
    let note = |action| Note::new(by.clone(), now, action);
    Some(match command {
        Command::CreateAccount(id, _) => Note { account: Some(id.clone()), ..note(Action::AccountCreate) },
        Command::SetAccountState(id, state) => Note { account: Some(id.clone()), ..note(of_account(*state)) },
        Command::ChangeAccount(id, change) => {
            let AccountChange { name, state } = change;
            let said = match state {
                Some(state) if name.is_keep() => note(of_account(*state)),
                Some(state) => note(Action::AccountChange).saying("changed", ["name"]).saying("state", state),
                None => note(Action::AccountChange).saying("changed", ["name"]),
            };
            Note { account: Some(id.clone()), ..said }
        }
        Command::ChangeUser(id, UserChange { name, email }) => {
            let changed = [("name", name.is_keep()), ("email", email.is_keep())];
            // That they are changed, and not to what: these are about a person.
            let changed: Vec<_> = changed.into_iter().filter(|(_, kept)| !kept).map(|(word, _)| word).collect();
            Note { user: Some(id.clone()), ..note(Action::UserChange).saying("changed", changed) }
        }
        Command::CreateUser(id, _) => Note { user: Some(id.clone()), ..note(Action::UserCreate) },
        Command::AddMember(member) => {
            let (account, user) = (Some(member.account.clone()), Some(member.user.clone()));
            let said = note(Action::MemberPut).saying("permissions", &member.permissions);
            Note { account, user, ..edited(said, "licence", &member.licence) }
        }
        Command::RemoveMember(account, user) => {
            Note { account: Some(account.clone()), user: Some(user.clone()), ..note(Action::MemberRemove) }
        }
        Command::MintKey(new) => made(note(Action::KeyMint), new),
        Command::ResetOperator(new) => made(note(Action::OperatorReset), new),
        Command::RotateKey(id, _, rotation) => {
            Note { key: Some(id.clone()), ..rotated(note(Action::KeyRotate), rotation) }
        }
        Command::CompleteRotation(id) => Note { key: Some(id.clone()), ..note(Action::RotationComplete) },
        Command::CancelRotation(id) => Note { key: Some(id.clone()), ..note(Action::RotationCancel) },
        Command::SetKeyState(id, state, _) => Note { key: Some(id.clone()), ..note(of_key(*state)) },
        Command::ChangeKey(id, change, _) => Note { key: Some(id.clone()), ..changed(&note, change) },
        Command::ReplaceKey(replacement) => replaced(note(Action::KeyReplace), replacement),
        Command::Import(rows) => note(Action::KeyImport).saying("rows", rows.len()),
        Command::EvictReplica(id) => note(Action::ReplicaEvict).saying("replica", id),
        Command::ListAccounts(_)
        | Command::ShowAccount(_)
        | Command::ListUsers(_)
        | Command::ShowUser(_)
        | Command::ShowMigration(..)
        | Command::ListMembers(_)
        | Command::ListKeys(_)
        | Command::ShowKey(_)
        | Command::ShowCallers(_)
        | Command::FindSecret(_)
        | Command::TryImport(_)
        | Command::ListAudit(_)
        | Command::ShowRehearsal
        | Command::ForgetRehearsal
        | Command::ShowRevision(_)
        | Command::ShowReplicas => return None,
    })
}

/// A key that was made, as far as somebody chose it.
fn made(mut note: Note, new: &NewKey) -> Note {
    let NewKey {
        id,
        secret: _,
        kind,
        account,
        user,
        name,
        permissions,
        allowed_ips,
        not_before,
        expires_at,
        licence: _,
    } = new;
    note = note.saying("kind", kind);
    if !name.is_empty() {
        note = note.saying("name", named(name));
    }
    if !permissions.is_empty() {
        note = note.saying("permissions", some(permissions.iter()));
    }
    if !allowed_ips.is_empty() {
        note = note.saying("allowed_ips", some(allowed_ips));
    }
    for (word, moment) in [("not_before", not_before), ("expires_at", expires_at)] {
        if let Some(moment) = moment {
            note = note.saying(word, moment);
        }
    }
    Note { key: Some(id.clone()), account: account.clone(), user: user.clone(), ..note }
}

const fn of_account(state: AccountState) -> Action {
    match state {
        AccountState::Active => Action::AccountResume,
        AccountState::Suspended => Action::AccountSuspend,
    }
}

const fn of_key(state: KeyState) -> Action {
    match state {
        KeyState::Active => Action::KeyResume,
        KeyState::Suspended => Action::KeySuspend,
        KeyState::Revoked => Action::KeyRevoke,
    }
}

/// A change of the state alone has a name of its own.
fn changed(note: &impl Fn(Action) -> Note, change: &KeyChange) -> Note {
    let KeyChange { state, name, permissions, allowed_ips, expires_at } = change;
    let rest = name.is_some() || permissions.is_some() || allowed_ips.is_some() || !expires_at.is_keep();
    let mut said = match state {
        Some(state) if !rest => return note(of_key(*state)),
        Some(state) => note(Action::KeyChange).saying("state", state),
        None => note(Action::KeyChange),
    };
    if let Some(name) = name {
        said = said.saying("name", named(name));
    }
    if let Some(permissions) = permissions {
        said = said.saying("permissions", some(permissions.iter()));
    }
    if let Some(networks) = allowed_ips {
        said = said.saying("allowed_ips", some(networks));
    }
    edited(said, "expires_at", expires_at)
}

fn replaced(note: Note, replacement: &Replacement<Imprint>) -> Note {
    let Replacement { key, kind, keys, old, .. } = replacement;
    let accounts: Vec<_> = keys.iter().map(|(account, ..)| account).collect();
    let said = note.saying("kind", kind).saying("accounts", accounts).saying("old", old);
    Note { key: Some(key.clone()), ..said }
}

fn edited<T: Serialize>(note: Note, word: &'static str, edit: &Edit<T>) -> Note {
    match edit {
        Edit::Keep => note,
        Edit::Clear => note.saying(word, ()),
        Edit::Set(value) => note.saying(word, value),
    }
}

/// As much of it as a name may have: one that is refused may be long.
fn named(name: &str) -> String {
    name.chars().take(LONGEST_NAME).collect()
}

/// As many of them as a key may have.
fn some<T>(all: impl IntoIterator<Item = T>) -> Vec<T> {
    all.into_iter().take(MOST_BOUNDS).collect()
}

fn rotated(note: Note, rotation: &Rotation) -> Note {
    let note = match rotation.mode {
        Mode::Immediate => note.saying("mode", "immediate"),
        Mode::Grace(span) => note.saying("mode", "grace").saying("grace_seconds", span.as_secs()),
        Mode::FirstUse { within, grace } => note
            .saying("mode", "first_use")
            .saying("within_seconds", within.as_secs())
            .saying("grace_seconds", grace.as_secs()),
    };
    let note = match rotation.until_quiet {
        Some(span) => note.saying("until_quiet_seconds", span.as_secs()),
        None => note,
    };
    let note = match &rotation.name {
        Some(name) => note.saying("name", named(name)),
        None => note,
    };
    let note = edited(note, "expires_at", &rotation.expires_at);
    if rotation.supersede { note.saying("supersede", true) } else { note }
}

impl Keyring {
    /// Notes that a secret of a key was found in the open, and who says so; the same again within an hour only counts. Where that
    /// cannot be written, the log has it all the same.
    pub async fn note_leak(&self, by: &By, key: &KeyId, source: &str) {
        let shared = &*self.shared;
        let note = Note::new(by.clone(), shared.clock.now(), Action::KeyLeak).saying("source", source);
        if let Err(error) = shared.store.note_told(Note { key: Some(key.clone()), ..note }).await {
            tracing::warn!(error = chain(&error), "a found secret could not be noted in the audit log");
        }
    }
}

impl Shared {
    /// Notes that a caller over HTTP was refused. Where that cannot be written, they are refused all the same.
    pub(super) async fn note_refused(&self, note: Note, problem: &Problem) {
        if !note.by.who.is_remote() || matches!(problem, Problem::Unavailable(_)) {
            return;
        }
        // The id of a key that was not made is nobody's.
        let made = matches!(note.action, Action::KeyMint | Action::OperatorReset);
        let note = Note { key: note.key.clone().filter(|_| !made), ..note };
        let noted = self.store.note_refused(note.saying("problem", problem.to_string())).await;
        if let Err(error) = noted {
            tracing::warn!(error = chain(&error), "a refused command could not be noted in the audit log");
        }
    }

    /// Trims the audit log's old end.
    pub(super) async fn trim_audit(&self) {
        let now = self.clock.now();
        let trimmed = self.store.trim_audit(now.minus(self.watch.load().audit_keep.0), now).await;
        self.counts.changed(&trimmed);
        if let Err(error) = trimmed {
            tracing::warn!(error = chain(&error), "the audit log could not be trimmed");
        }
    }
}
