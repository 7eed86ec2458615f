//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key): the name under which a request may come again.

use http::{HeaderMap, HeaderName};

use super::Asked;
use crate::keyring::once::Made;
use crate::manage::desk::Desk;
use crate::manage::problem::{Code, Problem};

/// What the request made, where it came before under the same name. What `narrows` is waited for again.
pub(super) async fn came_before(desk: &Desk<'_>, asked: &Asked<'_>, narrows: bool) -> Result<Option<Made>, Problem> {
    match named(asked.headers)? {
        // Only POST may come again.
        Some(name) => desk.came_before(&name, &[asked.path.as_bytes(), asked.body.bytes()], narrows).await,
        None => Ok(None),
    }
}

/// The name, which the draft has in quotes and many clients have not.
pub(in crate::manage) fn named(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut lines = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    let name = line.to_str().ok().map(str::trim).and_then(|line| match line.strip_prefix('"') {
        Some(quoted) => unquoted(quoted),
        None => Some(line.to_owned()),
    });
    let fits = |name: &String| (1..=LONGEST).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
    match name.filter(fits) {
        Some(name) if lines.next().is_none() => Ok(Some(name)),
        _ => Err(Problem::detailed(
            Code::ValidationFailed,
            "An Idempotency-Key stands once, and is 1 to 255 visible characters, in quotes or without.",
        )),
    }
}

/// What stands in the quotes (RFC 9651, 3.3.3); only quotes and backslashes are escaped.
fn unquoted(text: &str) -> Option<String> {
    let (mut name, mut rest) = (String::new(), text.strip_suffix('"')?.chars());
    while let Some(next) = rest.next() {
        name.push(match next {
            '\\' => rest.next().filter(|escaped| "\"\\".contains(*escaped))?,
            '"' => return None,
            plain => plain,
        });
    }
    Some(name)
}

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const LONGEST: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_in_quotes_and_without() {
        let read = |lines: &[&str]| {
            named(&lines.iter().map(|line| (IDEMPOTENCY_KEY, line.parse().unwrap())).collect()).map_err(|_| ())
        };
        assert_eq!(read(&[]), Ok(None));
        for line in ["8e03978e-40d5", "\"8e03978e-40d5\"", "  \"8e03978e-40d5\" "] {
            assert_eq!(read(&[line]), Ok(Some("8e03978e-40d5".to_owned())), "{line}");
        }
        assert_eq!(read(&[r#""a\"b\\c""#]), Ok(Some(r#"a"b\c"#.to_owned())));
        let long = "x".repeat(256);
        for line in ["", "\"\"", "\"", "\"a", "\"a\"b\"", r#""a\b""#, r#""a\""#, "a b", "ä", &long] {
            assert_eq!(read(&[line]), Err(()), "{line}");
        }
        assert_eq!(read(&["a", "a"]), Err(()));
    }
}
