//! What was judged is what is forwarded, and what can be read twice is refused before anything else.

use crate::support::started;

#[test]
fn ambiguous_requests_get_a_clear_400_and_reach_nobody() {
    let (keyward, origin, key) = started();
    let token = format!("Authorization: Token {}\r\n", key.secret);
    for (line, headers) in [
        ("GET /a/../b HTTP/1.1", "Host: a\r\n"),
        ("GET /a/%2e%2e/b HTTP/1.1", "Host: a\r\n"),
        ("GET //a HTTP/1.1", "Host: a\r\n"),
        ("GET /a;b HTTP/1.1", "Host: a\r\n"),
        ("GET /a%2Fb HTTP/1.1", "Host: a\r\n"),
        ("GET /a%5cb HTTP/1.1", "Host: a\r\n"),
        ("GET /a%252e HTTP/1.1", "Host: a\r\n"),
        ("GET /a%00 HTTP/1.1", "Host: a\r\n"),
        ("GET /a%zz HTTP/1.1", "Host: a\r\n"),
        ("GET /a HTTP/1.1", ""),
        ("GET /a HTTP/1.1", "Host: a\r\nHost: a\r\n"),
        ("GET /a HTTP/1.1", "Host: a/b\r\n"),
        ("GET /a HTTP/1.1", "Host: a b\r\n"),
        ("GET http://b/a HTTP/1.1", "Host: a\r\n"),
        ("TRACE /a HTTP/1.1", "Host: a\r\n"),
        ("CONNECT a:80 HTTP/1.1", "Host: a:80\r\n"),
        ("POST /a HTTP/1.1", "Host: a\r\nTransfer-Encoding: gzip, chunked\r\n"),
    ] {
        let mut wire = keyward.wire();
        wire.send(format!("{line}\r\n{headers}{token}\r\n"));
        let answer = wire.answer("GET");
        assert_eq!(answer.status, 400, "{line} {headers}: {}", answer.text());
        if !answer.body.is_empty() {
            assert_eq!(answer.code(), "REQUEST_MALFORMED", "{line} {headers}");
            assert!(answer.json()["detail"].as_str().unwrap().len() > 10);
        }
    }
    assert!(origin.seen().heads.is_empty(), "{:?}", origin.seen().heads);
}

#[test]
fn an_absolute_target_is_forwarded_in_origin_form() {
    let (keyward, origin, key) = started();
    let answer =
        keyward.wire().ask("GET", "http://API.test/a?b", &[("Authorization", &format!("Token {}", key.secret))]);
    assert_eq!(answer.status, 200);
    assert!(
        origin.last().starts_with("GET /a?b HTTP/1.1\r\nhost: api.test\r\n")
            || origin.last().contains("\r\nhost: api.test\r\n")
    );
    assert!(origin.last().starts_with("GET /a?b HTTP/1.1\r\n"));
}

#[test]
fn too_large_a_head_is_a_431() {
    let (keyward, origin, key) = started();
    let filler = "x".repeat(33 * 1024);
    let token = format!("Token {}", key.secret);
    let answer = keyward.wire().ask("GET", "/", &[("Authorization", &token), ("X-Filler", &filler)]);
    assert_eq!((answer.status, answer.code().as_str()), (431, "HEADERS_TOO_LARGE"));
    // Far over the limit nothing is read any more, and the answer is the status alone.
    let endless = "x".repeat(70 * 1024);
    assert_eq!(keyward.wire().ask("GET", "/", &[("Authorization", &token), ("X-Filler", &endless)]).status, 431);
    assert!(origin.seen().heads.is_empty());
    assert_eq!(keyward.get("/", &key.secret).status, 200);
}

#[test]
fn a_refused_upload_does_not_become_the_next_request() {
    let (keyward, origin, _key) = started();
    let hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut wire = keyward.wire();
    wire.send(format!("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{hidden}", hidden.len()));
    assert_eq!(wire.answer("POST").status, 401);
    wire.send("GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(wire.answer("GET").status, 401);
    assert!(wire.is_ended());
    let logged = keyward.logged("/next", 1);
    assert_eq!(logged.len(), 1);
    assert!(keyward.stdout.all().iter().all(|line| !line.contains("/hidden")));
    assert!(origin.seen().heads.is_empty());
}

#[test]
fn a_length_beside_a_coding_ends_the_connection() {
    let (keyward, origin, key) = started();
    let mut wire = keyward.wire();
    wire.send(format!(
        "POST /a HTTP/1.1\r\nHost: a\r\nAuthorization: Token {}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\
         GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        key.secret
    ));
    let answer = wire.answer("POST");
    assert!(matches!(answer.status, 200 | 400), "{}", answer.status);
    assert!(wire.is_ended());
    assert!(origin.seen().heads.iter().all(|head| !head.contains("smuggled")));
}
