//! Rules in report mode: they refuse nobody, and tell whom they would have refused.
//!
//! Report mode belongs to a rule and not to a route, and stands beside what the route enforces: a permission can be tried
//! on a live route while its account boundary holds, and a narrower permission while the wider one does. A route has one
//! account rule, so that one is either enforced or reported.

use super::config::RouteConfig;
use super::route::Place;
use super::template::Template;
use crate::flaw::Flaw;
use crate::key::Permission;

/// The rules of one route that are only reported.
#[derive(Debug, Default)]
pub(super) struct Reported {
    /// The account that the request names should be the key's.
    pub(super) account: bool,
    /// The key should hold this one too.
    pub(super) permission: Option<Permission>,
}

impl Reported {
    /// Reads `report` of a route that enforces the account at `enforced`; gives the place of the account, enforced or not.
    pub(super) fn new(
        said: &RouteConfig,
        path: Option<&Template>,
        enforced: Option<Place>,
        flaw: &mut impl FnMut(&str, String),
    ) -> (Self, Option<Place>) {
        let Some(report) = &said.report else { return (Self::default(), enforced) };
        if report.permission.is_none() && report.account.is_none() {
            flaw("report", "name a permission or an account to report on, or leave it out".into());
        }
        if let Some(permission) = report.permission.as_ref().filter(|wanted| said.permission.as_ref() == Some(*wanted))
        {
            let message = format!("\"{permission}\" is enforced already: take it out of here or out of `permission`");
            flaw("report.permission", message);
        }
        let place = match (&report.account, path) {
            (Some(place), Some(path)) => Place::new(Some(place), path, false).unwrap_or_else(|bad| {
                flaw("report.account", bad);
                None
            }),
            _ => None,
        };
        let reported = Self { account: place.is_some(), permission: report.permission.clone() };
        match (place, enforced) {
            (None, enforced) => (reported, enforced),
            // `{account}` in a path is enforced unasked, and not where it is asked for here.
            (Some(place), Some(same)) if said.account.is_none() && place == same => (reported, Some(place)),
            (Some(place), None) => (reported, Some(place)),
            (Some(_), Some(enforced)) => {
                flaw("report.account", "an account is enforced already, and a route has one".into());
                (reported, Some(enforced))
            }
        }
    }
}

/// What an operator is warned of: every route with a rule that protects nothing.
#[must_use]
pub fn warnings(routes: &[RouteConfig]) -> Vec<Flaw> {
    let of = |(at, route): (usize, &RouteConfig)| {
        let report = route.report.as_ref()?;
        let who = match (&report.account, &report.permission) {
            (Some(_), Some(permission)) => format!("keys of other accounts and keys without \"{permission}\" are"),
            (Some(_), None) => "keys of other accounts are".to_owned(),
            (None, Some(permission)) => format!("keys without \"{permission}\" are"),
            (None, None) => return None,
        };
        let name = route.name.as_ref().or(route.path.as_ref()).map_or("", String::as_str);
        let message = format!("{name:?} only reports: {who} forwarded, and the service behind alone can refuse them");
        Some(Flaw::new(format!("routes.{at}.report"), message))
    };
    routes.iter().enumerate().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::config::{AccountPlace, ReportConfig};
    use crate::gateway::route::Route;

    fn route(change: impl FnOnce(&mut RouteConfig, &mut ReportConfig)) -> Result<Route, Vec<String>> {
        let (mut said, mut report) = (RouteConfig::default(), ReportConfig::default());
        (said.path, said.service) = (Some("/{account}/{id}".into()), Some("api".into()));
        change(&mut said, &mut report);
        said.report = Some(report);
        let flaws = |flaws: Vec<Flaw>| flaws.into_iter().map(|flaw| flaw.key).collect();
        Route::new(0, &said, &["api"], &crate::gateway::test_config()).map_err(flaws)
    }

    fn segment(name: &str) -> Option<AccountPlace> {
        Some(AccountPlace::Path(name.into()))
    }

    #[test]
    fn a_permission_is_tried_while_the_account_is_enforced() {
        let route = route(|_, report| report.permission = Some("jobs:run".parse().unwrap())).unwrap();
        assert!(!route.reported.account && route.reported.permission.is_some());
        assert_eq!(route.account("h", "/101/1", None, &http::HeaderMap::new()).unwrap().as_deref(), Some("101"));
    }

    #[test]
    fn the_account_of_a_path_is_reported_where_that_is_asked_for() {
        let route = route(|_, report| report.account = segment("account")).unwrap();
        assert!(route.reported.account && route.reported.permission.is_none());
        assert_eq!(route.account("h", "/101/1", None, &http::HeaderMap::new()).unwrap().as_deref(), Some("101"));
    }

    #[test]
    fn what_is_enforced_is_not_reported_as_well() {
        let jobs = || Some("jobs:run".parse().unwrap());
        assert_eq!(route(|_, _| ()).unwrap_err(), ["routes.0.report"]);
        let twice = route(|said, report| (said.permission, report.permission) = (jobs(), jobs()));
        assert_eq!(twice.unwrap_err(), ["routes.0.report.permission"]);
        for (enforced, reported) in
            [(None, "id"), (Some("account"), "account"), (Some("id"), "account"), (None, "none")]
        {
            let route = route(|said, report| {
                (said.account, report.account) = (enforced.and_then(segment), segment(reported));
            });
            assert_eq!(route.unwrap_err(), ["routes.0.report.account"], "{enforced:?} {reported}");
        }
        let open = route(|said, report| (said.open, report.permission) = (Some(true), jobs()));
        assert_eq!(open.unwrap_err(), ["routes.0.open"]);
    }

    #[test]
    fn every_route_that_only_reports_is_warned_of() {
        let said = |name: Option<&str>, report| RouteConfig {
            name: name.map(str::to_owned),
            path: Some("/a".into()),
            report,
            ..RouteConfig::default()
        };
        let report = ReportConfig { permission: Some("jobs:run".parse().unwrap()), account: segment("id") };
        let warned =
            warnings(&[said(None, None), said(Some("jobs"), Some(report)), said(None, Some(ReportConfig::default()))]);
        assert_eq!(warned.len(), 1);
        assert_eq!(warned[0].key, "routes.1.report");
        assert!(
            warned[0]
                .message
                .starts_with("\"jobs\" only reports: keys of other accounts and keys without \"jobs:run\"")
        );
    }
}
