//! The chunked coding, taken literally (RFC 9112, 7.1).

use crate::desync::case::{Case, chunked, passed, post, refused};

const CUT: &[&str] = &["POST /a"];

/// The body is broken. The origin may have seen its beginning, never an end.
const fn broken(name: &'static str, body: &'static [u8]) -> Case {
    refused(name, chunked(body), &["400 REQUEST_MALFORMED"]).closed().cut(CUT)
}

/// The body is this.
const fn whole(name: &'static str, body: &'static [u8], forwarded: &'static [&'static str]) -> Case {
    passed(name, chunked(body), forwarded)
}

const HELLO: &[&str] = &["POST /a|transfer-encoding: chunked||hello"];
const NOTHING: &[&str] = &["POST /a|transfer-encoding: chunked"];

pub(super) const CASES: &[Case] = &[
    whole("one chunk", b"5\r\nhello\r\n0\r\n\r\n", HELLO),
    whole("five chunks", b"1\r\nh\r\n1\r\ne\r\n1\r\nl\r\n1\r\nl\r\n1\r\no\r\n0\r\n\r\n", HELLO),
    whole("no chunk", b"0\r\n\r\n", NOTHING),
    whole("a last chunk of many zeros", b"5\r\nhello\r\n000\r\n\r\n", HELLO),
    whole("a size with leading zeros", b"0005\r\nhello\r\n0\r\n\r\n", HELLO),
    whole("a size in capitals", b"A\r\n0123456789\r\n0\r\n\r\n", &["POST /a|transfer-encoding: chunked||0123456789"]),
    whole(
        "a size in small letters",
        b"a\r\n0123456789\r\n0\r\n\r\n",
        &["POST /a|transfer-encoding: chunked||0123456789"],
    ),
    whole(
        "a chunk that looks like the end",
        b"5\r\n0\r\n\r\n\r\n0\r\n\r\n",
        &["POST /a|transfer-encoding: chunked||0\r\n\r\n"],
    ),
    whole(
        "a chunk that looks like a request",
        b"1a\r\nGET /smuggled HTTP/1.1\r\n\r\n\r\n0\r\n\r\n",
        &["POST /a|transfer-encoding: chunked||GET /smuggled HTTP/1.1\r\n\r\n"],
    ),
    // Extensions are dropped, whatever they say.
    whole("an extension", b"5;a=b\r\nhello\r\n0\r\n\r\n", HELLO),
    whole("an extension without a value", b"5;a\r\nhello\r\n0;b\r\n\r\n", HELLO),
    whole("an extension within quotes", b"5;a=\"b;c\"\r\nhello\r\n0\r\n\r\n", HELLO),
    whole("a space before an extension", b"5 ;a=b\r\nhello\r\n0\r\n\r\n", HELLO),
    whole("a space behind a size", b"5 \r\nhello\r\n0\r\n\r\n", HELLO),
    broken("a CR in an extension", b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
    broken("a LF in an extension", b"5;a\nhello\r\n0\r\n\r\n"),
    broken("two CR behind an extension", b"5;a\r\r\nhello\r\n0\r\n\r\n"),
    broken("a CR and then an extension", b"5\r\r;a\r\nhello\r\n0\r\n\r\n"),
    broken("an endless extension", &ENDLESS),
    // Sizes that are none, or that some take for one.
    broken("a size in C's hexadecimal", b"0x5\r\nhello\r\n0\r\n\r\n"),
    broken("a size with a plus", b"+5\r\nhello\r\n0\r\n\r\n"),
    broken("a size with a minus", b"-5\r\nhello\r\n0\r\n\r\n"),
    broken("a last chunk of minus nothing", b"-0\r\n\r\n"),
    broken("a size with an underscore", b"0_5\r\nhello\r\n0\r\n\r\n"),
    broken("a size with a letter behind", b"5g\r\nhello\r\n0\r\n\r\n"),
    broken("a size that is a word", b"five\r\nhello\r\n0\r\n\r\n"),
    broken("no size", b"\r\nhello\r\n0\r\n\r\n"),
    broken("no size but an extension", b";a=b\r\nhello\r\n0\r\n\r\n"),
    broken("two empty lines for an end", b"\r\n\r\n"),
    broken("a space before a size", b" 5\r\nhello\r\n0\r\n\r\n"),
    broken("a tab before a size", b"\t5\r\nhello\r\n0\r\n\r\n"),
    broken("two sizes", b"5 5\r\nhello\r\n0\r\n\r\n"),
    broken("a size within quotes", b"\"5\"\r\nhello\r\n0\r\n\r\n"),
    broken("a size with a NUL", b"5\0\r\nhello\r\n0\r\n\r\n"),
    broken("a size with a no-break space", b"5\xa0\r\nhello\r\n0\r\n\r\n"),
    broken("a size of 2^64", b"10000000000000000\r\nhello\r\n0\r\n\r\n"),
    broken("a size of 2^64 and five", b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
    broken("a size of a hundred digits", &DIGITS),
    // Line ends within the coding.
    broken("a size ended by LF", b"5\nhello\r\n0\r\n\r\n"),
    broken("a size ended by CR", b"5\rhello\r\n0\r\n\r\n"),
    broken("a size ended by CR and X", b"5\rXhello\r\n0\r\n\r\n"),
    broken("a chunk ended by LF", b"5\r\nhello\n0\r\n\r\n"),
    broken("a chunk ended by CR", b"5\r\nhello\r0\r\n\r\n"),
    broken("a chunk ended by nothing", b"5\r\nhello0\r\n\r\n"),
    broken("a chunk longer than its size", b"4\r\nhello\r\n0\r\n\r\n"),
    broken("a chunk shorter than its size", b"6\r\nhello\r\n0\r\n\r\nGET /smuggled <keyed>\r\n"),
    broken("an empty line between chunks", b"5\r\nhello\r\n\r\n0\r\n\r\n"),
    broken("a last chunk ended by LF", b"5\r\nhello\r\n0\n\r\n"),
    broken("an end of CR and X", b"5\r\nhello\r\n0\r\n\rX"),
    // hyper reads trailers up to CR LF CR LF, so what others take for a request is dropped with them.
    whole("an end of LF", b"5\r\nhello\r\n0\r\n\nGET /smuggled <keyed>\r\n", HELLO),
    whole("a trailer ended by LF", b"5\r\nhello\r\n0\r\nX-A: 1\n\nGET /smuggled <keyed>\r\n", HELLO),
    broken("chunks in UTF-16", b"\xff\xfe5\0\r\0\n\0"),
    // Trailers are dropped, and looked at before.
    whole("a trailer", b"5\r\nhello\r\n0\r\nX-A: 1\r\n\r\n", HELLO),
    whole("a trailer that frames", b"5\r\nhello\r\n0\r\nContent-Length: 50\r\n\r\n", HELLO),
    whole("a trailer that names another account", b"5\r\nhello\r\n0\r\nX-Keyward-Account: spoof\r\n\r\n", HELLO),
    whole("a trailer with a key", b"5\r\nhello\r\n0\r\nAuthorization: Token <other>\r\n\r\n", HELLO),
    whole("a trailer named Host", b"5\r\nhello\r\n0\r\nHost: spoof\r\n\r\n", HELLO),
    broken("a trailer without a colon", b"5\r\nhello\r\n0\r\nX-A\r\n\r\n"),
    broken("a trailer that is a request", b"5\r\nhello\r\n0\r\nGET /smuggled HTTP/1.1\r\n\r\n"),
    broken("a trailer with a NUL", b"5\r\nhello\r\n0\r\nX-A: \0\r\n\r\n"),
    broken("a trailer with a space before its colon", b"5\r\nhello\r\n0\r\nX-A : 1\r\n\r\n"),
    broken("endless trailers", &TRAILERS),
    passed(
        "a Trailer line",
        post(
            b"Transfer-Encoding: chunked\r\nTrailer: X-Keyward-Account\r\n",
            b"5\r\nhello\r\n0\r\nX-Keyward-Account: spoof\r\n\r\n",
        ),
        HELLO,
    ),
];

/// An extension of 100,000 bytes.
static ENDLESS: [u8; 100_000] = filled(b"5;a=", b'b');

/// A size of more digits than any number has.
const DIGITS: [u8; 100] = filled(b"5", b'5');

/// Trailers of 100,000 bytes.
static TRAILERS: [u8; 100_000] = filled(b"5\r\nhello\r\n0\r\nX-A: ", b'b');

const fn filled<const N: usize>(start: &[u8], byte: u8) -> [u8; N] {
    let mut all = [byte; N];
    let mut at = 0;
    while at < start.len() {
        all[at] = start[at];
        at += 1;
    }
    all
}
