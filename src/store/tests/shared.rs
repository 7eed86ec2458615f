//! What a store that many share must do beyond what every store does. PostgreSQL's own tests.

use std::sync::Arc;
use std::time::Duration;

use super::server::pgbouncer::PgBouncer;
use super::server::relay::Relay;
use super::server::{Database, Mode, Options, Server};
use super::*;
use crate::measure::Span;
use crate::store::replica::{Incarnation, Instance, Registration, ReplicaId, ReplicaState, Shortened};

/// A store at an address of its own, such as a relay's.
pub(super) fn at(url: String) -> Store {
    Store::open(&Config { url, ..Config::example() }, [0; 8], Access::Create).unwrap()
}

fn both(database: &Database<'_>) -> [Store; 2] {
    [at(database.url()), at(database.url())]
}

fn registration(id: &ReplicaId, incarnation: i64) -> Registration {
    let (node, version) = ("node".into(), "1".into());
    Registration { id: id.clone(), incarnation: Incarnation(incarnation), node, version }
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_have_no_gaps_and_are_seen_in_their_order_whoever_makes_the_changes() {
    let database = Server::shared().database();
    let stores = both(&database);
    furnish(&stores[0]).await;
    let before = head(&stores[0]).await;
    let made = (0..40).map(|each| {
        let store = stores[each % 2].clone();
        tokio::spawn(async move {
            let draft = service(&format!("key_{each}"), &format!("a secret of number {each}"));
            store.mint(draft, NOW).await.unwrap().head
        })
    });
    let made: Vec<_> = made.collect();
    // Meanwhile somebody follows: every position once, none left out.
    let (mut at, mut seen) = (before, Vec::new());
    while at < before + 40 {
        let tail = stores[1].tail(at).await.unwrap();
        let News::Entries(entries) = tail.news else { panic!("{:?}", tail.news) };
        seen.extend(entries.iter().map(|entry| entry.seq));
        at = tail.head;
    }
    let mut heads = Vec::new();
    for made in made {
        heads.push(made.await.unwrap());
    }
    heads.sort_unstable();
    let all: Vec<_> = (before + 1..=before + 40).collect();
    assert_eq!((&heads, &seen), (&all, &all));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_change_one_key_at_once_do_it_one_after_the_other() {
    let database = Server::shared().database();
    let stores = both(&database);
    furnish(&stores[0]).await;
    stores[0].mint(service("key_1", "the first of all secrets"), NOW).await.unwrap();
    let rotations = (0..20).map(|each| {
        let store = stores[each % 2].clone();
        let new = secret(&format!("the secret of rotation {each}"));
        tokio::spawn(async move { store.rotate("key_1".parse().unwrap(), new, Rotation::IMMEDIATE, NOW).await })
    });
    let rotations: Vec<_> = rotations.collect();
    for rotation in rotations {
        rotation.await.unwrap().unwrap();
    }
    let key = stores[0].key("key_1".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(key.generation, 21);
    assert_eq!(database.psql("SELECT count(*) FROM keyward.secret WHERE state = 'current'"), "1");
}

#[tokio::test]
async fn a_change_by_hand_is_told_and_one_that_is_not_committed_holds_nobody_up() {
    let database = Server::shared().database();
    let store = at(database.url());
    furnish(&store).await;
    for number in [1, 2] {
        store.mint(service(&format!("key_{number}"), &format!("the secret of key {number}")), NOW).await.unwrap();
    }
    let before = head(&store).await;
    let (hand, connection) = tokio_postgres::connect(&database.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    hand.batch_execute("BEGIN; UPDATE keyward.key SET state = 'revoked' WHERE id = 'key_1'").await.unwrap();
    let key: KeyId = "key_2".parse().unwrap();
    store.set_key_state(key, KeyState::Revoked, None, NOW).await.unwrap();
    assert_eq!(head(&store).await, before + 1, "only what is committed has a position");
    hand.batch_execute("COMMIT").await.unwrap();
    assert_eq!(told(&store, before + 1).await, [of(&digest("the secret of key 1"))]);
    assert_eq!(standing(&store, "the secret of key 1").await.unwrap().state, KeyState::Revoked);
}

#[tokio::test]
async fn who_holds_the_lock_is_waited_for_no_longer_than_is_set() {
    let database = Server::shared().database();
    let busy_timeout = Span(Duration::from_millis(50));
    let config = Config { url: database.url(), busy_timeout, ..Config::example() };
    let store = Store::open(&config, [0; 8], Access::Create).unwrap();
    let (hand, connection) = tokio_postgres::connect(&database.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let lock = format!("BEGIN; SELECT pg_advisory_xact_lock({}, 1)", 0x6b79_7764);
    hand.batch_execute(&lock).await.unwrap();
    let refused = store.create_account("101".parse().unwrap(), None, NOW).await;
    assert!(matches!(refused, Err(Rejected::Store(StoreError::Held { .. }))), "{refused:?}");
    store.ping().await.unwrap();
    hand.batch_execute("COMMIT").await.unwrap();
    store.create_account("101".parse().unwrap(), None, NOW).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_not_answered_is_asked_about() {
    let database = Server::shared().database();
    let relay = Arc::new(Relay::to(Server::shared().address()));
    let store = at(database.url_by(relay.address()));
    // The commit itself takes a while: its trigger waits for a lock that the test holds.
    database.psql(
        "CREATE FUNCTION public.dawdle() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER dawdle AFTER INSERT ON keyward.audit DEFERRABLE INITIALLY DEFERRED
           FOR EACH ROW EXECUTE FUNCTION public.dawdle()",
    );
    store.create_account("101".parse().unwrap(), None, NOW).await.unwrap();
    database.psql(
        "CREATE CONSTRAINT TRIGGER dawdle AFTER INSERT ON keyward.account DEFERRABLE INITIALLY DEFERRED
                     FOR EACH ROW EXECUTE FUNCTION public.dawdle()",
    );
    // keyward has its own triggers run at once, so this one waits before the commit; the answer is what gets lost.
    let (hand, connection) = tokio_postgres::connect(&database.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    hand.batch_execute("BEGIN; SELECT pg_advisory_xact_lock(7)").await.unwrap();
    let changing = tokio::spawn({
        let store = store.clone();
        async move { store.create_account("102".parse().unwrap(), None, NOW).await }
    });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory' AND datname = current_database()";
    until(|| database.psql(waits) == "1").await;
    relay.cut();
    hand.batch_execute("COMMIT").await.unwrap();
    let outcome = changing.await.unwrap();
    let there = store.account("102".parse().unwrap()).await.unwrap().is_some();
    assert_eq!(outcome.is_ok(), there, "{outcome:?}");
}

#[tokio::test]
async fn who_serves_is_registered_acknowledges_is_doubted_and_leaves() {
    let database = Server::shared().database();
    let store = at(database.url());
    let (one, other) = (ReplicaId::of([1; 8]), ReplicaId::of([2; 8]));
    assert!(!store.renew(&one, Incarnation(1), 0, LIMIT).await.unwrap().live, "before it registered");
    store.register(registration(&one, 1), LIMIT).await.unwrap();
    store.register(registration(&other, 5), LIMIT).await.unwrap();
    let renewal = store.renew(&one, Incarnation(1), 0, LIMIT).await.unwrap();
    assert!(renewal.live && renewal.fence == Duration::from_secs(10) && renewal.time.is_some());
    assert_eq!(store.replicas().await.unwrap().replicas.iter().map(|one| one.applied).collect::<Vec<_>>(), [None; 2]);
    assert!(store.acknowledge(&one, Incarnation(1), 4).await.unwrap());
    assert!(store.acknowledge(&one, Incarnation(1), 3).await.unwrap(), "late, and takes nothing back");
    assert!(!store.acknowledge(&one, Incarnation(2), 9).await.unwrap(), "of no registration there is");
    let replicas = store.replicas().await.unwrap();
    assert_eq!(replicas.behind(4).map(|one| &one.id).collect::<Vec<_>>(), [&other]);
    assert_eq!(replicas.replicas[0].applied, Some(4));

    assert!(!store.doubt(&other, Incarnation(4), ReplicaState::Live).await.unwrap(), "another registration");
    assert!(store.doubt(&other, Incarnation(5), ReplicaState::Live).await.unwrap());
    assert!(!store.renew(&other, Incarnation(5), 0, LIMIT).await.unwrap().live, "a suspect gets no more time");
    assert!(!store.acknowledge(&other, Incarnation(5), 9).await.unwrap());
    assert_eq!(store.replicas().await.unwrap().replicas.len(), 2, "and is waited for");
    store.register(registration(&other, 6), LIMIT).await.unwrap();
    assert!(!store.doubt(&other, Incarnation(5), ReplicaState::Suspect).await.unwrap(), "it came back");
    assert!(store.doubt(&other, Incarnation(6), ReplicaState::Live).await.unwrap());
    assert!(store.doubt(&other, Incarnation(6), ReplicaState::Suspect).await.unwrap());
    assert_eq!(store.replicas().await.unwrap().replicas.len(), 1);
    store.register(registration(&one, 2), LIMIT).await.unwrap();
    assert_eq!(store.replicas().await.unwrap().replicas[0].applied, None, "what it acknowledged before is forgotten");
    store.leave(&one, Incarnation(2)).await.unwrap();
    assert!(store.replicas().await.unwrap().replicas.is_empty());
}

#[tokio::test]
async fn what_others_rely_on_outlives_a_crash_whatever_the_server_does_by_itself() {
    for usual in ["off", "on"] {
        let database = Server::shared().database();
        database.psql(&format!("ALTER DATABASE {} SET synchronous_commit = {usual}", database.name()));
        let store = at(database.url());
        furnish(&store).await;
        for table in ["replica", "head", "complete"] {
            database.psql(&format!(
                "CREATE TABLE IF NOT EXISTS public.seen (what text, setting text);
                 CREATE FUNCTION public.{table}_see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                   INSERT INTO public.seen VALUES ('{table} ' || TG_OP, current_setting('synchronous_commit')); RETURN NULL;
                 END $$;
                 CREATE CONSTRAINT TRIGGER see AFTER INSERT OR UPDATE ON keyward.{table} DEFERRABLE INITIALLY DEFERRED
                   FOR EACH ROW EXECUTE FUNCTION public.{table}_see()"
            ));
        }
        let one = ReplicaId::of([1; 8]);
        store.register(registration(&one, 1), LIMIT).await.unwrap();
        store.set_fence(Duration::from_secs(60), Duration::ZERO).await.unwrap();
        assert!(store.acknowledge(&one, Incarnation(1), 1).await.unwrap());
        store.note_complete(1, &store.replicas().await.unwrap().instance).await.unwrap();
        let seen = database.psql("SELECT what, setting FROM public.seen");
        assert_eq!(seen, "replica INSERT|on\nhead UPDATE|on\nreplica UPDATE|off\ncomplete UPDATE|off", "{usual}");
    }
}

#[tokio::test]
async fn a_shorter_fence_is_whole_only_when_who_shortened_it_says_so() {
    let database = Server::shared().database();
    let store = at(database.url());
    let fences = async || {
        let renewed = store.renew(&ReplicaId::of([1; 8]), Incarnation(1), 0, LIMIT).await.unwrap().fence;
        (renewed.as_secs(), store.replicas().await.unwrap().fence.as_secs())
    };
    let set = async |seconds| store.set_fence(Duration::from_secs(seconds), Duration::ZERO).await.unwrap();
    assert_eq!((set(10).await, fences().await), (None, (10, 10)));
    assert_eq!((set(60).await, fences().await), (None, (60, 60)), "a longer one holds at once");
    let first = set(10).await.unwrap();
    assert_eq!((first.before.as_secs(), fences().await), (60, (10, 60)));
    assert_eq!((set(30).await.is_some(), fences().await), (true, (30, 60)));
    let last: Shortened = set(5).await.unwrap();
    assert_eq!((last.before.as_secs(), fences().await), (60, (5, 60)));
    store.end_shortening(first).await.unwrap();
    assert_eq!(fences().await, (5, 60), "it was changed since");
    store.end_shortening(last).await.unwrap();
    assert_eq!(fences().await, (5, 5));
    let both = async |fence, stale| {
        let set = store.set_fence(Duration::from_secs(fence), Duration::from_secs(stale)).await.unwrap();
        (set, store.renew(&ReplicaId::of([1; 8]), Incarnation(1), 0, LIMIT).await.unwrap().stale.as_secs())
    };
    assert_eq!(
        (both(5, 300).await, fences().await),
        ((None, 300), (5, 305)),
        "who serves beyond it is waited for so long"
    );
    assert_eq!((both(60, 245).await, fences().await), ((None, 245), (60, 305)), "both together are as long as before");
    let (shortened, stale) = both(60, 0).await;
    assert_eq!((shortened.unwrap().before.as_secs(), stale, fences().await), (305, 0, (60, 305)));
    store.end_shortening(shortened.unwrap()).await.unwrap();
    assert_eq!(fences().await, (60, 60));
}

#[tokio::test]
async fn nothing_is_taken_from_a_standby() {
    let server = Server::own(Options::default());
    let database = server.database();
    let store = at(database.url());
    furnish(&store).await;
    server.stop(Mode::Fast);
    // It follows nobody, and takes itself for a standby.
    let signal = server.folder().join("data/standby.signal");
    std::fs::write(&signal, "").unwrap();
    server.start();
    let refused = |error: StoreError| assert!(matches!(error, StoreError::NoPrimary { .. }), "{error:?}");
    refused(store.load(digest("any secret")).await.unwrap_err());
    refused(store.tail(0).await.unwrap_err());
    refused(store.adopted_prefixes().await.unwrap_err());
    refused(store.digests(None, 10, Vec::new()).await.unwrap_err());
    refused(store.uses(0, 10).await.unwrap_err());
    refused(Store::open(&Config { url: database.url(), ..Config::example() }, [0; 8], Access::Create).unwrap_err());
    server.stop(Mode::Fast);
    std::fs::remove_file(signal).unwrap();
    server.start();
    assert!(store.adopted_prefixes().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_position_is_complete_once_somebody_has_seen_it() {
    let database = Server::shared().database();
    let store = at(database.url());
    furnish(&store).await;
    let head = head(&store).await;
    let complete = async |position| store.revision(position).await.unwrap().map(|known| known.complete);
    assert_eq!((complete(head).await, complete(head + 1).await), (Some(false), None));
    let instance = store.replicas().await.unwrap().instance;
    let note = async |position, of: &Instance| store.note_complete(position, of).await.unwrap();
    note(head - 1, &instance).await;
    assert_eq!((complete(head).await, complete(head - 1).await), (Some(false), Some(true)));
    // By who saw it in the database before this one, or before that was set back, and is late.
    note(head, &Instance("another".into())).await;
    note(head + 1, &instance).await;
    assert_eq!(complete(head).await, Some(false));
    note(head, &instance).await;
    note(head - 1, &instance).await;
    assert_eq!(complete(head).await, Some(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_is_heard_by_others_and_never_needed() {
    let database = Server::shared().database();
    let [one, other] = both(&database);
    let heard = tokio::spawn(async move { one.woken().await });
    until(|| database.psql("SELECT count(*) FROM pg_stat_activity WHERE query = 'LISTEN keyward'") != "0").await;
    other.wake_others().await;
    heard.await.unwrap().unwrap();
    assert!(other.hears().await.unwrap());
    let pooler = PgBouncer::to(Server::shared().address());
    assert!(!at(database.url_by(pooler.address())).hears().await.unwrap(), "a pooler keeps notices to itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_died_is_replaced_before_anybody_notices() {
    let database = Server::shared().database();
    let store = at(database.url());
    furnish(&store).await;
    assert!(database.terminate_backends("keyward") > 0);
    store.load(digest("nobody's secret at all")).await.unwrap();
    store.create_account("103".parse().unwrap(), None, NOW).await.unwrap();
    assert_eq!(database.psql("SELECT count(*) FROM keyward.account"), "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_is_trouble_and_is_used_again_when_it_is_back() {
    let server = Server::own(Options::default());
    let database = server.database();
    let store = at(database.url());
    furnish(&store).await;
    server.stop(Mode::Immediate);
    let trouble = |error: &StoreError| matches!(error, StoreError::Unreachable { .. } | StoreError::TimedOut);
    assert!(store.load(digest("nobody's secret at all")).await.is_err_and(|error| trouble(&error)));
    let change = store.create_account("103".parse().unwrap(), None, NOW).await;
    assert!(matches!(&change, Err(Rejected::Store(error)) if trouble(error)), "{change:?}");
    server.start();
    store.load(digest("nobody's secret at all")).await.unwrap();
    store.create_account("103".parse().unwrap(), None, NOW).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_and_the_servers_certificate_checked() {
    let server = Server::own(Options { tls: true, ..Options::default() });
    let database = server.database();
    let url = format!("{}?sslmode=verify-full", database.url());
    let open = |ca_file: Option<std::path::PathBuf>| {
        Store::open(&Config { url: url.clone(), ca_file, ..Config::example() }, [0; 8], Access::Create)
    };
    let refused = open(None).unwrap_err();
    assert!(matches!(&refused, StoreError::Unreachable { why, .. } if why.contains("certificate")), "{refused:?}");
    let store = open(Some(server.root().to_owned())).unwrap();
    store.ping().await.unwrap();
    let plain = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                  WHERE application_name = 'keyward' AND NOT ssl";
    assert_eq!(database.psql(plain), "0");
    let asked = at(format!("{}?sslmode=disable", database.url())).ping().await;
    asked.unwrap();
}

#[tokio::test]
async fn an_address_that_cannot_be_understood_is_told_without_its_password() {
    for (url, said) in [
        ("postgres://u:hunter2@db/x?sslmode=prefer", "sslmode=prefer"),
        ("postgres://u:hunter2@db:port/x", "store.url"),
        ("postgres:///x", "host"),
        ("postgres://u:hunter2@db/x?colour=red", "colour"),
    ] {
        let error = Store::open(&Config { url: url.into(), ..Config::example() }, [0; 8], Access::Create).unwrap_err();
        let text = crate::telemetry::chain(&error).to_string();
        assert!(text.contains(said) && !text.contains("hunter2"), "{text}");
    }
}

#[tokio::test]
async fn another_pepper_a_strangers_schema_and_a_missing_store_are_told_apart() {
    let database = Server::shared().database();
    let config = Config { url: database.url(), ..Config::example() };
    let open = |mark, access| Store::open(&config, mark, access);
    assert!(matches!(open([0; 8], Access::Existing), Err(StoreError::Missing { .. })));
    database.psql("CREATE SCHEMA keyward; CREATE TABLE keyward.theirs (x int)");
    assert!(matches!(open([0; 8], Access::Create), Err(StoreError::NotOurs { .. })));
    database.psql("DROP SCHEMA keyward CASCADE");
    let store = open([0; 8], Access::Create).unwrap();
    open([1; 8], Access::Existing).unwrap();
    let store = {
        drop(store);
        open([2; 8], Access::Existing).unwrap()
    };
    furnish(&store).await;
    store.mint(service("key_1", "a secret under a pepper"), NOW).await.unwrap();
    assert!(matches!(open([3; 8], Access::Existing), Err(StoreError::Pepper { .. })));
    database.psql("UPDATE keyward.meta SET value = '9' WHERE name IN ('version', 'oldest')");
    assert!(matches!(open([2; 8], Access::Existing), Err(StoreError::Newer { .. })));
    database.psql("UPDATE keyward.meta SET value = '1' WHERE name = 'oldest'");
    open([2; 8], Access::Existing).unwrap();
}

/// Several replicas that start on an empty database make it once.
#[tokio::test(flavor = "multi_thread")]
async fn who_starts_at_once_makes_the_schema_once() {
    let database = Server::shared().database();
    let url = database.url();
    let opened = (0..4).map(|_| {
        let url = url.clone();
        tokio::task::spawn_blocking(move || at(url))
    });
    for opened in opened.collect::<Vec<_>>() {
        opened.await.unwrap().ping().await.unwrap();
    }
}

#[tokio::test]
async fn uses_of_all_replicas_merge() {
    let database = Server::shared().database();
    let [one, other] = both(&database);
    furnish(&one).await;
    let key = one.mint(service("key_1", "a secret that two have seen"), NOW).await.unwrap().record;
    let later = NOW.plus(Duration::from_secs(9));
    let (first, second) =
        tokio::join!(one.record_uses(vec![(key.serial, later)]), other.record_uses(vec![(key.serial, NOW)]));
    first.unwrap();
    second.unwrap();
    let key = one.key("key_1".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(key.last_used_at, Some(later));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_of_transactions_may_stand_between() {
    let pooler = PgBouncer::to(Server::shared().address());
    let database = Server::shared().database();
    let stores = [at(database.url_by(pooler.address())), at(database.url_by(pooler.address()))];
    furnish(&stores[0]).await;
    let made = (0..20).map(|each| {
        let store = stores[each % 2].clone();
        tokio::spawn(async move {
            let text = format!("the secret behind the pooler {each}");
            store.mint(service(&format!("key_{each}"), &text), NOW).await.unwrap();
            assert!(standing(&store, &text).await.is_some());
            store.keys(KeyFilter::default(), NOW).await.unwrap();
        })
    });
    for made in made.collect::<Vec<_>>() {
        made.await.unwrap();
    }
}

/// A digest as the log tells of it.
fn of(digest: &Digest) -> Subject {
    Subject::Secret(digest.as_bytes()[..16].try_into().unwrap())
}

pub(super) const LIMIT: Duration = Duration::from_secs(5);

pub(super) async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
