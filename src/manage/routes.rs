//! What the management face answers, as data: read by the router, by the 405 answer, by the rights check, and by the tests
//! and the OpenAPI document that are held to it. The admin listener's table is here; each dialect has its own.

use http::Method;
use percent_encoding::percent_decode_str;

use super::dialect::native::{Call, Directory};
use super::problem::{Code, Problem};

/// What a row tells or does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Row {
    /// That the process answers.
    Live,
    /// Whether it should be sent requests.
    Ready,
    /// Its numbers.
    Metrics,
    /// How the command line is to speak to it.
    Greet,
    /// Carries out what the command line asks for.
    Command,
    /// A call of the native API.
    Native(Call),
}

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    /// Anyone who reaches the listener.
    Anyone,
    /// Who has an operator key.
    Operator,
    /// Who has any other key, about what is theirs.
    Holder,
}

/// One path, who may ask, and what each method does there. HEAD goes with GET, and OPTIONS with all.
#[derive(Debug)]
pub(super) struct Route<C: 'static = Row> {
    pub(super) path: &'static str,
    pub(super) right: Right,
    pub(super) rows: &'static [(Method, C)],
}

const fn open(path: &'static str, rows: &'static [(Method, Row)]) -> Route {
    Route { path, right: Right::Anyone, rows }
}

const fn operators(path: &'static str, rows: &'static [(Method, Row)]) -> Route {
    Route { path, right: Right::Operator, rows }
}

/// A path for holders of keys.
pub(super) const fn holders<C>(path: &'static str, rows: &'static [(Method, C)]) -> Route<C> {
    Route { path, right: Right::Holder, rows }
}

/// The table.
pub(super) const ROUTES: &[Route] = {
    use Row::Native;
    &[
        open("/livez", &[(Method::GET, Row::Live)]),
        open("/readyz", &[(Method::GET, Row::Ready)]),
        open("/metrics", &[(Method::GET, Row::Metrics)]),
        operators("/v1/openapi.json", &[(Method::GET, Native(Call::Describe))]),
        operators("/v1/whoami", &[(Method::GET, Native(Call::WhoAmI))]),
        operators("/v1/verify", &[(Method::POST, Native(Call::Verify))]),
        operators("/oauth2/introspect", &[(Method::POST, Native(Call::Introspect))]),
        operators("/v1/keys", &[(Method::GET, Native(Call::ListKeys)), (Method::POST, Native(Call::MintKey))]),
        operators(
            "/v1/keys/{key}",
            &[
                (Method::GET, Native(Call::ShowKey)),
                (Method::PATCH, Native(Call::ChangeKey)),
                (Method::DELETE, Native(Call::RevokeKey)),
            ],
        ),
        operators("/v1/keys/{key}/callers", &[(Method::GET, Native(Call::ShowCallers))]),
        operators("/v1/keys/{key}/rotate", &[(Method::POST, Native(Call::RotateKey))]),
        operators("/v1/keys/{key}/rotation/complete", &[(Method::POST, Native(Call::CompleteRotation))]),
        operators("/v1/keys/{key}/rotation/cancel", &[(Method::POST, Native(Call::CancelRotation))]),
        operators("/v1/keys/{key}/replace", &[(Method::POST, Native(Call::ReplaceKey))]),
        operators("/v1/migration", &[(Method::GET, Native(Call::ShowMigration))]),
        operators(
            "/v1/rehearsal",
            &[(Method::GET, Native(Call::ShowRehearsal)), (Method::DELETE, Native(Call::ForgetRehearsal))],
        ),
        operators(
            "/v1/accounts",
            &[
                (Method::GET, Native(Call::Directory(Directory::ListAccounts))),
                (Method::POST, Native(Call::Directory(Directory::CreateAccount))),
            ],
        ),
        operators(
            "/v1/accounts/{account}",
            &[
                (Method::GET, Native(Call::Directory(Directory::ShowAccount))),
                (Method::PATCH, Native(Call::Directory(Directory::ChangeAccount))),
            ],
        ),
        operators("/v1/accounts/{account}/members", &[(Method::GET, Native(Call::Directory(Directory::ListMembers)))]),
        operators(
            "/v1/accounts/{account}/members/{user}",
            &[
                (Method::PUT, Native(Call::Directory(Directory::PutMember))),
                (Method::DELETE, Native(Call::Directory(Directory::RemoveMember))),
            ],
        ),
        operators("/v1/revisions/{rev}", &[(Method::GET, Native(Call::ShowRevision))]),
        operators("/v1/barrier", &[(Method::POST, Native(Call::Barrier))]),
        operators("/v1/replicas", &[(Method::GET, Native(Call::ShowReplicas))]),
        // The command line's own, and so not in the description: `keyward … --admin`.
        operators("/v1/commands", &[(Method::GET, Row::Greet), (Method::POST, Row::Command)]),
        operators("/v1/audit", &[(Method::GET, Native(Call::ListAudit))]),
        operators(
            "/v1/users",
            &[
                (Method::GET, Native(Call::Directory(Directory::ListUsers))),
                (Method::POST, Native(Call::Directory(Directory::CreateUser))),
            ],
        ),
        operators(
            "/v1/users/{user}",
            &[
                (Method::GET, Native(Call::Directory(Directory::ShowUser))),
                (Method::PATCH, Native(Call::Directory(Directory::ChangeUser))),
            ],
        ),
    ]
};

