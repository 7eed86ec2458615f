//! kill -9, again and again, in the middle of a thousand changes: what was answered is true after the restart, and what was
//! not answered is there as a whole or not at all.
//!
//! Four clients change keys over the command socket, each in an account of its own, so that each knows what must be there.
//! The seed of the moments and the choices is printed; `KEYWARD_TEST_SEED` repeats them.

mod world;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::keyward::keyring::command::{Command, KeyFilter, MemberFilter, Outcome, Slice};
use ::keyward::manage::commands::AskError;
use ::keyward::manage::socket::{Client, path_beside};
use tokio::task::JoinSet;

use self::world::{Chance, Change, World};
use crate::support::{Keyward, Origin, eventually, keyward};

const CHANGES: usize = 1000;
const CLIENTS: usize = 4;

#[test]
fn what_was_answered_is_true_after_kill_9_and_what_was_not_is_whole_or_absent() {
    let seed = std::env::var("KEYWARD_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let mut chance = Chance::new(seed);
    println!("seed: KEYWARD_TEST_SEED={}", chance.seed());
    let origin = Origin::plain();
    let mut keyward = keyward().upstream(origin.url()).variable(ANY_NUMBER, "0").start();
    let mut worlds: Vec<_> = (0..CLIENTS).map(|at| World::new(&format!("a{at}"), &format!("u{at}"))).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut answered, mut kills, mut cut_short, mut half_done) = (0, 0, 0, 0);
    while answered < CHANGES {
        let target = 20 + chance.below(40);
        let moment = Duration::from_micros(chance.below(4000) as u64);
        let chances: Vec<_> = worlds.iter().map(|_| chance.split()).collect();
        let round = runtime.block_on(stream(&mut keyward, worlds, chances, target, moment));
        answered += round.answered;
        kills += 1;
        keyward = crate::support::keyward().upstream(origin.url()).variable(ANY_NUMBER, "0").over(&keyward).start();
        worlds = round
            .ends
            .into_iter()
            .map(|(before, unanswered)| {
                let found = runtime.block_on(look(&keyward.database(), &before));
                let Some(change) = unanswered else {
                    assert_eq!(found, before.shown(), "everything was answered");
                    return before;
                };
                cut_short += 1;
                let after = before.clone().with(&change);
                if found == before.shown() {
                    return before;
                }
                half_done += 1;
                assert_eq!(found, after.shown(), "{change:?} is there in part\nbefore: {:?}", before.shown());
                after
            })
            .collect();
        for world in &mut worlds {
            secrets_are_as_they_should(&keyward, world.touched());
        }
    }
    println!("{answered} changes answered, {kills} kills; of {cut_short} changes not answered {half_done} were made");
    for world in &worlds {
        secrets_are_as_they_should(&keyward, world.secrets());
    }
    assert!(keyward.stop().success());
}

/// How a round ended.
struct Round {
    answered: usize,
    /// What each client knows to be there, and the change that it got no answer to.
    ends: Vec<(World, Option<Change>)>,
}

/// Lets all clients change things until `target` changes are answered, and kills the server `moment` later.
async fn stream(
    keyward: &mut Keyward,
    worlds: Vec<World>,
    chances: Vec<Chance>,
    target: usize,
    moment: Duration,
) -> Round {
    let socket = path_beside(&keyward.database());
    let answered = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    for (at, (world, chance)) in worlds.into_iter().zip(chances).enumerate() {
        let client = Client::connect(&socket).await.unwrap().expect("the server listens");
        let answered = Arc::clone(&answered);
        clients.spawn(async move { (at, change_until_lost(client, world, chance, &answered).await) });
    }
    let killer = {
        let answered = Arc::clone(&answered);
        let pid = keyward.pid();
        tokio::task::spawn_blocking(move || {
            eventually("the changes are answered", || answered.load(Ordering::SeqCst) >= target);
            std::thread::sleep(moment);
            let sent = std::process::Command::new("kill").args(["-s", "KILL", &pid.to_string()]).status().unwrap();
            assert!(sent.success());
        })
    };
    let mut ends = clients.join_all().await;
    killer.await.unwrap();
    keyward.kill();
    ends.sort_by_key(|(at, _)| *at);
    Round { answered: answered.load(Ordering::SeqCst), ends: ends.into_iter().map(|(_, end)| end).collect() }
}

/// One client: changes, one after the other, until the server is gone.
async fn change_until_lost(
    mut client: Client,
    mut world: World,
    mut chance: Chance,
    answered: &AtomicUsize,
) -> (World, Option<Change>) {
    loop {
        let change = world.choose(&mut chance);
        match client.ask(change.command()).await {
            Ok(_) => world = world.with(&change),
            Err(AskError::NotSent { .. } | AskError::Lost { .. }) => return (world, Some(change)),
            Err(error) => panic!("{change:?}: {error}"),
        }
        answered.fetch_add(1, Ordering::SeqCst);
    }
}

/// What is there of a client's account.
async fn look(database: &Path, world: &World) -> world::Shown {
    let mut client = Client::connect(&path_beside(database)).await.unwrap().expect("the server listens");
    let filter = KeyFilter { account: Some(world.account()), ..KeyFilter::default() };
    let Outcome::Keys(keys) = client.ask(Command::ListKeys(filter)).await.unwrap() else { panic!("no keys") };
    let of_account = MemberFilter { account: Some(world.account()), ..MemberFilter::default() };
    let members = client.ask(Command::ListMembers(of_account)).await.unwrap();
    let Outcome::Members(members) = members else { panic!("no members") };
    let Outcome::Accounts(accounts) = client.ask(Command::ListAccounts(Slice::ALL)).await.unwrap() else {
        panic!("no accounts")
    };
    let there = accounts.iter().any(|account| account.id == world.account());
    world::Shown::of(there, !members.is_empty(), &keys)
}

/// Each secret is answered as the state of its key wants it.
fn secrets_are_as_they_should(keyward: &Keyward, secrets: Vec<(String, u16)>) {
    let mut wire = keyward.wire();
    for (secret, status) in secrets {
        let answer = wire.get("/", &secret);
        assert_eq!(answer.status, status, "{}", answer.text());
    }
}

/// The world makes keys by chance, and expects each to be made.
const ANY_NUMBER: &str = "KEYWARD__KEYS__PER_HOLDER";
