//! What one replica answered in one run, and what follows from it.

use std::time::Duration;

use super::said::Said;
use crate::clock::BootTime;

/// What was heard of a replica.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) requests: u64,
    pub(super) accepted: u64,
    pub(super) refused: u64,
    pub(super) unclear: u64,
    /// When the last one that was accepted had begun.
    pub(super) last_accepted: Option<BootTime>,
    /// When the revocation was answered.
    answered: Option<BootTime>,
    /// Refusals of what began after that, and after the last one that was accepted.
    refused_since: u64,
    /// Connections over which the key was accepted more than once.
    pub(super) warm: usize,
    /// The last that was no acceptance.
    pub(super) trouble: Option<String>,
}

impl Tally {
    /// A request that began at `start` was answered so.
    pub(super) fn note(&mut self, start: BootTime, said: Said) {
        self.requests += 1;
        match said {
            Said::Accepted => {
                self.accepted += 1;
                self.last_accepted = self.last_accepted.max(Some(start));
                if self.is_after(start) {
                    self.refused_since = 0;
                }
            }
            Said::Refused(code) => {
                self.refused += 1;
                let later = self.last_accepted.is_none_or(|last| start > last);
                self.refused_since += u64::from(later && self.is_after(start));
                self.trouble = Some(format!("refuses the key: {code}"));
            }
            Said::Unclear(why) => {
                self.unclear += 1;
                self.trouble = Some(format!("cannot be told from its answers: {why}"));
            }
        }
    }

    /// The revocation was answered.
    pub(super) const fn answered(&mut self, at: BootTime) {
        self.answered = Some(at);
        self.refused_since = 0;
    }

    /// Whether it has refused the key for so long.
    pub(super) fn is_settled(&self, now: BootTime, settle: Duration) -> bool {
        let since = self.answered.max(self.last_accepted);
        self.refused_since >= LEAST && since.is_some_and(|since| now.since(since) >= settle)
    }

    /// What it comes to.
    pub(super) fn verdict(&self) -> Verdict {
        let Some(answered) = self.answered else { return Verdict::Unknown(self.reason("the key was not revoked")) };
        match self.last_accepted {
            Some(last) if last > answered => Verdict::Stale(last.since(answered)),
            _ if self.refused_since >= LEAST => Verdict::Fresh,
            _ => Verdict::Unknown(self.reason("it did not answer")),
        }
    }

    /// The last trouble, or this.
    pub(super) fn reason(&self, otherwise: &str) -> String {
        self.trouble.clone().unwrap_or_else(|| otherwise.to_owned())
    }

    fn is_after(&self, start: BootTime) -> bool {
        self.answered.is_some_and(|answered| start >= answered)
    }
}

/// What was found of a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It accepted nothing that began after the answer.
    Fresh,
    /// It did, for so long.
    Stale(Duration),
    /// That cannot be told, and why.
    Unknown(String),
}

/// So many refusals make one sure.
const LEAST: u64 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> BootTime {
        BootTime::from_nanos(millis * 1_000_000)
    }

    fn refused() -> Said {
        Said::Refused("API_KEY_INVALID".to_owned())
    }

    /// A tally of requests that began at these milliseconds; the answer came at 1,000.
    fn tally(heard: &[(u64, Said)]) -> Tally {
        let mut tally = Tally::default();
        tally.note(at(900), Said::Accepted);
        tally.answered(at(1000));
        heard.iter().for_each(|(start, said)| tally.note(at(*start), said.clone()));
        tally
    }

    #[test]
    fn who_accepts_only_what_began_before_the_answer_is_fresh() {
        let heard = [(999, Said::Accepted), (999, refused()), (1001, refused()), (1002, refused()), (1003, refused())];
        let fresh = tally(&heard);
        assert_eq!(fresh.verdict(), Verdict::Fresh);
        assert!(!fresh.is_settled(at(2999), Duration::from_secs(2)));
        assert!(fresh.is_settled(at(3000), Duration::from_secs(2)));
        assert!(matches!(tally(&heard[..4]).verdict(), Verdict::Unknown(_)), "two refusals may be luck");
    }

    #[test]
    fn who_accepts_what_began_after_it_is_stale_for_so_long_whenever_that_is_heard() {
        let mut stale = tally(&[(1001, refused()), (1500, Said::Accepted)]);
        (1501..1504).for_each(|start| stale.note(at(start), refused()));
        assert_eq!(stale.verdict(), Verdict::Stale(Duration::from_millis(500)));
        assert!(!stale.is_settled(at(3499), Duration::from_secs(2)));
        assert!(stale.is_settled(at(3500), Duration::from_secs(2)));
        // The answers to slow requests come late.
        stale.note(at(1400), Said::Accepted);
        assert_eq!(stale.verdict(), Verdict::Stale(Duration::from_millis(500)));
        stale.note(at(2500), Said::Accepted);
        assert_eq!(stale.verdict(), Verdict::Stale(Duration::from_millis(1500)));
        assert!(!stale.is_settled(at(9000), Duration::from_secs(2)), "it has not refused since");
    }

    #[test]
    fn who_cannot_tell_is_neither() {
        let mut unclear = tally(&[]);
        (1001..1100).for_each(|start| unclear.note(at(start), Said::Unclear("503 AUTH_UNAVAILABLE".to_owned())));
        let Verdict::Unknown(why) = unclear.verdict() else { panic!("{unclear:?}") };
        assert!(why.ends_with("503 AUTH_UNAVAILABLE"), "{why}");
        assert!(!unclear.is_settled(at(99_000), Duration::from_secs(2)));
        assert!(matches!(Tally::default().verdict(), Verdict::Unknown(_)));
    }
}
