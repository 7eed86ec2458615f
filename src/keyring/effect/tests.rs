//! Every command, by what it does.

use std::time::Duration;

use super::*;
use crate::clock::Timestamp;
use crate::key::{Kind, Permissions, Seen};
use crate::keyring::command::{KeyFilter, MemberFilter, Slice};
use crate::keyring::tests::an_imprint;
use crate::store::replica::ReplicaId;

fn imprint() -> Imprint {
    an_imprint()
}

fn new(kind: Kind) -> NewKey {
    NewKey::bare("key_1".parse().unwrap(), imprint(), kind)
}

fn change(change: KeyChange) -> Command {
    Command::ChangeKey("key_1".parse().unwrap(), Box::new(change), None::<Vec<Seen>>)
}

fn account(state: Option<AccountState>) -> Command {
    let name = Edit::Set("Acme".parse().unwrap());
    Command::ChangeAccount("101".parse().unwrap(), AccountChange { name, state })
}

fn rotate(mode: Mode, expires_at: Edit<Timestamp>) -> Command {
    Command::RotateKey("key_1".parse().unwrap(), imprint(), Rotation { mode, expires_at, ..Rotation::IMMEDIATE })
}

fn replace(old: Old) -> Command {
    Command::ReplaceKey(Box::new(Replacement {
        key: "key_1".parse().unwrap(),
        kind: Kind::Service,
        keys: vec![("101".parse().unwrap(), "key_2".parse().unwrap(), imprint())],
        name: None,
        permissions: None,
        expires_at: None,
        old,
    }))
}

fn state(state: KeyState) -> Command {
    Command::SetKeyState("key_1".parse().unwrap(), state, None)
}

#[test]
fn every_command_shows_widens_or_narrows() {
    let (id, who) = (|| "101".parse().unwrap(), || "paul".parse().unwrap());
    let (key, soon) = (|| "key_1".parse().unwrap(), Timestamp::from_millis(1));
    let member = MemberChange { account: id(), user: who(), permissions: Permissions::default(), licence: Edit::Keep };
    let networks = |text: &[&str]| Some(text.iter().map(|net| net.parse().unwrap()).collect());
    let kept = KeyChange::default();
    let span = Duration::from_secs(60);
    let first_use = Mode::FirstUse { within: span, grace: span };
    let shows = [
        Command::ListAccounts(Slice::ALL),
        Command::ShowAccount(id()),
        Command::ListUsers(Slice::ALL),
        Command::ShowUser(who()),
        Command::ListMembers(MemberFilter::default()),
        Command::ListKeys(KeyFilter::default()),
        Command::ShowKey(key()),
        Command::ShowCallers(key()),
        Command::FindSecret(imprint()),
        Command::TryImport(vec![new(Kind::Service)]),
        Command::ShowMigration(0, 1),
        Command::ListAudit(Box::default()),
        Command::ShowRehearsal,
        Command::ForgetRehearsal,
        Command::ShowRevision(None),
        Command::ShowReplicas,
        Command::EvictReplica(ReplicaId::of([1; 8])),
    ];
    let widens = [
        Command::CreateAccount(id(), None),
        Command::CreateUser(who(), UserChange::default()),
        Command::ChangeUser(who(), UserChange { name: Edit::Clear, email: Edit::Clear }),
        account(None),
        account(Some(AccountState::Active)),
        Command::SetAccountState(id(), AccountState::Active),
        Command::MintKey(Box::new(new(Kind::Service))),
        Command::Import(Vec::new()),
        Command::Import(vec![new(Kind::User), new(Kind::Personal)]),
        state(KeyState::Active),
        change(KeyChange::state(KeyState::Active)),
        change(KeyChange { name: Some("ci".into()), ..kept.clone() }),
        change(KeyChange { allowed_ips: networks(&[]), ..kept.clone() }),
        change(KeyChange { expires_at: Edit::Clear, ..kept.clone() }),
        replace(Old::Stays),
    ];
    let narrows = [
        account(Some(AccountState::Suspended)),
        Command::SetAccountState(id(), AccountState::Suspended),
        Command::AddMember(member),
        Command::RemoveMember(id(), who()),
        Command::ResetOperator(Box::new(new(Kind::Operator))),
        rotate(Mode::Immediate, Edit::Keep),
        rotate(Mode::Grace(span), Edit::Clear),
        rotate(first_use, Edit::Keep),
        rotate(first_use, Edit::Set(soon)),
        Command::CompleteRotation(key()),
        Command::CancelRotation(key()),
        state(KeyState::Suspended),
        state(KeyState::Revoked),
        change(KeyChange::state(KeyState::Suspended)),
        change(KeyChange::state(KeyState::Revoked)),
        change(KeyChange { permissions: Some(Permissions::default()), ..kept.clone() }),
        change(KeyChange { allowed_ips: networks(&["10.0.0.0/8"]), ..kept.clone() }),
        change(KeyChange { expires_at: Edit::Set(soon), ..kept.clone() }),
        change(KeyChange { state: Some(KeyState::Active), expires_at: Edit::Set(soon), ..kept }),
        replace(Old::Expires(soon)),
        replace(Old::Revoked),
    ];
    for (effect, commands) in [(Shows, &shows[..]), (Widens, &widens[..]), (Narrows, &narrows[..])] {
        for command in commands {
            assert_eq!(command.effect(), effect, "{command:?}");
        }
    }
    let all = || shows.iter().chain(&widens).chain(&narrows);
    let kinds: std::collections::HashSet<_> = all().map(std::mem::discriminant).collect();
    assert_eq!(kinds.len(), COMMANDS, "a command has no case here");
}

/// As many as there are; [`Command::effect`] does not compile without each of them.
const COMMANDS: usize = 33;
