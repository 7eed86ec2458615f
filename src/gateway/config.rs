//! The settings of the gateway as they are said: whole, services and routes. [`super::plan`] makes of them what is used.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::key::Permission;
use crate::measure::{Size, Span};

/// `[gateway]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What another account's path answers.
    pub account_mismatch: Mismatch,
    /// In `WWW-Authenticate`.
    pub realm: String,
    /// One request's body.
    pub body_limit: Size,
    /// One request's JSON body, where an account is looked for in it.
    pub json_body_limit: Size,
    /// One answer, where it is filtered.
    pub filter_limit: Size,
    /// `//` in a path.
    pub empty_segments: Leniency,
    /// `;` in a path.
    pub semicolons: Leniency,
    /// `%2F` and `%5C` in a path.
    pub escaped_slashes: Leniency,
    /// Header names with `_` or another sign.
    pub underscore_headers: Underscores,
    /// Tell in a 401 why the key is invalid, where its secret was right.
    pub verbose_refusals: bool,
    /// So long before its key expires a holder is told so; never where zero.
    pub expiry_notice: Span,
    /// What the origin is told.
    pub identity: IdentityNames,
    /// Legacy keys, on their way out.
    pub user_keys: UserKeysConfig,
    /// Upgraded connections.
    pub tunnels: TunnelsConfig,
    /// What becomes of what is open for long when its key ends.
    pub on_key_end: OnKeyEnd,
    /// For so long it goes on when nothing can be told of its key.
    pub stream_grace: Span,
}

/// What becomes of a tunnel, a long answer or a long upload when its key ends, or may no longer do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged, expecting = "not \"cut\", \"finish\" or a duration such as \"30s\"")]
pub enum OnKeyEnd {
    /// As the word says.
    Word(KeyEndWord),
    /// It goes on for so long, and is cut then.
    After(Span),
}

/// A word for [`OnKeyEnd`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyEndWord {
    /// It is cut at once.
    Cut,
    /// It goes on to its own end.
    Finish,
}

impl OnKeyEnd {
    /// How long it goes on; none where to its own end.
    pub(super) const fn grace(self) -> Option<Duration> {
        match self {
            Self::Word(KeyEndWord::Cut) => Some(Duration::ZERO),
            Self::Word(KeyEndWord::Finish) => None,
            Self::After(Span(grace)) => Some(grace),
        }
    }
}

/// `[gateway.tunnels]`: connections that a route let go on as another protocol.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TunnelsConfig {
    /// At one time, in all.
    pub limit: usize,
    /// Of one key; any number where zero.
    pub per_key: usize,
    /// Without a byte in either direction; any time where zero.
    pub idle: Span,
    /// In all; any time where zero.
    pub age: Span,
    /// When keyward stops, they end one after the other within so long.
    pub drain: Span,
}

/// `[gateway.user_keys]`: keys of users, which reach every account of theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct UserKeysConfig {
    /// Since when, or from when on, nobody should use them: their holders are told with every answer.
    pub deprecated: Option<Timestamp>,
    /// From then on they are refused.
    pub sunset: Option<Timestamp>,
    /// Times in which they are refused beforehand, each as `begin/end`.
    pub brownouts: Vec<String>,
    /// A page that tells their holders what to do.
    pub link: Option<String>,
}

/// What another account's path answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mismatch {
    /// 404 `ACCOUNT_NOT_FOUND`, which hides whether it exists.
    NotFound,
    /// 403 `ACCOUNT_MISMATCH`.
    Forbidden,
}

/// What is done with a path that origins are known to read in two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Leniency {
    /// 400.
    Refuse,
    /// Forwarded as it came.
    Keep,
}

/// What is done with header names that some origins cannot tell from ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Underscores {
    /// Not forwarded.
    Drop,
    /// 400.
    Refuse,
}

/// `[gateway.identity]`: the header names the origin reads.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityNames {
    /// The account the request acts in.
    pub account: String,
    /// The user behind the key.
    pub user: String,
    /// The key's id.
    pub key: String,
    /// The key's kind.
    pub kind: String,
    /// What the key may do there.
    pub permissions: String,
}

/// `[origin]`: what holds for every service that does not say otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OriginConfig {
    /// Name look-up, TCP and TLS together.
    pub connect: Span,
    /// From the request's last progress to the head of the answer.
    pub response_header: Span,
    /// An answer's body that does not progress.
    pub body_idle: Span,
    /// An unused connection.
    pub keepalive_idle: Span,
    /// To one service, a worker.
    pub connections: usize,
    /// Requests that wait for one of those.
    pub waiting: usize,
    /// An answer's head.
    pub response_header_bytes: Size,
    /// What is read of an answer at once, at most.
    pub buffer_bytes: Size,
    /// The client's `Host` goes on to the origin.
    pub preserve_host: bool,
    /// Once, on a fresh connection, where nothing can happen twice.
    pub retry: bool,
    /// A file with the key that requests are signed under; without one they are not.
    pub signing_key_file: Option<PathBuf>,
    /// What the origin knows that key by.
    pub signing_key_id: String,
    /// From signing to the end of the signature's use.
    pub signature_lifetime: Span,
}

