//! Integers for what keyward calls by text. An account or a user whose id is a number is that number; what has another id is said as
//! it is, since it was never a number to its clients either. A token is its key's serial.

use serde::{Serialize, Serializer};

/// An account's or a user's id, as it is said in this API.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number<'a>(pub(super) &'a str);

impl Serialize for Number<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match read(self.0) {
            Some(number) => serializer.serialize_i64(number),
            None => serializer.serialize_str(self.0),
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
        let said = |id| serde_json::to_string(&Number(id)).unwrap();
        assert_eq!((said("101"), said("007")), ("101".to_owned(), "\"007\"".to_owned()));
    }
}
