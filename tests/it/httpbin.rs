//! A real origin, asked directly and through keyward: every endpoint's two answers are equal, but for a stated list.

use std::net::SocketAddr;

use crate::support::python::Server;
use crate::support::{Answer, Keyward, Minted, Wire, keyward};

/// Answer headers that may differ, and why. Everything else is equal, bodies byte for byte.
const ITS_OWN: &[&str] = &[
    "date",       // the second in which it was answered
    "connection", // each connection's own, as is the framing of its bodies
    "keep-alive",
    "transfer-encoding",
    "x-request-id", // keyward's
];

/// Headers that httpbin makes up anew for each answer.
const MADE_UP: &[(&str, &[&str])] = &[("/cache", &["etag", "last-modified"])];

struct Pair {
    httpbin: Server,
    keyward: Keyward,
    key: Minted,
}

fn pair() -> Pair {
    let httpbin = Server::httpbin();
    let keyward = keyward().upstream(httpbin.url()).start();
    keyward.account("101");
    let key = keyward.service_key("101", &[]);
    Pair { httpbin, keyward, key }
}

impl Pair {
    /// The answer given directly to a request that says all that keyward adds, and the one given through keyward.
    fn both(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> [Answer; 2] {
        // In the order keyward adds them: some endpoints answer them in the order they came.
        let added = [
            ("X-Forwarded-Host", "httpbin.test"),
            ("X-Forwarded-For", "127.0.0.1"),
            ("X-Forwarded-Proto", "http"),
            ("Via", "1.1 keyward"),
            ("X-Keyward-Key", self.key.id.as_str()),
            ("X-Keyward-Kind", "service"),
            ("X-Keyward-Account", "101"),
        ];
        let token = format!("Token {}", self.key.secret);
        let direct = ask(self.httpbin.address, method, path, &[headers, &added].concat(), body);
        let through = [headers, &[("Authorization", token.as_str())]].concat();
        [direct, ask(self.keyward.address(), method, path, &through, body)]
    }

    fn assert_equal(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let [direct, through] = self.both(method, path, headers, body);
        assert_eq!(direct.status, through.status, "{method} {path}");
        assert_eq!(comparable(&direct, path), comparable(&through, path), "{method} {path}");
        assert!(
            direct.body == without_time(&direct, &through),
            "{method} {path}: {}\n{}",
            direct.text(),
            through.text()
        );
        through
    }
}

fn ask(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let length = body.len().to_string();
    let mut all = vec![("Host", "httpbin.test")];
    all.extend_from_slice(headers);
    if !body.is_empty() {
        all.push(("Content-Length", &length));
    }
    let mut wire = Wire::connect(address);
    wire.send(crate::support::http::head(method, path, &all) + body);
    wire.answer(method)
}

fn comparable(answer: &Answer, path: &str) -> Vec<(String, String)> {
    let lower = answer.headers.iter().map(|(name, value)| (name.to_lowercase(), value.clone()));
    let made_up = MADE_UP.iter().find(|(known, _)| *known == path).map_or(&[][..], |(_, names)| names);
    let left_out = |name: &str| ITS_OWN.contains(&name) || made_up.contains(&name);
    let mut kept: Vec<_> = lower.filter(|(name, _)| !left_out(name)).collect();
    kept.sort();
    kept
}

/// gzip writes the second of its making into bytes 4 to 7 (RFC 1952, 2.3): those are taken over from the other answer.
fn without_time(direct: &Answer, through: &Answer) -> Vec<u8> {
    let mut body = through.body.clone();
    if through.header("content-encoding") == Some("gzip") && direct.body.len() == body.len() && body.len() > 8 {
        body[4..8].copy_from_slice(&direct.body[4..8]);
    }
    body
}

#[test]
fn every_endpoints_two_answers_are_equal() {
    let pair = pair();
    let endpoints: &[(&str, &str)] = &[
        ("GET", "/get?a=1&b=two%20words&c=%E2%82%AC"),
        ("DELETE", "/delete"),
        ("GET", "/anything/a/b%20c?d=e"),
        ("GET", "/ip"),
        ("GET", "/user-agent"),
        ("GET", "/headers"),
        ("GET", "/status/200"),
        ("GET", "/status/204"),
        ("GET", "/status/404"),
        ("GET", "/status/418"),
        ("GET", "/status/500"),
        ("POST", "/status/201"),
        ("GET", "/response-headers?X-One=1&X-Two=2&Set-Cookie=a%3Db"),
        ("GET", "/redirect/3"),
        ("GET", "/relative-redirect/2"),
        ("GET", "/absolute-redirect/2"),
        ("GET", "/redirect-to?url=%2Fget&status_code=307"),
        ("GET", "/cookies"),
        ("GET", "/cookies/set?a=b&c=d"),
        ("GET", "/cookies/delete?a"),
        ("GET", "/gzip"),
        ("GET", "/deflate"),
        ("GET", "/brotli"),
        ("GET", "/encoding/utf8"),
        ("GET", "/stream/5"),
        ("GET", "/stream-bytes/5000?seed=1&chunk_size=700"),
        ("GET", "/bytes/5000?seed=1"),
        ("GET", "/range/5000"),
        ("GET", "/drip?numbytes=5&duration=0&delay=0&code=200"),
        ("GET", "/delay/0"),
        ("GET", "/base64/aGVsbG8gd29ybGQ="),
        ("GET", "/cache"),
        ("GET", "/cache/60"),
        ("GET", "/etag/abc"),
        ("GET", "/html"),
        ("GET", "/json"),
        ("GET", "/xml"),
        ("GET", "/robots.txt"),
        ("GET", "/deny"),
        ("GET", "/links/5/2"),
        ("GET", "/forms/post"),
        ("GET", "/image/png"),
        ("GET", "/image/jpeg"),
        ("GET", "/image/svg"),
        ("GET", "/image/webp"),
        ("GET", "/hidden-basic-auth/u/p"),
        ("GET", "/no/such/path"),
        ("OPTIONS", "/get"),
        ("PUT", "/get"),
    ];
    for (method, path) in endpoints {
        pair.assert_equal(
            method,
            path,
            &[("Accept", "*/*"), ("Accept-Encoding", "gzip, deflate, br"), ("User-Agent", "a test")],
            "",
        );
        if *method == "GET" {
            pair.assert_equal("HEAD", path, &[("Accept", "*/*")], "");
        }
    }
    for (method, path) in
        [("POST", "/post"), ("PUT", "/put"), ("PATCH", "/patch"), ("DELETE", "/delete"), ("POST", "/anything")]
    {
        pair.assert_equal(method, path, &[("Content-Type", "application/json")], "{\"a\": [1, 2, 3]}");
        pair.assert_equal(method, path, &[("Content-Type", "application/x-www-form-urlencoded")], "a=1&b=2");
    }
    // What httpbin asks of Authorization it cannot have here: that header carries the key. By itself it is not keyward's.
    let basic = pair.both("GET", "/basic-auth/u/p", &[], "");
    assert_eq!((basic[0].status, basic[1].status), (401, 401));
    assert_eq!(basic[0].header("www-authenticate"), basic[1].header("www-authenticate"));
}

#[test]
fn conditions_ranges_and_codings_pass_through() {
    let pair = pair();
    let not_modified = pair.assert_equal("GET", "/etag/abc", &[("If-None-Match", "abc")], "");
    assert_eq!(not_modified.status, 304);
    assert_eq!(
        pair.assert_equal("GET", "/cache", &[("If-Modified-Since", "Mon, 01 Jan 2024 00:00:00 GMT")], "").status,
        304
    );
    assert_eq!(pair.assert_equal("GET", "/etag/abc", &[("If-Match", "other")], "").status, 412);
    let part = pair.assert_equal("GET", "/range/1000", &[("Range", "bytes=10-29")], "");
    assert_eq!((part.status, part.body.len(), part.header("content-range")), (206, 20, Some("bytes 10-29/1000")));
    let gzip = pair.assert_equal("GET", "/gzip", &[("Accept-Encoding", "gzip")], "");
    assert_eq!((gzip.header("content-encoding"), &gzip.body[..2]), (Some("gzip"), &[0x1f, 0x8b][..]));
    assert_eq!(pair.assert_equal("GET", "/status/204", &[], "").status, 204);
    let head = pair.assert_equal("HEAD", "/bytes/5000?seed=1", &[], "");
    assert_eq!((head.header("content-length"), head.body.len()), (Some("5000"), 0));
}

#[test]
fn the_stated_list_is_what_the_origin_is_told_and_no_more() {
    let pair = pair();
    let direct = ask(pair.httpbin.address, "GET", "/headers?show_env=1", &[("X-Own", "1")], "");
    let [_, through] = pair.both("GET", "/headers?show_env=1", &[("X-Own", "1")], "");
    let names = |answer: &Answer| -> Vec<String> {
        let mut names: Vec<_> = answer.json()["headers"].as_object().unwrap().keys().cloned().collect();
        names.sort();
        names
    };
    let added: Vec<_> = names(&through).into_iter().filter(|name| !names(&direct).contains(name)).collect();
    assert_eq!(
        added,
        [
            "Via",
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "X-Forwarded-Proto",
            "X-Keyward-Account",
            "X-Keyward-Key",
            "X-Keyward-Kind",
            "X-Request-Id"
        ]
    );
}
