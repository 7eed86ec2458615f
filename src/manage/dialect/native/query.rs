//! The query of a list. A parameter that nobody reads is refused, since whoever wrote it would take the answer for another.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::percent_decode_str;

use crate::manage::problem::{Fault, Part, Problem};

/// The parameters that are not read yet, and what was wrong with others.
pub(in crate::manage) struct Query {
    left: Vec<(String, String)>,
    faults: Vec<Fault>,
}

impl Query {
    /// Takes a query apart.
    pub(in crate::manage) fn read(query: Option<&str>) -> Result<Self, Problem> {
        let parts = query.unwrap_or_default().split('&').filter(|part| !part.is_empty());
        let left = parts.map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (decoded(name), decoded(value))
        });
        let left: Vec<(String, String)> = left.collect();
        let mut known = HashSet::with_capacity(left.len());
        let again = left.iter().filter(|(name, _)| !known.insert(name.as_str()));
        let faults = again.map(|(name, _)| fault(name, "stands more than once")).collect();
        let query = Self { left, faults };
        if query.faults.is_empty() { Ok(query) } else { Err(Problem::faults(query.faults)) }
    }

    /// A parameter that is read by its type.
    pub(in crate::manage) fn take<T: FromStr<Err: ToString>>(&mut self, name: &str) -> Option<T> {
        let value = self.value(name)?;
        match value.parse() {
            Ok(read) => Some(read),
            Err(error) => {
                self.faults.push(fault(name, error.to_string()));
                None
            }
        }
    }

    /// A parameter that is read by `read`; what to do where it cannot be is in `said`.
    pub(in crate::manage) fn take_by<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Option<T>,
        said: &str,
    ) -> Option<T> {
        let value = self.value(name)?;
        let taken = read(&value);
        if taken.is_none() {
            self.faults.push(fault(name, said));
        }
        taken
    }

    /// How many are asked for.
    pub(super) fn limit(&mut self) -> u32 {
        let limit = self.take_by("limit", |text| text.parse().ok().filter(|limit| LIMITS.contains(limit)), LIMITS_SAID);
        limit.unwrap_or(USUAL_LIMIT)
    }

    /// Where the page before ended, as `read` finds it in a [`cursor`].
    pub(super) fn cursor<T>(&mut self, read: impl FnOnce(Vec<u8>) -> Option<T>) -> Option<T> {
        let decoded = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        self.take_by("cursor", |text| read(decoded(text)?), "give the next_cursor of the page before")
    }

    /// What was wrong, and whatever is left.
    pub(in crate::manage) fn end(mut self) -> Result<(), Problem> {
        self.faults.extend(self.left.iter().map(|(name, _)| fault(name, "no such parameter")));
        if self.faults.is_empty() { Ok(()) } else { Err(Problem::faults(self.faults)) }
    }

    /// What was wrong; whatever is left is not looked at.
    pub(in crate::manage) fn end_of_known(self) -> Result<(), Problem> {
        if self.faults.is_empty() { Ok(()) } else { Err(Problem::faults(self.faults)) }
    }

    /// A parameter as it came.
    pub(super) fn value(&mut self, name: &str) -> Option<String> {
        let at = self.left.iter().position(|(known, _)| known == name)?;
        Some(self.left.remove(at).1)
    }
}

/// Where a page ends, as a text that means nothing to others.
pub(super) fn cursor(end: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(end)
}

const LIMITS: RangeInclusive<u32> = 1..=100;
const LIMITS_SAID: &str = "give a number from 1 to 100";
const USUAL_LIMIT: u32 = 50;

/// In a query a plus is a plus: ids may have one.
fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn fault(name: &str, detail: impl Into<String>) -> Fault {
    Fault { part: Part::Parameter(name.to_owned()), detail: detail.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_stands_once_and_each_that_comes_again_is_named() {
        assert!(Query::read(Some("a=1&b=1&&c")).is_ok());
        let many = "a&".repeat(10_000);
        for (query, again) in [("a=1&b&%61=2&b=3&a", 3), (&many, 9_999)] {
            let Err(problem) = Query::read(Some(query)) else { panic!("{query}") };
            assert_eq!(format!("{problem:?}").matches("stands more than once").count(), again);
        }
    }
}
