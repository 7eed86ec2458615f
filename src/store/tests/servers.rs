//! Which server a shared store is asked for, when that changes, and what is not to be taken for it. PostgreSQL's own tests.

use std::sync::Arc;

use super::server::relay::{Direction, Relay, Traffic};
use super::server::{Options, Server};
use super::shared::{LIMIT, at, until};
use super::*;
use crate::store::replica::{Incarnation, ReplicaId};

#[tokio::test(flavor = "multi_thread")]
async fn whoever_met_a_standby_looks_for_the_primary_again() {
    let primary = Server::own(Options::default());
    let database = primary.database();
    let relay = Relay::to(primary.address());
    let store = at(database.url_by(relay.address()));
    furnish(&store).await;
    let standby = primary.standby(primary.address());
    relay.lead_to(standby.address());
    relay.cut();
    let change = async || store.create_account("103".parse().unwrap(), None, NOW).await;
    let refused = |error: StoreError| assert!(matches!(error, StoreError::NoPrimary { .. }), "{error:?}");
    refused(store.load(digest("any secret")).await.unwrap_err());
    refused(store.tail(0).await.unwrap_err());
    assert!(change().await.is_err());
    // Nothing is cut: the standby lives, and would go on saying that it is none.
    relay.lead_to(primary.address());
    store.load(digest("any secret")).await.unwrap();
    store.tail(0).await.unwrap();
    change().await.unwrap();
    // Of several it is the one that can be written to.
    let both = format!("postgres://postgres@{},{}/{}", standby.address(), primary.address(), database.name());
    at(both).load(digest("any secret")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_hears_of_changes_is_told_that_their_connection_was_given_up() {
    let database = Server::shared().database();
    let relay = Arc::new(Relay::to(Server::shared().address()));
    let store = at(database.url_by(relay.address()));
    let listener = store.clone();
    let heard = tokio::spawn(async move { listener.woken().await });
    let listens =
        "SELECT count(*) FROM pg_stat_activity WHERE query = 'LISTEN keyward' AND datname = current_database()";
    until(|| database.psql(listens) == "1").await;
    relay.set(Direction::Down, Traffic::Hold);
    let (none, limit) = (ReplicaId::known(""), Duration::from_millis(50));
    assert!(matches!(store.renew(&none, Incarnation(0), 0, limit).await, Err(StoreError::TimedOut)));
    tokio::time::timeout(LIMIT, heard).await.expect("it is told").unwrap().unwrap();
    relay.set(Direction::Down, Traffic::Pass);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_up_that_is_given_up_leaves_nothing_behind_at_the_server() {
    let database = Server::shared().database();
    let load_timeout = crate::measure::Span(Duration::from_millis(100));
    let config = Config { url: database.url(), load_timeout, ..Config::example() };
    let store = Store::open(&config, [0; 8], Access::Create).unwrap();
    let (hand, connection) = tokio_postgres::connect(&database.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    hand.batch_execute("BEGIN; LOCK TABLE keyward.key IN ACCESS EXCLUSIVE MODE").await.unwrap();
    for _ in 0..10 {
        let asked = (0..8).map(|each| {
            let store = store.clone();
            tokio::spawn(async move { store.load(digest(&format!("a secret of nobody, {each}"))).await })
        });
        for asked in asked.collect::<Vec<_>>() {
            assert!(matches!(asked.await.unwrap(), Err(StoreError::TimedOut | StoreError::Unreachable { .. })));
        }
    }
    let ours = "SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND application_name = 'keyward'";
    let most = config.readers + config.lookups + 3;
    until(|| database.psql(ours).parse::<usize>().unwrap() <= most).await;
    hand.batch_execute("COMMIT").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_waits_for_a_server_that_says_nothing_no_longer_than_for_its_turn() {
    let database = Server::shared().database();
    let relay = Arc::new(Relay::to(Server::shared().address()));
    let busy_timeout = crate::measure::Span(Duration::from_millis(50));
    let config = Config { url: database.url_by(relay.address()), busy_timeout, ..Config::example() };
    let store = Store::open(&config, [0; 8], Access::Create).unwrap();
    furnish(&store).await;
    relay.set(Direction::Down, Traffic::Lose);
    let change = store.create_account("103".parse().unwrap(), None, NOW);
    let change = tokio::time::timeout(Duration::from_secs(20), change).await.expect("it is told");
    assert!(matches!(change, Err(Rejected::Store(StoreError::TimedOut))), "{change:?}");
    relay.set(Direction::Down, Traffic::Pass);
    store.create_account("103".parse().unwrap(), None, NOW).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_is_told_by_its_name() {
    let database = Server::shared().database();
    let relay = Relay::to(Server::shared().address());
    relay.set(Direction::Down, Traffic::Lose);
    let config = Config { url: database.url_by(relay.address()), ..Config::example() };
    let error = Store::open(&config, [0; 8], Access::Create).unwrap_err();
    let text = crate::telemetry::chain(&error).to_string();
    assert!(error.is_outage() && text.contains(&format!("postgres://{}/", relay.address())), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_store_says_of_its_log_is_not_taken_for_this_ones() {
    let (database, other) = (Server::shared().database(), Server::shared().database());
    let config = |url: String, listen_url| Config { url, listen_url: Some(listen_url), ..Config::example() };
    drop(at(other.url()));
    let store = Store::open(&config(database.url(), other.url()), [0; 8], Access::Create).unwrap();
    furnish(&store).await;
    let errors = [store.replicas().await.unwrap_err(), store.tail(0).await.unwrap_err()];
    assert!(errors.iter().all(|error| matches!(error, StoreError::Elsewhere)), "{errors:?}");
    let store = Store::open(&config(database.url(), database.url()), [0; 8], Access::Create).unwrap();
    assert_eq!(store.replicas().await.unwrap().head, head(&store).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_do_no_more_than_make_the_schema_is_enough() {
    let database = Server::shared().database();
    let name = database.name();
    database.psql(&format!("CREATE ROLE {name}_user LOGIN"));
    let url = format!("postgres://{name}_user@{}/{name}", Server::shared().address());
    let less = Store::open(&Config { url: url.clone(), ..Config::example() }, [0; 8], Access::Create).unwrap_err();
    let less = crate::telemetry::chain(&less).to_string();
    assert!(less.contains("CREATE on the database"), "{less}");
    database.psql(&format!("GRANT CREATE ON DATABASE {name} TO {name}_user"));
    let store = at(url.clone());
    furnish(&store).await;
    database.psql(&format!("REVOKE CREATE ON DATABASE {name} FROM {name}_user"));
    let store = {
        drop(store);
        at(url)
    };
    store.tail(0).await.unwrap();
    let head = store.replicas().await.unwrap().head;
    store.create_account("103".parse().unwrap(), None, NOW).await.unwrap();
    assert_eq!(store.replicas().await.unwrap().head, head + 1);
    assert!(store.hears().await.unwrap());
}

#[tokio::test]
async fn what_takes_a_position_is_on_the_disk_before_anybody_sees_it_whoever_does_it() {
    let database = Server::shared().database();
    let store = at(database.url());
    furnish(&store).await;
    let by_hand = |usual: &str| {
        database.psql(&format!(
            "SET synchronous_commit = {usual}; BEGIN; UPDATE keyward.account SET state = 'suspended';
             SET CONSTRAINTS ALL IMMEDIATE; SHOW synchronous_commit"
        ))
    };
    assert_eq!(["off", "local", "on"].map(by_hand), ["on", "local", "on"]);
}

#[tokio::test]
async fn tls_is_left_out_only_where_the_address_itself_is_on_this_machine() {
    let speaks = |url: &str| {
        let config = Config { url: url.into(), ..Config::example() };
        crate::store::postgres::address::Address::of(url, "store.url", &config).unwrap().speaks_tls()
    };
    assert!(!speaks("postgres://u@localhost/x") && !speaks("postgres://u@localhost/x?hostaddr=127.0.0.1"));
    assert!(speaks("postgres://u@localhost/x?hostaddr=192.0.2.1") && speaks("postgres://u@db/x?hostaddr=127.0.0.1"));
}
