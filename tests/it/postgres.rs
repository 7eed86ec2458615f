//! The database the tests stand on does what they ask of it, and leaves nothing behind.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use crate::support::postgres::pgbouncer::PgBouncer;
use crate::support::postgres::relay::{Direction, Relay, Traffic};
use crate::support::postgres::{Mode, Options, Server};
use crate::support::{PATIENCE, eventually};

/// Connects as keyward does, over TCP, and asks one thing; an error is its sentence.
fn ask(url: &str, sql: &str) -> Result<String, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let said = |error: tokio_postgres::Error| error.to_string();
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.map_err(said)?;
        tokio::spawn(connection);
        let rows = client.query_typed(sql, &[]).await.map_err(said)?;
        Ok(rows[0].get(0))
    })
}

#[test]
fn every_test_has_an_empty_database_of_its_own() {
    let (one, other) = (Server::shared().database(), Server::shared().database());
    one.psql("CREATE TABLE a (b int); INSERT INTO a VALUES (1), (2)");
    assert_eq!(one.psql("SELECT b, b * 2 FROM a ORDER BY b"), "1|2\n2|4");
    let tables = "SELECT count(*)::text FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(ask(&one.url(), tables).unwrap(), "1");
    assert_eq!(ask(&other.url(), tables).unwrap(), "0");
    let name = one.name().to_owned();
    drop(one);
    assert_eq!(other.psql(&format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'")), "0");
}

#[test]
fn a_stopped_server_answers_nobody_and_comes_back_with_what_it_held() {
    let server = Server::own(Options { fsync: true, ..Options::default() });
    let database = server.database();
    assert_eq!(database.psql("SHOW fsync"), "on");
    database.psql("CREATE TABLE a AS SELECT 'kept' AS b");
    for mode in [Mode::Fast, Mode::Immediate] {
        server.stop(mode);
        assert!(ask(&database.url(), "SELECT b FROM a").is_err(), "{mode:?}");
        server.start();
        assert_eq!(ask(&database.url(), "SELECT b FROM a").unwrap(), "kept", "{mode:?}");
    }
}

#[test]
fn a_server_with_tls_shows_a_certificate_that_its_root_signed() {
    let server =
        Server::own(Options { tls: true, settings: &["ssl_min_protocol_version = 'TLSv1.3'"], ..Options::default() });
    let said = Command::new("openssl")
        .args([
            "s_client",
            "-starttls",
            "postgres",
            "-verify_ip",
            "127.0.0.1",
            "-connect",
            &server.address().to_string(),
        ])
        .arg("-CAfile")
        .arg(server.root())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("Verify return code: 0 (ok)") && said.contains("TLSv1.3"), "{said}");
}

#[test]
fn sessions_are_ended_by_their_name_or_what_they_ask() {
    let database = Server::shared().database();
    let url = database.url();
    let sleeper = std::thread::spawn(move || ask(&url, "SELECT pg_sleep(1000)::text"));
    eventually("it sleeps", || database.terminate_backends("%pg_sleep%") == 1);
    assert!(sleeper.join().unwrap().is_err());
    assert_eq!(database.terminate_backends("%"), 0);
}

#[test]
fn a_session_through_pgbouncer_is_one_for_a_transaction_only() {
    let database = Server::shared().database();
    let bouncer = PgBouncer::to(Server::shared().address());
    let url = database.url_by(bouncer.address());
    assert_eq!(ask(&url, "SELECT current_database()::text").unwrap(), database.name());
    // The session that another client was served by is there still, and serves this one.
    let process = "SELECT pg_backend_pid()::text";
    assert_eq!(ask(&url, process).unwrap(), ask(&url, process).unwrap());
    let port = bouncer.address();
    drop(bouncer);
    assert!(TcpStream::connect(port).is_err());
}

/// A server that gives back what it is sent, a client of it by way of a relay, and the relay.
fn echo() -> (TcpStream, Relay) {
    let relay = Relay::to(echo_server());
    let client = TcpStream::connect(relay.address()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    (client, relay)
}

fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || std::io::copy(&mut stream.try_clone().unwrap(), &mut &stream));
        }
    });
    address
}

/// Sends a line and reads it back.
fn told_back(client: &mut TcpStream, line: &[u8]) -> std::io::Result<()> {
    client.write_all(line)?;
    let mut back = vec![0; line.len()];
    client.read_exact(&mut back)?;
    assert_eq!(back, line);
    Ok(())
}

