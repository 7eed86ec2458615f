//! Asking for another protocol where the route allows one (RFC 9110, 7.8; RFC 6455, 4.1): only what can be read in one way is
//! asked for, only the origin's own word begins a tunnel, and what follows a request that was answered otherwise is no request.

use crate::desync::case::{Case, case, get, lie, passed, raw, refused};
use crate::desync::recorder::Then::{Close, Keep};

/// Asked for, and nothing else of the client's connection.
const ASKED: &[&str] = &["GET /socket/a|connection: upgrade|upgrade: websocket|sec-websocket-key: YQ=="];
/// An ordinary request.
const PLAIN: &[&str] = &["GET /socket/a|sec-websocket-key: YQ=="];
const BROKEN: &[&str] = &["502 UPSTREAM_BROKEN"];

const fn socket(fields: &'static [u8]) -> crate::desync::case::Sent {
    get("/socket/a", fields)
}

const WEBSOCKET: &[u8] = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: YQ==\r\n";

/// The origin says 101 in a manner that is no answer to what was asked.
const fn disagreed(name: &'static str, answer: &'static [u8]) -> Case {
    lie(name, answer, Keep, BROKEN).to(socket(WEBSOCKET), ASKED).closed()
}

pub(super) const CASES: &[Case] = &[
    passed("an Upgrade that is answered otherwise", socket(WEBSOCKET), ASKED).closed(),
    passed(
        "an Upgrade in capitals",
        socket(b"CONNECTION: UPGRADE\r\nUPGRADE: WEBSOCKET\r\nSEC-WEBSOCKET-KEY: YQ==\r\n"),
        ASKED,
    )
    .closed(),
    passed(
        "an Upgrade beside what Connection names",
        socket(b"Connection: upgrade, X-Hop\r\nX-Hop: 1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: YQ==\r\n"),
        ASKED,
    )
    .closed(),
    passed(
        "an Upgrade in the second Connection",
        socket(b"Connection: x\r\nConnection: keep-alive, upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: YQ==\r\n"),
        ASKED,
    )
    .closed(),
    case(
        "a request behind an Upgrade that is answered otherwise",
        raw(b"GET /socket/a <keyed>Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: YQ==\r\n\r\n\
          GET /smuggled <keyed>\r\n"),
        &["200"],
        ASKED,
    )
    .closed(),
    case(
        "frames behind an Upgrade that is answered otherwise",
        raw(b"GET /socket/a <keyed>Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: YQ==\r\n\r\n\
          \x81\x85\x00\x00\x00\x00hello"),
        &["200"],
        ASKED,
    )
    .closed(),
    case(
        "h2c and its preface behind, where a WebSocket is allowed",
        raw(b"GET /socket/a <keyed>Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n\r\n\
          PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        &["200", "400?"],
        &["GET /socket/a"],
    )
    .closed(),
    passed(
        "an Upgrade to h2c, where a WebSocket is allowed",
        socket(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"),
        &["GET /socket/a"],
    ),
    passed(
        "an Upgrade that no Connection names",
        socket(b"Upgrade: websocket\r\nSec-WebSocket-Key: YQ==\r\n"),
        PLAIN,
    ),
    passed(
        "a Connection that names no Upgrade",
        socket(b"Connection: Upgrade\r\nSec-WebSocket-Key: YQ==\r\n"),
        PLAIN,
    ),
    passed(
        "two Upgrades",
        socket(b"Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: websocket\r\nSec-WebSocket-Key: YQ==\r\n"),
        PLAIN,
    ),
    passed(
        "two Upgrades of which one is h2c",
        socket(b"Connection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\nSec-WebSocket-Key: YQ==\r\n"),
        PLAIN,
    ),
    passed(
        "an Upgrade to a list",
        socket(b"Connection: Upgrade\r\nUpgrade: websocket, h2c\r\nSec-WebSocket-Key: YQ==\r\n"),
        PLAIN,
    ),
    passed(
        "an Upgrade to a version",
        socket(b"Connection: Upgrade\r\nUpgrade: websocket/13\r\nSec-WebSocket-Key: YQ==\r\n"),
        PLAIN,
    ),
    passed(
        "an empty Upgrade",
        socket(b"Connection: Upgrade\r\nUpgrade:\r\nSec-WebSocket-Key: YQ==\r\n"),
        PLAIN,
    ),
    passed(
        "an Upgrade without the WebSocket's key",
        socket(b"Connection: Upgrade\r\nUpgrade: websocket\r\n"),
        &["GET /socket/a"],
    ),
    passed(
        "an Upgrade with a length",
        socket(b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: YQ==\r\nContent-Length: 0\r\n"),
        &["GET /socket/a|sec-websocket-key: YQ==|content-length: 0"],
    ),
    passed(
        "an Upgrade with a body where it is allowed",
        raw(b"GET /socket/a <keyed>Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: YQ==\r\n\
          Content-Length: 27\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n\n"),
        &["GET /socket/a|sec-websocket-key: YQ==|content-length: 27||GET /smuggled HTTP/1.1\r\n\r\n\n"],
    ),
    passed(
        "an Upgrade with a chunked body",
        raw(b"GET /socket/a <keyed>Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: YQ==\r\n\
          Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        &["GET /socket/a|sec-websocket-key: YQ==|transfer-encoding: chunked||hello"],
    ),
    passed(
        "an Upgrade by POST",
        raw(b"POST /socket/a <keyed>Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: YQ==\r\n\r\n"),
        &["POST /socket/a|sec-websocket-key: YQ=="],
    ),
    passed(
        "an Upgrade in HTTP/1.0 where it is allowed",
        raw(b"GET /socket/a HTTP/1.0\r\n<host><key>Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: YQ==\r\n\r\n"),
        PLAIN,
    )
    .closed(),
    refused(
        "an Upgrade beside the account in Connection",
        socket(b"Connection: Upgrade, X-Keyward-Account\r\nUpgrade: websocket\r\nSec-WebSocket-Key: YQ==\r\n"),
        &["400 REQUEST_MALFORMED"],
    ),
    refused(
        "an Upgrade that no key allows, and a request behind",
        raw(b"GET /socket/a <bare>Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: YQ==\r\n\r\n\
          GET /smuggled <keyed>\r\n"),
        &["401 API_KEY_REQUIRED"],
    )
    .closed(),
    // Origins.
    lie(
        "a switch that was agreed on",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Accept: elQ7dOiOMi3NaFaxTkGGl+TkVnE=\r\n\r\n",
        Close,
        &["101"],
    )
    .to(socket(WEBSOCKET), ASKED)
    .closed(),
    disagreed(
        "a switch to another protocol",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\
          Sec-WebSocket-Accept: elQ7dOiOMi3NaFaxTkGGl+TkVnE=\r\n\r\n",
    ),
    disagreed(
        "a switch to two protocols",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket, h2c\r\n\
          Sec-WebSocket-Accept: elQ7dOiOMi3NaFaxTkGGl+TkVnE=\r\n\r\n",
    ),
    disagreed(
        "a switch to none",
        b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: elQ7dOiOMi3NaFaxTkGGl+TkVnE=\r\n\r\n",
    ),
    disagreed(
        "a switch without the proof",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ),
    disagreed(
        "a switch with another's proof, and an answer",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo",
    ),
    lie(
        "a switch that is only told of",
        b"HTTP/1.1 200 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\none",
        Keep,
        &["200 one"],
    )
    .to(socket(WEBSOCKET), ASKED)
    .closed(),
    lie(
        "another version of it that is asked for",
        b"HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\none",
        Keep,
        &["426 one"],
    )
    .to(socket(WEBSOCKET), ASKED)
    .closed(),
    lie(
        "a switch where the route allows one and nobody asked",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        Close,
        BROKEN,
    )
    .to(get("/socket/a", b""), &["GET /socket/a"]),
];
