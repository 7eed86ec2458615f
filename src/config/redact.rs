//! Settings are shown to people, in `validate` and in messages; what a URL says before its `@` is not, nor a password behind it.

use std::borrow::Cow;

/// `text` without the user name and password of the URL in it.
///
/// All up to the last `@` is taken out: a password with a `/` in it is against the rules, and still no reason to show it. So is
/// the password that a database's URL may have among its parameters.
#[must_use]
pub fn redact(text: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = text.split_once("://") else { return Cow::Borrowed(text) };
    let shown = match rest.rsplit_once('@') {
        Some((_, host)) => Cow::Owned(format!("{scheme}://[redacted]@{host}")),
        None => Cow::Borrowed(text),
    };
    if !shown.contains(PASSWORD) {
        return shown;
    }
    let mut parts = shown.split(PASSWORD);
    let first = parts.next().unwrap_or_default().to_owned();
    let hidden = parts.map(|said| {
        let end = said.find(['&', '#', '"', ' ']).unwrap_or(said.len());
        format!("{PASSWORD}[redacted]{}", &said[end..])
    });
    Cow::Owned(first + &hidden.collect::<String>())
}

const PASSWORD: &str = "password=";

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
            ("postgres://db/k?password=p%20w&sslmode=require", "postgres://db/k?password=[redacted]&sslmode=require"),
            ("postgres://u:p@db/k?a=b&password=pw", "postgres://[redacted]@db/k?a=b&password=[redacted]"),
            (
                "\"postgres://db?password=1&password=2\" is",
                "\"postgres://db?password=[redacted]&password=[redacted]\" is",
            ),
        ] {
            assert_eq!(redact(said), shown);
        }
    }
}
