//! What became of a change whose commit was not answered. PostgreSQL's own tests: a server that ends in the middle of it.

use std::sync::Arc;

use tokio_postgres::{Client, NoTls};

use super::server::relay::{Direction, Relay, Traffic};
use super::server::{Database, Mode, Options, Server};
use super::shared::{at, until};
use super::*;

/// A hand at the database that goes on by itself.
async fn hand(database: &Database<'_>) -> Client {
    let (hand, connection) = tokio_postgres::connect(&database.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    hand
}

fn create(store: &Store, id: &str) -> tokio::task::JoinHandle<Result<Changed<Account>, Rejected>> {
    let (store, id) = (store.clone(), id.parse().unwrap());
    tokio::spawn(async move { store.create_account(id, None, NOW).await })
}

/// Has every commit that makes an account wait, once all else is done, for whoever holds the lock 7.
const DAWDLE: &str = "
    CREATE FUNCTION public.dawdle() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END $$;
    CREATE FUNCTION public.defer() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN SET CONSTRAINTS keyward.dawdle DEFERRED; RETURN NEW; END $$;
    CREATE CONSTRAINT TRIGGER dawdle AFTER INSERT ON keyward.account DEFERRABLE INITIALLY DEFERRED
      FOR EACH ROW EXECUTE FUNCTION public.dawdle();
    CREATE TRIGGER defer BEFORE INSERT ON keyward.account FOR EACH ROW EXECUTE FUNCTION public.defer();
    CREATE TABLE public.other (x int)";

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_a_crash_gave_to_another_transaction_says_nothing_of_the_first() {
    // Nothing is written to the disk before somebody waits for it.
    let server = Server::own(Options { settings: &["wal_writer_delay = 10s"], ..Options::default() });
    let database = server.database();
    let relay = Arc::new(Relay::to(server.address()));
    let store = at(database.url_by(relay.address()));
    database.psql(DAWDLE);
    let hand = hand(&database).await;
    hand.batch_execute("BEGIN; SELECT pg_advisory_xact_lock(7)").await.unwrap();
    let changing = create(&store, "101");
    until(|| database.psql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'") == "1").await;
    relay.refuse(true);
    server.stop(Mode::Immediate);
    server.start();
    for _ in 0..5 {
        database.psql("INSERT INTO public.other VALUES (1)");
    }
    relay.refuse(false);
    let outcome = changing.await.unwrap();
    let there = database.psql("SELECT count(*) FROM keyward.account") == "1";
    assert_eq!(outcome.is_ok(), there, "{outcome:?}");
    store.create_account("102".parse().unwrap(), None, NOW).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_no_standby_has_is_not_told_as_done_because_it_can_be_seen() {
    let server = Server::own(Options::default());
    let database = server.database();
    let store = at(database.url());
    let wire = Relay::to(server.address());
    let _standby = server.standby(wire.address());
    server.set("synchronous_standby_names = '*'");
    database.psql("SELECT pg_reload_conf()");
    until(|| database.psql("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == "1").await;
    store.create_account("101".parse().unwrap(), None, NOW).await.unwrap();
    wire.set(Direction::Down, Traffic::Lose);
    let changing = create(&store, "102");
    // Whoever waits for the standby is told to end: that has committed here by then.
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    until(|| {
        database.psql(end);
        changing.is_finished()
    })
    .await;
    let outcome = changing.await.unwrap();
    server.set("synchronous_standby_names = ''");
    database.psql("SELECT pg_reload_conf()");
    assert_eq!(database.psql("SELECT count(*) FROM keyward.account"), "2", "it can be seen");
    assert!(matches!(outcome, Err(Rejected::Store(StoreError::Unsure { .. }))), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_told_as_done_where_only_its_answer_was_lost() {
    let database = Server::shared().database();
    let relay = Arc::new(Relay::to(Server::shared().address()));
    let store = at(database.url_by(relay.address()));
    database.psql(DAWDLE);
    let hand = hand(&database).await;
    hand.batch_execute("BEGIN; SELECT pg_advisory_xact_lock(7)").await.unwrap();
    let changing = create(&store, "101");
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()";
    until(|| database.psql(waits) == "1").await;
    relay.cut();
    hand.batch_execute("COMMIT").await.unwrap();
    let changed = changing.await.unwrap().unwrap();
    assert_eq!(changed.instance, store.replicas().await.unwrap().instance);
    assert_eq!(database.psql("SELECT count(*) FROM keyward.account"), "1");
}
