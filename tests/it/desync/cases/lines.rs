//! Request lines, field lines and their ends (RFC 9112, 2.2, 3 and 5).

use crate::desync::case::{Case, get, method, passed, raw, refused, unreadable};

const A: &[&str] = &["GET /a"];

pub(super) const CASES: &[Case] = &[
    passed("a request", get("/a", b""), A).everywhere(),
    // The request line.
    unreadable("two spaces before the target", raw(b"GET  /a <keyed>\r\n")),
    unreadable("two spaces before the version", raw(b"GET /a  <keyed>\r\n")),
    unreadable("a tab before the target", raw(b"GET\t/a <keyed>\r\n")),
    unreadable("a tab before the version", raw(b"GET /a\t<keyed>\r\n")),
    unreadable("a space behind the version", raw(b"GET /a HTTP/1.1 \r\n<host><key>\r\n")),
    unreadable("a word behind the version", raw(b"GET /a HTTP/1.1 x\r\n<host><key>\r\n")),
    unreadable("a space within the target", raw(b"GET /a /smuggled <keyed>\r\n")),
    unreadable("a version behind a version", raw(b"GET /a HTTP/1.1 <keyed>\r\n")),
    unreadable("no target", raw(b"GET <keyed>\r\n")),
    unreadable("no version (HTTP/0.9)", raw(b"GET /a\r\n\r\n")),
    unreadable("a LF for a space", raw(b"GET /a\n<keyed>\r\n")),
    unreadable("a CR within the line", raw(b"GET /a\r<keyed>\r\n")),
    unreadable("a NUL within the target", raw(b"GET /a\0b <keyed>\r\n")),
    unreadable("a space before the method", raw(b" GET /a <keyed>\r\n")),
    unreadable("a method with a colon", raw(b"GET: /a <keyed>\r\n")),
    unreadable("a method with quotes", raw(b"\"GET\" /a <keyed>\r\n")),
    unreadable("a method of no bytes", raw(b" /a <keyed>\r\n")),
    unreadable("a method with a NUL", raw(b"GET\0 /a <keyed>\r\n")),
    unreadable("a method with a byte above ASCII", raw(b"G\xc9T /a <keyed>\r\n")),
    passed("a method in small letters is another", raw(b"get /a <keyed>\r\n"), &["get /a"]),
    passed("a method that nobody knows", raw(b"SPAM /a <keyed>\r\n"), &["SPAM /a"]),
    // Versions.
    unreadable("HTTP/1.2", raw(b"GET /a HTTP/1.2\r\n<host><key>\r\n")),
    unreadable("HTTP/2.0 in words", raw(b"GET /a HTTP/2.0\r\n<host><key>\r\n")),
    unreadable("HTTP/1", raw(b"GET /a HTTP/1\r\n<host><key>\r\n")),
    unreadable("HTTP/01.1", raw(b"GET /a HTTP/01.1\r\n<host><key>\r\n")),
    unreadable("HTTP/1.10", raw(b"GET /a HTTP/1.10\r\n<host><key>\r\n")),
    unreadable("HTTP/1,1", raw(b"GET /a HTTP/1,1\r\n<host><key>\r\n")),
    unreadable("HTTP/ 1.1", raw(b"GET /a HTTP/ 1.1\r\n<host><key>\r\n")),
    unreadable("http/1.1", raw(b"GET /a http/1.1\r\n<host><key>\r\n")),
    unreadable("HTTPS/1.1", raw(b"GET /a HTTPS/1.1\r\n<host><key>\r\n")),
    unreadable("HTTP/4294967297.1", raw(b"GET /a HTTP/4294967297.1\r\n<host><key>\r\n")),
    refused("the preface of HTTP/2", raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), &["400?"]).closed(),
    passed("HTTP/1.0", raw(b"GET /a HTTP/1.0\r\n<host><key>\r\n"), A).closed(),
    passed("HTTP/1.0 that stays", raw(b"GET /a HTTP/1.0\r\n<host><key>Connection: keep-alive\r\n\r\n"), A),
    // Ends of lines. A lone LF is an end (RFC 9112, 2.2), and goes on as CR LF.
    passed("lines ended by LF", raw(b"GET /a HTTP/1.1\nHost: api.test\nAuthorization: Token <secret>\n\n"), A),
    passed("one line ended by LF", raw(b"GET /a <bare>X-A: 1\n<key>\r\n"), &["GET /a|x-a: 1"]),
    passed("a head ended by LF", raw(b"GET /a <keyed>\n"), A),
    passed("an empty line before the request", raw(b"\r\nGET /a <keyed>\r\n"), A),
    passed("a LF before the request", raw(b"\nGET /a <keyed>\r\n"), A),
    unreadable("a CR before the request", raw(b"\rGET /a <keyed>\r\n")),
    unreadable("lines ended by CR", raw(b"GET /a HTTP/1.1\rHost: api.test\r\r\r\n\r\n")),
    unreadable("a head ended by CR and X", raw(b"GET /a <keyed>\rX\r\n\r\n")),
    unreadable("a line ended by two CR", raw(b"GET /a <keyed>X-A: 1\r\r\n\r\n")),
    unreadable("a line that begins with CR", raw(b"GET /a <keyed>\rX-A: 1\r\n\r\n")),
    // Fields.
    unreadable("a CR in a value", get("/a", b"X-A: 1\rX-B: 2\r\n")),
    unreadable("a CR in a value, and a framing behind", get("/a", b"X-A: 1\rTransfer-Encoding: chunked\r\n")),
    unreadable("a NUL in a value", get("/a", b"X-A: 1\x002\r\n")),
    unreadable("a NUL at the end of a value", get("/a", b"X-A: 1\0\r\n")),
    unreadable("an escape byte in a value", get("/a", b"X-A: \x1b[2J\r\n")),
    unreadable("a backspace in a value", get("/a", b"X-A: 1\x08\r\n")),
    unreadable("a DEL in a value", get("/a", b"X-A: \x7f\r\n")),
    unreadable("a vertical tab in a value", get("/a", b"X-A: a\x0bb\r\n")),
    unreadable("a folded line", get("/a", b"X-A: 1\r\n X-B: 2\r\n")),
    unreadable("a line folded with a tab", get("/a", b"X-A: 1\r\n\tX-B: 2\r\n")),
    unreadable("a folded framing", get("/a", b"Transfer-Encoding:\r\n chunked\r\n")),
    unreadable("a folded key", raw(b"GET /a <bare>Authorization: Token\r\n <secret>\r\n\r\n")),
    unreadable("a first line that begins with a space", raw(b"GET /a HTTP/1.1\r\n Host: spoof\r\n<host><key>\r\n")),
    unreadable(
        "a first line that begins with a tab",
        raw(b"GET /a HTTP/1.1\r\n\tContent-Length: 5\r\n<host><key>\r\nhello"),
    ),
    unreadable("a line of spaces", get("/a", b"   \r\n")),
    unreadable("a field without a name", get("/a", b": 1\r\n")),
    unreadable("a field of a colon", get("/a", b":\r\n")),
    unreadable("a field without a colon", get("/a", b"X-A\r\n")),
    unreadable("a space before a colon", get("/a", b"X-A : 1\r\n")),
    unreadable("a tab before a colon", get("/a", b"X-A\t: 1\r\n")),
    unreadable("a space within a name", get("/a", b"X A: 1\r\n")),
    unreadable("a NUL within a name", get("/a", b"X\0A: 1\r\n")),
    unreadable("a byte above ASCII in a name", get("/a", b"X-\xc4: 1\r\n")),
    unreadable("a slash in a name", get("/a", b"X/A: 1\r\n")),
    unreadable("brackets in a name", get("/a", b"X(A): 1\r\n")),
    unreadable("an at sign in a name", get("/a", b"X@A: 1\r\n")),
    unreadable("a name split by a line end", get("/a", b"Transfer-\r\nEncoding: chunked\r\n")),
    passed("no space behind the colon", get("/a", b"X-A:1\r\n"), &["GET /a|x-a: 1"]),
    passed("an empty value", get("/a", b"X-A:\r\n"), &["GET /a|x-a: "]).everywhere(),
    passed("spaces and tabs around a value", get("/a", b"X-A: \t 1 \t \r\n"), &["GET /a|x-a: 1"]),
    passed("one field twice", get("/a", b"X-A: 1\r\nX-A: 2\r\n"), &["GET /a|x-a: 1|x-a: 2"]).everywhere(),
    passed("bytes above ASCII in a value", get("/a", b"X-A: \xc3\xa4\r\n"), &["GET /a|x-a: \u{e4}"]),
    passed("a name of every sign a token may have", get("/a", b"!#$%&'*+-.^`|~0A: spoof\r\n"), A),
    passed("a name of dots", get("/a", b"X.A: spoof\r\n"), A).everywhere(),
    refused("a head that is too large", get("/a", &LARGE), &["431 HEADERS_TOO_LARGE"]),
    refused("a head far too large", get("/a", &ENDLESS), &["431"]).closed(),
    refused("fields without end", get("/a", &MANY), &["431"]).closed(),
    refused("a method of CONNECT", method("CONNECT", "/a"), &["400 REQUEST_MALFORMED"]),
    refused("a method of TRACE", method("TRACE", "/a"), &["400 REQUEST_MALFORMED"]).everywhere(),
];

static LARGE: [u8; 33 * 1024] = field();
static ENDLESS: [u8; 70 * 1024] = field();

/// A field line of so many bytes.
const fn field<const N: usize>() -> [u8; N] {
    let mut all = [b'x'; N];
    all[1] = b':';
    (all[N - 2], all[N - 1]) = (b'\r', b'\n');
    all
}

/// A hundred and fifty field lines.
const MANY: [u8; 150 * 5] = {
    let mut all = [b'x'; 150 * 5];
    let mut at = 0;
    while at < all.len() {
        (all[at + 1], all[at + 3], all[at + 4]) = (b':', b'\r', b'\n');
        at += 5;
    }
    all
};
