//! Over real sockets, in folders of their own.

use super::*;
use crate::clock::Timestamp;
use crate::key::{Account, AccountState};
use crate::keyring::command::Clash;
use crate::keyring::receipt::{Progress, Receipt};

/// Makes whatever account this user asks for, and knows no other command.
async fn operate(by: By, command: Command, patience: Duration) -> Result<Done, Problem> {
    assert_eq!(by, By::command_line(rustix::process::geteuid().as_raw()));
    match command {
        Command::CreateAccount(id, name) => {
            let created_at = Timestamp::from_millis(0);
            let outcome = Outcome::Account(Account { id, serial: 1, name, state: AccountState::Active, created_at });
            let progress = Progress::Pending { within: patience };
            let receipt = Some(Receipt { revision: 7, progress, replicas: Vec::new() });
            Ok(Done { outcome, revision: Some(7), receipt: receipt.filter(|_| patience < Duration::MAX) })
        }
        _ => Err(Problem::Conflict(Clash::State, "not today".to_owned())),
    }
}

impl Client {
    fn over(stream: UnixStream, patience: Duration) -> Self {
        Self { stream: BufReader::new(stream), patience }
    }
}

fn create(id: &str) -> Command {
    Command::CreateAccount(id.parse().unwrap(), None)
}

async fn round_trip(path: &Path) {
    let listener = Listener::bind(path).unwrap();
    let mode = std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(listener.serve(operate, async { drop(stopped.await) }));

    // One who says nothing does not keep the next from being heard.
    let _silent = UnixStream::connect(&Address::of(path).unwrap().path).await.unwrap();
    let mut client = Client::connect(path).await.unwrap().unwrap();
    let answer = client.ask(create("101")).await.unwrap();
    assert!(matches!(answer, Outcome::Account(account) if account.id.as_str() == "101"));
    let patience = Duration::from_millis(1500);
    let receipt = client.ask_within(create("101"), patience).await.unwrap().receipt.unwrap();
    assert_eq!((receipt.revision, receipt.progress), (7, Progress::Pending { within: patience }));
    let problem = client.ask(Command::ListUsers(crate::keyring::command::Slice::ALL)).await.unwrap_err();
    assert!(matches!(problem, AskError::Problem(Problem::Conflict(..))));

    drop((client, _silent));
    stop.send(()).unwrap();
    server.await.unwrap();
    assert!(!path.exists());
    assert!(Client::connect(path).await.unwrap().is_none());
}

#[tokio::test]
async fn a_command_goes_there_and_its_outcome_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    round_trip(&folder.path().join("keyward.db.sock")).await;
}

#[tokio::test]
async fn a_path_longer_than_an_address_works() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("d".repeat(100)).join("e".repeat(100));
    std::fs::create_dir_all(&deep).unwrap();
    round_trip(&deep.join("keyward.db.sock")).await;
    for place in [deep.join("n".repeat(200)), PathBuf::from("n".repeat(200))] {
        let error = Listener::bind(&place).unwrap_err();
        assert!(error.to_string().contains("too long"), "{error}");
    }
}

#[tokio::test]
async fn a_dead_servers_socket_is_replaced_and_anything_else_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyward.db.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(Client::connect(&path).await.unwrap().is_none());
    round_trip(&path).await;
    std::fs::write(&path, "").unwrap();
    assert!(Listener::bind(&path).is_err());
}

#[tokio::test]
async fn another_user_is_refused_before_anything_is_read() {
    assert!(may_ask(1000, 1000) && may_ask(0, 1000) && !may_ask(1001, 1000));
    let (server, client) = UnixStream::pair().unwrap();
    let server = tokio::spawn(converse(server, None, operate));
    let refused = Client::over(client, SILENCE).ask(create("101")).await.unwrap_err();
    assert!(matches!(refused, AskError::Refused { .. }), "{refused}");
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn other_versions_and_nonsense_are_refused_by_reason() {
    for (line, reason) in [("{\"v\":1,\"do\":\"x\"}\n", "version 2, not 1"), ("hello\n", "not a command")] {
        let (server, client) = UnixStream::pair().unwrap();
        let server =
            tokio::spawn(converse(server, Some(By::command_line(rustix::process::geteuid().as_raw())), operate));
        let mut client = BufReader::new(client);
        client.get_mut().write_all(line.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_line(&mut answer).await.unwrap();
        assert!(answer.contains(reason), "{answer}");
        drop(client);
        server.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_server_lost_before_it_answers_leaves_the_outcome_open() {
    let (server, client) = UnixStream::pair().unwrap();
    let server = tokio::spawn(async move {
        let mut server = BufReader::new(server);
        let mut line = String::new();
        server.read_line(&mut line).await.unwrap();
    });
    let lost = Client::over(client, SILENCE).ask(create("101")).await.unwrap_err();
    assert!(matches!(lost, AskError::Lost { .. }), "{lost}");
    server.await.unwrap();
}

#[tokio::test]
async fn a_command_that_takes_long_is_waited_for_as_long_as_the_server_says_so() {
    let (server, client) = UnixStream::pair().unwrap();
    let server = tokio::spawn(converse(
        server,
        Some(By::command_line(rustix::process::geteuid().as_raw())),
        |by, command, patience| async move {
            tokio::time::sleep(3 * BEAT).await;
            operate(by, command, patience).await
        },
    ));
    let mut client = Client::over(client, 2 * BEAT);
    assert!(matches!(client.ask(create("101")).await.unwrap(), Outcome::Account(_)));
    drop(client);
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_server_that_says_nothing_is_not_waited_for() {
    let (_stopped, client) = UnixStream::pair().unwrap();
    let mut client = Client::over(client, Duration::from_millis(100));
    let silent = client.ask(create("101")).await.unwrap_err();
    let said = silent.to_string();
    assert!(matches!(silent, AskError::Silent { .. }) && said.contains("said nothing for 100ms"), "{said}");
    assert!(said.contains(&format!("(process {})", std::process::id())), "{said}");
    // Once its socket is full it takes no whole command, and never carries one out.
    assert!(client.send(&vec![b' '; 16 << 20]).await.is_err());
    let untaken = client.ask(create("101")).await.unwrap_err();
    assert!(matches!(untaken, AskError::NotTaken { .. }), "{untaken}");
}
