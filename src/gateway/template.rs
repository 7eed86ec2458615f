//! Path templates: `/api/{version}/accounts/{account}/**`.
//!
//! `{name}` stands for one segment, a final `**` for any number of segments, none included. Everything else is compared
//! byte for byte with the canonical path, escapes undone. One trailing slash makes no difference to a match: clients mix both spellings,
//! and a rule that guards `/keys` must guard `/keys/` too.

use std::fmt;

use percent_encoding::percent_decode_str;

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    segments: Vec<Segment>,
    /// Whether it ends in `**`.
    open_ended: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Text(Box<str>),
    Any(Box<str>),
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, BadTemplate> {
        let path = text.strip_prefix('/').ok_or(BadTemplate::NoSlash)?;
        let mut template = Self { segments: Vec::new(), open_ended: false };
        let trimmed = path.strip_suffix('/').filter(|path| !path.is_empty());
        let mut parts = trimmed.unwrap_or(path).split('/').peekable();
        while let Some(part) = parts.next() {
            match part {
                "**" if parts.peek().is_none() => template.open_ended = true,
                "" if template.segments.is_empty() && parts.peek().is_none() => {}
                "" | "." | ".." => return Err(BadTemplate::Segment(part.into())),
                part => template.segments.push(template.segment(part)?),
            }
        }
        Ok(template)
    }

    fn segment(&self, part: &str) -> Result<Segment, BadTemplate> {
        let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) else {
            let plain = part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()+,=:@%".contains(&b));
            return if plain { Ok(Segment::Text(part.into())) } else { Err(BadTemplate::Segment(part.into())) };
        };
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(BadTemplate::Segment(part.into()));
        }
        if self.place_of(name).is_some() {
            return Err(BadTemplate::Twice(name.into()));
        }
        Ok(Segment::Any(name.into()))
    }

    /// Whether the canonical `path` fits.
    pub(super) fn matches(&self, path: &str) -> bool {
        let mut parts = segments(path);
        for segment in &self.segments {
            let fits = match (segment, parts.next()) {
                (_, None) => false,
                (Segment::Text(text), Some(part)) => is_same(text, part),
                (Segment::Any(_), Some(part)) => !part.is_empty(),
            };
            if !fits {
                return false;
            }
        }
        self.open_ended || parts.next().is_none()
    }

    /// At which segment `{name}` stands, from 0.
    pub(super) fn place_of(&self, name: &str) -> Option<usize> {
        self.segments.iter().position(|segment| matches!(segment, Segment::Any(known) if **known == *name))
    }

    /// Whether every path that fits `other` fits this one too, so that a later `other` can never be reached.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let long_enough = other.segments.len() >= self.segments.len();
        let as_open = self.open_ended || (!other.open_ended && other.segments.len() == self.segments.len());
        let pairs = self.segments.iter().zip(&other.segments);
        long_enough
            && as_open
            && pairs.into_iter().all(|(ours, theirs)| matches!(ours, Segment::Any(_)) || ours == theirs)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            match segment {
                Segment::Text(text) => write!(f, "/{text}")?,
                Segment::Any(name) => write!(f, "/{{{name}}}")?,
            }
        }
        f.write_str(if self.open_ended {
            "/**"
        } else if self.segments.is_empty() {
            "/"
        } else {
            ""
        })
    }
}

/// Whether both are the same once unescaped: `%3A` stays an escape in a canonical path, and origins read it as `:`; and
/// a template may say `%2D`, which a canonical path never does.
fn is_same(text: &str, part: &str) -> bool {
    let is_escaped = || part.contains('%') || text.contains('%');
    text == part || (is_escaped() && percent_decode_str(part).eq(percent_decode_str(text)))
}

/// The segments of a canonical path; a trailing slash adds none.
pub(super) fn segments(path: &str) -> impl Iterator<Item = &str> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut rest = Some(path).filter(|path| !path.is_empty());
    // Segments are short: a plain loop finds their end before a search has begun.
    std::iter::from_fn(move || {
        let path = rest?;
        let end = path.as_bytes().iter().position(|byte| *byte == b'/');
        rest = end.map(|end| &path[end + 1..]);
        Some(end.map_or(path, |end| &path[..end]))
    })
}

/// The text is no template.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadTemplate {
    #[error("a path template begins with /")]
    NoSlash,
    #[error("{0:?} cannot be a segment: write plain text, {{name}}, or ** at the very end")]
    Segment(String),
    #[error("{{{0}}} stands twice")]
    Twice(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> Template {
        Template::parse(text).unwrap()
    }

    #[test]
    fn a_template_matches_what_it_says() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("/", &["/"], &["/a"]),
            ("/**", &["/", "/a", "/a/b/", "*"], &[]),
            ("/a/**", &["/a", "/a/", "/a/b", "/a/b/c"], &["/", "/ab", "/b/a"]),
            ("/a:b", &["/a:b", "/a%3Ab"], &["/a%2Bb", "/a"]),
            ("/a%2db/%c3%a4", &["/a-b/%C3%A4"], &["/a-b", "/a-b/a"]),
            ("/a/{id}", &["/a/1", "/a/1/"], &["/a", "/a/", "/a/1/2", "/A/1"]),
            ("/api/{v}/accounts/{account}/**", &["/api/v2/accounts/101/x"], &["/api/v2/accounts", "/api/accounts/101"]),
        ];
        for (text, fits, misses) in cases {
            for path in *fits {
                assert!(template(text).matches(path), "{text} {path}");
            }
            for path in *misses {
                assert!(!template(text).matches(path), "{text} {path}");
            }
        }
    }

    #[test]
    fn a_bad_template_says_what_is_wrong() {
        for text in ["a", "/a//b", "/a/**/b", "/{}", "/{a b}", "/..", "/a?b", "/{a}/{a}", "/a b", "//", "/a//"] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn covering_is_about_every_path() {
        for (first, later, covers) in [
            ("/**", "/a/b", true),
            ("/a/{x}", "/a/b", true),
            ("/a/b", "/a/{x}", false),
            ("/a/**", "/a", true),
            ("/a/**", "/a/{x}/**", true),
            ("/a/{x}", "/a/**", false),
            ("/{x}/**", "/**", false),
        ] {
            assert_eq!(template(first).covers(&template(later)), covers, "{first} over {later}");
        }
    }

    #[test]
    fn it_is_written_as_it_was_read() {
        for text in ["/", "/**", "/a/{id}", "/api/{v}/accounts/{account}/**"] {
            assert_eq!(template(text).to_string(), text);
        }
    }
}
