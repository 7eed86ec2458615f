//! Integers for what keyward calls by text. An account or a user whose id is a number is that number; one with another id is the
//! directory's serial. A token is its key's serial.

use serde::{Serialize, Serializer};

/// What an account or a user is called in this API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Number {
    Is(i64),
    /// Where the directory was not asked.
    Text(Box<str>),
}

impl Number {
    /// Of this id, as far as that tells it.
    pub(super) fn of(id: &str) -> Self {
        read(id).map_or_else(|| Self::Text(id.into()), Self::Is)
    }

    /// Of this id, which has this serial in the directory.
    pub(super) fn known(id: &str, serial: i64) -> Self {
        Self::Is(read(id).unwrap_or(serial))
    }

    /// Whether somebody who writes this means it.
    pub(super) fn is(&self, text: &str) -> bool {
        match self {
            Self::Is(number) => read(text) == Some(*number),
            Self::Text(id) => **id == *text,
        }
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Is(number) => serializer.serialize_i64(*number),
            Self::Text(id) => serializer.serialize_str(id),
        }
    }
}

/// The number that a text says in the one spelling that it has: `7`, and not `+7`, `007` or `7.0`.
pub(super) fn read(text: &str) -> Option<i64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_spelling() {
        assert_eq!((read("7"), read("0"), read("9223372036854775807")), (Some(7), Some(0), Some(i64::MAX)));
        for text in ["", "007", "+7", "-7", "7.0", " 7", "٧", "9223372036854775808", "acme"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn an_id_that_is_a_number_is_that_number_and_any_other_has_a_serial() {
        let said = |number: Number| serde_json::to_string(&number).unwrap();
        assert_eq!((said(Number::of("101")), said(Number::of("007"))), ("101".to_owned(), "\"007\"".to_owned()));
        assert_eq!((said(Number::known("101", 3)), said(Number::known("acme", 3))), ("101".to_owned(), "3".to_owned()));
        assert!(Number::known("acme", 3).is("3") && !Number::known("acme", 3).is("03"));
        assert!(Number::of("acme").is("acme") && !Number::of("acme").is("3"));
    }
}
