//! Time, and the only place that reads it.
//!
//! Wall time ([`Timestamp`]) decides expiry; boot time ([`BootTime`], `CLOCK_BOOTTIME`) decides leases and durations,
//! because it goes on in suspend where `Instant` stands still. Pure code takes either as an argument; a [`Clock`] exists
//! only where a request or a command enters. clippy bans the standard clocks everywhere else.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A moment of wall time, in milliseconds since the Unix epoch. Written and read as RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment `millis` milliseconds after the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// The moment `span` later; at the most the last that can be written and read again.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        let later = self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX));
        Self(later.min(jiff::Timestamp::MAX.as_second() * 1000))
    }

    /// The moment `span` earlier.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(moment) => write!(f, "{moment:.3}"),
            // Outside the years -9999..=9999: still exact, and still a number somebody can search for.
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = BadTimestamp;

    /// Reads RFC 3339 (`2030-01-01T00:00:00Z`); an offset is honoured.
    fn from_str(text: &str) -> Result<Self, BadTimestamp> {
        let moment: jiff::Timestamp = text.parse().map_err(|_| BadTimestamp)?;
        Ok(Self(moment.as_millisecond()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The text is not an RFC 3339 moment.
#[derive(Debug, thiserror::Error)]
#[error("not a moment in RFC 3339 form such as 2030-01-01T00:00:00Z; the last is 9999-12-30T22:00:00Z")]
pub struct BadTimestamp;

/// A moment of boot time, in nanoseconds since the machine started; comparable only within one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootTime(u64);

impl BootTime {
    /// The moment `nanos` nanoseconds after the machine started.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the machine started.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The moment `span` later.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }

    const fn millis(self) -> i64 {
        (self.0 / 1_000_000).cast_signed()
    }

    /// How long after `earlier` this is; zero where it is not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Where time comes from: the system, or a test that sets it by hand.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's clocks.
    #[default]
    System,
    /// The machine's boot clock, and wall time as another machine has it: see [`Clock::told`].
    Told(Arc<AtomicI64>),
    /// A test's clock, moved by its [`ManualClock`].
    Manual(ManualClock),
}

impl Clock {
    /// Wall time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => Self::wall(),
            Self::Told(ahead) => match ahead.load(Ordering::Acquire) {
                UNTOLD => Self::wall(),
                ahead => Timestamp(self.boot().millis().saturating_add(ahead)),
            },
            Self::Manual(clock) => Timestamp::from_millis(clock.wall.load(Ordering::SeqCst)),
        }
    }

    #[allow(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn wall() -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// Boot time now (about 25 ns).
    #[must_use]
    pub fn boot(&self) -> BootTime {
        match self {
            Self::System | Self::Told(_) => {
                let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
                BootTime(now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs())
            }
            Self::Manual(clock) => BootTime(clock.boot.load(Ordering::SeqCst)),
        }
    }
}

impl Clock {
    /// This clock, whose wall time may be told from elsewhere: then all who are told the same agree on when a key expires, whatever
    /// their machines' clocks say. Until it is told it shows its own. Clones are told together. A test's clock stays as it is.
    #[must_use]
    pub fn told(self) -> Self {
        match self {
            Self::System => Self::Told(Arc::new(AtomicI64::new(UNTOLD))),
            told => told,
        }
    }

    /// Tells it wall time: `time` was read elsewhere at `asked` or later. So it is ahead by up to a round trip, and an end of
    /// time comes a little early rather than late.
    pub fn tell(&self, time: Timestamp, asked: BootTime) {
        if let Self::Told(ahead) = self {
            ahead.store(time.0.saturating_sub(asked.millis()), Ordering::Release);
        }
    }
}

/// No wall time was told yet.
const UNTOLD: i64 = i64::MIN;

/// The hands of a test's clock; clones move together.
#[derive(Clone, Debug)]
pub struct ManualClock {
    wall: Arc<AtomicI64>,
    boot: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock that stands at `wall`, one second after boot.
    #[must_use]
    pub fn at(wall: Timestamp) -> Self {
        Self { wall: Arc::new(AtomicI64::new(wall.0)), boot: Arc::new(AtomicU64::new(1_000_000_000)) }
    }

    /// Moves both hands forward.
    pub fn advance(&self, span: Duration) {
        self.wall.fetch_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
        self.boot.fetch_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_reads_what_it_writes() {
        let moment: Timestamp = "2030-01-01T01:00:00+01:00".parse().unwrap();
        assert_eq!(moment.to_string(), "2030-01-01T00:00:00.000Z");
        assert_eq!(moment.to_string().parse::<Timestamp>().unwrap(), moment);
        assert!("tomorrow".parse::<Timestamp>().is_err());
        let last = moment.plus(Duration::MAX);
        assert_eq!(last.to_string().parse::<Timestamp>().unwrap(), last);
        assert!(BadTimestamp.to_string().ends_with(&last.to_string().replace(".000", "")));
    }

    #[test]
    fn a_told_clock_goes_on_from_what_it_was_told() {
        let clock = Clock::System.told();
        let (other, own) = (clock.clone(), Clock::System.now());
        assert!(clock.now().as_millis() - own.as_millis() < 60_000, "its own until it is told");
        let time = Timestamp::from_millis(1_000_000);
        let asked = clock.boot();
        clock.tell(time, asked);
        let since = clock.boot().since(asked) + Duration::from_secs(60);
        assert!(other.now() >= time && other.now() <= time.plus(since));
    }

    #[test]
    fn boot_time_does_not_go_back() {
        let clock = Clock::System;
        let first = clock.boot();
        assert!(clock.boot() >= first);
    }
}
