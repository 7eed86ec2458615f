//! Routes: which rule a request falls under, and where it names its account.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, Method};
use memchr::memchr2;
use percent_encoding::percent_decode_str;

use super::agree::Agree;
use super::canon::{Malformed, without_port};
use super::config::{AccountPlace, Config, RouteConfig};
use super::credential::Carrier;
use super::filter::Filter;
use super::headers::{is_plain, is_reserved};
use super::rehearsal::Reported;
use super::retirement::Retirement;
use super::template::{Template, segments};
use super::upgrade::Protocol;
use crate::flaw::Flaw;
use crate::key::Permission;

/// One rule.
#[derive(Debug)]
pub(super) struct Route {
    /// Its place in the list.
    pub(super) at: usize,
    pub(super) name: Arc<str>,
    /// Any host where empty.
    hosts: Vec<HostPattern>,
    path: Template,
    /// Any method where empty.
    methods: Vec<Method>,
    /// Its place in the list of services.
    pub(super) service: usize,
    pub(super) carriers: Vec<Carrier>,
    pub(super) permission: Option<Permission>,
    account: Option<Place>,
    /// The rules that refuse nobody.
    pub(super) reported: Reported,
    pub(super) open: bool,
    pub(super) body_limit: u64,
    /// Where else the account may stand.
    pub(super) agree: Agree,
    /// What of the answers goes on.
    pub(super) filter: Option<Filter>,
    /// What is told of its end. Boxed, for it is rare.
    pub(super) retirement: Option<Box<Retirement>>,
    /// What its connections may go on as.
    pub(super) upgrade: Vec<Protocol>,
    /// How long what is open for long goes on when its key has ended; none where to its own end.
    pub(super) on_key_end: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum HostPattern {
    Exact(String),
    /// One label, then this, with its dot.
    Wildcard(String),
}

/// [`AccountPlace`], resolved.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    Segment(usize),
    After(String),
    Header(HeaderName),
    Query(String),
    HostLabel(usize),
}

impl Route {
    /// Reads one of `[[routes]]`, the `at`th.
    pub(super) fn new(at: usize, said: &RouteConfig, services: &[&str], config: &Config) -> Result<Self, Vec<Flaw>> {
        let mut flaws = Vec::new();
        let mut flaw = |field: &str, message: String| flaws.push(Flaw::new(format!("routes.{at}.{field}"), message));
        let path = match said.path.as_deref().map(Template::parse) {
            None => {
                flaw("path", "a route needs a path, such as \"/**\"".into());
                None
            }
            Some(Err(bad)) => {
                flaw("path", bad.to_string());
                None
            }
            Some(Ok(template)) => Some(template),
        };
        let service = match said.service.as_deref() {
            // Nothing is forwarded, so nobody looks for it.
            None if said.gone == Some(true) => Some(0),
            None => {
                flaw("service", "a route needs a service".into());
                None
            }
            Some(name) => {
                let found = services.iter().position(|known| *known == name);
                if found.is_none() {
                    flaw(
                        "service",
                        match services {
                            [] => format!("there is no service {name:?}: write [services.{name}] with a `url`"),
                            _ => format!("there is no service {name:?}; known are: {}", services.join(", ")),
                        },
                    );
                }
                found
            }
        };
        let hosts = collect(said.hosts.as_deref(), HostPattern::parse, |bad| flaw("hosts", bad));
        let methods = collect(said.methods.as_deref(), known_method, |bad| flaw("methods", bad));
        let carriers = match said.carriers.as_deref() {
            None => vec![Carrier::Token, Carrier::Bearer],
            Some([]) => {
                flaw("carriers", "name at least one carrier, or leave it out for \"token\" and \"bearer\"".into());
                Vec::new()
            }
            said => collect(
                said,
                |text| text.parse().map_err(|bad| format!("{text:?}: {bad}")),
                |bad| flaw("carriers", bad),
            ),
        };
        let open = said.open.unwrap_or(false);
        let keyed = [said.permission.is_some(), said.carriers.is_some(), said.account.is_some(), said.report.is_some()];
        if open && said.on_key_end.is_some() {
            flaw("on_key_end", "an open route asks for no key, so none ends".into());
        }
        if open && keyed.contains(&true) {
            flaw("open", "an open route asks for no key, so it has no permission, carriers, account or report".into());
        }
        if open && (said.agree.is_some() || said.filter.is_some()) {
            flaw(
                "open",
                "an open route asks for no key, so there is no account to `agree` with or to `filter` for".into(),
            );
        }
        let agree = Agree::new(said, config, &mut flaw);
        let filter = Filter::new(said, config, &mut flaw);
        let retirement = Retirement::new(said, &mut flaw).map(Box::new);
        let upgrade = Protocol::all(said, &mut flaw);
        let enforced = path.as_ref().and_then(|path| {
            Place::new(said.account.as_ref(), path, open).map_err(|bad| flaw("account", bad)).ok().flatten()
        });
        let (reported, account) = Reported::new(said, path.as_ref(), enforced, &mut flaw);
        let (Some(path), Some(service), true) = (path, service, flaws.is_empty()) else { return Err(flaws) };
        Ok(Self {
            at,
            name: said.name.clone().unwrap_or_else(|| path.to_string()).into(),
            hosts,
            path,
            methods,
            service,
            carriers,
            permission: said.permission.clone(),
            account,
            reported,
            open,
            body_limit: said.body_limit.unwrap_or(config.body_limit).0,
            agree,
            filter,
            retirement,
            upgrade,
            on_key_end: said.on_key_end.unwrap_or(config.on_key_end).grace(),
        })
    }

