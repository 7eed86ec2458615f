//! Answers of which a key sees only what is its account's: the rest is taken out of the service's JSON.
//!
//! ```text
//!  request, without conditions, ranges and codings --> service --> whole answer, in bounds
//!     client <-- what is left, as it was written <-- each rule takes out what is another account's
//! ```
//!
//! It fails closed: an answer that is not what the rules expect is a 502 and never passes as it is. An error passes where it is
//! JSON that the rules hold for, and without its body else. Of its headers only those pass
//! that tell nothing about the body; what validates or measures the whole would be wrong of what is left, and would tell of it.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode, request};

use super::agree::is_plain_json;
use super::authorize::Holder;
use super::body::{Outgoing, Overrun};
use super::config::{Config, FilterConfig, RouteConfig};
use super::json::{Found, Json, Pointer};
use super::refuse::Stop;
use crate::key::{AccountState, Refusal};
use crate::net::body::BodyError;

/// What is taken out of a route's answers.
#[derive(Debug)]
pub(super) struct Filter {
    rules: Vec<Rule>,
    /// Of one answer.
    limit: usize,
}

#[derive(Debug)]
struct Rule {
    what: What,
    optional: bool,
}

#[derive(Debug)]
enum What {
    Items { items: Pointer, account: Pointer, counts: Vec<Pointer> },
    Members(Pointer),
    Own(Pointer),
}

/// Why an answer cannot be filtered.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfilterable {
    #[error("the status is {0}, neither 200 nor an error")]
    Status(StatusCode),
    #[error("it is not said to be JSON in UTF-8 without a coding")]
    NotJson,
    #[error("it is no JSON that can be read in one way only")]
    Unreadable,
    #[error("it is larger than `gateway.filter_limit`")]
    TooLarge,
    #[error("it has nothing to filter at {0}")]
    NoList(Box<str>),
    #[error("it does not tell the account at {0}")]
    NoAccount(Box<str>),
    #[error("it did not come to its end")]
    BrokeOff(#[source] BodyError),
}

/// Why there is nothing to show.
#[derive(Debug)]
enum Hidden {
    Unfilterable(Unfilterable),
    /// All of it is another account's.
    Foreign,
}

impl From<Unfilterable> for Hidden {
    fn from(why: Unfilterable) -> Self {
        Self::Unfilterable(why)
    }
}

impl Filter {
    /// Reads `filter` of a route.
    pub(super) fn new(said: &RouteConfig, config: &Config, flaw: &mut impl FnMut(&str, String)) -> Option<Self> {
        let said = said.filter.as_deref()?;
        if said.is_empty() {
            flaw("filter", "name at least one list, or leave it out".into());
        }
        let rule = |(at, said): (usize, &FilterConfig)| {
            Rule::new(said, &mut |field, message| flaw(&format!("filter.{at}{field}"), message))
        };
        let rules = said.iter().enumerate().filter_map(rule).collect();
        Some(Self { rules, limit: config.filter_limit.as_usize() })
    }

    /// Takes out of a request what would have the service answer with less than all, or in a coding. HEAD becomes GET: of an answer
    /// that is not there nobody could say whose it is.
    pub(super) fn ask_plainly(head: &mut request::Parts) {
        if head.method == Method::HEAD {
            head.method = Method::GET;
        }
        let headers = &mut head.headers;
        for name in [header::RANGE, header::IF_RANGE, header::IF_MODIFIED_SINCE, A_IM] {
            headers.remove(name);
        }
        // What changes something only on a condition is not to lose it.
        if head.method.is_safe() {
            for name in [header::IF_NONE_MATCH, header::IF_MATCH, header::IF_UNMODIFIED_SINCE] {
                headers.remove(name);
            }
        }
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }

