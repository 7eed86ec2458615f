//! Routes on their way out: what is told with every answer of theirs, and what is left when they are gone.
//!
//! This is about the resource: whoever asks for it is told, whichever key they hold. What is about the key is in
//! [`super::user_keys`]. Everything is made when the settings are read; but for a successor's address that names the account, which
//! is another one for every key.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::config::{Deprecated, RouteConfig};
use super::user_keys::link_value;
use crate::clock::Timestamp;
use crate::key::AccountId;

/// What a route's answers tell of its end.
#[derive(Debug)]
pub(super) struct Retirement {
    /// `Deprecation` and `Sunset`, which an answer has once; they take the place of what the service says.
    once: Vec<(HeaderName, HeaderValue)>,
    /// `Link`, which stands beside the service's own.
    links: Vec<HeaderValue>,
    /// A successor whose address names the account: what stands before it and after it.
    of_account: Option<(String, String)>,
    /// Nothing is forwarded any more.
    pub(super) gone: bool,
}

impl Retirement {
    /// Reads what a route says of its end; none where it goes on.
    pub(super) fn new(said: &RouteConfig, flaw: &mut impl FnMut(&str, String)) -> Option<Self> {
        let deprecated = match said.deprecated {
            None | Some(Deprecated::Flag(false)) => None,
            Some(Deprecated::Flag(true)) => Some(NO_DATE),
            Some(Deprecated::Since(since)) => Some(since),
        };
        let gone = said.gone.unwrap_or(false);
        if let (Some(since), Some(sunset)) = (deprecated, said.sunset)
            && sunset < since
        {
            flaw("sunset", format!("it is before `deprecated`, which is {since}"));
        }
        let ends = deprecated.is_some() || said.sunset.is_some() || gone;
        for (field, given) in [("successor", said.successor.is_some()), ("link", said.link.is_some())] {
            if given && !ends {
                flaw(field, "it is told of a route that is `deprecated`, has a `sunset` or is `gone`".into());
            }
        }
        if gone && (said.filter.is_some() || said.agree.is_some()) {
            flaw("gone", "nothing is forwarded any more, so there is nothing to filter and nothing to agree".into());
        }
        let mut once = Vec::new();
        if let Some(since) = deprecated {
            // A structured field's date (RFC 9651, 3.3.7).
            once.extend(value(format!("@{}", seconds(since))).map(|value| (DEPRECATION, value)));
        }
        if let Some(sunset) = said.sunset {
            match http_date(sunset) {
                Some(date) => once.push((SUNSET, date)),
                None => flaw("sunset", "this year cannot be written in a header".into()),
            }
        }
        let mut links = Vec::new();
        let mut of_account = None;
        match said.successor.as_deref() {
            None => {}
            Some(address) if !is_address(&address.replacen(ACCOUNT, "1", 1)) => {
                flaw(
                    "successor",
                    format!("{address:?} is no path and no http or https address; it may hold {ACCOUNT}"),
                );
            }
            Some(address) => match address.split_once(ACCOUNT) {
                None => links.extend(value(format!("<{address}>; {SUCCESSOR}"))),
                Some((before, after)) => of_account = Some((format!("<{before}"), format!("{after}>; {SUCCESSOR}"))),
            },
        }
        if let Some(link) = said.link.as_deref() {
            match link_value(link) {
                Some(link) => links.push(link),
                None => flaw("link", format!("{link:?} is no http or https address that can stand in a header")),
            }
        }
        ends.then_some(Self { once, links, of_account, gone })
    }

    /// Tells of it in an answer to a request that acts in `account`.
    pub(super) fn tell(&self, headers: &mut HeaderMap, account: Option<&AccountId>) {
        for (name, value) in &self.once {
            headers.insert(name, value.clone());
        }
        for link in &self.links {
            headers.append(header::LINK, link.clone());
        }
        if let Some(((before, after), account)) = self.of_account.as_ref().zip(account) {
            // An account's id has no character that means something in an address.
            let successor = value(format!("{before}{account}{after}"));
            headers.extend(successor.map(|successor| (header::LINK, successor)));
        }
    }
}

/// RFC 9745 has no word for deprecated without a date. What has long been deprecated is, so far back that nobody takes it for
/// the day on which it was.
const NO_DATE: Timestamp = Timestamp::from_millis(0);

const ACCOUNT: &str = "{account}";
const SUCCESSOR: &str = "rel=\"successor-version\"";
const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");
const SUNSET: HeaderName = HeaderName::from_static("sunset");