    /// Whether nothing is forwarded any more.
    pub(super) fn is_gone(&self) -> bool {
        self.retirement.as_ref().is_some_and(|retirement| retirement.gone)
    }

    /// Whether a request falls under this rule.
    pub(super) fn matches(&self, host: &str, method: &Method, path: &str) -> bool {
        (self.methods.is_empty() || self.methods.contains(method))
            && (self.hosts.is_empty() || self.hosts.iter().any(|pattern| pattern.matches(without_port(host))))
            && self.path.matches(path)
    }

    /// Whether whatever falls under `later` falls under this one first.
    pub(super) fn covers(&self, later: &Self) -> bool {
        let hosts = self.hosts.is_empty()
            || (!later.hosts.is_empty()
                && later.hosts.iter().all(|theirs| self.hosts.iter().any(|ours| ours.covers(theirs))));
        let methods = self.methods.is_empty()
            || (!later.methods.is_empty() && later.methods.iter().all(|method| self.methods.contains(method)));
        hosts && methods && self.path.covers(&later.path)
    }

    /// The account a request names, as plain text; none where it names none.
    ///
    /// # Errors
    /// [`Malformed::TwoAccounts`] where it names two that differ.
    pub(super) fn account<'a>(
        &self,
        host: &'a str,
        path: &'a str,
        query: Option<&'a str>,
        headers: &'a HeaderMap,
    ) -> Result<Option<Cow<'a, str>>, Malformed> {
        match &self.account {
            None => Ok(None),
            Some(Place::Segment(at)) => Ok(segments(path).nth(*at).map(decoded)),
            Some(Place::After(name)) => {
                if memchr2(b'%', b';', path.as_bytes()).is_none() {
                    // It reads in one way only, and as it stands.
                    let is_named = |part: &str| part == name || part.eq_ignore_ascii_case(name);
                    return the_same(after(is_named, path).map(Cow::Borrowed));
                }
                let is_named = |part: &str| decoded(part).eq_ignore_ascii_case(name);
                let other = read_otherwise(path);
                let otherwise = after(is_named, &other).map(|account| decoded(account).into_owned().into());
                the_same(after(is_named, path).map(decoded).chain(otherwise))
            }
            Some(Place::Header(name)) => {
                the_same(headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())))
            }
            Some(Place::Query(name)) => the_same(parameters(query, name)),
            Some(Place::HostLabel(at)) => Ok(without_port(host).split('.').nth(*at).map(Cow::Borrowed)),
        }
    }
}

impl Place {
    pub(super) fn new(said: Option<&AccountPlace>, path: &Template, open: bool) -> Result<Option<Self>, String> {
        let place = match said {
            None if open => None,
            None => path.place_of("account").map(Self::Segment),
            Some(AccountPlace::Path(name)) => match path.place_of(name) {
                Some(at) => Some(Self::Segment(at)),
                None => return Err(format!("the path has no {{{name}}}")),
            },
            Some(AccountPlace::After(name)) if name.is_empty() || name.contains('/') => {
                return Err(format!("{name:?} is no segment"));
            }
            Some(AccountPlace::After(name)) => Some(Self::After(name.clone())),
            Some(AccountPlace::Header(name)) => match name.parse::<HeaderName>() {
                Ok(name) if !is_reserved(&name) && is_plain(&name) => Some(Self::Header(name)),
                _ => return Err(format!("{name:?} is no header that can carry an account")),
            },
            Some(AccountPlace::Query(name)) => Some(Self::Query(name.clone())),
            Some(AccountPlace::HostLabel(at)) => Some(Self::HostLabel(*at)),
        };
        Ok(place)
    }
}