    /// An answer to what the client asked for with `method`, as this key may see it.
    ///
    /// # Errors
    /// [`Stop::Unfilterable`], or the refusal of another account.
    pub(super) async fn narrowed(
        &self,
        answer: Response<Outgoing>,
        holder: &Holder,
        method: &Method,
    ) -> Result<Response<Outgoing>, Stop> {
        let (mut head, mut body) = answer.into_parts();
        let failed = head.status.is_client_error() || head.status.is_server_error();
        if head.status != StatusCode::OK && !failed {
            return Err(Stop::Unfilterable(Unfilterable::Status(head.status)));
        }
        let json = is_plain_json(&head.headers);
        keep_harmless(&mut head.headers);
        let narrowed = match (json, body.collected(self.limit).await) {
            (false, Ok(_)) => Err(Unfilterable::NotJson.into()),
            (_, Err(Overrun::TooLarge)) => Err(Unfilterable::TooLarge.into()),
            (_, Err(Overrun::Broken(error))) => Err(Unfilterable::BrokeOff(error).into()),
            (true, Ok(bytes)) => self.apply(&bytes, &accounts(holder), failed),
        };
        match narrowed {
            Ok(_) if *method == Method::HEAD => Ok(Response::from_parts(head, body.replaced(String::new()))),
            Ok(text) => Ok(Response::from_parts(head, body.replaced(text))),
            // That it failed, and how, tells nothing about others; what is said of it may.
            Err(_) if failed => {
                head.headers.remove(header::CONTENT_TYPE);
                Ok(Response::from_parts(head, body.replaced(String::new())))
            }
            Err(Hidden::Unfilterable(why)) => Err(Stop::Unfilterable(why)),
            Err(Hidden::Foreign) => Err(Stop::Refused(Refusal::AccountMismatch)),
        }
    }

    /// Applies every rule. An error's body need not have what they name; what it has is held to them.
    fn apply(&self, bytes: &[u8], own: &[&str], failed: bool) -> Result<String, Hidden> {
        let mut json = Json::read(bytes).map_err(|_| Unfilterable::Unreadable)?;
        for rule in &self.rules {
            rule.apply(&mut json, own, rule.optional || failed)?;
        }
        let mut text = String::with_capacity(bytes.len());
        json.write(&mut text);
        Ok(text)
    }
}

impl Rule {
    fn new(said: &FilterConfig, flaw: &mut impl FnMut(&str, String)) -> Option<Self> {
        let FilterConfig { items, account, counts, members, own, optional } = said;
        if [items, members, own].iter().filter(|given| given.is_some()).count() != 1 {
            flaw("", "name one of `items`, `members` and `own`".into());
            return None;
        }
        if items.is_none() {
            for (field, given) in [(".account", account.is_some()), (".counts", counts.is_some())] {
                if given {
                    flaw(field, "it belongs to `items`".into());
                }
            }
        }
        let mut read = |field: &str, text: &str| Pointer::parse(text).map_err(|bad| flaw(field, bad)).ok();
        let what = match (items, members, own) {
            (Some(items), ..) => {
                let (items, account) = (read(".items", items), account.as_deref().map(|text| read(".account", text)));
                let counts: Vec<_> = counts
                    .iter()
                    .flatten()
                    .enumerate()
                    .map(|(at, text)| read(&format!(".counts.{at}"), text))
                    .collect();
                if account.is_none() {
                    flaw(".account", "say where in an item its account stands, such as \"/account_id\"".into());
                }
                let (items, account) = items.zip(account.flatten())?;
                if !items.is_single() && !counts.is_empty() {
                    flaw(".counts", "`items` is more than one list, and these count one".into());
                }
                What::Items { items, account, counts: counts.into_iter().flatten().collect() }
            }
            (_, Some(members), _) => What::Members(read(".members", members)?),
            (.., own) => What::Own(read(".own", own.as_deref().unwrap_or_default())?),
        };
        Some(Self { what, optional: optional.unwrap_or(false) })
    }

