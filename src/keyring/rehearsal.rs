//! Whom rules in report mode would have refused: a bounded table in memory, for whoever asks.
//!
//! A row is a key at a route for a reason. Rows are never pushed out, since an operator works through them; what finds no
//! row is counted, so that a table that is not whole says so. Only requests that would have been refused come here, so one
//! lock, held for a moment, is enough.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::quality::RandomState;

use super::Keyring;
use super::command::{Rehearsal, WouldRefuse};
use crate::clock::Timestamp;
use crate::key::{KeyId, Verified};
use crate::telemetry::label::Rehearsed;

/// The table.
#[derive(Debug)]
pub(super) struct Table {
    most: usize,
    rows: Mutex<Rows>,
    /// What found no row, ever.
    overflow: AtomicU64,
}

#[derive(Debug, Default)]
struct Rows {
    known: HashMap<Who, Row, RandomState>,
    /// What found no row since the table was emptied.
    more: u64,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Who {
    key: KeyId,
    route: Arc<str>,
    reason: Rehearsed,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    count: u64,
    first: Timestamp,
    last: Timestamp,
}

impl Keyring {
    /// Notes that a key was let through where a route would have refused it, had it enforced every rule.
    pub fn rehearsed(&self, verified: &Verified, route: &Arc<str>, reason: Rehearsed) {
        self.shared.rehearsal.note(verified.key(), route, reason, verified.at());
    }
}

impl Table {
    pub(super) fn new(most: usize) -> Self {
        Self { most, rows: Mutex::default(), overflow: AtomicU64::new(0) }
    }

    fn note(&self, key: &KeyId, route: &Arc<str>, reason: Rehearsed, now: Timestamp) {
        let who = Who { key: key.clone(), route: Arc::clone(route), reason };
        let mut rows = self.lock();
        let full = rows.known.len() >= self.most;
        match rows.known.entry(who) {
            Entry::Occupied(mut row) => {
                let row = row.get_mut();
                row.count += 1;
                // Workers read the clock before they come here, and need not come in that order.
                (row.first, row.last) = (row.first.min(now), row.last.max(now));
            }
            Entry::Vacant(_) if full => {
                rows.more += 1;
                self.overflow.fetch_add(1, Ordering::Relaxed);
            }
            Entry::Vacant(place) => drop(place.insert(Row { count: 1, first: now, last: now })),
        }
    }

    /// All of it.
    pub(super) fn shown(&self) -> Rehearsal {
        let rows = self.lock();
        told(rows.known.iter().map(|(who, row)| shown(who, *row)).collect(), rows.more)
    }

    /// All of it, and nothing of it stays.
    pub(super) fn taken(&self) -> Rehearsal {
        let Rows { known, more } = std::mem::take(&mut *self.lock());
        told(known.iter().map(|(who, row)| shown(who, *row)).collect(), more)
    }

    /// How often there was no row, ever.
    pub(super) fn overflow(&self) -> u64 {
        self.overflow.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shown(Who { key, route, reason }: &Who, Row { count, first, last }: Row) -> WouldRefuse {
    let route = route.to_string();
    WouldRefuse { key: key.clone(), route, reason: *reason, count, first_seen: first, last_seen: last }
}

fn told(mut rows: Vec<WouldRefuse>, more: u64) -> Rehearsal {
    rows.sort_by(|one, other| {
        let rest = |row: &WouldRefuse| (row.key.clone(), row.route.clone(), row.reason.index());
        other.last_seen.cmp(&one.last_seen).then_with(|| rest(one).cmp(&rest(other)))
    });
    Rehearsal { rows, more }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn note(table: &Table, key: &str, route: &str, reason: Rehearsed, seconds: i64) {
        table.note(&key.parse().unwrap(), &route.into(), reason, at(seconds));
    }

    #[test]
    fn a_key_at_a_route_for_a_reason_is_one_row_and_the_last_seen_stands_first() {
        let table = Table::new(10);
        note(&table, "key_1", "/a", Rehearsed::AccountMismatch, 5);
        note(&table, "key_1", "/a", Rehearsed::AccountMismatch, 3);
        note(&table, "key_1", "/a", Rehearsed::ScopeInsufficient, 9);
        note(&table, "key_2", "/b", Rehearsed::AccountMismatch, 4);
        let shown = table.shown();
        let rows: Vec<_> = shown.rows.iter().map(|row| (row.key.as_str(), row.reason, row.count)).collect();
        let (mismatch, scope) = (Rehearsed::AccountMismatch, Rehearsed::ScopeInsufficient);
        assert_eq!(rows, [("key_1", scope, 1), ("key_1", mismatch, 2), ("key_2", mismatch, 1)]);
        assert_eq!((shown.rows[1].first_seen, shown.rows[1].last_seen), (at(3), at(5)));
    }

    #[test]
    fn what_finds_no_row_is_counted_and_pushes_none_out() {
        let table = Table::new(2);
        for key in ["key_1", "key_2", "key_3", "key_4", "key_1"] {
            note(&table, key, "/a", Rehearsed::AccountMismatch, 1);
        }
        let shown = table.shown();
        assert_eq!((shown.rows.len(), shown.rows[0].count, shown.more), (2, 2, 2));
        assert_eq!(table.taken(), shown);
        assert_eq!(table.shown(), Rehearsal::default());
        note(&table, "key_3", "/a", Rehearsed::AccountMismatch, 1);
        assert_eq!((table.shown().rows.len(), table.shown().more, table.overflow()), (1, 0, 2));
    }

    #[test]
    fn no_row_at_all_is_a_table_that_only_counts() {
        let table = Table::new(0);
        note(&table, "key_1", "/a", Rehearsed::Malformed, 1);
        assert_eq!(table.shown(), Rehearsal { rows: Vec::new(), more: 1 });
    }
}
