//! Where a key rides and how it is spelled: one, in one place, in one form (RFC 9110, 11.6.2; RFC 6750, 2.1).

use crate::desync::case::{Case, bare, passed, raw, refused, unreadable};

const A: &[&str] = &["GET /a"];
const OWN: &[&str] = &["GET /own/a"];
const REQUIRED: &[&str] = &["401 API_KEY_REQUIRED"];
const INVALID: &[&str] = &["401 API_KEY_INVALID"];
const AMBIGUOUS: &[&str] = &["400 CREDENTIAL_AMBIGUOUS"];

/// A GET of `/a` with these field lines is let through, and none of them reaches the origin.
const fn taken(name: &'static str, fields: &'static [u8]) -> Case {
    passed(name, bare("/a", fields), A).everywhere()
}

const fn required(name: &'static str, fields: &'static [u8]) -> Case {
    refused(name, bare("/a", fields), REQUIRED).everywhere()
}

const fn invalid(name: &'static str, fields: &'static [u8]) -> Case {
    refused(name, bare("/a", fields), INVALID).everywhere()
}

const fn ambiguous(name: &'static str, fields: &'static [u8]) -> Case {
    refused(name, bare("/a", fields), AMBIGUOUS).everywhere()
}

pub(super) const CASES: &[Case] = &[
    taken("Token", b"Authorization: Token <secret>\r\n"),
    taken("Bearer", b"Authorization: Bearer <secret>\r\n"),
    taken("a scheme in small letters", b"Authorization: token <secret>\r\n"),
    taken("a scheme in capitals", b"AUTHORIZATION: BEARER <secret>\r\n"),
    taken("a scheme and many spaces", b"Authorization: Token    <secret>\r\n"),
    taken("a scheme and a tab", b"Authorization: Token\t<secret>\r\n"),
    taken("spaces around it all", b"Authorization:   Token <secret>   \r\n"),
    required("no key", b""),
    required("an empty Authorization", b"Authorization:\r\n"),
    required("a scheme alone", b"Authorization: Token\r\n"),
    required("a scheme and spaces", b"Authorization: Bearer   \r\n"),
    required("a key without a scheme", b"Authorization: <secret>\r\n"),
    required("another scheme", b"Authorization: Basic YTpi\r\n"),
    required("a key under another scheme", b"Authorization: Basic <secret>\r\n"),
    required("a scheme that begins alike", b"Authorization: Tokens <secret>\r\n"),
    required("a scheme cut short", b"Authorization: Toke <secret>\r\n"),
    required("a scheme joined to its key", b"Authorization: Token<secret>\r\n"),
    required("a scheme and an equals sign", b"Authorization: Token=<secret>\r\n"),
    required("a scheme and a colon", b"Authorization: Token: <secret>\r\n"),
    required("a scheme within quotes", b"Authorization: \"Token\" <secret>\r\n"),
    required("an empty member before the scheme", b"Authorization: , Token <secret>\r\n"),
    required("the proxy's Authorization", b"Proxy-Authorization: Token <secret>\r\n"),
    required("an Authorization with an underscore", b"Authorization_: Token <secret>\r\n"),
    required("an Authorization that was forwarded", b"X-Forwarded-Authorization: Token <secret>\r\n"),
    required("a key in a cookie", b"Cookie: api_key=<secret>\r\n"),
    required("a key in a header this route does not read", b"X-API-Key: <secret>\r\n"),
    required("a key in a WebSocket's protocol", b"Sec-WebSocket-Protocol: bearer, <secret>\r\n"),
    refused("a key in the query", bare("/a?api_key=none&access_token=none", b""), REQUIRED).everywhere(),
    refused("a key where there is no route", bare("/own", b"Authorization: Basic YTpi\r\n"), REQUIRED).everywhere(),
    invalid("a key that nobody has", b"Authorization: Token no-such-key\r\n"),
    invalid("a key cut short", b"Authorization: Token kw_live_\r\n"),
    invalid("a key and a letter", b"Authorization: Token <secret>x\r\n"),
    invalid("a letter and a key", b"Authorization: Token x<secret>\r\n"),
    invalid("a key within quotes", b"Authorization: Token \"<secret>\"\r\n"),
    invalid("a key within brackets", b"Authorization: Token [<secret>]\r\n"),
    invalid("a key with an equals sign", b"Authorization: Bearer <secret>=\r\n"),
    invalid("a key with a semicolon", b"Authorization: Token <secret>;\r\n"),
    invalid("a key with an escape", b"Authorization: Token <secret>%20\r\n"),
    invalid("a key twice in one", b"Authorization: Token <secret><secret>\r\n"),
    invalid("a key as a parameter", b"Authorization: Token token=<secret>\r\n"),
    refused("a key with a no-break space", bare("/a", b"Authorization: Token <secret>\xa0\r\n"), INVALID),
    refused("a key with a byte above ASCII", bare("/a", b"Authorization: Token \xff<secret>\r\n"), INVALID),
    unreadable("a key with a NUL", bare("/a", b"Authorization: Token <secret>\0\r\n")),
    unreadable("a key with a CR", bare("/a", b"Authorization: Token <secret>\rX-A: 1\r\n")),
    ambiguous("the same key twice", b"Authorization: Token <secret>\r\nAuthorization: Token <secret>\r\n"),
    ambiguous("two keys in two lines", b"Authorization: Token <secret>\r\nAuthorization: Token <other>\r\n"),
    ambiguous(
        "a key and another scheme in two lines",
        b"Authorization: Token <secret>\r\nAuthorization: Basic YTpi\r\n",
    ),
    ambiguous(
        "another scheme and a key in two lines",
        b"Authorization: Basic YTpi\r\nAuthorization: Token <secret>\r\n",
    ),
    ambiguous("an empty line and a key", b"Authorization:\r\nAuthorization: Token <secret>\r\n"),
    ambiguous("a key under two schemes", b"Authorization: Token <secret>\r\nAuthorization: Bearer <secret>\r\n"),
    ambiguous("two keys in a list", b"Authorization: Token <secret>, Token <other>\r\n"),
    ambiguous("two keys without a comma", b"Authorization: Token <secret> <other>\r\n"),
    ambiguous("a key and a comma", b"Authorization: Token <secret>,\r\n"),
    ambiguous("a key and a parameter", b"Authorization: Bearer <secret> realm=a\r\n"),
    ambiguous("a comma and a key", b"Authorization: Token ,<secret>\r\n"),
    // A route that reads a header of its own too.
    passed("a key in the route's header", bare("/own/a", b"X-API-Key: <secret>\r\n"), OWN).everywhere(),
    passed("a key in Authorization on that route", bare("/own/a", b"Authorization: Bearer <secret>\r\n"), OWN)
        .everywhere(),
    refused(
        "a key in both places",
        bare("/own/a", b"Authorization: Bearer <secret>\r\nX-API-Key: <secret>\r\n"),
        AMBIGUOUS,
    )
    .everywhere(),
    refused(
        "two keys in both places",
        bare("/own/a", b"Authorization: Bearer <secret>\r\nX-API-Key: <other>\r\n"),
        AMBIGUOUS,
    )
    .everywhere(),
    refused(
        "a key twice in the route's header",
        bare("/own/a", b"X-API-Key: <secret>\r\nX-API-Key: <other>\r\n"),
        AMBIGUOUS,
    )
    .everywhere(),
    refused("a list in the route's header", bare("/own/a", b"X-API-Key: <secret>, <other>\r\n"), INVALID).everywhere(),
    refused("a key with a scheme in the route's header", bare("/own/a", b"X-API-Key: Token <secret>\r\n"), INVALID)
        .everywhere(),
    refused("an empty route's header", bare("/own/a", b"X-API-Key:\r\n"), INVALID).everywhere(),
    refused("a key in the header's alias", bare("/own/a", b"X_API_Key: <secret>\r\n"), REQUIRED).everywhere(),
    refused("a key in the header's other alias", bare("/own/a", b"X.API.Key: <secret>\r\n"), REQUIRED).everywhere(),
    passed("a key, and another in an alias", bare("/own/a", b"X-API-Key: <secret>\r\nX_API_Key: <other>\r\n"), OWN)
        .everywhere(),
    passed(
        "a key, and another where nobody looks",
        bare("/a", b"Authorization: Token <secret>\r\nX-API-Key: <other>\r\nX-Auth: Token <other>\r\n"),
        A,
    )
    .everywhere(),
    refused(
        "Connection names the route's header",
        bare("/own/a", b"X-API-Key: <secret>\r\nConnection: X-API-Key\r\n"),
        REQUIRED,
    ),
    passed("a key in another method", raw(b"DELETE /own/a <bare>X-API-Key: <secret>\r\n\r\n"), &["DELETE /own/a"]),
    // A route that asks for no key.
    passed("no key on an open route", bare("/open/a", b""), &["GET /open/a"]).everywhere(),
    passed("a key of ours on an open route", bare("/open/a", b"Authorization: Token <secret>\r\n"), &["GET /open/a"])
        .everywhere(),
    passed(
        "a key of ours in a header on an open route",
        bare("/open/a", b"X-API-Key: <secret>\r\nX-A: Bearer <other>\r\n"),
        &["GET /open/a"],
    )
    .everywhere(),
    passed(
        "another's credential on an open route",
        bare("/open/a", b"Authorization: Basic YTpi\r\n"),
        &["GET /open/a|authorization: Basic YTpi"],
    )
    .everywhere(),
];
