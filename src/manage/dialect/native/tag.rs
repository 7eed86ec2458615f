//! The entity tag of a key, and what requests say of it.

use http::header::IF_MATCH;
use http::{HeaderMap, HeaderValue};

use crate::key::Seen;

/// The entity tag of a key (RFC 9110, 8.8.3): it changes with whatever was done to the key or is ended by the clock, not with its
/// use.
pub(super) fn tag(seen: &Seen) -> String {
    let Seen { serial, version, status, rotating } = seen;
    format!("\"{serial}.{version}.{status}{}\"", if *rotating { ROTATING } else { "" })
}

const ROTATING: &str = ".rotating";

/// Whether a line of `If-None-Match` names the tag; its comparison is the weak one.
pub(super) fn names(line: &HeaderValue, tag: &str) -> bool {
    let mut tags = line.to_str().unwrap_or_default().split(',').map(str::trim);
    tags.any(|named| named == "*" || named.strip_prefix("W/").unwrap_or(named) == tag)
}

/// What `If-Match` says was seen; none where it says nothing, or that anything will do. A tag that was never ours, or is weak,
/// matches nothing (RFC 9110, 13.1.1).
pub(super) fn seen(headers: &HeaderMap) -> Option<Vec<Seen>> {
    let lines = headers.get_all(IF_MATCH);
    lines.iter().next()?;
    let tags = || lines.iter().flat_map(|line| line.to_str().unwrap_or_default().split(',')).map(str::trim);
    if tags().any(|tag| tag == "*") {
        return None;
    }
    let read = |tag: &str| {
        let tag = tag.strip_prefix('"')?.strip_suffix('"')?;
        let (rotating, tag) = tag.strip_suffix(ROTATING).map_or((false, tag), |tag| (true, tag));
        let mut parts = tag.splitn(3, '.');
        let (serial, version) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Seen { serial, version, status: parts.next()?.parse().ok()?, rotating })
    };
    Some(tags().filter_map(read).collect())
}
