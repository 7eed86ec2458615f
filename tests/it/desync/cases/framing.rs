//! Content-Length and Transfer-Encoding: values that are none, and more than one of either or both (RFC 9112, 6).

use crate::desync::case::{Case, passed, post, raw, refused, unreadable};

const MALFORMED: &[&str] = &["400 REQUEST_MALFORMED"];

pub(super) const CASES: &[Case] = &[
    // What must work.
    passed("a length", post(b"Content-Length: 5\r\n", b"hello"), &["POST /a|content-length: 5||hello"]).everywhere(),
    passed("a length of nothing", post(b"Content-Length: 0\r\n", b""), &["POST /a|content-length: 0"]),
    passed("no framing at all", post(b"", b""), &["POST /a"]).everywhere(),
    passed(
        "a coding in another case",
        post(b"Transfer-Encoding: CHUNKED\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
        &["POST /a|transfer-encoding: chunked||hello"],
    ),
    passed(
        "a body that looks like a request",
        post(b"Content-Length: 35\r\n", b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"),
        &["POST /a|content-length: 35||GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"],
    )
    .everywhere(),
    passed(
        "a GET with a length",
        raw(b"GET /a <keyed>Content-Length: 5\r\n\r\nhello"),
        &["GET /a|content-length: 5||hello"],
    ),
    passed(
        "a GET with chunks",
        raw(b"GET /a <keyed>Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        &["GET /a|transfer-encoding: chunked||hello"],
    ),
    passed(
        "a DELETE with a length",
        raw(b"DELETE /a <keyed>Content-Length: 5\r\n\r\nhello"),
        &["DELETE /a|content-length: 5||hello"],
    ),
    passed(
        "an OPTIONS with a length",
        raw(b"OPTIONS /a <keyed>Content-Length: 5\r\n\r\nhello"),
        &["OPTIONS /a|content-length: 5||hello"],
    ),
    // Content-Length that is no number, or that some take for one.
    unreadable("a length with a plus", post(b"Content-Length: +5\r\n", b"hello")),
    unreadable("a length with a minus", post(b"Content-Length: -5\r\n", b"hello")),
    unreadable("a length of minus nothing", post(b"Content-Length: -0\r\n", b"")),
    unreadable("a length in hexadecimal", post(b"Content-Length: 0x5\r\n", b"hello")),
    unreadable("a length with an underscore", post(b"Content-Length: 0_5\r\n", b"hello")),
    unreadable("a length with a letter behind", post(b"Content-Length: 5Z\r\n", b"hello")),
    unreadable("a length with a letter before", post(b"Content-Length: Z5\r\n", b"hello")),
    unreadable("a length with a fraction", post(b"Content-Length: 5.0\r\n", b"hello")),
    unreadable("a length with an exponent", post(b"Content-Length: 5e0\r\n", b"hello")),
    unreadable("a length within quotes", post(b"Content-Length: \"5\"\r\n", b"hello")),
    unreadable("an empty length", post(b"Content-Length: \r\n", b"hello")),
    unreadable("a length of spaces", post(b"Content-Length:   \t\r\n", b"hello")),
    unreadable("two numbers in one length", post(b"Content-Length: 5 5\r\n", b"hello")),
    unreadable("a list of equal lengths", post(b"Content-Length: 5, 5\r\n", b"hello")),
    unreadable("a list of unlike lengths", post(b"Content-Length: 5, 0\r\n", b"hello")),
    unreadable("a length and a comma", post(b"Content-Length: 5,\r\n", b"hello")),
    unreadable("a length and a semicolon", post(b"Content-Length: 5;\r\n", b"hello")),
    unreadable("a length with a no-break space", post(b"Content-Length: \xa05\r\n", b"hello")),
    unreadable("a length with a next-line byte behind", post(b"Content-Length: 5\x85\r\n", b"hello")),
    unreadable("a length in other digits", post(b"Content-Length: \xd9\xa5\r\n", b"hello")),
    unreadable("a length with a form feed", post(b"Content-Length: \x0c5\r\n", b"hello")),
    unreadable("a length with a NUL", post(b"Content-Length: 5\0\r\n", b"hello")),
    unreadable("a length of 2^64", post(b"Content-Length: 18446744073709551616\r\n", b"hello")),
    unreadable("a length of 2^64 and five", post(b"Content-Length: 18446744073709551621\r\n", b"hello")),
    refused("a length of 2^63", post(b"Content-Length: 9223372036854775808\r\n", b"hello"), MALFORMED).closed(),
    refused("a length that is octal to some", post(b"Content-Length: 005\r\n", b"hello"), MALFORMED)
        .everywhere()
        .either(),
    refused("a length of nothing twice", post(b"Content-Length: 00\r\n", b""), MALFORMED).everywhere(),
    // More than one length.
    unreadable("two unlike lengths", post(b"Content-Length: 5\r\nContent-Length: 0\r\n", b"hello")),
    unreadable(
        "two unlike lengths, the other way round",
        post(b"Content-Length: 0\r\nContent-Length: 5\r\n", b"hello"),
    ),
    unreadable("an empty length before another", post(b"Content-Length:\r\nContent-Length: 5\r\n", b"hello")),
    unreadable("an empty length behind another", post(b"Content-Length: 5\r\nContent-Length:\r\n", b"hello")),
    unreadable("two lengths in two cases", post(b"Content-Length: 5\r\ncontent-length: 6\r\n", b"hello")),
    passed(
        "two equal lengths are one",
        post(b"Content-Length: 5\r\nContent-Length: 5\r\n", b"hello"),
        &["POST /a|content-length: 5||hello"],
    ),
    passed(
        "two equal lengths, one with a zero",
        post(b"Content-Length: 5\r\nContent-Length: 05\r\n", b"hello"),
        &["POST /a|content-length: 5||hello"],
    ),
    // Both: the coding holds, the length goes, the connection ends.
    passed(
        "a length before a coding",
        post(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\nGET /smuggled <keyed>\r\n"),
        &["POST /a|transfer-encoding: chunked"],
    )
    .closed(),
    passed(
        "a coding before a length",
        post(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"0\r\n\r\nGET /smuggled <keyed>\r\n"),
        &["POST /a|transfer-encoding: chunked"],
    )
    .closed(),
    passed(
        "a coding within the length",
        post(
            b"Content-Length: 60\r\nTransfer-Encoding: chunked\r\n",
            b"5\r\nhello\r\n0\r\n\r\nGET /smuggled <keyed>\r\n",
        ),
        &["POST /a|transfer-encoding: chunked||hello"],
    )
    .closed(),
    passed(
        "a coding between two lengths",
        post(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n", b"0\r\n\r\n"),
        &["POST /a|transfer-encoding: chunked"],
    )
    .closed(),
    passed(
        "a coding and a length that is none",
        post(b"Transfer-Encoding: chunked\r\nContent-Length: x\r\n", b"0\r\n\r\n"),
        &["POST /a|transfer-encoding: chunked"],
    )
    .closed(),
    unreadable(
        "a length and a coding that is none",
        post(b"Content-Length: 5\r\nTransfer-Encoding: identity\r\n", b"hello"),
    ),
    unreadable("a length and an empty coding", post(b"Content-Length: 5\r\nTransfer-Encoding:\r\n", b"hello")),
    // Codings.
    refused(
        "a coding twice",
        post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        MALFORMED,
    )
    .either(),
    refused("chunked, chunked", post(b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n"), MALFORMED).either(),
    refused("an empty member before chunked", post(b"Transfer-Encoding: ,chunked\r\n", b"0\r\n\r\n"), MALFORMED)
        .either(),
    refused("gzip, chunked", post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"), MALFORMED).either(),
    refused(
        "gzip and chunked in two lines",
        post(b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        MALFORMED,
    )
    .either(),
    refused("identity, chunked", post(b"Transfer-Encoding: identity, chunked\r\n", b"0\r\n\r\n"), MALFORMED).either(),
    unreadable("chunked, then identity", post(b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n")),
    unreadable("chunked and a comma", post(b"Transfer-Encoding: chunked,\r\n", b"0\r\n\r\n")),
    unreadable(
        "chunked, then gzip in a line of its own",
        post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n", b"0\r\n\r\n"),
    ),
    unreadable("a coding with a parameter", post(b"Transfer-Encoding: chunked;q=1\r\n", b"0\r\n\r\n")),
    unreadable("a coding within quotes", post(b"Transfer-Encoding: \"chunked\"\r\n", b"0\r\n\r\n")),
    unreadable("a coding with a letter before", post(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n")),
    unreadable("a coding with a letter behind", post(b"Transfer-Encoding: chunkedx\r\n", b"0\r\n\r\n")),
    unreadable("a coding cut short", post(b"Transfer-Encoding: chunke\r\n", b"0\r\n\r\n")),
    unreadable("an unknown coding", post(b"Transfer-Encoding: zorg\r\n", b"0\r\n\r\n")),
    unreadable("gzip alone", post(b"Transfer-Encoding: gzip\r\n", b"0\r\n\r\n")),
    unreadable("an empty coding", post(b"Transfer-Encoding: \r\n", b"0\r\n\r\n")),
    unreadable("a coding with a no-break space", post(b"Transfer-Encoding: \xa0chunked\r\n", b"0\r\n\r\n")),
    unreadable("a coding with a next-line byte", post(b"Transfer-Encoding: chunked\x85\r\n", b"0\r\n\r\n")),
    unreadable("a coding with a vertical tab", post(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n")),
    unreadable("a coding with a NUL", post(b"Transfer-Encoding: chunked\0\r\n", b"0\r\n\r\n")),
    unreadable(
        "a coding with letters of the Kelvin sort",
        post(b"Transfer-Encoding: chun\xe2\x84\xaaed\r\n", b"0\r\n\r\n"),
    ),
    passed(
        "a coding after a tab",
        post(b"Transfer-Encoding:\tchunked\t\r\n", b"0\r\n\r\n"),
        &["POST /a|transfer-encoding: chunked"],
    ),
    // HTTP/1.0 has no codings.
    unreadable(
        "chunks in HTTP/1.0",
        raw(b"POST /a HTTP/1.0\r\n<host><key>Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ),
    unreadable(
        "chunks in HTTP/1.0 that stays",
        raw(b"POST /a HTTP/1.0\r\n<host><key>Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ),
    unreadable(
        "both in HTTP/1.0",
        raw(b"POST /a HTTP/1.0\r\n<host><key>Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ),
    passed(
        "a length in HTTP/1.0",
        raw(b"POST /a HTTP/1.0\r\n<host><key>Content-Length: 5\r\n\r\nhello"),
        &["POST /a|content-length: 5||hello"],
    )
    .closed(),
    passed(
        "no length in HTTP/1.0 is none",
        raw(b"POST /a HTTP/1.0\r\n<host><key>\r\nGET /smuggled <keyed>\r\n"),
        &["POST /a"],
    )
    .closed(),
    // Names that only look alike.
    passed("a length with an underscore for a hyphen", post(b"Content_Length: 5\r\n", b""), &["POST /a"]),
    passed("a coding with an underscore for a hyphen", post(b"Transfer_Encoding: chunked\r\n", b""), &["POST /a"]),
    passed("a coding with a dot for a hyphen", post(b"Transfer.Encoding: chunked\r\n", b""), &["POST /a"]),
    passed("a length with a dot for a hyphen", post(b"Content.Length: 50\r\n", b""), &["POST /a"]),
    passed(
        "a length with a bar for a hyphen",
        post(b"Content|Length: 50\r\nContent-Length: 5\r\n", b"hello"),
        &["POST /a|content-length: 5||hello"],
    ),
    passed("a Host with an exclamation mark behind", post(b"Host!: spoof\r\n", b""), &["POST /a"]),
    unreadable("a length with a space before the colon", post(b"Content-Length : 5\r\n", b"hello")),
    unreadable("a coding with a tab before the colon", post(b"Transfer-Encoding\t: chunked\r\n", b"0\r\n\r\n")),
    unreadable(
        "a coding with a next-line byte before the colon",
        post(b"Transfer-Encoding\x85: chunked\r\n", b"0\r\n\r\n"),
    ),
    unreadable("a coding without a colon", post(b"Transfer-Encoding chunked\r\n", b"0\r\n\r\n")),
    unreadable("a length without a colon", post(b"Content-Length 5\r\n", b"hello")),
];
