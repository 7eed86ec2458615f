//! Targets that name one path to the judge and another to the origin, and accounts that hide in them (RFC 3986, 6).

use crate::desync::case::{Case, get, passed, raw, refused, unreadable};

const MALFORMED: &[&str] = &["400 REQUEST_MALFORMED"];
const FOREIGN: &[&str] = &["404 ACCOUNT_NOT_FOUND"];

/// A GET that is refused as malformed, over HTTP/2 as well.
const fn ambiguous(name: &'static str, target: &'static str) -> Case {
    refused(name, get(target, b""), MALFORMED).everywhere()
}

/// A GET that is refused as another account's, over HTTP/2 as well.
const fn foreign(name: &'static str, target: &'static str) -> Case {
    refused(name, get(target, b""), FOREIGN).everywhere()
}

/// A GET that is forwarded as this.
const fn read_as(name: &'static str, target: &'static str, forwarded: &'static [&'static str]) -> Case {
    passed(name, get(target, b""), forwarded).everywhere()
}

pub(super) const CASES: &[Case] = &[
    // One's own account, and another's.
    read_as("one's own account", "/accounts/101/jobs", &["GET /accounts/101/jobs"]),
    read_as("one's own account, escaped", "/%61ccounts/%3101", &["GET /accounts/101"]),
    foreign("another account", "/accounts/202/jobs"),
    foreign("another account, escaped", "/accounts/%3202/jobs"),
    foreign("another account behind an escaped word", "/%61ccounts/202/jobs"),
    foreign("another account behind a word in capitals", "/ACCOUNTS/202/jobs"),
    foreign("another account deep in the path", "/api/v2/accounts/202"),
    foreign("another account with a slash behind", "/accounts/202/"),
    foreign("another account with a query", "/accounts/202?account=101"),
    foreign("an account that begins as one's own", "/accounts/1010/jobs"),
    foreign("an account that ends as one's own", "/accounts/0101/jobs"),
    foreign("one's own account and a space", "/accounts/101%20/jobs"),
    foreign("one's own account and a plus", "/accounts/+101/jobs"),
    foreign("one's own account in other digits", "/accounts/%D9%A1%D9%A0%D9%A1/jobs"),
    foreign("one's own account in full width", "/accounts/%EF%BC%91%EF%BC%90%EF%BC%91/jobs"),
    foreign("one's own account as a fraction", "/accounts/101,0/jobs"),
    foreign("no account where one stands", "/accounts/-/jobs"),
    ambiguous("two accounts", "/accounts/101/accounts/202"),
    ambiguous("two accounts, the other first", "/accounts/202/accounts/101"),
    ambiguous("two accounts, one behind capitals", "/accounts/101/Accounts/202"),
    ambiguous("two accounts, one behind escapes", "/accounts/101/%41ccounts/202"),
    // Dots.
    ambiguous("two dots", "/accounts/101/../202/jobs"),
    ambiguous("two dots at the end", "/accounts/101/.."),
    ambiguous("two dots at the start", "/../accounts/202"),
    ambiguous("one dot", "/./accounts/202"),
    ambiguous("one dot at the end", "/accounts/101/."),
    ambiguous("two escaped dots", "/accounts/101/%2e%2e/202/jobs"),
    ambiguous("two escaped dots in capitals", "/accounts/101/%2E%2E/202"),
    ambiguous("a dot and an escaped dot", "/accounts/101/.%2e/202"),
    ambiguous("an escaped dot in a name", "/a%2ejson"),
    ambiguous("two dots and a parameter", "/accounts/101/..;/202/jobs"),
    ambiguous("two dots and a parameter with a value", "/accounts/101/..;a=b/202"),
    ambiguous("a dot and a parameter", "/accounts/101/.;/202"),
    ambiguous("two dots and an escaped semicolon", "/accounts/101/..%3b/202"),
    ambiguous("a dot and an escaped semicolon", "/accounts/101/.%3b/202"),
    ambiguous("two dots and an escaped parameter", "/accounts/101/..%3Ba=b/202"),
    ambiguous("two dots and a backslash", "/accounts/101/..\\202"),
    ambiguous("two dots and an escaped backslash", "/accounts/101/..%5c202"),
    ambiguous("two dots and an escaped slash", "/accounts/101/..%2f202"),
    ambiguous("two dots out of an open route", "/open/../accounts/202"),
    ambiguous("two escaped dots out of an open route", "/open/%2e%2e/accounts/202"),
    ambiguous("two dots, escaped twice", "/accounts/101/%252e%252e/202"),
    ambiguous("two dots in full width", "/accounts/101/%u002e%u002e/202"),
    ambiguous("two dots in an overlong form", "/accounts/101/%c0%ae%c0%ae/202"),
    read_as("dots that are a name", "/accounts/101/...", &["GET /accounts/101/..."]),
    read_as("a name that begins with a dot", "/.well-known/a", &["GET /.well-known/a"]),
    read_as("a name that ends with dots", "/a../b", &["GET /a../b"]),
    // Slashes.
    ambiguous("two slashes", "//accounts/202"),
    ambiguous("two slashes in the middle", "/open//accounts/202"),
    ambiguous("two slashes before an account", "/accounts//202"),
    ambiguous("two slashes at the end", "/accounts/101//"),
    ambiguous("an escaped slash", "/accounts%2f202"),
    ambiguous("an escaped slash in capitals", "/open%2F..%2Faccounts%2F202"),
    ambiguous("a slash, escaped twice", "/accounts%252f202"),
    ambiguous("a slash in an overlong form", "/accounts%c0%af202"),
    ambiguous("a backslash", "/accounts\\202"),
    ambiguous("an escaped backslash", "/accounts%5C202"),
    // Semicolons.
    ambiguous("a parameter", "/accounts;a=b/202"),
    ambiguous("a parameter behind an account", "/accounts/101;202/jobs"),
    ambiguous("a session in the path", "/a;jsessionid=1"),
    // Escapes.
    ambiguous("an escaped NUL", "/accounts/101%00/jobs"),
    ambiguous("an escaped NUL and a name", "/open%00/a"),
    ambiguous("an escaped LF", "/a%0ab"),
    ambiguous("an escaped line end and a header", "/a%0d%0aX-Keyward-Account:202"),
    ambiguous("an escaped tab", "/a%09b"),
    ambiguous("an escaped DEL", "/a%7fb"),
    ambiguous("an escape without digits", "/a%"),
    ambiguous("an escape of one digit", "/a%2"),
    ambiguous("an escape of no digits", "/a%zz"),
    ambiguous("an escape, escaped", "/a%2541"),
    ambiguous("half of a character", "/a%e2%82"),
    ambiguous("a byte that is no UTF-8", "/a%ff"),
    ambiguous("a bar", "/a|b"),
    ambiguous("brackets", "/a[b]"),
    ambiguous("braces", "/{a}"),
    ambiguous("a caret", "/a^b"),
    unreadable("a backtick", get("/a`b", b"")),
    ambiguous("quotes", "/a\"b"),
    unreadable("angle brackets", get("/<a>", b"")),
    unreadable("a raw byte above ASCII", raw(b"GET /\xff <keyed>\r\n")),
    refused("raw letters above ASCII", raw("GET /\u{e4} <keyed>\r\n".as_bytes()), MALFORMED),
    read_as("escapes that need none", "/%41%2d%5f%7e", &["GET /A-_~"]),
    read_as("escapes in small letters", "/a%3ab%e2%82%ac", &["GET /a%3Ab%E2%82%AC"]),
    read_as("an escaped space", "/a%20b", &["GET /a%20b"]),
    read_as("an escaped question mark", "/a%3fb", &["GET /a%3Fb"]),
    read_as("an escaped hash", "/a%23b", &["GET /a%23b"]),
    read_as("signs that need no escape", "/!$&'()*+,=:@", &["GET /!$&'()*+,=:@"]),
    passed("a fragment is dropped", get("/a#/../accounts/202", b""), &["GET /a"]),
    // Queries go on as they came.
    read_as("dots in a query", "/a?b=/../c//d;e", &["GET /a?b=/../c//d;e"]),
    read_as("escapes in a query", "/a?b=%2e%2f%00%zz", &["GET /a?b=%2e%2f%00%zz"]),
    read_as("two question marks", "/a?b?c", &["GET /a?b?c"]),
    read_as("an empty query", "/a?", &["GET /a?"]),
    // Accounts in a query.
    read_as("one's own account in a query", "/query/a?account=101", &["GET /query/a?account=101"]),
    foreign("another account in a query", "/query/a?account=202"),
    foreign("another account in an escaped query", "/query/a?%61ccount=202"),
    foreign("another account behind a semicolon", "/query/a?b=1;account=202"),
    ambiguous("two accounts in a query", "/query/a?account=101&account=202"),
    ambiguous("two accounts in a query, one escaped", "/query/a?account=101&accoun%74=202"),
    ambiguous("two accounts in a query, parted by a semicolon", "/query/a?account=101;account=202"),
    // Accounts in a header.
    passed("one's own account in a header", get("/header/a", b"X-Tenant: 101\r\n"), &["GET /header/a|x-tenant: 101"])
        .everywhere(),
    refused("another account in a header", get("/header/a", b"X-Tenant: 202\r\n"), FOREIGN).everywhere(),
    refused("two accounts in a header", get("/header/a", b"X-Tenant: 101\r\nX-Tenant: 202\r\n"), MALFORMED)
        .everywhere(),
    refused("a list of accounts in a header", get("/header/a", b"X-Tenant: 101, 202\r\n"), FOREIGN).everywhere(),
    passed(
        "another account in a header's alias",
        get("/header/a", b"X-Tenant: 101\r\nX_Tenant: spoof\r\n"),
        &["GET /header/a|x-tenant: 101"],
    )
    .everywhere(),
    passed(
        "another account in a header of dots",
        get("/header/a", b"X-Tenant: 101\r\nX.Tenant: spoof\r\n"),
        &["GET /header/a|x-tenant: 101"],
    )
    .everywhere(),
    passed("another account in an alias alone", get("/header/a", b"X.Tenant: spoof\r\n"), &["GET /header/a"])
        .everywhere(),
    passed(
        "Connection drops another account's header",
        get("/header/a", b"X-Tenant: 202\r\nConnection: X-Tenant\r\n"),
        &["GET /header/a"],
    ),
    passed(
        "Connection drops one's own account's header",
        get("/header/a", b"X-Tenant: 101\r\nConnection: X-Tenant\r\n"),
        &["GET /header/a"],
    ),
];