impl HostPattern {
    fn parse(text: &str) -> Result<Self, String> {
        let (wildcard, name) = text.strip_prefix("*.").map_or((false, text), |name| (true, name));
        let spelled = !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._[:]".contains(&b));
        match (spelled, wildcard) {
            (false, _) => {
                Err(format!("{text:?} is no host: write it in lower case, without a port; \"*.\" may stand first"))
            }
            (true, false) => Ok(Self::Exact(name.into())),
            (true, true) => Ok(Self::Wildcard(format!(".{name}"))),
        }
    }

    fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => name == host,
            Self::Wildcard(rest) => {
                host.strip_suffix(rest.as_str()).is_some_and(|label| !label.is_empty() && !label.contains('.'))
            }
        }
    }

    fn covers(&self, other: &Self) -> bool {
        match other {
            Self::Exact(name) => self.matches(name),
            Self::Wildcard(_) => self == other,
        }
    }
}

fn known_method(text: &str) -> Result<Method, String> {
    match text.parse::<Method>() {
        Ok(method) if text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-') => Ok(method),
        _ => Err(format!("{text:?} is no method: write it in upper case, such as \"GET\"")),
    }
}

fn collect<T>(
    said: Option<&[String]>,
    read: impl Fn(&str) -> Result<T, String>,
    mut flaw: impl FnMut(String),
) -> Vec<T> {
    let read = said.unwrap_or_default().iter().filter_map(|text| read(text).map_err(&mut flaw).ok());
    read.collect()
}

/// What follows each segment that is named so. Without regard to case: an origin that has none would read `/Accounts/` as
/// `/accounts/`.
fn after(is_named: impl Fn(&str) -> bool, path: &str) -> impl Iterator<Item = &str> {
    let mut follows = false;
    segments(path).filter(move |part| std::mem::replace(&mut follows, is_named(part)))
}

/// How origins read the path that take a kept `%2F` for a slash and cut segments at a kept `;`.
fn read_otherwise(path: &str) -> String {
    let path = path.replace("%2F", "/").replace("%5C", "/");
    let parts: Vec<&str> = path.split('/').map(|part| part.split(';').next().unwrap_or_default()).collect();
    parts.join("/")
}

fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

/// The values of a query parameter, its name and value decoded as forms are. Some origins still part them at `;` too.
pub(super) fn parameters<'a>(query: Option<&'a str>, name: &str) -> impl Iterator<Item = Cow<'a, str>> {
    let pairs = query.unwrap_or_default().split(['&', ';']).map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.filter(move |(key, _)| reads_as(&form(key), name)).map(|(_, value)| form(value))
}

/// Whether a service may take a parameter for the one of that name: some have no regard to case, and to some `name[]` and
/// `name[0]` are a list of that name.
fn reads_as(key: &str, name: &str) -> bool {
    key.split('[').next().is_some_and(|key| key.eq_ignore_ascii_case(name)) || key == name
}

fn form(text: &str) -> Cow<'_, str> {
    if text.contains('+') { Cow::Owned(decoded(&text.replace('+', " ")).into_owned()) } else { decoded(text) }
}

