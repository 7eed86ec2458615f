//! Every row, and what is no row.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Method;
use http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http_body_util::BodyExt;
use tempfile::TempDir;

use super::routes::{ROUTES, Route};
use super::*;
use crate::clock::Clock;
use crate::key::token::mint;
use crate::key::{Digester, Kind};
use crate::keyring::Keyring;
use crate::keyring::command::{By, Command, NewKey};
use crate::keyring::tests::small;
use crate::net::config::{Config, Terms};
use crate::net::drain::Drain;
use crate::net::listen::{Listeners, Protocol, Wanted};
use crate::net::newest::Newest;
use crate::net::worker::{Setup, Workers};
use crate::secret::Secret;
use crate::store::{self, Access, Store};
use crate::telemetry::metrics::Names;
use tokio::runtime::Handle;

/// A face over a new store, and one check that can be switched.
pub(super) struct Face {
    admin: Admin,
    ready: Arc<AtomicBool>,
    _folder: TempDir,
}

pub(super) async fn face() -> Face {
    face_at(Clock::System).await
}

pub(super) async fn face_at(clock: Clock) -> Face {
    let ready = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&ready);
    let health = Health::default()
        .with("draining", || Ok(()))
        .with("store", move || if asked.load(Ordering::SeqCst) { Ok(()) } else { Err("does not answer".to_owned()) });
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&store::tests::config(&folder), [0; 8], Access::Create).unwrap();
    let control = Handle::current();
    let keyring = Keyring::open(&small(), 1, store, Digester::default(), clock.clone(), control.clone()).await.unwrap();
    let parts = Parts {
        health: Arc::new(health),
        metrics: Metrics::new(Names::default()),
        manner: Newest::new(Manner { realm: "here".into(), prefix: "kw_test".parse().unwrap() }),
        hand: Hand::new(Arc::new(keyring), clock, control, Arc::default()),
    };
    Face { admin: Admin::new(parts), ready, _folder: folder }
}

/// An answer, its body whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: http::HeaderMap,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(super) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_else(|| panic!("{self:?}")).to_owned()
    }
}

impl Face {
    /// Asks without a key.
    async fn ask(&self, method: Method, target: &str) -> Answer {
        self.send(Request::builder().method(method).uri(target).body(String::new()).unwrap()).await
    }

    /// Sends a request from 192.0.2.7.
    pub(super) async fn send(&self, request: Request<String>) -> Answer {
        let answer = self.admin.answer([192, 0, 2, 7].into(), request.map(|body| Full::new(Bytes::from(body)))).await;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert_eq!(head.headers[CACHE_CONTROL], "no-store");
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }

    /// Makes a key of this kind, changed so, and gives its secret.
    pub(super) async fn key(&self, kind: Kind, change: impl FnOnce(&mut NewKey)) -> Secret {
        let (secret, imprint) = mint(&"kw_test".parse().unwrap(), getrandom::fill).unwrap();
        let id = format!("key_{}", imprint.kid.as_deref().unwrap()).parse().unwrap();
        let mut new = NewKey::bare(id, imprint, kind);
        change(&mut new);
        self.operate(Command::MintKey(Box::new(new))).await;
        secret
    }

    pub(super) fn keyring(&self) -> &Keyring {
        &self.admin.hand.keyring
    }

    pub(super) async fn operate(&self, command: Command) {
        self.admin.hand.keyring.operate(&By::KEYWARD, command).await.unwrap();
    }
}

#[tokio::test]
async fn every_row_without_a_caller_answers_its_methods_and_names_them_to_any_other() {
    let face = face().await;
    for Route { path, .. } in ROUTES.iter().filter(|route| route.right == Right::Anyone) {
        for method in [Method::GET, Method::HEAD] {
            let answer = face.ask(method.clone(), path).await;
            assert_eq!((answer.status, answer.body.is_empty()), (200, method == Method::HEAD), "{path}");
            assert_eq!(answer.headers.contains_key(CONTENT_LENGTH), method == Method::HEAD, "{path}");
        }
        let answer = face.ask(Method::POST, path).await;
        assert_eq!((answer.status, answer.headers[ALLOW].to_str().unwrap()), (405, "GET, HEAD, OPTIONS"));
        assert_eq!(answer.headers[CONTENT_TYPE], "application/problem+json");
        assert_eq!((&answer.json()["status"], answer.code()), (&405.into(), "METHOD_NOT_ALLOWED".into()));
        let answer = face.ask(Method::OPTIONS, path).await;
        assert_eq!((answer.status, answer.headers[ALLOW].to_str().unwrap()), (204, "GET, HEAD, OPTIONS"));
    }
}

