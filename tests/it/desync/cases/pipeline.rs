//! Several requests on one connection: what follows a refusal, a body, an end (RFC 9112, 9.3).

use crate::desync::case::{Case, case, raw, refused};

const HELLO: &str = "POST /a|content-length: 5||hello";

pub(super) const CASES: &[Case] = &[
    case("two requests", raw(b"GET /a <keyed>\r\nGET /b <keyed>\r\n"), &["200", "200"], &["GET /a", "GET /b"]),
    case(
        "five requests",
        raw(b"GET /a <keyed>\r\nGET /b <keyed>\r\nGET /c <keyed>\r\nGET /d <keyed>\r\nGET /e <keyed>\r\n"),
        &["200", "200", "200", "200", "200"],
        &["GET /a", "GET /b", "GET /c", "GET /d", "GET /e"],
    ),
    case(
        "a POST and a GET",
        raw(b"POST /a <keyed>Content-Length: 5\r\n\r\nhelloGET /b <keyed>\r\n"),
        &["200", "200"],
        &[HELLO, "GET /b"],
    ),
    case(
        "a chunked POST and a GET",
        raw(b"POST /a <keyed>Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET /b <keyed>\r\n"),
        &["200", "200"],
        &["POST /a|transfer-encoding: chunked||hello", "GET /b"],
    ),
    case(
        "a POST of no length and a GET",
        raw(b"POST /a <keyed>\r\nGET /b <keyed>\r\n"),
        &["200", "200"],
        &["POST /a", "GET /b"],
    ),
    case(
        "a POST of nothing and a GET",
        raw(b"POST /a <keyed>Content-Length: 0\r\n\r\nGET /b <keyed>\r\n"),
        &["200", "200"],
        &["POST /a|content-length: 0", "GET /b"],
    ),
    case(
        "an empty line between two",
        raw(b"GET /a <keyed>\r\n\r\nGET /b <keyed>\r\n"),
        &["200", "200"],
        &["GET /a", "GET /b"],
    ),
    case(
        "many empty lines between two",
        raw(b"GET /a <keyed>\r\n\r\n\r\n\r\n\r\nGET /b <keyed>\r\n"),
        &["200", "200"],
        &["GET /a", "GET /b"],
    ),
    case(
        "OPTIONS of everything, then a GET",
        raw(b"OPTIONS * <keyed>\r\nGET /b <keyed>\r\n"),
        &["200", "200"],
        &["OPTIONS *", "GET /b"],
    ),
    case("a HEAD", raw(b"HEAD /a <keyed>\r\n"), &["200"], &["HEAD /a"]),
    case("two HEADs", raw(b"HEAD /a <keyed>\r\nHEAD /b <keyed>\r\n"), &["200", "200"], &["HEAD /a", "HEAD /b"]),
    case(
        "a HEAD with a body",
        raw(b"HEAD /a <keyed>Content-Length: 5\r\n\r\nhello"),
        &["200"],
        &["HEAD /a|content-length: 5||hello"],
    ),
    refused("a HEAD refused", raw(b"HEAD /a <bare>\r\n"), &["401"]),
    // What is said with one key is not said with the next.
    case(
        "a good key, then none",
        raw(b"GET /a <keyed>\r\nGET /b <bare>\r\n"),
        &["200", "401 API_KEY_REQUIRED"],
        &["GET /a"],
    ),
    case(
        "no key, then a good one",
        raw(b"GET /a <bare>\r\nGET /b <keyed>\r\n"),
        &["401 API_KEY_REQUIRED", "200"],
        &["GET /b"],
    ),
    case(
        "a good key, then a wrong one, then a good one",
        raw(b"GET /a <keyed>\r\nGET /b <bare>Authorization: Token no-such-key\r\n\r\nGET /c <keyed>\r\n"),
        &["200", "401 API_KEY_INVALID", "200"],
        &["GET /a", "GET /c"],
    ),
    case(
        "two accounts in turn",
        raw(b"GET /a <keyed>\r\nGET /b <bare>Authorization: Token <other>\r\n\r\nGET /c <keyed>\r\n"),
        &["200", "200", "200"],
        &["GET /a", "GET /b|for 202", "GET /c"],
    ),
    case(
        "an open route, then a guarded one",
        raw(b"GET /open/a <bare>\r\nGET /a <bare>\r\n"),
        &["200", "401 API_KEY_REQUIRED"],
        &["GET /open/a"],
    ),
    case(
        "another account's path, then one's own",
        raw(b"GET /accounts/202 <keyed>\r\nGET /accounts/101 <keyed>\r\n"),
        &["404 ACCOUNT_NOT_FOUND", "200"],
        &["GET /accounts/101"],
    ),
    // The body of what was refused is never a request.
    refused(
        "a refused body that is a request",
        raw(b"POST /a <bare>Content-Length: 36\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: ab\r\n\r\n"),
        &["401 API_KEY_REQUIRED"],
    )
    .either(),
    refused(
        "a refused body that is a good request",
        raw(b"POST /a <bare>Content-Length: 500\r\n\r\nGET /smuggled <keyed>\r\n"),
        &["401 API_KEY_REQUIRED"],
    )
    .closed(),
    refused(
        "refused chunks that are a request",
        raw(b"POST /a <bare>Transfer-Encoding: chunked\r\n\r\n24\r\nGET /smuggled HTTP/1.1\r\n\
          Host: ab\r\n\r\n\r\n0\r\n\r\n"),
        &["401 API_KEY_REQUIRED"],
    )
    .either(),
    refused(
        "refused chunks that are none",
        raw(b"POST /a <bare>Transfer-Encoding: chunked\r\n\r\nGET /smuggled <keyed>\r\n"),
        &["401 API_KEY_REQUIRED"],
    )
    .closed(),
    refused(
        "a refused GET with a body that is a request",
        raw(b"GET /a <bare>Content-Length: 36\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: ab\r\n\r\n"),
        &["401 API_KEY_REQUIRED"],
    )
    .either(),
    refused(
        "a malformed target with a body that is a request",
        raw(b"POST /../a <keyed>Content-Length: 500\r\n\r\nGET /smuggled <keyed>\r\n"),
        &["400 REQUEST_MALFORMED"],
    )
    .closed(),
    refused(
        "another account's path with a body that is a request",
        raw(b"POST /accounts/202 <keyed>Content-Length: 500\r\n\r\nGET /smuggled <keyed>\r\n"),
        &["404 ACCOUNT_NOT_FOUND"],
    )
    .closed(),
    refused(
        "a body too large that is a request",
        raw(b"POST /small <keyed>Content-Length: 500\r\n\r\nGET /smuggled <keyed>\r\n"),
        &["413 PAYLOAD_TOO_LARGE"],
    )
    .closed(),
    refused(
        "chunks too large that are a request",
        raw(b"POST /small <keyed>Transfer-Encoding: chunked\r\n\r\nffff\r\nGET /smuggled <keyed>X-A: 1\r\n\r\n"),
        &["413 PAYLOAD_TOO_LARGE"],
    )
    .closed()
    .cut(&["POST /small"]),
    // What cannot be read ends everything behind it.
    refused("nonsense, then a good request", raw(b"nonsense\r\n\r\nGET /smuggled <keyed>\r\n"), &["400"]).closed(),
    refused(
        "a broken length, then a good request",
        raw(b"POST /a <keyed>Content-Length: x\r\n\r\nGET /smuggled <keyed>\r\n"),
        &["400"],
    )
    .closed(),
    case(
        "a good request, then nonsense",
        raw(b"GET /a <keyed>\r\nnonsense\r\n\r\nGET /smuggled <keyed>\r\n"),
        &["200", "400"],
        &["GET /a"],
    )
    .closed(),
    case("a good request, then a CR", raw(b"GET /a <keyed>\r\n\rX\r\n\r\n"), &["200", "400"], &["GET /a"]).closed(),
    case("a good request, then a NUL", raw(b"GET /a <keyed>\r\n\0\r\n\r\n"), &["200", "400"], &["GET /a"]).closed(),
    case(
        "a body longer than its length",
        raw(b"POST /a <keyed>Content-Length: 5\r\n\r\nhello, world\r\n\r\n"),
        &["200", "400"],
        &[HELLO],
    )
    .closed(),
    case(
        "chunks, and then one more",
        raw(b"POST /a <keyed>Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n0\r\n\r\n"),
        &["200", "400"],
        &["POST /a|transfer-encoding: chunked"],
    )
    .closed(),
    case(
        "close, then a good request",
        raw(b"GET /a <keyed>Connection: close\r\n\r\nGET /smuggled <keyed>\r\n"),
        &["200"],
        &["GET /a"],
    )
    .closed(),
    case(
        "HTTP/1.0, then a good request",
        raw(b"GET /a HTTP/1.0\r\n<host><key>\r\nGET /smuggled <keyed>\r\n"),
        &["200"],
        &["GET /a"],
    )
    .closed(),
    case(
        "close with a body, then a good request",
        raw(b"POST /a <keyed>Connection: close\r\nContent-Length: 5\r\n\r\n\
          helloGET /smuggled <keyed>\r\n"),
        &["200"],
        &[HELLO],
    )
    .closed(),
    refused(
        "close and no key, then a good request",
        raw(b"GET /a <bare>Connection: close\r\n\r\nGET /smuggled <keyed>\r\n"),
        &["401 API_KEY_REQUIRED"],
    )
    .closed(),
];
