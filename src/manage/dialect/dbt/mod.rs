//! What dbt Cloud's API answers about tokens, for clients that speak it. Everything else below `/api/` goes on to the origin.
//!
//! ```text
//!  path, query, body --decode--> desk --encode--> envelope | refusal
//! ```
//!
//! Accounts, users and keys are integers there: see [`number`]. What nobody publishes of this API is our choice; the fixtures of
//! the tests say of each exchange which part is that.

mod account;
mod drawer;
mod envelope;
mod form;
mod number;
mod page;
mod refusal;
mod token;
mod visit;

use bytes::Bytes;
use http::{Method, Response, request};
use http_body::Body;
use http_body_util::Full;

use self::page::Page;
pub(in crate::manage) use self::refusal::{refusal, word};
use self::token::Wanted;
use self::visit::Visit;
use super::native::json;
use crate::manage::body::Document;
use crate::manage::caller::Caller;
use crate::manage::config::{AcrossAccounts, DbtConfig};
use crate::manage::desk::Desk;
use crate::manage::options;
use crate::manage::problem::{Code, Problem};
use crate::manage::routes::{Route, To, find_in, holders};

/// The dialect, as the settings have it.
#[derive(Debug)]
pub(in crate::manage) struct Dbt {
    said: DbtConfig,
}

/// What can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Accounts,
    WhoAmI,
    /// Rotates the token that asks.
    RotateOwn,
    /// The same, in an account.
    RotateOwnIn,
    Personal(Deed),
    Service(Deed),
}

/// What is done with tokens, or with one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    List,
    Make,
    Show,
    Rotate,
    Rename,
    End,
    /// What one may do.
    ShowGrants,
    Grant,
}

/// The table, without the slash at the end.
const ROUTES: &[Route<Call>] = {
    use Call::{Personal, Service};
    &[
        holders("/api/v2/accounts", &[(Method::GET, Call::Accounts)]),
        holders("/api/v3/accounts", &[(Method::GET, Call::Accounts)]),
        holders("/api/v2/whoami", &[(Method::GET, Call::WhoAmI)]),
        holders("/api/v2/users/{user}/apikey", &[(Method::POST, Call::RotateOwn)]),
        holders("/api/v3/accounts/{account}/users/{user}/apikey", &[(Method::POST, Call::RotateOwnIn)]),
        holders(
            "/api/v3/accounts/{account}/users/{user}/account-apikeys",
            &[(Method::GET, Personal(Deed::List)), (Method::POST, Personal(Deed::Make))],
        ),
        holders(
            "/api/v3/accounts/{account}/users/{user}/account-apikeys/{token}",
            &[
                (Method::GET, Personal(Deed::Show)),
                (Method::POST, Personal(Deed::Rotate)),
                (Method::DELETE, Personal(Deed::End)),
            ],
        ),
        holders(
            "/api/v3/accounts/{account}/service-tokens",
            &[(Method::GET, Service(Deed::List)), (Method::POST, Service(Deed::Make))],
        ),
        holders(
            "/api/v3/accounts/{account}/service-tokens/{token}",
            &[
                (Method::GET, Service(Deed::Show)),
                (Method::PUT, Service(Deed::Rename)),
                (Method::DELETE, Service(Deed::End)),
            ],
        ),
        holders(
            "/api/v3/accounts/{account}/service-tokens/{token}/permissions",
            &[(Method::GET, Service(Deed::ShowGrants)), (Method::POST, Service(Deed::Grant))],
        ),
    ]
};

/// Whether clients at this path expect the words of this API.
pub(in crate::manage) fn words(path: &str) -> bool {
    below(path).is_some()
}

/// Whether what is read at this path is nothing about tokens.
pub(in crate::manage) fn tells_no_keys(path: &str) -> bool {
    matches!(without_slash(path), "/api/v2/accounts" | "/api/v3/accounts" | "/api/v2/whoami")
}

fn below(path: &str) -> Option<&str> {
    path.strip_prefix("/api/v2/").or_else(|| path.strip_prefix("/api/v3/"))
}

/// Clients write a slash at the end or leave it out, in one run even.
fn without_slash(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

impl Dbt {
    pub(in crate::manage) fn new(said: &DbtConfig) -> Self {
        Self { said: said.clone() }
    }

    /// Whether it answers at this path.
    pub(in crate::manage) fn has(&self, path: &str) -> bool {
        let Some(rest) = below(path) else { return false };
        // The table is read only where the path may be in it: nearly all that comes here is the origin's.
        let mut segments = without_slash(rest).split('/');
        match (segments.next(), segments.next(), segments.next()) {
            (Some("accounts" | "whoami"), None, _) if self.said.accounts == AcrossAccounts::Forwarded => return false,
            (Some("accounts"), _, None | Some("users" | "service-tokens")) | (Some("users" | "whoami"), ..) => {}
            _ => return false,
        }
        find_in(ROUTES, without_slash(path), &Method::OPTIONS).is_some()
    }

    /// Answers one request.
    pub(in crate::manage) async fn answer<B>(
        &self,
        desk: &Desk<'_>,
        head: &request::Parts,
        body: &mut Option<B>,
    ) -> Result<Response<Full<Bytes>>, Problem>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        // Operators have a listener of their own.
        let Caller::Holder(holder) = desk.caller else { return Err(Problem::new(Code::ScopeInsufficient)) };
        let found = find_in(ROUTES, without_slash(head.uri.path()), &head.method);
        let (call, names) = match found.ok_or_else(|| Problem::new(Code::RouteNotFound))?.1? {
            To::Options(methods) => return Ok(options(&methods)),
            To::Row { row, names, .. } => (row, names),
        };
        let visit = Visit { said: &self.said, desk, holder };
        let mut names = names.iter().map(String::as_str);
        // The path has as many names as the row.
        let mut name = || names.next().unwrap_or_default();
        let query = head.uri.query();
        let (drawer, deed) = match call {
            Call::Accounts => return visit.accounts().await,
            Call::WhoAmI => return visit.who_am_i().await,
            Call::RotateOwn => return visit.rotate_own(None, name()).await,
            Call::RotateOwnIn => return visit.rotate_own(Some(name()), name()).await,
            Call::Personal(deed) => (visit.personals(name(), name()).await?, deed),
            Call::Service(deed) => (visit.services(name()).await?, deed),
        };
        let drawer = &drawer;
        match deed {
            Deed::List => visit.list(drawer, Page::of(query)?).await,
            Deed::Make => visit.make(drawer, wanted(head, body).await?).await,
            Deed::Show => visit.show(drawer, name()).await,
            Deed::Rotate => visit.rotate(drawer, name()).await,
            Deed::Rename => visit.rename(drawer, name(), wanted(head, body).await?).await,
            Deed::End => visit.end(drawer, name()).await,
            Deed::ShowGrants => visit.grants(drawer, name(), None, Page::of(query)?).await,
            Deed::Grant => {
                let grants = match body.take() {
                    Some(body) => form::read_list(&head.headers, body, "permission_grants").await?,
                    None => Document::default(),
                };
                visit.grants(drawer, name(), Some(grants.parse()?), Page::of(query)?).await
            }
        }
    }
}

async fn wanted<B>(head: &request::Parts, body: &mut Option<B>) -> Result<Wanted, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    match body.take() {
        Some(body) => form::read(&head.headers, body).await?.parse(),
        None => Document::default().parse(),
    }
}
