//! What only the gateway may say: who asks, from where, and for what.

use crate::desync::case::{Case, bare, get, passed, refused};

const A: &[&str] = &["GET /a"];
const OPEN: &[&str] = &["GET /open/a"];

/// These field lines are removed, over HTTP/2 as well.
const fn removed(name: &'static str, fields: &'static [u8]) -> Case {
    passed(name, get("/a", fields), A).everywhere()
}

/// The same on a route that asks for no key, where nothing is set in their place.
const fn removed_open(name: &'static str, fields: &'static [u8]) -> Case {
    passed(name, bare("/open/a", fields), OPEN).everywhere()
}

pub(super) const CASES: &[Case] = &[
    removed("the account", b"X-Keyward-Account: spoof\r\n"),
    removed("the account in capitals", b"X-KEYWARD-ACCOUNT: spoof\r\n"),
    removed("the account twice", b"X-Keyward-Account: spoof\r\nX-Keyward-Account: spoof\r\n"),
    removed("the account, empty and not", b"X-Keyward-Account:\r\nx-keyward-account: spoof\r\n"),
    removed("the user", b"X-Keyward-User: spoof\r\n"),
    removed("the key", b"X-Keyward-Key: spoof\r\n"),
    removed("the kind", b"X-Keyward-Kind: spoof\r\n"),
    removed("the permissions", b"X-Keyward-Permissions: spoof\r\n"),
    removed("the account with underscores", b"X_Keyward_Account: spoof\r\n"),
    removed("the account with one underscore", b"X-Keyward_Account: spoof\r\n"),
    removed("the account with dots", b"X.Keyward.Account: spoof\r\n"),
    removed("the account with a dot", b"X-Keyward.Account: spoof\r\n"),
    removed("the account with an exclamation mark", b"X-Keyward!Account: spoof\r\n"),
    removed("the account with a tilde", b"X~Keyward~Account: spoof\r\n"),
    removed("the account with a bar", b"X|Keyward|Account: spoof\r\n"),
    removed("the account with a plus", b"X+Keyward+Account: spoof\r\n"),
    removed("the account with a star", b"X*Keyward*Account: spoof\r\n"),
    removed("the account with a quote", b"X'Keyward'Account: spoof\r\n"),
    removed("the account with a hash", b"X#Keyward#Account: spoof\r\n"),
    removed("the permissions with underscores", b"X_KEYWARD_PERMISSIONS: spoof\r\n"),
    removed("the account as CGI has it", b"HTTP_X_KEYWARD_ACCOUNT: spoof\r\n"),
    removed(
        "the account and the account",
        b"X-Keyward-Account: spoof\r\nX_Keyward_Account: spoof\r\nX.Keyward.Account: spoof\r\n",
    ),
    removed("the chain", b"X-Forwarded-For: spoof\r\n"),
    removed("the chain twice", b"X-Forwarded-For: spoof\r\nX-Forwarded-For: spoof\r\n"),
    removed("the chain with underscores", b"X_Forwarded_For: spoof\r\n"),
    removed("the chain with dots", b"X.Forwarded.For: spoof\r\n"),
    removed("the scheme", b"X-Forwarded-Proto: spoof\r\n"),
    removed("the scheme by another name", b"X-Forwarded-Scheme: spoof\r\n"),
    removed("the port", b"X-Forwarded-Port: spoof\r\n"),
    removed("the prefix", b"X-Forwarded-Prefix: spoof\r\n"),
    removed("the target", b"X-Forwarded-Uri: spoof\r\n"),
    removed("the method that was forwarded", b"X-Forwarded-Method: spoof\r\n"),
    removed("the server", b"X-Forwarded-Server: spoof\r\n"),
    removed("the user that was forwarded", b"X-Forwarded-User: spoof\r\n"),
    removed("the groups that were forwarded", b"X-Forwarded-Groups: spoof\r\n"),
    removed("the client's certificate that was forwarded", b"X-Forwarded-Client-Cert: spoof\r\n"),
    removed("the token that was forwarded", b"X-Forwarded-Access-Token: spoof\r\n"),
    removed("whatever was forwarded", b"X-Forwarded: spoof\r\n"),
    removed("Forwarded", b"Forwarded: for=spoof;host=spoof;proto=https\r\n"),
    removed("the client's address", b"X-Real-IP: spoof\r\n"),
    removed("the client's true address", b"True-Client-IP: spoof\r\n"),
    removed("the client's address by another name", b"X-Client-IP: spoof\r\n"),
    removed("the client's address in a cluster", b"X-Cluster-Client-IP: spoof\r\n"),
    removed("the client's address at a network's edge", b"CF-Connecting-IP: spoof\r\nFastly-Client-IP: spoof\r\n"),
    removed("the original target", b"X-Original-URL: /spoof\r\n"),
    removed("the original target by another name", b"X-Original-URI: /spoof\r\n"),
    removed("the original method", b"X-Original-Method: spoof\r\n"),
    removed("another host", b"X-Host: spoof\r\n"),
    removed("another host by a long name", b"X-HTTP-Host-Override: spoof\r\n"),
    removed("a proxy for the origin's own requests", b"Proxy: http://spoof\r\n"),
    removed("the rewritten target", b"X-Rewrite-URL: /spoof\r\n"),
    removed("another method", b"X-HTTP-Method-Override: spoof\r\n"),
    removed("another method by a short name", b"X-Method-Override: spoof\r\n"),
    removed("another method by the shortest name", b"X-HTTP-Method: spoof\r\n"),
    removed("the request's id", b"X-Request-Id: spoof\r\n"),
    removed_open("the account on an open route", b"X-Keyward-Account: spoof\r\n"),
    removed_open("the account with underscores on an open route", b"X_Keyward_Account: spoof\r\n"),
    removed_open("the account with dots on an open route", b"X.Keyward.Account: spoof\r\n"),
    removed_open(
        "everything on an open route",
        b"X-Keyward-User: spoof\r\nX-Keyward-Key: spoof\r\nX-Keyward-Kind: spoof\r\nX-Keyward-Permissions: spoof\r\n",
    ),
    removed_open("the chain on an open route", b"X-Forwarded-For: spoof\r\nForwarded: for=spoof\r\n"),
    removed_open("the target on an open route", b"X-Original-URL: /spoof\r\n"),
    refused(
        "the account without a key",
        bare("/a", b"X-Keyward-Account: 101\r\nX-Keyward-Key: key\r\n"),
        &["401 API_KEY_REQUIRED"],
    )
    .everywhere(),
    refused(
        "the account for another's path",
        get("/accounts/202", b"X-Keyward-Account: 202\r\n"),
        &["404 ACCOUNT_NOT_FOUND"],
    )
    .everywhere(),
    refused(
        "the original target for another's path",
        get("/accounts/202", b"X-Original-URL: /accounts/101\r\n"),
        &["404 ACCOUNT_NOT_FOUND"],
    )
    .everywhere(),
    passed("two cookies are one", get("/a", b"Cookie: a=1\r\nCookie: b=2\r\n"), &["GET /a|cookie: a=1; b=2"])
        .everywhere(),
    passed("a name that only begins alike", get("/a", b"X-Keywarden: 1\r\n"), &["GET /a|x-keywarden: 1"]).everywhere(),
];
