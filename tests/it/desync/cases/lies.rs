//! Origins that lie: about an answer's length, about how many answers there are, about what they are.

use crate::desync::case::{Case, get, lie, method, post};
use crate::desync::recorder::Then::{Close, Keep, More};

const BROKEN: &[&str] = &["502 UPSTREAM_BROKEN"];
const ONE: &[&str] = &["200 one"];
const TRUE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none";

/// No answer: 502.
const fn none(name: &'static str, answer: &'static [u8]) -> Case {
    lie(name, answer, Close, BROKEN)
}

/// No answer either, from an origin that thinks it gave one and keeps the connection.
const fn no_answer(name: &'static str, answer: &'static [u8]) -> Case {
    lie(name, answer, Keep, BROKEN)
}

/// An answer that breaks off, and is told to the client as such.
const fn short(name: &'static str, answer: &'static [u8]) -> Case {
    lie(name, answer, Close, &["cut"]).closed()
}

pub(super) const CASES: &[Case] = &[
    lie("the truth", TRUE, Keep, ONE).everywhere(),
    lie("the truth, and an end", TRUE, Close, ONE).everywhere(),
    // Framing.
    no_answer(
        "two unlike lengths of an answer",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\none",
    ),
    lie(
        "two equal lengths of an answer",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\none",
        Keep,
        ONE,
    ),
    no_answer("a list of unlike lengths of an answer", b"HTTP/1.1 200 OK\r\nContent-Length: 3, 4\r\n\r\none"),
    no_answer("a length of an answer with a plus", b"HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\none"),
    no_answer("a length of an answer with a minus", b"HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\none"),
    no_answer("a length of an answer in hexadecimal", b"HTTP/1.1 200 OK\r\nContent-Length: 0x3\r\n\r\none"),
    no_answer("an empty length of an answer", b"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\none"),
    no_answer("a length of an answer of 2^64", b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\none"),
    short("a length of an answer of 2^63", b"HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\none"),
    no_answer(
        "a length of an answer before a coding",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n\
          one\r\n0\r\n\r\n",
    ),
    no_answer(
        "a coding of an answer before a length",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\n\
          one\r\n0\r\n\r\n",
    ),
    lie(
        "chunks of an answer",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n",
        Keep,
        ONE,
    )
    .everywhere(),
    lie(
        "trailers of an answer",
        b"HTTP/1.1 200 OK\r\nTrailer: x-a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n\
          0\r\nX-A: 1\r\n\r\n",
        Keep,
        ONE,
    ),
    lie(
        "a length that is none beside no body",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\none",
        Keep,
        &["204"],
    ),
    lie(
        "chunks of no content",
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n",
        Keep,
        &["204"],
    ),
    lie(
        "a body of what was not modified",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\none",
        Keep,
        &["304"],
    ),
    lie("an answer that ends with its connection", b"HTTP/1.1 200 OK\r\n\r\none", Close, ONE),
    lie("an answer of HTTP/1.0", b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\none", Close, ONE),
    lie("an answer of HTTP/1.0 that ends with its connection", b"HTTP/1.0 200 OK\r\n\r\none", Close, ONE),
    lie(
        "an answer of HTTP/1.0 on a connection that stays",
        b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\none",
        Keep,
        ONE,
    ),
    no_answer(
        "chunks of an answer of HTTP/1.0",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\n\
          one\r\n0\r\n\r\n",
    ),
    short("an answer shorter than its length", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\none"),
    short("chunks without an end", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"),
    short("half a chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\none"),
    short("a last chunk without its line", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\n"),
    short(
        "an answer's chunk of no size",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\none\r\n0\r\n\r\n",
    ),
    short(
        "an answer's chunk of a negative size",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-3\r\none\r\n0\r\n\r\n",
    ),
    short(
        "an answer's chunk of 2^64",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000003\r\none\r\n\
          0\r\n\r\n",
    ),
    short(
        "an answer's chunk longer than its size",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\none\r\n0\r\n\r\n",
    ),
    short("an answer's chunk ended by LF", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\none\r\n0\r\n\r\n"),
    // One answer too many.
    lie(
        "a second answer at once",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\noneHTTP/1.1 200 OK\r\n\
          Content-Length: 3\r\n\r\ntwo",
        Keep,
        ONE,
    )
    .everywhere(),
    lie(
        "two more answers at once",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\noneHTTP/1.1 200 OK\r\n\
          Content-Length: 3\r\n\r\ntwoHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nsix",
        Keep,
        ONE,
    ),
    lie("a second answer later", TRUE, More(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo"), ONE).everywhere(),
    lie(
        "two more answers later",
        TRUE,
        More(
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwoHTTP/1.1 200 OK\r\n\
          Content-Length: 3\r\n\r\nsix",
        ),
        ONE,
    )
    .everywhere(),
    lie("half an answer later", TRUE, More(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX-A: "), ONE),
    lie("one byte later", TRUE, More(b"\n"), ONE),
    lie("an empty line later", TRUE, More(b"\r\n"), ONE),
    lie("an early hint later", TRUE, More(b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n"), ONE),
    lie(
        "a time-out later",
        TRUE,
        More(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
        ONE,
    ),
    lie("more of the body later", TRUE, More(b"more"), ONE),
    lie("more of the body at once", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nonemore", Keep, ONE),
    lie(
        "more behind the last chunk",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n3\r\n\
          two\r\n0\r\n\r\n",
        Keep,
        ONE,
    ),
    lie("a second answer to a POST later", TRUE, More(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo"), ONE)
        .to(post(b"Content-Length: 5\r\n", b"hello"), &["POST /a|content-length: 5||hello"]),
    lie("a body for a HEAD", TRUE, Keep, &["200"]).to(method("HEAD", "/a"), &["HEAD /a"]),
    lie("a body for a HEAD that ends with its connection", b"HTTP/1.1 200 OK\r\n\r\none", Close, &["200"])
        .to(method("HEAD", "/a"), &["HEAD /a"]),
    lie(
        "chunks for a HEAD",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n",
        Keep,
        &["200"],
    )
    .to(method("HEAD", "/a"), &["HEAD /a"]),
    // Answers that come too early or not at all.
    none("nothing", b"").to(post(b"", b""), &["POST /a"]),
    none("half a head", b"HTTP/1.1 200 OK\r\nContent-Le").to(post(b"", b""), &["POST /a"]),
    none("a status line and nothing", b"HTTP/1.1 200 OK\r\n").to(post(b"", b""), &["POST /a"]),
    none("noise", b"\0\x01\x02\x03\r\n\r\n"),
    none("an answer of HTTP/0.9", b"<html>one</html>\r\n\r\n"),
    none("an answer of HTTP/2", b"HTTP/2 200\r\nContent-Length: 3\r\n\r\none"),
    none("frames of HTTP/2", b"\0\0\0\x04\0\0\0\0\0"),
    none("a request for an answer", b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"),
    none("a status of two digits", b"HTTP/1.1 20 OK\r\nContent-Length: 3\r\n\r\none"),
    none("a status of four digits", b"HTTP/1.1 2000 OK\r\nContent-Length: 3\r\n\r\none"),
    none("a status that is a word", b"HTTP/1.1 two hundred\r\nContent-Length: 3\r\n\r\none"),
    none("a status of nothing", b"HTTP/1.1 000 OK\r\nContent-Length: 3\r\n\r\none"),
    lie("a status that nobody knows", b"HTTP/1.1 799 OK\r\nContent-Length: 3\r\n\r\none", Keep, &["799 one"])
        .everywhere(),
    lie("no reason", b"HTTP/1.1 200\r\nContent-Length: 3\r\n\r\none", Keep, ONE),
    // 1xx.
    lie(
        "an early hint",
        b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 200 OK\r\n\
          Content-Length: 3\r\n\r\none",
        Keep,
        ONE,
    )
    .everywhere(),
    lie("a hundred early hints", &HINTS, Keep, ONE),
    lie("an unasked 100", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none", Keep, ONE)
        .everywhere(),
    lie(
        "a 100 with a length",
        b"HTTP/1.1 100 Continue\r\nContent-Length: 50\r\n\r\nHTTP/1.1 200 OK\r\n\
          Content-Length: 3\r\n\r\none",
        Keep,
        ONE,
    ),
    none("a 100 and nothing", b"HTTP/1.1 100 Continue\r\n\r\n").to(post(b"", b""), &["POST /a"]),
    no_answer(
        "an unasked switch to a WebSocket",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
          Upgrade: websocket\r\n\r\n",
    )
    .everywhere(),
    no_answer(
        "an unasked switch and an answer",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\nHTTP/1.1 200 OK\r\n\
          Content-Length: 3\r\n\r\ntwo",
    ),
    no_answer(
        "a switch that was asked here",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
          Upgrade: websocket\r\n\r\nhello",
    )
    .to(get("/a", b"Connection: Upgrade\r\nUpgrade: websocket\r\n"), &["GET /a"]),
    // Heads.
    none("a NUL in a value of an answer", b"HTTP/1.1 200 OK\r\nX-A: \0\r\nContent-Length: 3\r\n\r\none"),
    none("a CR in a value of an answer", b"HTTP/1.1 200 OK\r\nX-A: a\rb\r\nContent-Length: 3\r\n\r\none"),
    none("a space before an answer's colon", b"HTTP/1.1 200 OK\r\nContent-Length : 3\r\n\r\none"),
    none("an answer's field without a colon", b"HTTP/1.1 200 OK\r\nX-A\r\nContent-Length: 3\r\n\r\none"),
    none("an answer's field without a name", b"HTTP/1.1 200 OK\r\n: a\r\nContent-Length: 3\r\n\r\none"),
    none("a folded line of an answer", b"HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\nContent-Length: 3\r\n\r\none"),
    none("an answer's first line that begins with a space", b"HTTP/1.1 200 OK\r\n Content-Length: 3\r\n\r\none"),
    none("an answer's head without end", &ENDLESS),
    lie(
        "fields of the origin's connection",
        b"HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
          Content-Length: 3\r\n\r\none",
        Keep,
        ONE,
    )
    .everywhere(),
    lie(
        "a connection that the origin says will close",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\none",
        Keep,
        ONE,
    )
    .everywhere(),
    lie(
        "a Connection that names the length",
        b"HTTP/1.1 200 OK\r\nConnection: Content-Length\r\nContent-Length: 3\r\n\r\none",
        Keep,
        ONE,
    )
    .everywhere(),
];

/// A hundred early hints, then an answer.
const HINTS: [u8; 100 * HINT.len() + TRUE.len()] = {
    let mut all = [0; 100 * HINT.len() + TRUE.len()];
    let mut at = 0;
    while at < all.len() {
        let hints = 100 * HINT.len();
        all[at] = if at < hints { HINT[at % HINT.len()] } else { TRUE[at - hints] };
        at += 1;
    }
    all
};

const HINT: &[u8] = b"HTTP/1.1 103 Early Hints\r\n\r\n";

/// A head of 100,000 bytes that does not end.
static ENDLESS: [u8; 100_000] = {
    let mut all = [b'a'; 100_000];
    let start = b"HTTP/1.1 200 OK\r\nX-A: ";
    let mut at = 0;
    while at < start.len() {
        all[at] = start[at];
        at += 1;
    }
    all
};