/// `[services.NAME]`: an origin, and what differs from [`OriginConfig`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceConfig {
    /// `http://host[:port]` or `https://host[:port]`, or `echo` for the built-in origin.
    pub url: Option<String>,
    /// PEM roots trusted instead of the built-in ones.
    pub ca_file: Option<PathBuf>,
    /// See [`OriginConfig::connect`].
    pub connect: Option<Span>,
    /// See [`OriginConfig::response_header`].
    pub response_header: Option<Span>,
    /// See [`OriginConfig::body_idle`].
    pub body_idle: Option<Span>,
    /// See [`OriginConfig::keepalive_idle`].
    pub keepalive_idle: Option<Span>,
    /// See [`OriginConfig::connections`].
    pub connections: Option<usize>,
    /// See [`OriginConfig::waiting`].
    pub waiting: Option<usize>,
    /// See [`OriginConfig::response_header_bytes`].
    pub response_header_bytes: Option<Size>,
    /// See [`OriginConfig::buffer_bytes`].
    pub buffer_bytes: Option<Size>,
    /// See [`OriginConfig::preserve_host`].
    pub preserve_host: Option<bool>,
    /// See [`OriginConfig::retry`].
    pub retry: Option<bool>,
    /// See [`OriginConfig::signing_key_file`].
    pub signing_key_file: Option<PathBuf>,
    /// See [`OriginConfig::signing_key_id`].
    pub signing_key_id: Option<String>,
    /// See [`OriginConfig::signature_lifetime`].
    pub signature_lifetime: Option<Span>,
}

/// One of `[[routes]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// In logs and metrics; the path where left out.
    pub name: Option<String>,
    /// Any where left out.
    pub hosts: Option<Vec<String>>,
    /// The path template.
    pub path: Option<String>,
    /// Any where left out.
    pub methods: Option<Vec<String>>,
    /// The service it goes to.
    pub service: Option<String>,
    /// `token`, `bearer`, `header:NAME`; the first two where left out.
    pub carriers: Option<Vec<String>>,
    /// What the key must hold.
    pub permission: Option<Permission>,
    /// Where the account stands; the template's `{account}` where it has one, else nowhere.
    pub account: Option<AccountPlace>,
    /// No key is asked for.
    pub open: Option<bool>,
    /// Rules that refuse nobody and are told of.
    pub report: Option<ReportConfig>,
    /// One request's body.
    pub body_limit: Option<Size>,
    /// Further places that may name the account; all that do have to name the same.
    pub agree: Option<Vec<AgreePlace>>,
    /// What of the service's answers is per account; only the key's own goes on.
    pub filter: Option<Vec<FilterConfig>>,
    /// Since when, or from when on, nobody should use it; or only that nobody should.
    pub deprecated: Option<Deprecated>,
    /// When it may stop answering.
    pub sunset: Option<Timestamp>,
    /// What takes its place: a path or an address, with `{account}` where the account stands.
    pub successor: Option<String>,
    /// A page that tells about its end.
    pub link: Option<String>,
    /// Nothing is forwarded any more: 410.
    pub gone: Option<bool>,
    /// What a client may ask its connection to go on as, as in the header `Upgrade`.
    pub upgrade: Option<Vec<String>>,
    /// See [`Config::on_key_end`].
    pub on_key_end: Option<OnKeyEnd>,
}

/// `deprecated` of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged, expecting = "not a moment in RFC 3339 form such as 2030-01-01T00:00:00Z, nor true or false")]
pub enum Deprecated {
    /// Whether it is, without a date.
    Flag(bool),
    /// From this moment on.
    Since(Timestamp),
}

/// One place of `agree` of a route.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AgreePlace {
    /// This header.
    Header(String),
    /// This query parameter.
    Query(String),
    /// This member of a JSON body, as a JSON pointer (RFC 6901).
    Body(String),
}

/// One rule of `filter` of a route: `items` with `account`, or `members`, or `own`, each a JSON pointer (RFC 6901) in which `*`
/// stands for every item or member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FilterConfig {
    /// A list of which only the items of the key's account go on.
    pub items: Option<String>,
    /// Where in an item its account stands; empty where the item is the account.
    pub account: Option<String>,
    /// Numbers that say how many items there are.
    pub counts: Option<Vec<String>>,
    /// An object whose members are named by accounts, of which only the key's go on.
    pub members: Option<String>,
    /// An account that has to be the key's.
    pub own: Option<String>,
    /// Whether it may be missing in an answer.
    pub optional: Option<bool>,
}

/// `report` of a route: rules in report mode, beside those that it enforces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ReportConfig {
    /// What the key should hold.
    pub permission: Option<Permission>,
    /// Where the account stands that should be the key's.
    pub account: Option<AccountPlace>,
}

/// Where in a request the account stands.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountPlace {
    /// The template's segment of this name.
    Path(String),
    /// The segment after each segment of this name, wherever in the path.
    After(String),
    /// This header.
    Header(String),
    /// This query parameter.
    Query(String),
    /// The label of the host at this number, from 0 at the left.
    HostLabel(usize),
}
