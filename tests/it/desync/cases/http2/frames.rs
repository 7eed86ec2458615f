//! Bodies, streams and frames that are not what they say (RFC 9113, 5, 6 and 8.1), and fields that cannot be unpacked.

use super::{A, GONE, MALFORMED, RESET};
use crate::desync::case::{Case, Sent, case, passed, refused};
use crate::desync::frames::Frame::{Ask, Block, Data, Head, Last, Other, Split};
use crate::desync::frames::{END_HEADERS, END_STREAM};

pub(in crate::desync) const CASES: &[Case] = &[
    // Lengths.
    passed(
        "a body without a length",
        frames![Head(1, fields!("POST" "/a")), Last(1, b"hello")],
        &["POST /a|transfer-encoding: chunked||hello"],
    ),
    passed(
        "a body in three frames",
        frames![Head(1, fields!("POST" "/a", "content-length": "5")), Data(1, b"he"), Data(1, b""), Last(1, b"llo")],
        &["POST /a|content-length: 5||hello"],
    ),
    passed(
        "a body that ends with an empty frame",
        frames![Head(1, fields!("POST" "/a", "content-length": "5")), Data(1, b"hello"), Last(1, b"")],
        &["POST /a|content-length: 5||hello"],
    ),
    refused(
        "a length and a longer body",
        frames![Head(1, fields!("POST" "/a", "content-length": "5")), Last(1, b"hello GET /smuggled HTTP/1.1")],
        RESET,
    )
    .cut(&["POST /a"]),
    refused(
        "a length and a shorter body",
        frames![Head(1, fields!("POST" "/a", "content-length": "50")), Last(1, b"hello")],
        RESET,
    )
    .cut(&["POST /a"]),
    refused("a length and no body", with!("content-length": "5"), RESET),
    refused(
        "a length of nothing and a body",
        frames![Head(1, fields!("POST" "/a", "content-length": "0")), Last(1, b"GET /smuggled HTTP/1.1\r\n\r\n")],
        RESET,
    )
    .cut(&["POST /a"])
    .forwards(&["POST /a|content-length: 0"]),
    refused(
        "two equal lengths over HTTP/2",
        frames![Head(1, fields!("POST" "/a", "content-length": "5", "content-length": "5")), Last(1, b"hello")],
        MALFORMED,
    ),
    refused(
        "two unlike lengths over HTTP/2",
        frames![Head(1, fields!("POST" "/a", "content-length": "5", "content-length": "6")), Last(1, b"hello")],
        RESET,
    ),
    refused(
        "a list of lengths over HTTP/2",
        frames![Head(1, fields!("POST" "/a", "content-length": "5, 5")), Last(1, b"hello")],
        RESET,
    ),
    refused(
        "a length with a plus over HTTP/2",
        frames![Head(1, fields!("POST" "/a", "content-length": "+5")), Last(1, b"hello")],
        RESET,
    ),
    refused(
        "an empty length over HTTP/2",
        frames![Head(1, fields!("POST" "/a", "content-length": "")), Last(1, b"hello")],
        RESET,
    ),
    // Trailers.
    passed(
        "trailers that name another account",
        frames![
            Head(1, fields!("POST" "/a")),
            Data(1, b"hello"),
            Ask(1, &[("x-keyward-account", "spoof"), ("x-a", "spoof")])
        ],
        &["POST /a|transfer-encoding: chunked||hello"],
    ),
    passed(
        "trailers that frame",
        frames![
            Head(1, fields!("POST" "/a")),
            Data(1, b"hello"),
            Ask(1, &[("content-length", "50"), ("host", "spoof.test")])
        ],
        &["POST /a|transfer-encoding: chunked||hello"],
    ),
    passed(
        "trailers with a pseudo-field",
        frames![Head(1, fields!("POST" "/a")), Data(1, b"hello"), Ask(1, &[(":path", "/smuggled")])],
        &["POST /a|transfer-encoding: chunked||hello"],
    ),
    refused(
        "trailers that do not end the request",
        frames![Head(1, fields!("POST" "/a")), Data(1, b"hello"), Head(1, &[("x-a", "1")])],
        RESET,
    )
    .cut(&["POST /a"]),
    // Streams.
    case(
        "two streams of two accounts",
        frames![
            Ask(1, fields!("GET" "/a")),
            Ask(
                3,
                &[
                    (":method", "GET"),
                    (":scheme", "https"),
                    (":authority", "api.test"),
                    (":path", "/b"),
                    ("authorization", "Token <other>")
                ]
            )
        ],
        &["200", "200"],
        &["GET /a", "GET /b|for 202"],
    ),
    case(
        "a stream with a key and one without",
        frames![
            Ask(1, fields!("GET" "/a")),
            Ask(3, &[(":method", "GET"), (":scheme", "https"), (":authority", "api.test"), (":path", "/b")])
        ],
        &["200", "401 API_KEY_REQUIRED"],
        &["GET /a"],
    ),
    case(
        "two uploads in turns",
        frames![
            Head(1, fields!("POST" "/a", "content-length": "6")),
            Head(3, fields!("POST" "/b", "content-length": "6")),
            Data(1, b"one"),
            Data(3, b"two"),
            Last(1, b"one"),
            Last(3, b"two"),
        ],
        &["200", "200"],
        &["POST /a|content-length: 6||oneone", "POST /b|content-length: 6||twotwo"],
    ),
    refused(
        "a refused upload is a request",
        frames![
            Head(1, &[(":method", "POST"), (":scheme", "https"), (":authority", "api.test"), (":path", "/a")]),
            Last(1, b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
        ],
        &["401 API_KEY_REQUIRED"],
    ),
    passed("a head in two frames", frames![Split(1, fields!("GET" "/a"), 20)], A),
    passed("padding", frames![Other(1, END_HEADERS | END_STREAM | 8, 1, PADDED)], &["GET /open/a"]),
    refused(
        "more padding than frame",
        frames![Head(1, fields!("POST" "/a")), Other(0, END_STREAM | 8, 1, b"\x09hello")],
        GONE,
    )
    .cut(&["POST /a"]),
    refused(
        "a head that depends on itself",
        frames![Other(1, END_HEADERS | END_STREAM | 0x20, 1, b"\0\0\0\x01\x10")],
        RESET,
    ),
    refused("DATA on no stream", frames![Other(0, END_STREAM, 0, b"GET /smuggled HTTP/1.1\r\n\r\n")], GONE),
    refused("DATA before HEADERS", frames![Last(1, b"GET /smuggled HTTP/1.1\r\n\r\n")], GONE),
    refused("HEADERS on no stream", frames![Ask(0, fields!("GET" "/a"))], GONE),
    refused("HEADERS on an even stream", frames![Ask(2, fields!("GET" "/a"))], GONE),
    refused(
        "a stream below another",
        frames![
            Ask(3, &[(":method", "GET"), (":scheme", "https"), (":authority", "api.test"), (":path", "/a")]),
            Ask(1, fields!("GET" "/a"))
        ],
        GONE,
    )
    .either(),
    refused("CONTINUATION without HEADERS", frames![Other(9, END_HEADERS, 1, b"\x82")], GONE),
    refused(
        "a frame between HEADERS and CONTINUATION",
        frames![Other(1, END_STREAM, 1, b"\x82"), Other(6, 0, 0, b"pingpong"), Other(9, END_HEADERS, 1, b"\x84")],
        GONE,
    ),
    refused(
        "CONTINUATION on another stream",
        frames![Other(1, END_STREAM, 1, b"\x82"), Other(9, END_HEADERS, 3, b"\x84")],
        GONE,
    ),
    refused("PUSH_PROMISE from a client", frames![Other(5, END_HEADERS, 1, b"\0\0\0\x02\x82")], GONE),
    refused("SETTINGS on a stream", frames![Other(4, 0, 1, b"")], GONE),
    refused("SETTINGS of five bytes", frames![Other(4, 0, 0, b"\0\x01\0\0\0")], GONE),
    refused("an acknowledgement with something in it", frames![Other(4, 1, 0, b"\0\x01\0\0\0\0")], GONE),
    refused("a window beyond 2^31", frames![Other(4, 0, 0, b"\0\x04\xff\xff\xff\xff")], GONE),
    refused("a frame size below the least", frames![Other(4, 0, 0, b"\0\x05\0\0\0\x01")], GONE),
    refused("a push that is neither on nor off", frames![Other(4, 0, 0, b"\0\x02\0\0\0\x02")], GONE),
    refused("a window update of nothing", frames![Other(8, 0, 0, b"\0\0\0\0")], GONE),
    refused("a reset of no stream", frames![Other(3, 0, 0, b"\0\0\0\x08")], GONE),
    refused("a reset of an idle stream", frames![Other(3, 0, 1, b"\0\0\0\x08")], GONE),
    refused("PING of seven bytes", frames![Other(6, 0, 0, b"pingpon")], GONE),
    refused("PING on a stream", frames![Other(6, 0, 1, b"pingpong")], GONE),
    refused("a frame that is too large", frames![Head(1, fields!("POST" "/a")), Data(1, &[0; 17_000])], GONE)
        .cut(&["POST /a"]),
    passed("a frame that nobody knows", frames![Other(0xbe, 0xff, 0, b"anything"), Ask(1, fields!("GET" "/a"))], A),
    passed("a priority", frames![Other(2, 0, 1, b"\0\0\0\0\x10"), Ask(1, fields!("GET" "/a"))], A),
    refused(
        "DATA behind the end",
        frames![
            Ask(1, &[(":method", "GET"), (":scheme", "https"), (":authority", "api.test"), (":path", "/a")]),
            Last(1, b"GET /smuggled HTTP/1.1\r\n\r\n")
        ],
        GONE,
    )
    .either(),
    // Compression.
    refused("an index of nothing", frames![Block(1, END_HEADERS | END_STREAM, b"\x80")], GONE),
    refused("an index beyond the table", frames![Block(1, END_HEADERS | END_STREAM, b"\xff\x7f")], GONE),
    refused(
        "an index without end",
        frames![Block(1, END_HEADERS | END_STREAM, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")],
        GONE,
    ),
    refused(
        "a literal longer than its block",
        frames![Block(1, END_HEADERS | END_STREAM, b"\x82\x87\x84\0\x05ab")],
        GONE,
    ),
    refused(
        "a table larger than was allowed",
        frames![Block(1, END_HEADERS | END_STREAM, b"\x3f\xff\xff\xff\x0f\x82")],
        GONE,
    ),
    refused(
        "padding of Huffman's that is no padding",
        frames![Block(1, END_HEADERS | END_STREAM, b"\x82\x87\x84\0\x81\x00\x01a")],
        GONE,
    ),
    passed(
        "the static table",
        frames![Block(1, END_HEADERS | END_STREAM, b"\x82\x87\x04\x07/open/a\x01\x08api.test")],
        &["GET /open/a"],
    ),
];

/// Two bytes of padding behind a GET of an open route from the static table.
const PADDED: &[u8] = b"\x02\x82\x87\x04\x07/open/a\x01\x08api.test\0\0";