    fn apply(&self, json: &mut Json<'_>, own: &[&str], optional: bool) -> Result<(), Hidden> {
        match &self.what {
            What::Items { items, account, counts } => {
                let mut kept = 0;
                for list in there(items, json, optional, Unfilterable::NoList)? {
                    let Json::List(list) = list else { return Err(Unfilterable::NoList(items.as_str().into()).into()) };
                    let mut judged = Vec::with_capacity(list.len());
                    for item in list.drain(..) {
                        judged.extend(kept_item(item, items, account, own)?);
                    }
                    *list = judged;
                    kept += list.len();
                }
                for count in counts {
                    let numbers = count.find(json).values.into_iter().filter(|number| !number.is_null());
                    numbers.for_each(|number| *number = Json::Count(kept));
                }
            }
            What::Members(pointer) => {
                for object in there(pointer, json, optional, Unfilterable::NoList)? {
                    let Json::Object(members) = object else {
                        return Err(Unfilterable::NoList(pointer.as_str().into()).into());
                    };
                    members.retain(|member| own.contains(&member.name.as_str()));
                }
            }
            What::Own(pointer) => {
                for value in there(pointer, json, optional, Unfilterable::NoAccount)? {
                    let account = value.id().ok_or_else(|| Unfilterable::NoAccount(pointer.as_str().into()))?;
                    if !own.contains(&account.as_str()) {
                        return Err(Hidden::Foreign);
                    }
                }
            }
        }
        Ok(())
    }
}

/// What stands where `pointer` leads. Nothing, or null, is a reason to stop, unless it is `optional`; another form always is.
fn there<'b, 'a>(
    pointer: &Pointer,
    json: &'b mut Json<'a>,
    optional: bool,
    nothing: impl Fn(Box<str>) -> Unfilterable,
) -> Result<Vec<&'b mut Json<'a>>, Unfilterable> {
    let Found { mut values, missing, astray } = pointer.find(json);
    let before = values.len();
    values.retain(|value| !value.is_null());
    if astray || (!optional && (missing || values.len() < before)) {
        return Err(nothing(pointer.as_str().into()));
    }
    Ok(values)
}

/// The item, where it is of one of these accounts. Every place that tells of its account has to.
fn kept_item<'a>(
    mut item: Json<'a>,
    items: &Pointer,
    account: &Pointer,
    own: &[&str],
) -> Result<Option<Json<'a>>, Unfilterable> {
    let silent = || Unfilterable::NoAccount(format!("{}: {}", items.as_str(), account.as_str()).into());
    let Found { values, missing, astray } = account.find(&mut item);
    if missing || astray {
        return Err(silent());
    }
    let mut is_own = false;
    for value in values {
        is_own |= own.contains(&value.id().ok_or_else(silent)?.as_str());
    }
    Ok(is_own.then_some(item))
}

/// The accounts of which this request may see something: the one it acts in, else all that the key's user belongs to and that
/// are served.
fn accounts(holder: &Holder) -> Vec<&str> {
    if let Some(account) = &holder.grant.account {
        return vec![account.as_str()];
    }
    let memberships = &holder.verified.standing().memberships;
    let served = memberships.iter().filter(|(_, state, _)| *state == AccountState::Active);
    served.map(|(account, _, _)| account.as_str()).collect()
}

/// Leaves what tells nothing about the body, and forbids to keep it: the next key sees another one.
fn keep_harmless(headers: &mut HeaderMap) {
    let harmless = |name: &HeaderName| {
        let name = name.as_str();
        HARMLESS.contains(&name)
            || ["access-control-", "ratelimit", "x-ratelimit-"].iter().any(|begin| name.starts_with(begin))
    };
    let doomed: Vec<HeaderName> = headers.keys().filter(|name| !harmless(name)).cloned().collect();
    for name in doomed {
        headers.remove(name);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

const HARMLESS: &[&str] = &[
    "content-language",
    "content-type",
    "date",
    "deprecation",
    "retry-after",
    "server",
    "set-cookie",
    "strict-transport-security",
    "sunset",
    "vary",
    "via",
    "www-authenticate",
    "x-content-type-options",
    "x-request-id",
];

/// Asks for a difference to what one has (RFC 3229).
const A_IM: HeaderName = HeaderName::from_static("a-im");

#[cfg(test)]
mod tests;