/// Whether nothing comes for a while. The while is what a held byte would need many times over.
fn is_silent(client: &TcpStream) -> bool {
    client.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let silent = client.peek(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    silent
}

fn is_reset<T: std::fmt::Debug>(ended: std::io::Result<T>) -> bool {
    ended.is_err_and(|error| {
        matches!(error.kind(), std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe)
    })
}

#[test]
fn what_a_relay_holds_arrives_later_in_either_direction() {
    let (mut client, relay) = echo();
    told_back(&mut client, b"before").unwrap();
    for direction in [Direction::Up, Direction::Down] {
        relay.set(direction, Traffic::Hold);
        client.write_all(b"held").unwrap();
        assert!(is_silent(&client), "{direction:?}");
        relay.set(direction, Traffic::Pass);
        let mut back = [0; 4];
        client.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"held", "{direction:?}");
    }
    assert_eq!((relay.accepted(), relay.open()), (1, 1));
}

#[test]
fn a_connection_that_lost_bytes_is_reset_once_they_pass_again() {
    for direction in [Direction::Up, Direction::Down] {
        let (mut client, relay) = echo();
        told_back(&mut client, b"before").unwrap();
        relay.set(direction, Traffic::Lose);
        client.write_all(b"lost").unwrap();
        assert!(is_silent(&client), "{direction:?}");
        relay.set(direction, Traffic::Pass);
        assert!(is_reset(client.read(&mut [0])), "{direction:?}");
        told_back(&mut TcpStream::connect(relay.address()).unwrap(), b"after").unwrap();
    }
}

#[test]
fn a_cut_resets_what_is_there_and_a_refusal_what_comes() {
    let (mut client, relay) = echo();
    told_back(&mut client, b"before").unwrap();
    relay.cut();
    assert!(is_reset(client.read(&mut [0])));
    let mut next = TcpStream::connect(relay.address()).unwrap();
    told_back(&mut next, b"after").unwrap();
    relay.refuse(true);
    let mut refused = TcpStream::connect(relay.address()).unwrap();
    assert!(is_reset(told_back(&mut refused, b"refused")));
    relay.refuse(false);
    told_back(&mut next, b"those that are there go on").unwrap();
    drop(next);
    eventually("the relay sees them end", || relay.open() == 0);
    assert_eq!(relay.accepted(), 3);
}

#[test]
fn a_delay_is_under_way_beside_others() {
    let (mut client, relay) = echo();
    let delay = Duration::from_millis(300);
    relay.delay(Direction::Up, delay);
    let (sender, receiver) = mpsc::channel();
    let mut reader = client.try_clone().unwrap();
    std::thread::spawn(move || {
        let mut back = [0; 2];
        reader.read_exact(&mut back).unwrap();
        sender.send(back).unwrap();
    });
    client.write_all(b"a").unwrap();
    client.write_all(b"b").unwrap();
    assert!(receiver.recv_timeout(delay / 2).is_err());
    assert_eq!(receiver.recv_timeout(PATIENCE).unwrap(), *b"ab");
}

/// Set for the process that is to be killed.
const VICTIM: &str = "KEYWARD_TEST_VICTIM";

#[test]
fn a_test_that_is_killed_leaves_no_server_and_no_folder() {
    if std::env::var_os(VICTIM).is_some() {
        let server = Server::shared();
        let bouncer = PgBouncer::to(server.address());
        println!("\nvictim {} {} {}", server.folder().display(), server.address(), bouncer.address());
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        return;
    }
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "postgres::a_test_that_is_killed_leaves_no_server_and_no_folder"])
        .env(VICTIM, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines().map_while(Result::ok);
    let said = lines.into_iter().find_map(|line| line.strip_prefix("victim ").map(str::to_owned)).unwrap();
    let [folder, server, bouncer] = said.split(' ').collect::<Vec<_>>()[..] else { panic!("{said}") };
    assert!(Path::new(folder).exists());
    for address in [server, bouncer] {
        TcpStream::connect(address).unwrap();
    }
    victim.kill().unwrap();
    victim.wait().unwrap();
    eventually("they end with it", || {
        !Path::new(folder).exists() && [server, bouncer].iter().all(|address| TcpStream::connect(address).is_err())
    });
}
