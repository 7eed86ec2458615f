//! Which rule a request falls under, and whose account it names.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use http::{HeaderMap, Method, Uri};

use super::{head, lines, text, unescaped};
use crate::gateway::canon::{self, Malformed, Strictness};
use crate::gateway::config::{AccountPlace, Config, RouteConfig};
use crate::gateway::route::Route;

/// A rule matches exactly the paths that its template says, finds every account that a reader behind could find, and
/// covers no later rule of which it leaves something.
///
/// Lines: what is kept (any of `/`, `;`, `%`), the template, a later rule's template, where the account stands (`path`, `after`,
/// `header`, `query` or `label`, and a name), the rule's host or nothing, the request's host, its target, its headers.
pub fn route(input: &[u8]) {
    let mut lines = lines(input);
    let mut next = || lines.next().unwrap_or_default();
    let (kept, template, later, place) = (next(), text(next()), text(next()), text(next()));
    let (pattern, host, target) = (text(next()), next(), next());
    let strictness = Strictness {
        empty_segments: !kept.contains(&b'/'),
        semicolons: !kept.contains(&b';'),
        escaped_slashes: !kept.contains(&b'%'),
    };
    let headers = head(input.split(|byte| *byte == b'\n').skip(7));
    let Some(rule) = rule(template, read_place(place), pattern) else { return };
    let Ok(uri) = Uri::try_from(target) else { return };
    let Ok(target) = canon::target(&uri, &Method::GET, strictness) else { return };
    let host = HeaderMap::from_iter(http::HeaderValue::from_bytes(host).ok().map(|host| (http::header::HOST, host)));
    let Ok(host) = canon::host(&Uri::from_static("/"), &host, false) else { return };
    let host = text(host.as_bytes());

    let fits = rule.matches(host, &Method::GET, target.path());
    assert_eq!(
        fits,
        host_fits(pattern, host) && template_fits(template, target.path()),
        "{template} {}",
        target.path()
    );
    if let Some(later) = self::rule(later, None, pattern)
        && rule.covers(&later)
        && later.matches(host, &Method::GET, target.path())
    {
        assert!(fits, "{template} does not cover the later rule");
    }
    if fits {
        let found = rule.account(host, target.path(), target.query(), &headers);
        let found = found.map(|found| found.map(std::borrow::Cow::into_owned));
        let read = account(read_place(place).as_ref(), template, host, target.path(), target.query(), &headers);
        assert_eq!(found, read, "{place} in {target}");
    }
}

fn rule(template: &str, account: Option<AccountPlace>, host: &str) -> Option<Route> {
    static CONFIG: OnceLock<Config> = OnceLock::new();
    let said = RouteConfig {
        path: Some(template.to_owned()),
        service: Some("api".to_owned()),
        hosts: (!host.is_empty()).then(|| vec![host.to_owned()]),
        account,
        ..RouteConfig::default()
    };
    Route::new(0, &said, &["api"], CONFIG.get_or_init(crate::gateway::test_config)).ok()
}

fn read_place(text: &str) -> Option<AccountPlace> {
    let (kind, name) = text.split_once(' ')?;
    match kind {
        "path" => Some(AccountPlace::Path(name.to_owned())),
        "after" => Some(AccountPlace::After(name.to_owned())),
        "header" => Some(AccountPlace::Header(name.to_owned())),
        "query" => Some(AccountPlace::Query(name.to_owned())),
        "label" => Some(AccountPlace::HostLabel(name.parse().ok()?)),
        _ => None,
    }
}

/// The name before the port fits a pattern with its labels counted.
fn host_fits(pattern: &str, host: &str) -> bool {
    let name = if host.ends_with(']') { host } else { host.rsplit_once(':').map_or(host, |(name, _)| name) };
    match pattern.strip_prefix("*.") {
        _ if pattern.is_empty() => true,
        None => name == pattern,
        Some(parent) => name.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == parent),
    }
}

/// The parts of a path between its slashes; one slash at its end makes no difference, and `/` has no part.
fn parts(path: &str) -> Vec<&str> {
    match path.strip_suffix('/').unwrap_or(path) {
        "" | "/" => Vec::new(),
        path => path.split('/').skip(1).collect(),
    }
}

fn template_fits(template: &str, path: &str) -> bool {
    let (said, found) = (parts(template), parts(path));
    let (said, open) = match said.split_last() {
        Some((&"**", said)) => (said, true),
        _ => (&said[..], false),
    };
    let enough = if open { found.len() >= said.len() } else { found.len() == said.len() };
    let same = |said: &str, found: &str| match said.strip_prefix('{') {
        Some(_) => !found.is_empty(),
        None => unescaped(said.as_bytes()) == unescaped(found.as_bytes()),
    };
    enough && said.iter().zip(&found).all(|(said, found)| same(said, found))
}

