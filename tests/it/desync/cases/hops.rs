//! What belongs to the client's own connection: Connection and what it names, and asking for another protocol
//! (RFC 9110, 7.6.1, 7.8 and 10.1.1).

use crate::desync::case::{Case, case, get, method, passed, post, raw, refused};

const A: &[&str] = &["GET /a"];
const MALFORMED: &[&str] = &["400 REQUEST_MALFORMED"];

pub(super) const CASES: &[Case] = &[
    passed("close", get("/a", b"Connection: close\r\n"), A).closed(),
    passed("close in capitals", get("/a", b"Connection: CLOSE\r\n"), A).closed(),
    passed("keep-alive and close", get("/a", b"Connection: keep-alive, close\r\n"), A).closed(),
    passed("close and keep-alive in two lines", get("/a", b"Connection: close\r\nConnection: keep-alive\r\n"), A)
        .closed(),
    passed("keep-alive", get("/a", b"Connection: keep-alive\r\nKeep-Alive: timeout=1000\r\n"), A),
    passed("Proxy-Connection", get("/a", b"Proxy-Connection: keep-alive\r\n"), A),
    passed("a field that Connection names", get("/a", b"Connection: X-Hop\r\nX-Hop: 1\r\n"), A),
    passed(
        "a field that the second Connection names",
        get("/a", b"Connection: x\r\nConnection: X-Hop\r\nX-Hop: 1\r\n"),
        A,
    ),
    passed(
        "a field that Connection names without a space",
        get("/a", b"Connection: x,x-hop,y\r\nX-Hop: 1\r\nX-Hop: 2\r\n"),
        A,
    ),
    passed("a field that is not there", get("/a", b"Connection: X-Hop\r\n"), A),
    passed("empty members of Connection", get("/a", b"Connection: ,, X-Hop ,\r\nX-Hop: 1\r\n"), A),
    passed("an empty Connection", get("/a", b"Connection:\r\n"), A),
    refused("Connection names the account", get("/a", b"Connection: X-Keyward-Account\r\n"), MALFORMED),
    refused(
        "Connection names the account in small letters",
        get("/a", b"Connection: x-keyward-account\r\n"),
        MALFORMED,
    ),
    refused("Connection names the key's kind", get("/a", b"Connection: close, X-Keyward-Kind\r\n"), MALFORMED).either(),
    refused(
        "the second Connection names the user",
        get("/a", b"Connection: x\r\nConnection: X-Keyward-User\r\n"),
        MALFORMED,
    ),
    refused("Connection names the permissions", get("/a", b"Connection: X-Keyward-Permissions\r\n"), MALFORMED),
    refused("Connection names the chain", get("/a", b"Connection: X-Forwarded-For\r\n"), MALFORMED),
    refused("Connection names the scheme", get("/a", b"Connection: X-Forwarded-Proto\r\n"), MALFORMED),
    refused("Connection names the request's id", get("/a", b"Connection: X-Request-Id\r\n"), MALFORMED),
    refused("Connection names Host", get("/a", b"Connection: Host\r\n"), MALFORMED),
    refused("Connection names Authorization", get("/a", b"Connection: Authorization\r\n"), MALFORMED),
    refused("Connection names Cookie", get("/a", b"Connection: Cookie\r\nCookie: a\r\n"), MALFORMED),
    refused(
        "Connection names the length",
        post(b"Connection: Content-Length\r\nContent-Length: 5\r\n", b"hello"),
        MALFORMED,
    )
    .either(),
    refused("Connection names the type", get("/a", b"Connection: Content-Type\r\n"), MALFORMED),
    refused("Connection names what is no name", get("/a", b"Connection: a b\r\n"), MALFORMED),
    refused("Connection within quotes", get("/a", b"Connection: \"close\"\r\n"), MALFORMED),
    passed(
        "Connection names the coding",
        post(b"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
        &["POST /a|transfer-encoding: chunked||hello"],
    ),
    passed("TE", get("/a", b"TE: trailers, gzip\r\nConnection: TE\r\n"), A),
    passed("TE without Connection", get("/a", b"TE: chunked\r\n"), A),
    passed("a Trailer without a body", get("/a", b"Trailer: X-Keyward-Account\r\n"), A),
    passed("a proxy's credential", get("/a", b"Proxy-Authorization: Basic YTpi\r\n"), A),
    passed("a proxy's challenge", get("/a", b"Proxy-Authenticate: Basic\r\n"), A),
    // Other protocols are not asked for, and what is sent for them is taken for HTTP/1.1.
    passed(
        "Upgrade to a WebSocket",
        get(
            "/a",
            b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
          Sec-WebSocket-Key: YQ==\r\n",
        ),
        &["GET /a|sec-websocket-version: 13|sec-websocket-key: YQ=="],
    ),
    passed(
        "Upgrade to h2c",
        get(
            "/a",
            b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
          HTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        ),
        A,
    ),
    passed("Upgrade to h2c without Connection", get("/a", b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"), A),
    passed(
        "Upgrade to h2c that names only itself",
        get("/a", b"Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"),
        A,
    ),
    passed("Upgrade to HTTP/2.0", get("/a", b"Connection: Upgrade\r\nUpgrade: HTTP/2.0\r\n"), A),
    passed("Upgrade to TLS", get("/a", b"Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n"), A),
    passed(
        "Upgrade in HTTP/1.0",
        raw(b"GET /a HTTP/1.0\r\n<host><key>Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
        A,
    )
    .closed(),
    passed(
        "Upgrade with a body",
        post(b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n", b"hello"),
        &["POST /a|content-length: 5||hello"],
    ),
    refused(
        "Upgrade without a key",
        raw(b"GET /a <bare>Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
        &["401 API_KEY_REQUIRED"],
    ),
    case(
        "h2c and its preface behind",
        raw(b"GET /a <keyed>Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
          HTTP2-Settings: \r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        &["200", "400?"],
        A,
    )
    .closed(),
    case(
        "a WebSocket's frames behind",
        raw(b"GET /a <keyed>Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x05hello\r\n\r\n"),
        &["200", "400"],
        A,
    )
    .closed(),
    refused(
        "CONNECT to an authority",
        raw(b"CONNECT api.test:80 HTTP/1.1\r\nHost: api.test:80\r\n<key>\r\n"),
        MALFORMED,
    ),
    refused(
        "CONNECT to another authority",
        raw(b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n<key>\r\n"),
        MALFORMED,
    ),
    refused("CONNECT to an absolute target", method("CONNECT", "http://api.test/a"), MALFORMED),
    refused("TRACE with a body", raw(b"TRACE /a <keyed>Content-Length: 5\r\n\r\nhello"), MALFORMED).either(),
    refused("TRACE that says how far", raw(b"TRACE /a <keyed>Max-Forwards: 0\r\n\r\n"), MALFORMED),
    // Expectations end here.
    case(
        "an expectation is met here",
        post(b"Expect: 100-continue\r\nContent-Length: 5\r\n", b"hello"),
        &["100", "200"],
        &["POST /a|content-length: 5||hello"],
    ),
    passed(
        "an expectation of something else",
        post(b"Expect: 200-ok\r\nContent-Length: 5\r\n", b"hello"),
        &["POST /a|content-length: 5||hello"],
    ),
    passed("an expectation without a body", get("/a", b"Expect: 100-continue\r\n"), A),
    refused(
        "an expectation without a key",
        raw(b"POST /a <bare>Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"),
        &["401 API_KEY_REQUIRED"],
    )
    .closed(),
    passed(
        "two expectations",
        post(b"Expect: 100-continue\r\nExpect: y\r\nContent-Length: 5\r\n", b"hello"),
        &["POST /a|content-length: 5||hello"],
    ),
    passed("Via of the client", get("/a", b"Via: 1.0 somebody\r\n"), &["GET /a|via: 1.0 somebody"]),
    passed("Max-Forwards is the origin's", get("/a", b"Max-Forwards: 0\r\n"), &["GET /a|max-forwards: 0"]),
    passed("a date is no hop's", get("/a", b"Date: yesterday\r\n"), &["GET /a|date: yesterday"]),
];