/// Where a request to the admin listener goes.
#[derive(Debug)]
pub(super) struct Found {
    /// Who may be told anything of it, also that it is no route.
    pub(super) right: Right,
    pub(super) to: Result<To<Row>, Problem>,
}

/// A row and what the path says, or what may be asked here.
#[derive(Debug)]
pub(super) enum To<C: 'static> {
    Row { path: &'static str, row: C, names: Vec<String> },
    Options(String),
}

/// The row for a request to the admin listener.
pub(super) fn find(path: &str, method: &Method) -> Found {
    match find_in(ROUTES, path, method) {
        Some((right, to)) => Found { right, to },
        None => {
            let native = path == "/v1" || path.starts_with("/v1/");
            let right = if native { Right::Operator } else { Right::Anyone };
            Found { right, to: Err(Problem::new(Code::RouteNotFound)) }
        }
    }
}

/// The row of a table for a request, or that the path takes other methods; none where it has no such path.
pub(super) fn find_in<C: Copy>(
    table: &'static [Route<C>],
    path: &str,
    method: &Method,
) -> Option<(Right, Result<To<C>, Problem>)> {
    let (route, names) = table.iter().find_map(|route| Some((route, matched(route.path, path)?)))?;
    let wanted = if method == Method::HEAD { &Method::GET } else { method };
    let row = route.rows.iter().find(|(known, _)| known == wanted);
    let to = match row {
        Some((_, row)) => Ok(To::Row { path: route.path, row: *row, names: names.map(decoded).collect() }),
        None if method == Method::OPTIONS => Ok(To::Options(allowed(route))),
        None => Err(Problem::method_not_allowed(allowed(route))),
    };
    Some((route.right, to))
}

fn allowed<C>(route: &Route<C>) -> String {
    let mut methods: Vec<_> = route.rows.iter().map(|(method, _)| method.as_str()).collect();
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    methods.push("OPTIONS");
    methods.join(", ")
}

/// What stands where the template has names, where the path is of its form. A name is one whole segment.
fn matched<'a>(template: &'a str, path: &'a str) -> Option<impl Iterator<Item = &'a str>> {
    let pairs = || template.split('/').zip(path.split('/'));
    let is_name = |expected: &str| expected.starts_with('{');
    let fits = template.split('/').count() == path.split('/').count()
        && pairs().all(|(expected, segment)| is_name(expected) || expected == segment);
    fits.then(|| pairs().filter(move |(expected, _)| is_name(expected)).map(|(_, segment)| segment))
}

/// Decoded once. What is no UTF-8 becomes a character that no id has.
fn decoded(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8_lossy().into_owned()
}