/// Every row for operators, what is no row below their prefix, and a method that no row has.
fn operators_rows() -> Vec<(Method, String)> {
    let named = |path: &str| path.replace(['{', '}'], "");
    let rows = ROUTES.iter().filter(|route| route.right == Right::Operator);
    let rows = rows.flat_map(|route| route.rows.iter().map(move |(method, _)| (method.clone(), named(route.path))));
    let others = [
        (Method::GET, "/v1"),
        (Method::GET, "/v1/nothing"),
        (Method::TRACE, "/v1/keys"),
        (Method::OPTIONS, "/v1/keys"),
    ];
    rows.chain(others.map(|(method, path)| (method, path.to_owned()))).collect()
}

#[tokio::test]
async fn every_row_for_operators_refuses_no_caller_a_wrong_caller_and_a_weak_caller_before_it_tells_anything() {
    let face = face().await;
    face.operate(Command::CreateAccount("101".parse().unwrap(), None)).await;
    let weak = face.key(Kind::Service, |key| key.account = Some("101".parse().unwrap())).await;
    let elsewhere = face.key(Kind::Operator, |key| key.allowed_ips = vec!["10.0.0.0/8".parse().unwrap()]).await;
    let wrong = "kw_test_".to_owned() + &"a".repeat(50);
    let bearer = |secret: &str| Some(format!("Bearer {secret}"));
    let said = |secret: &Secret| format!("token  {}", secret.expose_str().unwrap());
    let invalid = Some("Bearer realm=\"here\", error=\"invalid_token\"");
    let insufficient = Some("Bearer realm=\"here\", error=\"insufficient_scope\"");
    let ambiguous = Some("Bearer realm=\"here\", error=\"invalid_request\"");
    let cases = [
        (None, 401, "API_KEY_REQUIRED", Some("Bearer realm=\"here\"")),
        (Some("Basic YTpi".to_owned()), 401, "API_KEY_REQUIRED", Some("Bearer realm=\"here\"")),
        (bearer(&wrong), 401, "API_KEY_INVALID", invalid),
        (bearer("a-secret-that-nobody-has"), 401, "API_KEY_INVALID", invalid),
        (bearer("one two"), 400, "CREDENTIAL_AMBIGUOUS", ambiguous),
        (Some(said(&weak)), 403, "SCOPE_INSUFFICIENT", insufficient),
        (Some(said(&elsewhere)), 403, "IP_NOT_ALLOWED", None),
    ];
    let rows = operators_rows();
    assert!(rows.len() > 20, "{rows:?}");
    for (method, path) in &rows {
        for (line, status, code, challenge) in &cases {
            // What follows the credential is wrong in every way, and that is not told.
            let mut request = Request::builder().method(method).uri(format!("{path}?no=such"));
            if let Some(line) = line {
                request = request.header(AUTHORIZATION, line);
            }
            let answer = face.send(request.body("no JSON".to_owned()).unwrap()).await;
            assert_eq!((answer.status, answer.code().as_str()), (*status, *code), "{method} {path} {line:?}");
            let lines: Vec<_> = answer.headers.get_all(WWW_AUTHENTICATE).iter().collect();
            match challenge {
                Some(challenge) => assert_eq!(lines, [*challenge, "Token realm=\"here\""]),
                None => assert!(lines.is_empty()),
            }
            assert!(answer.headers.get(ALLOW).is_none());
        }
    }
}

#[tokio::test]
async fn rule_4_a_superseded_operator_key_cannot_rotate_or_manage_anything() {
    let face = face().await;
    let old = face.key(Kind::Operator, |_| ()).await;
    let list = |secret: &Secret| {
        let line = format!("Bearer {}", secret.expose_str().unwrap());
        Request::get("/v1/keys").header(AUTHORIZATION, line).body(String::new()).unwrap()
    };
    let answer = face.send(list(&old)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let id = answer.json()["keys"][0]["id"].as_str().unwrap().to_owned();
    let line = format!("Bearer {}", old.expose_str().unwrap());
    let rotate = Request::post(format!("/v1/keys/{id}/rotate"))
        .header(AUTHORIZATION, &line)
        .header(CONTENT_TYPE, JSON)
        .body(r#"{"mode":"grace","grace_seconds":3600}"#.to_owned());
    let answer = face.send(rotate.unwrap()).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let new = Secret::from(answer.json()["secret"].as_str().unwrap().to_owned());
    let answer = face.send(list(&old)).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "API_KEY_SUPERSEDED"));
    assert_eq!(face.send(list(&new)).await.status, 200);
}

