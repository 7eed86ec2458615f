//! What other hands do in the same database.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio_postgres::NoTls;

use super::QUIET;
use super::crew::Crew;
use super::scene::now;
use crate::support::eventually;
use crate::support::postgres::{Database, Options, Server};

fn started(count: usize, database: &Database<'_>) -> Crew {
    let url = database.url();
    Crew::start(count, move |setup| setup.store(&url).config(format!("{QUIET}store.fence = \"2s\"\n")))
}

#[test]
fn an_edit_by_hand_is_in_force_at_every_replica() {
    let database = Server::shared().database();
    let crew = started(3, &database);
    let key = crew.minted();
    let of_key = format!("WHERE id = '{}'", key.id);
    let mut before = 200;
    for (edit, status) in [
        (format!("UPDATE keyward.key SET state = 'suspended' {of_key}"), 403),
        (format!("UPDATE keyward.key SET state = 'active' {of_key}"), 200),
        ("UPDATE keyward.account SET state = 'suspended' WHERE id = '101'".into(), 403),
        ("UPDATE keyward.account SET state = 'active' WHERE id = '101'".into(), 200),
        (format!("DELETE FROM keyward.key {of_key}"), 401),
    ] {
        assert_eq!(crew.statuses(&key.secret), [before; 3], "before: {edit}");
        before = status;
        database.psql(&edit);
        let made = now();
        eventually(&edit, || crew.statuses(&key.secret) == [status; 3]);
        println!("in force after {:?}: {edit}", made.elapsed());
    }
}

#[test]
fn neither_a_storm_of_notices_nor_a_long_transaction_holds_receipts_up() {
    let server = Server::own(Options::default());
    let database = server.database();
    let crew = started(2, &database);
    database.psql("CREATE ROLE stranger LOGIN");
    let url = database.url();
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let storm = scope.spawn(|| storm(&url, &ended));
        let end = Ends(&ended);
        let mut key = crew.minted();
        for _ in 0..10 {
            let said = crew.done("POST", &format!("/v1/keys/{}/rotate?wait=60s", key.id), &json!({}));
            assert_eq!(said["receipt"]["complete"], true, "{said}");
            assert_eq!(crew.statuses(&key.secret), [401; 2]);
            said["secret"].as_str().unwrap().clone_into(&mut key.secret);
            assert_eq!(crew.statuses(&key.secret), [200; 2]);
        }
        drop(end);
        let (notices, took) = storm.join().unwrap();
        // What a session did is counted when it has rested for a second, or ends.
        database.terminate_backends("keyward");
        let asked: u64 = database
            .psql(
                "SELECT coalesce(seq_scan, 0) + coalesce(idx_scan, 0) FROM pg_stat_user_tables WHERE relname = 'head'",
            )
            .parse()
            .unwrap();
        println!("{notices} notices of a stranger in {took:?}, and the log was looked at {asked} times");
        let most = 2 * took.as_millis() / 5 + 1000;
        assert!(u128::from(asked) < most, "each replica follows notices every 5 ms at the most");
    });
}

/// Says that it is over, whatever became of it.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Sends notices while a transaction of its own goes on; how many, and for how long.
fn storm(url: &str, ended: &AtomicBool) -> (u64, Duration) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (begun, mut notices): (Instant, u64) = (now(), 0);
        let open = async |url: &str| {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
            tokio::spawn(connection);
            client
        };
        let long = open(url).await;
        long.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT seq FROM keyward.head").await.unwrap();
        let stranger = open(&url.replace("postgres@", "stranger@")).await;
        while !ended.load(Ordering::SeqCst) {
            stranger.batch_execute("SELECT pg_notify('keyward', 'come')").await.unwrap();
            notices += 1;
        }
        long.batch_execute("COMMIT").await.unwrap();
        (notices, begun.elapsed())
    })
}