fn the_same<'a>(mut all: impl Iterator<Item = Cow<'a, str>>) -> Result<Option<Cow<'a, str>>, Malformed> {
    let first = all.next();
    match &first {
        Some(account) if all.any(|other| other != *account) => Err(Malformed::TwoAccounts),
        _ => Ok(first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        crate::gateway::test_config()
    }

    fn route(change: impl FnOnce(&mut RouteConfig)) -> Result<Route, Vec<Flaw>> {
        let mut said = RouteConfig { path: Some("/**".into()), service: Some("api".into()), ..RouteConfig::default() };
        change(&mut said);
        Route::new(0, &said, &["api"], &config())
    }

    fn account(
        place: AccountPlace,
        path: &str,
        query: Option<&str>,
        lines: &[(&str, &str)],
    ) -> Result<Option<String>, Malformed> {
        let route = route(|said| said.account = Some(place)).unwrap();
        let headers =
            lines.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect();
        route.account("acme.api.example.com:8080", path, query, &headers).map(|found| found.map(Cow::into_owned))
    }

    #[test]
    fn the_account_stands_where_the_route_says() {
        let after = || AccountPlace::After("accounts".into());
        let some = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(account(after(), "/api/v2/accounts/101/jobs/", None, &[]), some("101"));
        assert_eq!(account(after(), "/api/Accounts/101", None, &[]), some("101"));
        assert_eq!(account(after(), "/api/accounts", None, &[]), Ok(None));
        assert_eq!(account(AccountPlace::After("a:b".into()), "/a%3Ab/101", None, &[]), some("101"));
        assert_eq!(account(after(), "/accounts/101/accounts/101", None, &[]), some("101"));
        assert_eq!(account(after(), "/accounts/101/accounts/102", None, &[]), Err(Malformed::TwoAccounts));
        assert_eq!(account(after(), "/accounts/a%40b", None, &[]), some("a@b"));
        // Kept by setting, and read in two ways: both count.
        assert_eq!(account(after(), "/x%2Faccounts%2F102", None, &[]), some("102"));
        assert_eq!(account(after(), "/accounts;v=1/102", None, &[]), some("102"));
        assert_eq!(account(after(), "/accounts/101/a%2Fb;c", None, &[]), some("101"));
        assert_eq!(account(after(), "/accounts/101%2Fx", None, &[]), Err(Malformed::TwoAccounts));
        let header = || AccountPlace::Header("X-Tenant".into());
        assert_eq!(account(header(), "/", None, &[("x-tenant", "101")]), some("101"));
        assert_eq!(
            account(header(), "/", None, &[("x-tenant", "101"), ("x-tenant", "102")]),
            Err(Malformed::TwoAccounts)
        );
        let query = || AccountPlace::Query("account_id".into());
        assert_eq!(account(query(), "/", Some("a=1&account_id=101"), &[]), some("101"));
        assert_eq!(account(query(), "/", Some("account%5Fid=101"), &[]), some("101"));
        assert_eq!(account(query(), "/", Some("account_id=1&account_id=2"), &[]), Err(Malformed::TwoAccounts));
        assert_eq!(account(query(), "/", Some("a=1;account_id=102"), &[]), some("102"));
        assert_eq!(account(query(), "/", Some("Account_ID=102"), &[]), some("102"));
        assert_eq!(account(query(), "/", Some("account_id=1&ACCOUNT_ID[]=2"), &[]), Err(Malformed::TwoAccounts));
        assert_eq!(account(query(), "/", Some("account_ids=1&account=2&x[account_id]=3"), &[]), Ok(None));
        assert_eq!(account(query(), "/", Some("account_id=1;account_id=2"), &[]), Err(Malformed::TwoAccounts));
        assert_eq!(account(AccountPlace::HostLabel(0), "/", None, &[]), some("acme"));
    }

    #[test]
    fn a_template_with_an_account_is_held_to_it_unasked() {
        let route = route(|said| said.path = Some("/api/{version}/accounts/{account}/**".into())).unwrap();
        let headers = HeaderMap::new();
        let found = route.account("h", "/api/v2/accounts/101/", None, &headers);
        assert_eq!(found.unwrap().as_deref(), Some("101"));
    }

    #[test]
    fn hosts_and_methods_narrow_a_route() {
        let route = route(|said| {
            said.hosts = Some(vec!["api.example.com".into(), "*.example.org".into()]);
            said.methods = Some(vec!["GET".into()]);
        })
        .unwrap();
        for (host, method, fits) in [
            ("api.example.com", Method::GET, true),
            ("api.example.com:8443", Method::GET, true),
            ("a.example.org", Method::GET, true),
            ("a.b.example.org", Method::GET, false),
            ("example.org", Method::GET, false),
            ("example.com", Method::GET, false),
            ("api.example.com", Method::POST, false),
        ] {
            assert_eq!(route.matches(host, &method, "/"), fits, "{host} {method}");
        }
    }

    #[test]
    fn every_flaw_of_a_route_is_named() {
        let flaws = route(|said| {
            said.path = Some("no-slash".into());
            said.service = Some("nobody".into());
            said.hosts = Some(vec!["UPPER".into()]);
            said.methods = Some(vec!["get".into()]);
            said.carriers = Some(vec!["cookie".into()]);
        })
        .unwrap_err();
        let keys: Vec<&str> = flaws.iter().map(|flaw| flaw.key.as_str()).collect();
        assert_eq!(
            keys,
            ["routes.0.path", "routes.0.service", "routes.0.hosts", "routes.0.methods", "routes.0.carriers"]
        );
    }

    #[test]
    fn an_open_route_is_open_and_nothing_else() {
        assert!(route(|said| said.open = Some(true)).unwrap().open);
        let flaws = route(|said| {
            said.open = Some(true);
            said.permission = Some("jobs:run".parse().unwrap());
        });
        assert_eq!(flaws.unwrap_err()[0].key, "routes.0.open");
    }
}
