//! How many changes a holder may ask for in a minute, however many keys and forms they ask with. Each leaves something for
//! good: a retired secret, an entry of the audit log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use moka::sync::Cache;

use super::holder::Holder;
use crate::key::{KeyId, UserId};

/// Who asked how often, by windows of a minute that begin with the first of their changes.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    asked: Cache<Whose, Arc<AtomicU32>>,
    /// Changes that were not taken, ever.
    limited: Arc<AtomicU64>,
}

/// The holder: a user has one account of it for all their keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Whose {
    User(UserId),
    Key(KeyId),
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { asked: Cache::builder().max_capacity(MOST).time_to_live(WINDOW).build(), limited: Arc::default() }
    }

    /// Whether one more change of this holder is taken, of so many; any number where zero.
    pub(super) fn takes(&self, holder: &Holder, most: u32) -> bool {
        let whose = match holder.user() {
            Some(user) => Whose::User(user.clone()),
            None => Whose::Key(holder.key().clone()),
        };
        let takes = most == 0 || self.asked.get_with(whose, Arc::default).fetch_add(1, Ordering::Relaxed) < most;
        self.limited.fetch_add(u64::from(!takes), Ordering::Relaxed);
        takes
    }

    /// How many were not taken.
    pub(super) fn limited(&self) -> u64 {
        self.limited.load(Ordering::Relaxed)
    }
}

/// Holders that are told apart. One more begins anew for whoever asked longest ago.
const MOST: u64 = 100_000;
pub(super) const WINDOW: Duration = Duration::from_secs(60);
