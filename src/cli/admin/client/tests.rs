//! Against servers that answer what a test has them answer.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use std::time::Duration;

use super::*;
use crate::cli::dial::Dialer;
use crate::key::{Imprint, Kind};
use crate::keyring::command::{NewKey, Slice};
use crate::secret::Secret;

const GOOD: &str = r#"{"v":2,"keyward":"0.1.0"}"#;

/// A server that gives these answers to as many requests over one connection, then reads on and says nothing, or hangs up.
async fn answering(answers: Vec<String>, hangs_up: bool) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut heard = vec![0; 4096];
        for answer in answers {
            let length = stream.read(&mut heard).await.unwrap();
            let head = String::from_utf8_lossy(&heard[..length]).to_lowercase();
            assert!(head.contains("authorization: bearer an-operator-key"), "{head}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        while !hangs_up && stream.read(&mut heard).await.unwrap_or(0) > 0 {}
    });
    let patience = Duration::from_millis(200);
    Server { url, key: Secret::new(b"an-operator-key"), dialer: Dialer::new(None, false).unwrap(), patience }
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn list() -> Command {
    Command::ListUsers(Slice::ALL)
}

#[tokio::test]
async fn what_is_wrong_with_the_server_is_known_before_a_command_leaves() {
    let problem = r#"{"code":"API_KEY_INVALID","title":"The API key is not valid."}"#;
    for (status, body, told) in [
        ("401 Unauthorized", problem, "answers 401, API_KEY_INVALID: The API key is not valid."),
        ("404 Not Found", "", "it takes no commands"),
        ("302 Found", "", "answers 302 Found; is it a keyward's admin listener?"),
        ("200 OK", "<html>", "does not answer as a keyward's admin listener does"),
        ("200 OK", r#"{"v":3,"keyward":"0.3.0"}"#, "it is keyward 0.3.0 and takes version 3 of commands; this is"),
    ] {
        let server = answering(vec![answer(status, body)], true).await;
        let error = format!("{:#}", Client::connect(&server).await.map(|_| ()).unwrap_err());
        assert!(
            error.contains(told) && error.contains(&format!("cannot ask the keyward at {}", server.url)),
            "{error}"
        );
    }
    let silent = answering(Vec::new(), false).await;
    let error = format!("{:#}", Client::connect(&silent).await.map(|_| ()).unwrap_err());
    assert!(error.contains("it has said nothing for 200ms"), "{error}");
}

#[tokio::test]
async fn a_command_is_waited_for_while_the_server_says_that_it_works_on_it() {
    let lines = "\"working\"\n\"working\"\n{\"ok\":{\"outcome\":{\"users\":[]},\"revision\":null,\"receipt\":null}}\n";
    let refused = "{\"refused\":\"not today\"}\n";
    let server =
        answering(vec![answer("200 OK", GOOD), answer("200 OK", lines), answer("200 OK", refused)], false).await;
    let mut client = Client::connect(&server).await.unwrap();
    assert!(matches!(client.ask(list()).await.unwrap(), Outcome::Users(users) if users.is_empty()));
    let error = client.ask(list()).await.unwrap_err().to_string();
    assert_eq!(error, format!("the keyward at {} refuses: not today", server.url));
}

#[tokio::test]
async fn a_server_that_is_lost_or_silent_before_it_answers_leaves_the_outcome_open() {
    let whole =
        answer("200 OK", "\"working\"\n{\"ok\":{\"outcome\":{\"users\":[]},\"revision\":null,\"receipt\":null}}\n");
    let cut = whole.split_inclusive('\n').take(4).collect::<String>();
    for (answers, hangs_up, told) in [
        (vec![answer("200 OK", GOOD), String::new()], true, "was lost before it answered"),
        (vec![answer("200 OK", GOOD), cut.clone()], true, "was lost before it answered"),
        (vec![answer("200 OK", GOOD)], false, "has said nothing for 200ms"),
        (vec![answer("200 OK", GOOD), cut], false, "has said nothing for 200ms"),
    ] {
        let server = answering(answers, hangs_up).await;
        let mut client = Client::connect(&server).await.unwrap();
        let error = client.ask(list()).await.unwrap_err().to_string();
        assert!(error.contains(told) && error.contains("look with `list` or `show`"), "{error}");
        assert!(error.contains(&server.url.to_string()), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_take_the_whole_command_has_changed_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        stream.write_all(answer("200 OK", GOOD).as_bytes()).await.unwrap();
        stream
    });
    let patience = Duration::from_millis(200);
    let key = Secret::new(b"an-operator-key");
    let asked = Server { url, key, dialer: Dialer::new(None, false).unwrap(), patience };
    let mut client = Client::connect(&asked).await.unwrap();
    let _held = server.await.unwrap();
    let error = client.ask(Command::Import(many())).await.unwrap_err().to_string();
    assert!(error.contains("has taken nothing for 200ms") && error.contains("nothing was changed"), "{error}");
}

/// Too many keys for any socket's buffers.
fn many() -> Vec<NewKey> {
    let one = |at: usize| {
        let imprint = Imprint::of(&Secret::new(format!("a-key-of-old-times-{at}").as_bytes()));
        let id = format!("key_{at:016}").parse().unwrap();
        NewKey::bare(id, imprint, Kind::Service)
    };
    (0..50_000).map(one).collect()
}
