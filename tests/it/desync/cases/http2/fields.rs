//! Fields and pseudo-fields that would be more than one line of HTTP/1.1, or another (RFC 9113, 8.2 and 8.3).

use super::{A, GONE, MALFORMED, RESET};
use crate::desync::case::{Case, Sent, passed, refused};
use crate::desync::frames::Frame::{Ask, Head, Last};

pub(in crate::desync) const CASES: &[Case] = &[
    passed("a request in frames", with!(), A),
    // Fields that would break out of HTTP/1.1.
    refused("a line end in a value", with!("x-a": "1\r\nX-B: 2"), GONE),
    refused("a request in a value", with!("x-a": "1\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"), GONE),
    refused("a LF in a value", with!("x-a": "1\nX-B: 2"), GONE),
    refused("a CR in a value, over HTTP/2", with!("x-a": "1\rX-B: 2"), GONE),
    refused("a NUL in a value, over HTTP/2", with!("x-a": "1\0"), GONE),
    refused("a line end in a name", with!("x-a\r\nx-b": "1"), GONE),
    refused("a colon in a name", with!("x-a: 1\r\nx-b": "1"), GONE),
    refused("a colon at a name's end", with!("x-a:": "1"), GONE),
    refused("a space in a name", with!("x a": "1"), GONE),
    refused("a name in capitals", with!("X-A": "1"), GONE),
    refused("an empty name", with!("": "1"), GONE),
    refused("a NUL in a name", with!("x\0a": "1"), GONE),
    refused("a name that is a request line", with!("get /smuggled http/1.1\r\nhost": "a"), GONE),
    refused("a line end in a cookie", with!("cookie": "a=1\r\nx-b: 2"), GONE),
    passed("spaces around a value, over HTTP/2", with!("x-a": " 1 "), &["GET /a|x-a: 1"]),
    // Pseudo-fields.
    refused("a line end in the path", path!("/a\r\nX-B: 2"), RESET),
    refused("a request in the path", path!("/a HTTP/1.1\r\nHost: a\r\n\r\nGET /smuggled"), RESET),
    refused("a space in the path", path!("/a b"), RESET),
    refused("a version in the path", path!("/a HTTP/1.1"), RESET),
    refused("a NUL in the path", path!("/a\0"), RESET),
    refused("an empty path", path!(""), RESET),
    refused("a path without a slash", path!("a"), RESET),
    refused("a path that is a URL", path!("http://spoof.test/a"), RESET),
    refused("a path that is an authority", path!("@spoof.test/a"), RESET),
    refused("a path of a star", path!("*"), MALFORMED),
    passed("a path of a query alone", path!("?a"), &["GET /?a"]),
    passed("a fragment in the path", path!("/a#b"), A),
    refused(
        "a line end in the method",
        Sent::Frames(&[Ask(1, fields!("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\nGET" "/a"))]),
        GONE,
    ),
    refused("a space in the method", Sent::Frames(&[Ask(1, fields!("GET /smuggled" "/a"))]), GONE),
    refused("an empty method", Sent::Frames(&[Ask(1, fields!("" "/a"))]), GONE),
    refused("TRACE over HTTP/2", Sent::Frames(&[Ask(1, fields!("TRACE" "/a"))]), MALFORMED),
    refused("CONNECT with a path", Sent::Frames(&[Ask(1, fields!("CONNECT" "/a"))]), RESET),
    refused("CONNECT without a path", exactly!(":method": "CONNECT", ":authority": "api.test:80"), MALFORMED),
    refused(
        "CONNECT of a WebSocket",
        Sent::Frames(&[Ask(1, fields!("CONNECT" "/a", ":protocol": "websocket"))]),
        RESET,
    ),
    refused(
        "a GET with a protocol",
        exactly!(":method": "GET", ":scheme": "https", ":authority": "api.test", ":path": "/", ":protocol": "a"),
        RESET,
    ),
    refused("no method", exactly!(":scheme": "https", ":authority": "api.test", ":path": "/a"), RESET),
    refused("no scheme", exactly!(":method": "GET", ":authority": "api.test", ":path": "/a"), RESET),
    refused("no path", exactly!(":method": "GET", ":scheme": "https", ":authority": "api.test"), RESET),
    refused("no authority", exactly!(":method": "GET", ":scheme": "https", ":path": "/a"), MALFORMED),
    refused(
        "two methods",
        exactly!(":method": "GET", ":method": "POST", ":scheme": "https", ":authority": "api.test", ":path": "/a"),
        RESET,
    ),
    refused(
        "two paths",
        exactly!(":method": "GET", ":scheme": "https", ":authority": "api.test", ":path": "/a", ":path": "/smuggled"),
        RESET,
    ),
    refused(
        "two authorities",
        exactly!(":method": "GET", ":scheme": "https", ":authority": "api.test", ":authority": "a.test", ":path": "/"),
        RESET,
    ),
    refused(
        "two schemes",
        exactly!(":method": "GET", ":scheme": "https", ":scheme": "http", ":authority": "api.test", ":path": "/a"),
        RESET,
    ),
    refused(
        "a pseudo-field behind a field",
        exactly!(":method": "GET", ":scheme": "https", ":authority": "api.test", "x-a": "1", ":path": "/a"),
        RESET,
    ),
    refused("a pseudo-field that nobody knows", with!(":account": "spoof"), GONE),
    refused("a status in a request", with!(":status": "200"), RESET),
    refused(
        "a scheme of another sort",
        exactly!(":method": "GET", ":scheme": "ftp", ":authority": "api.test", ":path": "/a"),
        MALFORMED,
    ),
    refused(
        "a scheme that is a URL",
        exactly!(":method": "GET", ":scheme": "https://spoof.test/?", ":authority": "api.test", ":path": "/a"),
        RESET,
    ),
    refused(
        "an empty scheme",
        exactly!(":method": "GET", ":scheme": "", ":authority": "api.test", ":path": "/a"),
        MALFORMED,
    ),
    passed(
        "a scheme that is not the connection's",
        exactly!(":method": "GET", ":scheme": "http", ":authority": "api.test", ":path": "/a"),
        A,
    ),
    // Authority and Host.
    passed("an authority and an equal Host", with!("host": "api.test"), A),
    passed("an authority and an equal Host in capitals", with!("host": "API.test"), A),
    passed("a Host alone", exactly!(":method": "GET", ":scheme": "https", ":path": "/a", "host": "api.test"), A),
    refused("an authority and another Host", with!("host": "spoof.test"), MALFORMED),
    refused("an authority and two Hosts", with!("host": "api.test", "host": "api.test"), MALFORMED),
    refused("an authority and an empty Host", with!("host": ""), MALFORMED),
    refused(
        "an authority with a user",
        exactly!(":method": "GET", ":scheme": "https", ":authority": "spoof@api.test", ":path": "/a"),
        MALFORMED,
    ),
    refused(
        "an authority with a path",
        exactly!(":method": "GET", ":scheme": "https", ":authority": "api.test/spoof", ":path": "/a"),
        RESET,
    ),
    refused(
        "an authority with a line end",
        exactly!(":method": "GET", ":scheme": "https", ":authority": "api.test\r\nx-b: 2", ":path": "/a"),
        RESET,
    ),
    refused(
        "an empty authority",
        exactly!(":method": "GET", ":scheme": "https", ":authority": "", ":path": "/a"),
        RESET,
    ),
    // What HTTP/2 has no place for (8.2.2).
    refused("a coding over HTTP/2", with!("transfer-encoding": "chunked"), RESET),
    refused(
        "a coding and a body over HTTP/2",
        frames![
            Head(1, fields!("POST" "/a", "transfer-encoding": "chunked")),
            Last(1, b"0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n")
        ],
        RESET,
    ),
    refused("Connection over HTTP/2", with!("connection": "x-keyward-account"), RESET),
    refused("Keep-Alive over HTTP/2", with!("keep-alive": "timeout=5"), RESET),
    refused("Proxy-Connection over HTTP/2", with!("proxy-connection": "close"), RESET),
    refused("Upgrade over HTTP/2", with!("upgrade": "h2c"), RESET),
    refused("TE of something over HTTP/2", with!("te": "gzip"), RESET),
    passed("TE of trailers over HTTP/2", with!("te": "trailers"), A),
    passed("HTTP2-Settings over HTTP/2", with!("http2-settings": "AAMAAABk"), A),
    passed(
        "an expectation over HTTP/2",
        frames![Head(1, fields!("POST" "/a", "expect": "100-continue")), Last(1, b"hello")],
        &["POST /a|transfer-encoding: chunked||hello"],
    ),
];
