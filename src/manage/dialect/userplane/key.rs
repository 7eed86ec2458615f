//! Keys as Userplane writes them. Dates are as its API has them elsewhere, members in camel case.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use crate::clock::Timestamp;
use crate::key::rotation::Rotation;
use crate::key::{Edit, Key, KeyId, KeyState};
use crate::manage::problem::{Fault, Part, Problem};
use crate::secret::Secret;

/// A key as it is listed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Body<'a> {
    id: &'a KeyId,
    name: &'a str,
    masked_key: String,
    status: &'static str,
    expires_at: Option<Timestamp>,
    created_at: Timestamp,
}

impl<'a> Body<'a> {
    fn of(key: &'a Key) -> Self {
        let prefix = key.prefix.as_ref().map(|prefix| format!("{prefix}_")).unwrap_or_default();
        Self {
            id: &key.id,
            name: &key.name,
            masked_key: format!("{prefix}...{}", key.hint),
            status: if key.state == KeyState::Active { "Active" } else { "Disabled" },
            expires_at: key.expires_at,
            created_at: key.created_at,
        }
    }
}

/// A key and its new secret, shown this once.
#[derive(Serialize)]
pub(super) struct Made<'a> {
    key: Body<'a>,
    secret: &'a str,
}

impl<'a> Made<'a> {
    pub(super) fn of(key: &'a Key, secret: &'a Secret) -> Self {
        Self { key: Body::of(key), secret: secret.expose_str().unwrap_or_default() }
    }
}

/// What was revoked.
#[derive(Serialize)]
pub(super) struct Gone<'a> {
    pub(super) id: &'a KeyId,
}

/// Some keys, and which.
#[derive(Serialize)]
pub(super) struct Listed<'a> {
    keys: Vec<Body<'a>>,
    total: usize,
    pagination: Pagination,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Pagination {
    page: usize,
    per_page: usize,
    total: usize,
    total_pages: usize,
    has_more: bool,
}

/// The page that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    number: usize,
    size: usize,
}

impl Page {
    /// Of a query. What else stands in it says nothing, as with the vendor.
    pub(super) fn read(query: Option<&str>) -> Result<Self, Problem> {
        let mut page = Self { number: 1, size: USUAL };
        for part in query.unwrap_or_default().split('&') {
            match part.split_once('=') {
                Some(("page", value)) => page.number = number("page", value, 1..=usize::MAX, "give a number from 1")?,
                Some(("per_page", value)) => page.size = number("per_page", value, SIZES, SIZES_SAID)?,
                _ => {}
            }
        }
        Ok(page)
    }

    /// This page of all these.
    pub(super) fn of(self, keys: &[Key]) -> Listed<'_> {
        let Self { number, size } = self;
        let (total, before) = (keys.len(), (number - 1).saturating_mul(size));
        Listed {
            keys: keys.iter().skip(before).take(size).map(Body::of).collect(),
            total,
            pagination: Pagination {
                page: number,
                per_page: size,
                total,
                total_pages: total.div_ceil(size),
                has_more: before.saturating_add(size) < total,
            },
        }
    }
}

fn number(name: &str, value: &str, within: std::ops::RangeInclusive<usize>, said: &str) -> Result<usize, Problem> {
    value
        .parse()
        .ok()
        .filter(|number| within.contains(number))
        .ok_or_else(|| Problem::faults(vec![Fault { part: Part::Parameter(name.to_owned()), detail: said.to_owned() }]))
}

const USUAL: usize = 10;
const SIZES: std::ops::RangeInclusive<usize> = 1..=20;
const SIZES_SAID: &str = "give a number from 1 to 20";

/// What a key is to be, or to become.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Wanted {
    name: Option<String>,
    /// Left out, or none at all, or one of the five.
    #[serde(default, deserialize_with = "some")]
    expires_in: Option<Option<Expiration>>,
}

/// A number of seconds that the vendor's dialog offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u64")]
pub(super) struct Expiration(u64);

impl TryFrom<u64> for Expiration {
    type Error = &'static str;

    fn try_from(seconds: u64) -> Result<Self, &'static str> {
        let days = seconds / DAY;
        if seconds.is_multiple_of(DAY) && [7, 30, 60, 90].contains(&days) {
            Ok(Self(seconds))
        } else {
            Err(EXPIRATIONS)
        }
    }
}

const DAY: u64 = 24 * 60 * 60;
const EXPIRATIONS: &str = "give null, 604800, 2592000, 5184000 or 7776000";

fn some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<Expiration>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl Wanted {
    /// What it is called; nothing where nothing is said.
    pub(super) fn name(&self) -> String {
        self.name.clone().unwrap_or_default()
    }

    /// When it ends, where it begins at `now`.
    pub(super) fn expires_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.expires_in.flatten().map(|Expiration(seconds)| now.plus(Duration::from_secs(seconds)))
    }

    /// The rotation of a key that has had so many secrets: the old one ends at once, and what is not said stays.
    pub(super) fn rotation(&self, generation: i64, now: Timestamp) -> Rotation {
        let expires_at = match (self.expires_in, self.expires_at(now)) {
            (None, _) => Edit::Keep,
            (Some(_), None) => Edit::Clear,
            (Some(_), Some(end)) => Edit::Set(end),
        };
        Rotation { generation: Some(generation), name: self.name.clone(), expires_at, ..Rotation::IMMEDIATE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manage::body::Document;

    #[test]
    fn an_expiration_is_one_of_five_and_what_is_not_said_is_another_thing_than_none() {
        let read = |text: &str| Document::of(text).parse::<Wanted>().map(|wanted| wanted.expires_in);
        assert_eq!(read("{}").unwrap(), None);
        assert_eq!(read("{\"expiresIn\": null}").unwrap(), Some(None));
        for days in [7, 30, 60, 90] {
            let seconds = days * DAY;
            assert_eq!(read(&format!("{{\"expiresIn\": {seconds}}}")).unwrap(), Some(Some(Expiration(seconds))));
        }
        for wrong in ["0", "86400", "604801", "-604800", "\"7d\"", "604800.5"] {
            let problem = read(&format!("{{\"expiresIn\": {wrong}}}")).unwrap_err();
            assert!(problem.sentence().starts_with("expiresIn: "), "{wrong}: {}", problem.sentence());
        }
    }

    #[test]
    fn a_page_has_ten_keys_where_nothing_is_said_and_twenty_at_most() {
        let read = |query: &str| Page::read(Some(query)).ok().map(|page| (page.number, page.size));
        assert_eq!(read(""), Some((1, 10)));
        assert_eq!(read("per_page=20&page=3&sort=name"), Some((3, 20)));
        for wrong in ["page=0", "page=", "page=-1", "per_page=0", "per_page=21", "per_page=x"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        let most = Page { number: usize::MAX, size: 20 }.of(&[]);
        assert_eq!((most.keys.len(), most.pagination.total_pages, most.pagination.has_more), (0, 0, false));
    }
}
