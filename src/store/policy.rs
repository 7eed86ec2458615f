//! What people who hold keys are held to, as the settings have it. It is checked inside each change's own transaction: of two
//! who ask for the last place at once, one finds it taken.
//!
//! It binds personal and user keys. A service key is its account's own and an operator key runs keyward: operators make both.

use std::time::Duration;

use super::Rejected;
use crate::clock::Timestamp;
use crate::key::{Kind, Line};

/// `[keys]`, as far as the store judges by it. By default nobody is held to anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// A member must have one of these licences to hold keys; where there are none, no licence is asked for.
    pub licences: Vec<Line>,
    /// Most living keys of a holder; any number where zero.
    pub per_holder: u32,
    /// How far ahead a key may expire; any time, or never, where zero.
    pub expiry_max: Duration,
}

impl Policy {
    /// Whether it binds keys of a kind.
    pub(super) const fn binds(kind: Kind) -> bool {
        match kind {
            Kind::Personal | Kind::User => true,
            Kind::Service | Kind::Operator => false,
        }
    }

    /// Whether a membership with this licence counts.
    pub(super) fn licensed(&self, licence: Option<&str>) -> bool {
        self.licences.is_empty() || licence.is_some_and(|has| self.licences.iter().any(|known| known.as_str() == has))
    }

    /// Whether a key of this kind may be accepted until then.
    pub(super) fn check_expiry(&self, kind: Kind, end: Option<Timestamp>, now: Timestamp) -> Result<(), Rejected> {
        let most = self.expiry_max;
        let within = most.is_zero() || end.is_some_and(|end| end <= now.plus(most));
        if within || !Self::binds(kind) {
            return Ok(());
        }
        Err(Rejected::ExpiryTooLong(format!("a {kind} key expires within {}", said(most)), most.as_secs()))
    }
}

/// In days where it comes to whole ones, since that is how such a time is set.
fn said(span: Duration) -> String {
    match span.as_secs() {
        seconds if seconds.is_multiple_of(DAY) && span.subsec_nanos() == 0 => format!("{} days", seconds / DAY),
        _ => humantime::format_duration(span).to_string(),
    }
}

const DAY: u64 = 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_told_as_it_was_set() {
        let now = Timestamp::from_millis(0);
        for (text, told) in [("90d", "90 days"), ("36h", "1day 12h"), ("1500ms", "1s 500ms")] {
            let policy = Policy { expiry_max: humantime::parse_duration(text).unwrap(), ..Policy::default() };
            let refused = policy.check_expiry(Kind::User, None, now).unwrap_err();
            assert_eq!(refused.to_string(), format!("a user key expires within {told}"));
        }
    }
}
