//! How many tunnels there are, of all workers together and of each key, and how those ended that were.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::gateway::config::TunnelsConfig;
use crate::key::KeyId;
use crate::telemetry::label::TunnelEnd;
use crate::telemetry::metrics::Metrics;

/// The count.
#[derive(Debug, Default)]
pub struct Tunnels {
    open: Mutex<Open>,
    begun: AtomicU64,
    ended: [AtomicU64; TunnelEnd::ALL.len()],
    full: [AtomicU64; 2],
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    of_keys: HashMap<KeyId, usize>,
}

/// A tunnel's place among those that may be, from before its origin is asked to its end.
#[derive(Debug)]
pub(in crate::gateway) struct Place {
    all: Arc<Tunnels>,
    key: Option<KeyId>,
    begun: bool,
}

/// There are as many as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway) enum Crowded {
    /// In all.
    All,
    /// Of this key.
    Key,
}

impl Tunnels {
    /// Has `metrics` tell of them.
    pub fn tell(self: &Arc<Self>, metrics: &Metrics) {
        let all = Arc::clone(self);
        metrics.gauge("keyward_tunnels_open", "Upgraded connections that are open", move || all.open().all as f64);
        let all = Arc::clone(self);
        let help = "Upgraded connections that began";
        metrics.counter("keyward_tunnels", help, move || all.begun.load(Ordering::Relaxed));
        let all = Arc::clone(self);
        metrics.counters("keyward_tunnels_ended", "Upgraded connections that ended", "reason", move || {
            let counts = TunnelEnd::ALL.iter().zip(&all.ended);
            counts.map(|(why, count)| (why.as_str(), count.load(Ordering::Relaxed))).collect()
        });
        let all = Arc::clone(self);
        let help = "Upgrades that were refused because there were as many as may be";
        metrics.counters("keyward_tunnels_limited", help, "limit", move || {
            let counts = ["limit", "per_key"].into_iter().zip(&all.full);
            counts.map(|(limit, count)| (limit, count.load(Ordering::Relaxed))).collect()
        });
    }

    /// A place for one more tunnel of this key.
    pub(in crate::gateway) fn enter(
        self: &Arc<Self>,
        key: Option<&KeyId>,
        limits: &TunnelsConfig,
    ) -> Result<Place, Crowded> {
        let mut open = self.open();
        let of_key = key.and_then(|key| open.of_keys.get(key)).copied().unwrap_or(0);
        let full = if open.all >= limits.limit {
            Some(Crowded::All)
        } else {
            Some(Crowded::Key).filter(|_| key.is_some() && limits.per_key > 0 && of_key >= limits.per_key)
        };
        if let Some(full) = full {
            self.full[usize::from(full == Crowded::Key)].fetch_add(1, Ordering::Relaxed);
            return Err(full);
        }
        open.all += 1;
        if let Some(key) = key {
            open.of_keys.insert(key.clone(), of_key + 1);
        }
        Ok(Place { all: Arc::clone(self), key: key.cloned(), begun: false })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The origin agreed.
    pub(in crate::gateway) fn begun(&mut self) {
        self.begun = true;
        self.all.begun.fetch_add(1, Ordering::Relaxed);
    }

    /// It ended, for this reason.
    pub(super) fn ended(&self, why: TunnelEnd) {
        self.all.ended[why.index()].fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.all.open();
        open.all -= 1;
        let Some(key) = &self.key else { return };
        match open.of_keys.get_mut(key) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(open.of_keys.remove(key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::measure::Span;

    #[test]
    fn no_more_are_let_in_than_may_be_in_all_and_of_a_key() {
        let long = Span(Duration::from_secs(1));
        let limits = TunnelsConfig { limit: 3, per_key: 2, idle: long, age: long, drain: long };
        let all = Arc::<Tunnels>::default();
        let keys: [KeyId; 2] = ["key_1".parse().unwrap(), "key_2".parse().unwrap()];
        let enter = |at: usize| all.enter(keys.get(at), &limits);
        let first = enter(0).unwrap();
        let _second = enter(0).unwrap();
        assert_eq!(enter(0).unwrap_err(), Crowded::Key);
        let third = enter(2).unwrap();
        assert_eq!(enter(1).unwrap_err(), Crowded::All);
        drop(third);
        assert_eq!(enter(0).unwrap_err(), Crowded::Key);
        drop(first);
        assert!(enter(0).is_ok() && all.open().all == 1);
        assert!(all.enter(Some(&keys[1]), &TunnelsConfig { per_key: 0, ..limits }).is_ok());
        assert_eq!(all.open().of_keys.len(), 1);
    }
}
