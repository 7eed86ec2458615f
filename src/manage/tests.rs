//! Every row, and what is no row.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Method;
use http_body_util::BodyExt;

use super::routes::ROUTES;
use super::*;
use crate::clock::Clock;
use crate::net::config::{Config, Terms};
use crate::net::drain::Drain;
use crate::net::listen::{Listeners, Protocol, Wanted};
use crate::net::newest::Newest;
use crate::net::worker::{Setup, Workers};
use crate::telemetry::metrics::Names;

/// A face over one check that can be switched, and its switch.
fn admin() -> (Admin, Arc<AtomicBool>) {
    let store = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&store);
    let health = Health::default()
        .with("draining", || Ok(()))
        .with("store", move || if asked.load(Ordering::SeqCst) { Ok(()) } else { Err("does not answer".to_owned()) });
    (Admin::new(Arc::new(health), Metrics::new(Names::default())), store)
}

async fn ask(admin: &Admin, method: Method, target: &str) -> (StatusCode, http::HeaderMap, String) {
    let request = Request::builder().method(method).uri(target).body(()).unwrap();
    let (head, body) = admin.answer(&request).into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status, head.headers, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn every_row_answers_its_methods_and_names_them_to_any_other() {
    let (admin, _) = admin();
    for (path, methods, _) in &ROUTES {
        for method in *methods {
            let (status, headers, _) = ask(&admin, method.clone(), path).await;
            assert_eq!((status, &headers[CACHE_CONTROL]), (StatusCode::OK, &HeaderValue::from_static("no-store")));
        }
        let (status, headers, body) = ask(&admin, Method::POST, path).await;
        assert_eq!((status, headers[ALLOW].to_str().unwrap()), (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD"));
        assert_eq!(headers[CONTENT_TYPE], "application/problem+json");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!((&body["status"], &body["code"]), (&405.into(), &"METHOD_NOT_ALLOWED".into()));
    }
}

#[tokio::test]
async fn what_is_no_row_is_a_404_in_problem_form() {
    let (admin, _) = admin();
    for path in ["/", "/readyz/", "/livez/../metrics", "/READYZ"] {
        let (status, headers, body) = ask(&admin, Method::GET, path).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(headers[CONTENT_TYPE], "application/problem+json");
        assert_eq!(body, r#"{"type":"about:blank","title":"Not Found","status":404,"code":"ROUTE_NOT_FOUND"}"#);
    }
}

#[tokio::test]
async fn readiness_follows_the_checks_and_tells_why() {
    let (admin, store) = admin();
    assert_eq!(ask(&admin, Method::GET, "/readyz").await.2, "ready\n");
    store.store(false, Ordering::SeqCst);
    let (status, _, body) = ask(&admin, Method::GET, "/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.contains(r#""detail":"store: does not answer","code":"NOT_READY""#), "{body}");
    let (status, _, body) = ask(&admin, Method::GET, "/readyz?verbose").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body, "[+] draining: ok\n[-] store: does not answer\nnot ready\n");
    assert_eq!(ask(&admin, Method::GET, "/livez").await.0, StatusCode::OK);
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
    let (admin, _) = admin();
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
