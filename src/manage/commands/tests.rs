//! Commands over HTTP, at a face of the admin listener.

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request};
use serde_json::{Value, json};

use super::*;
use crate::clock::Timestamp;
use crate::key::{Imprint, Kind, Permissions};
use crate::keyring::command::{Clash, NewKey};
use crate::manage::tests::{Answer as Reply, Face, face};
use crate::secret::Secret;

/// A face, and an operator's secret.
async fn served() -> (Face, Secret) {
    let face = face().await;
    let secret = face.key(Kind::Operator, |_| ()).await;
    (face, secret)
}

async fn send(face: &Face, secret: &Secret, method: Method, target: &str, kind: &str, body: &str) -> Reply {
    let line = format!("Bearer {}", secret.expose_str().unwrap());
    let request = Request::builder().method(method).uri(target).header(AUTHORIZATION, line);
    face.send(request.header(CONTENT_TYPE, kind).body(body.to_owned()).unwrap()).await
}

/// The last line that a command is answered with.
async fn give(face: &Face, secret: &Secret, body: &str) -> Value {
    let answer = send(face, secret, Method::POST, "/v1/commands", "application/json", body).await;
    assert_eq!(
        (answer.status, &answer.headers[CONTENT_TYPE]),
        (200, &"application/jsonl".parse().unwrap()),
        "{answer:?}"
    );
    let lines: Vec<_> = answer.body.lines().collect();
    let (last, before) = lines.split_last().unwrap();
    assert!(answer.body.ends_with('\n') && before.iter().all(|line| *line == "\"working\""), "{answer:?}");
    serde_json::from_str(last).unwrap()
}

fn said(command: Command) -> String {
    String::from_utf8(line(command, Duration::MAX).unwrap()).unwrap()
}

#[tokio::test]
async fn an_operators_command_is_carried_out_and_noted_as_theirs() {
    let (face, secret) = served().await;
    let made = give(&face, &secret, &said(Command::CreateAccount("101".parse().unwrap(), None))).await;
    assert_eq!(made["ok"]["outcome"]["account"]["id"], "101", "{made}");
    let again = give(&face, &secret, &said(Command::CreateAccount("101".parse().unwrap(), None))).await;
    assert_eq!(again["problem"], json!({"exists": {"what": "account", "id": "101"}}));
    let noted = give(&face, &secret, &said(Command::ListAudit(Box::default()))).await;
    let first = |outcome: &str| {
        let entries = noted["ok"]["outcome"]["audit"].as_array().unwrap();
        entries.iter().find(|entry| entry["outcome"] == outcome && entry["account"] == "101").unwrap().clone()
    };
    for outcome in ["done", "refused"] {
        let entry = first(outcome).to_string();
        assert!(entry.contains("operator") && entry.contains("192.0.2.7") && entry.contains("req_"), "{entry}");
    }
}

#[tokio::test]
async fn another_version_and_what_is_no_command_are_refused_by_reason() {
    let (face, secret) = served().await;
    let greeting = send(&face, &secret, Method::GET, "/v1/commands", "", "").await;
    assert_eq!((greeting.status, greeting.json()), (200, json!({"v": VERSION, "keyward": env!("CARGO_PKG_VERSION")})));
    for (body, reason) in
        [(r#"{"v":1,"do":"x"}"#, "version 2, not 1"), ("hello", "not a command"), ("", "not a command")]
    {
        let answer = give(&face, &secret, body).await;
        assert!(answer["refused"].as_str().unwrap().contains(reason), "{answer}");
    }
    for (method, target, kind, status, code) in [
        (Method::POST, "/v1/commands", "text/plain", 415, "UNSUPPORTED_MEDIA_TYPE"),
        (Method::POST, "/v1/commands?wait=1", "application/json", 422, "VALIDATION_FAILED"),
        (Method::GET, "/v1/commands?v=1", "", 422, "VALIDATION_FAILED"),
        (Method::PUT, "/v1/commands", "application/json", 405, "METHOD_NOT_ALLOWED"),
    ] {
        let answer = send(&face, &secret, method, target, kind, "{}").await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{answer:?}");
    }
}

#[tokio::test]
async fn a_command_is_longer_than_other_bodies_may_be_and_as_long_as_one_over_the_socket() {
    let (face, secret) = served().await;
    let mut long = said(Command::ListUsers(crate::keyring::command::Slice::ALL));
    long.push_str(&" ".repeat(1 << 20));
    assert_eq!(give(&face, &secret, &long).await["ok"]["outcome"], json!({"users": []}));
    long.push_str(&" ".repeat(LONGEST + 1 - long.len()));
    let refused = send(&face, &secret, Method::POST, "/v1/commands", "application/json", &long).await;
    assert_eq!((refused.status, refused.code().as_str()), (413, "PAYLOAD_TOO_LARGE"));
    let problem = Problem::Conflict(Clash::State, "not today".to_owned());
    let heard = heard(&Answer::Problem(problem.clone()).line(), || "it".to_owned()).unwrap_err();
    assert!(matches!(heard, AskError::Problem(told) if told == problem));
}

#[tokio::test]
async fn a_command_that_takes_long_is_told_to_be_worked_on() {
    use http_body_util::BodyExt;
    use tokio::time::sleep;

    let (end, ended) = tokio::sync::oneshot::channel();
    let work = tokio::spawn(async move { ended.await.unwrap() });
    let mut reply = super::Reply::Awaited { work, beat: Box::pin(sleep(Duration::ZERO)) };
    let beat = reply.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(matches!(heard(beat.trim_ascii_end(), String::new), Ok(None)), "{beat:?}");
    end.send(bytes::Bytes::from("the end")).unwrap();
    assert_eq!(reply.collect().await.unwrap().to_bytes(), "the end");
}

#[test]
fn an_import_of_a_hundred_thousand_keys_fits_into_one_command() {
    let key = NewKey {
        id: "key_0123456789ABCDEF".parse().unwrap(),
        secret: Imprint::of(&Secret::new(&[b'x'; 58])),
        kind: Kind::Personal,
        account: Some("a-long-name-of-an-account".parse().unwrap()),
        user: Some("somebody.with.a.long.name@example.com".parse().unwrap()),
        name: "what its owner calls it, at some length".to_owned(),
        permissions: Permissions::default(),
        allowed_ips: Vec::new(),
        not_before: None,
        expires_at: Some(Timestamp::from_millis(0)),
        licence: None,
    };
    let row = serde_json::to_vec(&key).unwrap().len() + 1;
    assert!(row * 100_000 < LONGEST, "{row} bytes a row");
}
