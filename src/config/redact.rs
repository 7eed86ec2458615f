//! Settings are shown to people, in `validate` and in messages; what a URL says before its `@` is not.

use std::borrow::Cow;

/// `text` without the user name and password of the URL in it.
///
/// All up to the last `@` is taken out: a password with a `/` in it is against the rules, and still no reason to show it.
#[must_use]
pub fn redact(text: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = text.split_once("://") else { return Cow::Borrowed(text) };
    let Some((_, host)) = rest.rsplit_once('@') else { return Cow::Borrowed(text) };
    Cow::Owned(format!("{scheme}://[redacted]@{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_user_and_password() {
        for (said, shown) in [
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("https://paul:pw@origin/", "https://[redacted]@origin/"),
            ("https://paul:p/w?@x@origin", "https://[redacted]@origin"),
            ("paul@example.com", "paul@example.com"),
        ] {
            assert_eq!(redact(said), shown);
        }
    }
}
