//! Until when a key is accepted, as people say it.

use std::str::FromStr;

use crate::clock::Timestamp;
use crate::key::Edit;
use crate::measure::Span;

/// The value of `--expires`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Expiry {
    /// For ever.
    Never,
    /// So long from now.
    In(Span),
    /// Until then.
    At(Timestamp),
}

/// The text says no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a duration, a moment or never: write 7d, 30d, 60d, 90d or another time, 2030-01-01T00:00:00Z, or never")]
pub(in crate::cli) struct BadExpiry;

impl FromStr for Expiry {
    type Err = BadExpiry;

    fn from_str(text: &str) -> Result<Self, BadExpiry> {
        if ["never", "none"].contains(&text) {
            return Ok(Self::Never);
        }
        let span = text.parse().map(Self::In);
        span.or_else(|_| text.parse().map(Self::At)).map_err(|_| BadExpiry)
    }
}

impl Expiry {
    /// The moment that is meant.
    pub(super) fn end(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Never => None,
            Self::In(span) => Some(now.plus(span.0)),
            Self::At(moment) => Some(moment),
        }
    }

    /// What is to become of a key's end; nothing where nothing is said.
    pub(super) fn edit(said: Option<Self>, now: Timestamp) -> Edit<Timestamp> {
        said.map_or(Edit::Keep, |said| said.end(now).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_is_never_a_span_or_a_moment() {
        let now = Timestamp::from_millis(0);
        let end = |text: &str| text.parse::<Expiry>().unwrap().end(now);
        for days in [7, 30, 60, 90] {
            assert_eq!(end(&format!("{days}d")), Some(Timestamp::from_millis(days * 86_400_000)));
        }
        assert_eq!((end("never"), end("none")), (None, None));
        assert_eq!(end("1970-01-01T00:00:01Z"), Some(Timestamp::from_millis(1000)));
        for bad in ["", "soon", "30", "tomorrow", "2030-01-01"] {
            assert_eq!(bad.parse::<Expiry>(), Err(BadExpiry), "{bad}");
        }
        assert_eq!(Expiry::edit(None, now), Edit::Keep);
        assert_eq!(Expiry::edit(Some(Expiry::Never), now), Edit::Clear);
    }
}
