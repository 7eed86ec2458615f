//! Legacy keys of users, on their way out: told to their holders, refused for a while, refused for good.
//!
//! ```text
//!  --deprecated--> told with every answer --brownouts: 401 for a while--> sunset: 401
//! ```
//!
//! Each of the three may stand alone. Keys of other kinds notice nothing.

use http::header::{self, HeaderName, HeaderValue};

use super::config::UserKeysConfig;
use super::forward::KEY_STATUS;
use crate::clock::Timestamp;
use crate::flaw::Flaw;
use crate::key::{Invalid, Kind, Refusal, Verified};

/// What holds for users' keys.
#[derive(Debug)]
pub(super) struct UserKeys {
    deprecated: Option<Timestamp>,
    sunset: Option<Timestamp>,
    brownouts: Vec<(Timestamp, Timestamp)>,
    /// Made once: they are the same in every answer.
    notices: Vec<(HeaderName, HeaderValue)>,
}

impl UserKeys {
    /// Reads the settings, or says what is wrong with them.
    pub(super) fn new(said: &UserKeysConfig) -> Result<Self, Vec<Flaw>> {
        let UserKeysConfig { deprecated, sunset, brownouts, link } = said;
        let mut flaws = Vec::new();
        let mut flaw = |field: &str, why: String| flaws.push(Flaw::new(format!("gateway.user_keys.{field}"), why));
        let brownouts: Vec<_> = brownouts
            .iter()
            .filter_map(|text| {
                let window = window(text);
                if window.is_none() {
                    flaw(
                        "brownouts",
                        format!("{text:?} is no begin/end, such as 2027-05-01T10:00:00Z/2027-05-01T10:15:00Z"),
                    );
                }
                window
            })
            .collect();
        if let (Some(deprecated), Some(sunset)) = (deprecated, sunset)
            && sunset < deprecated
        {
            flaw("sunset", format!("it is before `deprecated`, which is {deprecated}"));
        }
        let link = link.as_deref().and_then(|link| {
            let value = link_value(link);
            if value.is_none() {
                flaw("link", format!("{link:?} is no http or https address that can stand in a header"));
            }
            value
        });
        let status = deprecated.map(|_| status(*sunset));
        let notices = status.map(|status| (KEY_STATUS, status)).into_iter();
        let notices = notices.chain(deprecated.and(link).map(|link| (header::LINK, link))).collect();
        if flaws.is_empty() {
            Ok(Self { deprecated: *deprecated, sunset: *sunset, brownouts, notices })
        } else {
            Err(flaws)
        }
    }

    /// Refuses a user's key whose time is over, or is just now.
    ///
    /// # Errors
    /// [`Invalid::Sunset`] or [`Invalid::Brownout`].
    pub(super) fn judge(&self, verified: &Verified) -> Result<(), Refusal> {
        if verified.standing().kind != Kind::User {
            return Ok(());
        }
        let now = verified.at();
        if self.sunset.is_some_and(|sunset| now >= sunset) {
            return Err(Refusal::KeyInvalid(Invalid::Sunset));
        }
        if self.brownouts.iter().any(|(begin, end)| (*begin..*end).contains(&now)) {
            return Err(Refusal::KeyInvalid(Invalid::Brownout));
        }
        Ok(())
    }

    /// What the holder of this key is told with an answer.
    pub(super) fn notices(&self, verified: &Verified) -> &[(HeaderName, HeaderValue)] {
        let told =
            verified.standing().kind == Kind::User && self.deprecated.is_some_and(|since| verified.at() >= since);
        if told { &self.notices } else { &[] }
    }
}

/// A time that ends after it begins.
fn window(text: &str) -> Option<(Timestamp, Timestamp)> {
    let (begin, end) = text.split_once('/')?;
    let (begin, end) = (begin.parse().ok()?, end.parse().ok()?);
    (begin < end).then_some((begin, end))
}

fn status(sunset: Option<Timestamp>) -> HeaderValue {
    let told = sunset.and_then(|sunset| HeaderValue::try_from(format!("deprecated; sunset=\"{sunset}\"")).ok());
    told.unwrap_or_else(|| HeaderValue::from_static("deprecated"))
}

/// RFC 9745, 3.
pub(super) fn link_value(link: &str) -> Option<HeaderValue> {
    let web = link.starts_with("https://") || link.starts_with("http://");
    let plain = link.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b'"'));
    (web && plain).then(|| HeaderValue::try_from(format!("<{link}>; rel=\"deprecation\"")).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(change: impl FnOnce(&mut UserKeysConfig)) -> Result<UserKeys, Vec<Flaw>> {
        let mut said = UserKeysConfig::default();
        change(&mut said);
        UserKeys::new(&said)
    }

    #[test]
    fn what_cannot_hold_is_a_flaw_with_its_place() {
        let moment = |text: &str| Some(text.parse().unwrap());
        let (early, late) = (moment("2027-01-01T00:00:00Z"), moment("2027-02-01T00:00:00Z"));
        assert!(keys(|said| (said.deprecated, said.sunset) = (early, late)).is_ok());
        assert!(keys(|said| said.sunset = early).is_ok(), "each may stand alone");
        assert!(keys(|said| (said.deprecated, said.sunset) = (late, early)).is_err());
        for bad in ["", "2027-01-01T00:00:00Z", "2027-02-01T00:00:00Z/2027-01-01T00:00:00Z", "tomorrow/later"] {
            assert!(keys(|said| said.brownouts = vec![bad.into()]).is_err(), "{bad:?}");
        }
        for bad in ["example.com", "ftp://example.com", "https://a b", "https://a>; rel=x"] {
            assert!(keys(|said| said.link = Some(bad.into())).is_err(), "{bad:?}");
        }
    }
}
