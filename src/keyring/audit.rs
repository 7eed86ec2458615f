//! What the audit log says of a command. What only shows something is not noted.

use super::Shared;
use super::command::{By, Command, NewKey, Problem};
use super::operate::LONGEST_NAME;
use crate::clock::Timestamp;
use crate::key::rotation::{Mode, Rotation};
use crate::key::{AccountState, KeyState};
use crate::store::audit::{Action, Note};
use crate::telemetry::chain;

/// What is to be noted of a command.
pub(super) fn note(by: &By, now: Timestamp, command: &Command) -> Option<Note> {
    let note = |action| Note::new(by.clone(), now, action);
    Some(match command {
        Command::CreateAccount(id) => Note { account: Some(id.clone()), ..note(Action::AccountCreate) },
        Command::SetAccountState(id, state) => {
            let action = match state {
                AccountState::Active => Action::AccountResume,
                AccountState::Suspended => Action::AccountSuspend,
            };
            Note { account: Some(id.clone()), ..note(action) }
        }
        Command::CreateUser(id) => Note { user: Some(id.clone()), ..note(Action::UserCreate) },
        Command::AddMember(member) => {
            let (account, user) = (Some(member.account.clone()), Some(member.user.clone()));
            Note { account, user, ..note(Action::MemberPut).saying("permissions", &member.permissions) }
        }
        Command::RemoveMember(account, user) => {
            Note { account: Some(account.clone()), user: Some(user.clone()), ..note(Action::MemberRemove) }
        }
        Command::MintKey(new) => made(note(Action::KeyMint), new),
        Command::ResetOperator(new) => made(note(Action::OperatorReset), new),
        Command::RotateKey(id, _, rotation) => {
            Note { key: Some(id.clone()), ..rotated(note(Action::KeyRotate), *rotation) }
        }
        Command::CompleteRotation(id) => Note { key: Some(id.clone()), ..note(Action::RotationComplete) },
        Command::CancelRotation(id) => Note { key: Some(id.clone()), ..note(Action::RotationCancel) },
        Command::SetKeyState(id, state, _) => {
            let action = match state {
                KeyState::Active => Action::KeyResume,
                KeyState::Suspended => Action::KeySuspend,
                KeyState::Revoked => Action::KeyRevoke,
            };
            Note { key: Some(id.clone()), ..note(action) }
        }
        Command::Import(rows) => note(Action::KeyImport).saying("rows", rows.len()),
        Command::ListAccounts
        | Command::ListUsers
        | Command::ListMembers(_)
        | Command::ListKeys(_)
        | Command::ShowKey(_)
        | Command::ShowCallers(_)
        | Command::TryImport(_)
        | Command::ListAudit(_)
        | Command::ShowRehearsal
        | Command::ForgetRehearsal => return None,
    })
}

/// A key that was made, as far as somebody chose it.
fn made(mut note: Note, new: &NewKey) -> Note {
    let NewKey { id, secret: _, kind, account, user, name, permissions, allowed_ips, not_before, expires_at } = new;
    note = note.saying("kind", kind);
    if !name.is_empty() {
        // As much of it as a name may have: one that is refused may be long.
        note = note.saying("name", name.chars().take(LONGEST_NAME).collect::<String>());
    }
    if !permissions.is_empty() {
        note = note.saying("permissions", permissions);
    }
    if !allowed_ips.is_empty() {
        note = note.saying("allowed_ips", allowed_ips);
    }
    for (word, moment) in [("not_before", not_before), ("expires_at", expires_at)] {
        if let Some(moment) = moment {
            note = note.saying(word, moment);
        }
    }
    Note { key: Some(id.clone()), account: account.clone(), user: user.clone(), ..note }
}

fn rotated(note: Note, rotation: Rotation) -> Note {
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
    if rotation.supersede { note.saying("supersede", true) } else { note }
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
        let trimmed = self.store.trim_audit(now.minus(self.policy.load().audit_keep.0), now).await;
        self.counts.changed(&trimmed);
        if let Err(error) = trimmed {
            tracing::warn!(error = chain(&error), "the audit log could not be trimmed");
        }
    }
}