#[tokio::test]
async fn a_request_is_called_as_its_caller_calls_it_or_has_a_name_of_its_own() {
    let face = face().await;
    for (given, kept) in [("a-b_c.d:1", true), ("", false), ("a b", false), (&"x".repeat(129), false)] {
        let request = Request::get("/livez").header("x-request-id", given).body(String::new());
        let answer = face.send(request.unwrap()).await;
        let id = answer.headers["x-request-id"].to_str().unwrap();
        assert_eq!((id == given, id.starts_with("req_")), (kept, !kept), "{id}");
    }
}

#[tokio::test]
async fn a_store_that_cannot_tell_is_a_503_that_says_when_to_try_again() {
    let face = face().await;
    let operator = face.key(Kind::Operator, |_| ()).await;
    face.admin.hand.keyring.store().close();
    let line = format!("Bearer {}", operator.expose_str().unwrap());
    let answer = face.send(Request::get("/v1/whoami").header(AUTHORIZATION, line).body(String::new()).unwrap()).await;
    assert_eq!((answer.status, answer.code().as_str()), (503, "AUTH_UNAVAILABLE"));
    assert_eq!(answer.headers[RETRY_AFTER], "1");
    assert!(answer.headers.get(WWW_AUTHENTICATE).is_none());
}

#[tokio::test]
async fn what_is_no_row_is_a_404_in_problem_form() {
    let face = face().await;
    for path in ["/", "/readyz/", "/livez/../metrics", "/READYZ"] {
        let answer = face.ask(Method::GET, path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.headers[CONTENT_TYPE], "application/problem+json");
        let id = answer.headers["x-request-id"].to_str().unwrap();
        let expected = format!(
            r#"{{"type":"urn:keyward:problem:ROUTE_NOT_FOUND","title":"Nothing is served at this path.","status":404,"instance":"urn:keyward:request:{id}","code":"ROUTE_NOT_FOUND","request_id":"{id}"}}"#
        );
        assert_eq!(answer.body, expected);
    }
}

#[tokio::test]
async fn readiness_follows_the_checks_and_tells_why() {
    let face = face().await;
    assert_eq!(face.ask(Method::GET, "/readyz").await.body, "ready\n");
    face.ready.store(false, Ordering::SeqCst);
    let answer = face.ask(Method::GET, "/readyz").await;
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains(r#""detail":"store: does not answer","#), "{answer:?}");
    assert_eq!(answer.code(), "NOT_READY");
    let answer = face.ask(Method::GET, "/readyz?verbose").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.body, "[+] draining: ok\n[-] store: does not answer\nnot ready\n");
    assert_eq!(face.ask(Method::GET, "/livez").await.status, 200);
}

#[test]
fn the_face_answers_on_a_worker_of_its_own() {
    let wanted = Wanted {
        address: (Ipv4Addr::LOCALHOST, 0).into(),
        protocol: Protocol::Http1,
        proxied: false,
        setting: "admin.listen".to_owned(),
    };
    let listeners = Listeners::bind(&[wanted], 1, Duration::from_secs(30)).unwrap();
    let address = listeners.bound()[0].address;
    let Config { limits, timeouts, .. } = Config::of_reference();
    let terms = terms(&Terms { limits, timeouts, exempt: Arc::default(), proxies: Arc::default() });
    let control = tokio::runtime::Runtime::new().unwrap();
    let Face { admin, _folder, .. } = control.block_on(face());
    let setup = Setup {
        name: "keyward-admin",
        terms: Newest::new(terms),
        tls: None,
        metrics: Arc::clone(&admin.metrics),
        clock: Clock::System,
        drain: Drain::new(),
    };
    let _workers = Workers::start(&setup, listeners, move |_| admin.clone()).unwrap();
    for (method, has_body) in [("GET", true), ("HEAD", false)] {
        let mut client = TcpStream::connect(address).unwrap();
        write!(client, "{method} /metrics HTTP/1.1\r\nhost: admin\r\naccept: application/openmetrics-text\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("content-length: "), "{answer}");
        assert_eq!(answer.ends_with("# EOF\n"), has_body, "{answer}");
    }
}