/// The account by every reading that a program behind may have.
fn account(
    place: Option<&AccountPlace>,
    template: &str,
    host: &str,
    path: &str,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Result<Option<String>, Malformed> {
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let plain = |part: &str| lossy(&unescaped(part.as_bytes()));
    let segment = |name: &str| {
        let at = parts(template).iter().position(|part| *part == format!("{{{name}}}"))?;
        parts(path).get(at).map(|part| plain(part))
    };
    let all: BTreeSet<String> = match place {
        None => segment("account").into_iter().collect(),
        Some(AccountPlace::Path(name)) => segment(name).into_iter().collect(),
        Some(AccountPlace::After(name)) => {
            let slashes = path.replace("%2F", "/").replace("%5C", "/");
            let cut: Vec<&str> = slashes.split('/').map(|part| part.split(';').next().unwrap_or_default()).collect();
            let after = |path: &str| {
                let parts = parts(path);
                let pairs = parts.windows(2).filter(|pair| plain(pair[0]).eq_ignore_ascii_case(name));
                pairs.map(|pair| plain(pair[1])).collect::<Vec<_>>()
            };
            after(path).into_iter().chain(after(&cut.join("/"))).collect()
        }
        Some(AccountPlace::Header(name)) => headers
            .iter()
            .filter(|(known, _)| known.as_str().eq_ignore_ascii_case(name))
            .map(|(_, v)| lossy(v.as_bytes()))
            .collect(),
        Some(AccountPlace::Query(name)) => {
            let form = |text: &str| plain(&text.replace('+', "%20"));
            let pairs =
                query.unwrap_or_default().split(['&', ';']).map(|pair| pair.split_once('=').unwrap_or((pair, "")));
            let named = |key: &str| key.eq_ignore_ascii_case(name) || key == name;
            let read = |key: String| named(&key) || key.find('[').is_some_and(|at| named(&key[..at]));
            pairs.filter(|(key, _)| read(form(key))).map(|(_, value)| form(value)).collect()
        }
        Some(AccountPlace::HostLabel(at)) => {
            let name = if host.ends_with(']') { host } else { host.rsplit_once(':').map_or(host, |(name, _)| name) };
            name.split('.').nth(*at).map(str::to_owned).into_iter().collect()
        }
    };
    let mut all = all.into_iter();
    match (all.next(), all.next()) {
        (_, Some(_)) => Err(Malformed::TwoAccounts),
        (one, None) => Ok(one),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SEGMENT: &str = "a|b|accounts|Accounts|10|1%30|a%3ab|a:b|%2d|-|x%2faccounts|accounts;v|[a-c.;%2Ff]{0,3}";

    fn target() -> impl Strategy<Value = String> {
        let query = "([?](id|i%64|x)=[01+%2]{0,3}([&;]id=[01+%2]{0,3}){0,2})?";
        let path = proptest::collection::vec(SEGMENT, 0..5).prop_map(|parts| parts.join("/"));
        (path, "/?", query).prop_map(|(path, end, query)| format!("/{path}{end}{query}"))
    }

    fn template() -> impl Strategy<Value = String> {
        let part = prop_oneof![Just("{account}".to_owned()), Just("{v}".to_owned()), SEGMENT];
        let parts = proptest::collection::vec(part, 0..4).prop_map(|parts| parts.join("/"));
        (parts, "|/|/[*]{2}").prop_map(|(parts, end)| format!("/{parts}{end}").replacen("//", "/", 1))
    }

    fn request() -> impl Strategy<Value = String> {
        let place = "|path v|path account|after accounts|header X-A|query id|label [0-2]";
        let (pattern, host) = ("|a[.]b|[*][.]b[.]c", "(a[.]){0,2}b([.]c)?(:[0-9]{1,4})?");
        let headers = "(x-a: [01]{1,2}\n){0,2}";
        ("[/;%]{0,3}", template(), template(), place, pattern, host, target(), headers).prop_map(
            |(kept, template, later, place, pattern, host, target, headers)| {
                format!("{kept}\n{template}\n{later}\n{place}\n{pattern}\n{host}\n{target}\n{headers}")
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn a_rule_and_its_account_are_read_in_one_way(input in request()) {
            route(input.as_bytes());
        }
    }
}
