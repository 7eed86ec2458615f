//! Text that people wrote for people: what an account or user is called, where mail reaches them, what a licence is called. And
//! how a change speaks of something that need not be there.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// One line of text, of which keyward reads no more than that it is one: it stands in tables, answers and logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Line(String);

/// The text is no line: empty, longer than 200 characters, or with a control character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("give one line of 1 to 200 characters, without spaces around it")]
pub struct BadLine;

impl Line {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Line {
    type Err = BadLine;

    fn from_str(text: &str) -> Result<Self, BadLine> {
        let fits = !text.is_empty() && text.chars().count() <= LONGEST && text.trim() == text;
        if fits && !text.chars().any(char::is_control) { Ok(Self(text.to_owned())) } else { Err(BadLine) }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

const LONGEST: usize = 200;

/// What a change says of a member that may be missing. Said to be missing is another thing than left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Edit<T> {
    /// It stays as it is.
    #[default]
    Keep,
    /// It is missing from now on.
    Clear,
    /// It is this from now on.
    Set(T),
}

impl<T> Edit<T> {
    /// What becomes of `old`.
    #[must_use]
    pub fn applied(self, old: Option<T>) -> Option<T> {
        match self {
            Self::Keep => old,
            Self::Clear => None,
            Self::Set(new) => Some(new),
        }
    }

    /// Whether nothing is said.
    #[must_use]
    pub const fn is_keep(&self) -> bool {
        matches!(self, Self::Keep)
    }
}

impl<T> From<Option<T>> for Edit<T> {
    /// Of a member that is said: what is not there is to be missing.
    fn from(said: Option<T>) -> Self {
        said.map_or(Self::Clear, Self::Set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_and_not_empty() {
        for good in ["Acme, Inc.", "a", "Jürgen", &"x".repeat(200)] {
            assert_eq!(good.parse::<Line>().unwrap().as_str(), good);
        }
        for bad in ["", " ", " a", "a\n", "a\tb", "\u{7f}", &"x".repeat(201)] {
            assert_eq!(bad.parse::<Line>(), Err(BadLine), "{bad:?}");
        }
    }

    #[test]
    fn what_is_left_out_stays_and_what_is_null_goes() {
        assert_eq!(Edit::Keep.applied(Some(1)), Some(1));
        assert_eq!(Edit::from(None).applied(Some(1)), None);
        assert_eq!(Edit::from(Some(2)).applied(Some(1)), Some(2));
    }
}