fn value(text: String) -> Option<HeaderValue> {
    HeaderValue::try_from(text).ok()
}

fn seconds(moment: Timestamp) -> i64 {
    moment.as_millis().div_euclid(1000)
}

/// An HTTP-date (RFC 9110, 5.6.7), which has four digits for the year.
fn http_date(moment: Timestamp) -> Option<HeaderValue> {
    let moment = jiff::Timestamp::from_second(seconds(moment)).ok()?;
    let date = moment.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    value(date).filter(|date| date.len() == "Sun, 06 Nov 1994 08:49:37 GMT".len())
}

/// A path on the same host, or a whole address.
fn is_address(text: &str) -> bool {
    let begins = ["/", "https://", "http://"].iter().any(|begin| text.starts_with(begin)) && !text.starts_with("//");
    begins && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\"{}".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(change: impl FnOnce(&mut RouteConfig)) -> Result<Option<Retirement>, Vec<String>> {
        let mut said = RouteConfig::default();
        change(&mut said);
        let mut flaws = Vec::new();
        let read = Retirement::new(&said, &mut |field: &str, _| flaws.push(field.to_owned()));
        if flaws.is_empty() { Ok(read) } else { Err(flaws) }
    }

    fn told(change: impl FnOnce(&mut RouteConfig), account: Option<&str>) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        headers.insert(DEPRECATION, HeaderValue::from_static("true"));
        let account = account.map(|account| account.parse().unwrap());
        read(change).unwrap().unwrap().tell(&mut headers, account.as_ref());
        headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
    }

    fn moment(text: &str) -> Option<Timestamp> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_date_a_sunset_a_successor_and_a_page_are_told_in_their_own_forms() {
        let all = told(
            |said| {
                said.deprecated = moment("2026-12-01T00:00:00Z").map(Deprecated::Since);
                said.sunset = moment("2027-06-01T08:05:09Z");
                said.successor = Some("/api/v3/accounts/{account}/".into());
                said.link = Some("https://example.com/why".into());
            },
            Some("101"),
        );
        let lines: Vec<_> = all.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            lines,
            [
                ("deprecation", "@1796083200"),
                ("sunset", "Tue, 01 Jun 2027 08:05:09 GMT"),
                ("link", "<https://example.com/why>; rel=\"deprecation\""),
                ("link", "</api/v3/accounts/101/>; rel=\"successor-version\""),
            ]
        );
    }

    #[test]
    fn deprecated_without_a_date_is_told_as_long_since_and_has_no_sunset() {
        let lines = told(|said| said.deprecated = Some(Deprecated::Flag(true)), None);
        assert_eq!(lines, [("deprecation".to_owned(), "@0".to_owned())]);
        assert!(read(|said| said.deprecated = Some(Deprecated::Flag(false))).unwrap().is_none());
    }

    #[test]
    fn a_successor_that_names_the_account_is_told_where_there_is_one() {
        let gone = |said: &mut RouteConfig| {
            (said.gone, said.successor) = (Some(true), Some("/accounts/{account}/".into()));
        };
        assert_eq!(told(gone, Some("a@b"))[1].1, "</accounts/a@b/>; rel=\"successor-version\"");
        assert_eq!(told(gone, None).len(), 1);
    }

    #[test]
    fn what_cannot_hold_is_a_flaw_with_its_place() {
        let since = || moment("2027-01-01T00:00:00Z").map(Deprecated::Since);
        let early = moment("2026-01-01T00:00:00Z");
        assert_eq!(read(|said| (said.deprecated, said.sunset) = (since(), early)).err().unwrap(), ["sunset"]);
        assert!(read(|said| said.sunset = early).is_ok(), "each may stand alone");
        assert_eq!(read(|said| said.successor = Some("/a".into())).err().unwrap(), ["successor"]);
        assert_eq!(read(|said| said.link = Some("https://a".into())).err().unwrap(), ["link"]);
        for bad in ["", "a", "//a", "ftp://a", "/a b", "/a>; rel=x", "/{other}/"] {
            let flaws = read(|said| (said.gone, said.successor) = (Some(true), Some(bad.into())));
            assert_eq!(flaws.err().unwrap(), ["successor"], "{bad:?}");
        }
        assert_eq!(read(|said| (said.gone, said.filter) = (Some(true), Some(Vec::new()))).err().unwrap(), ["gone"]);
    }
}
