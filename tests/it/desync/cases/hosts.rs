//! Host, and the target's own authority (RFC 9112, 3.2; RFC 9110, 7.2).

use crate::desync::case::{Case, get, passed, raw, refused, unreadable};

const A: &[&str] = &["GET /a"];
const MALFORMED: &[&str] = &["400 REQUEST_MALFORMED"];

/// A GET whose Host lines are these.
macro_rules! host {
    ($lines:literal) => {
        raw(concat!("GET /a HTTP/1.1\r\n", $lines, "\r\n<key>\r\n").as_bytes())
    };
}

/// A GET of this target with a Host of its own.
macro_rules! target {
    ($target:literal) => {
        raw(concat!("GET ", $target, " <keyed>\r\n").as_bytes())
    };
}

pub(super) const CASES: &[Case] = &[
    refused("no Host", raw(b"GET /a HTTP/1.1\r\n<key>\r\n"), MALFORMED),
    refused("no Host in HTTP/1.0", raw(b"GET /a HTTP/1.0\r\n<key>\r\n"), MALFORMED).closed(),
    refused("two equal Hosts", host!("Host: api.test\r\nHost: api.test"), MALFORMED),
    refused("two unlike Hosts", host!("Host: api.test\r\nHost: spoof.test"), MALFORMED),
    refused("two unlike Hosts, the other first", host!("Host: spoof.test\r\nHost: api.test"), MALFORMED),
    refused("a Host before and one behind", raw(b"GET /a <keyed>Host: spoof.test\r\n\r\n"), MALFORMED),
    refused("two Hosts in two cases", host!("Host: api.test\r\nhOST: spoof.test"), MALFORMED),
    refused("an empty Host", host!("Host:"), MALFORMED),
    refused("an empty Host and a good one", host!("Host:\r\nHost: api.test"), MALFORMED),
    refused("a Host of spaces", host!("Host:   "), MALFORMED),
    refused("a Host with a space", host!("Host: api.test spoof.test"), MALFORMED),
    refused("a Host with a tab", host!("Host: api.test\tspoof.test"), MALFORMED),
    refused("a list of Hosts", host!("Host: api.test, spoof.test"), MALFORMED),
    refused("a Host with a path", host!("Host: api.test/spoof"), MALFORMED),
    refused("a Host with a query", host!("Host: api.test?spoof"), MALFORMED),
    refused("a Host with a fragment", host!("Host: api.test#spoof"), MALFORMED),
    refused("a Host with a scheme", host!("Host: http://api.test"), MALFORMED),
    refused("a Host with a user", host!("Host: spoof@api.test"), MALFORMED),
    refused("a Host with a user and a password", host!("Host: api.test:80@spoof.test"), MALFORMED),
    refused("a Host with an escape", host!("Host: api%2etest"), MALFORMED),
    refused("a Host with an escaped line end", host!("Host: api.test%0d%0aX-A:1"), MALFORMED),
    refused("a Host with a backslash", host!("Host: api.test\\spoof"), MALFORMED),
    refused("a Host of a dot", host!("Host: ."), MALFORMED),
    refused("a Host with two final dots", host!("Host: api.test.."), MALFORMED),
    refused("a Host with quotes", host!("Host: \"api.test\""), MALFORMED),
    refused("a Host with a semicolon", host!("Host: api.test;spoof"), MALFORMED),
    refused("a Host of a star", host!("Host: *"), MALFORMED),
    refused("a Host with a colon and no port", host!("Host: api.test:"), MALFORMED),
    refused("a Host with a port that is a word", host!("Host: api.test:http"), MALFORMED),
    refused("a Host with a port too large", host!("Host: api.test:65616"), MALFORMED),
    refused("a Host with a port in hexadecimal", host!("Host: api.test:0x50"), MALFORMED),
    refused("a Host with a negative port", host!("Host: api.test:-1"), MALFORMED),
    refused("a Host with two ports", host!("Host: api.test:80:81"), MALFORMED),
    refused("a Host of a port", host!("Host: :80"), MALFORMED),
    refused("a Host of half an address", host!("Host: [::1"), MALFORMED),
    refused("a Host of a name in brackets", host!("Host: [api.test]"), MALFORMED),
    refused("a Host of an address with a zone", host!("Host: [fe80::1%25eth0]"), MALFORMED),
    refused("a Host of an address of the future", host!("Host: [v1.a]"), MALFORMED),
    refused("a Host with brackets behind", host!("Host: [::1]spoof"), MALFORMED),
    refused("a Host above ASCII", raw(b"GET /a HTTP/1.1\r\nHost: \xc3\xa4pi.test\r\n<key>\r\n"), MALFORMED),
    refused(
        "a Host with a byte that is no UTF-8",
        raw(b"GET /a HTTP/1.1\r\nHost: \xffapi.test\xff\r\n<key>\r\n"),
        MALFORMED,
    ),
    unreadable("a Host with a NUL", raw(b"GET /a HTTP/1.1\r\nHost: api.test\0.spoof\r\n<key>\r\n")),
    unreadable("a folded Host", raw(b"GET /a HTTP/1.1\r\nHost:\r\n spoof.test\r\n<host><key>\r\n")),
    unreadable("a Host with a space before the colon", raw(b"GET /a HTTP/1.1\r\nHost : spoof.test\r\n<host><key>\r\n")),
    passed("a Host in capitals", host!("Host: API.Test"), A),
    passed("a Host with a final dot", host!("Host: api.test."), A),
    passed("a Host with another port", host!("Host: api.test:8080"), &["GET /a|host: api.test:8080"]),
    passed("a Host of an address", host!("Host: [::1]:8080"), &["GET /a|host: [::1]:8080"]),
    passed("another Host that says who it was", get("/a", b"X-Forwarded-Host: spoof.test\r\n"), A).everywhere(),
    passed("another Host that was original", get("/a", b"X-Original-Host: spoof.test\r\n"), A).everywhere(),
    passed("a Host with an underscore for a letter", get("/a", b"Ho_st: spoof.test\r\n"), A),
    // Targets in absolute form.
    passed("an absolute target", target!("http://api.test/a"), A),
    passed("an absolute target in capitals", target!("HTTP://API.TEST/a"), A),
    passed("an absolute target without a path", target!("http://api.test"), &["GET /"]),
    passed("an absolute target with a query and no path", target!("http://api.test?b"), &["GET /?b"]),
    refused("an absolute target of another host", target!("http://spoof.test/a"), MALFORMED),
    refused("an absolute target of another port", target!("http://api.test:8080/a"), MALFORMED),
    refused("an absolute target with a user", target!("http://spoof@api.test/a"), MALFORMED),
    refused("an absolute target with a user and a host", target!("http://api.test@spoof.test/a"), MALFORMED),
    refused("an absolute target of another scheme", target!("ftp://api.test/a"), MALFORMED),
    unreadable("an absolute target of a file", target!("file:///etc/passwd")),
    refused("an absolute target with two Hosts", raw(b"GET http://api.test/a <bare><host><key>\r\n"), MALFORMED),
    refused("a target that is an authority", target!("api.test:80"), MALFORMED),
    refused("a target that is a word", target!("a"), MALFORMED),
    refused("a target of two slashes and a host", target!("//spoof.test/a"), MALFORMED),
    refused("a target of a star", target!("*"), MALFORMED),
    unreadable("an absolute target without a host", target!("http:///a")),
    unreadable("an absolute target with an escaped host", target!("http://api%2etest/a")),
    passed("OPTIONS of a star", raw(b"OPTIONS * <keyed>\r\n"), &["OPTIONS *"]),
];
