//! A row of counters: which series begins where, and the sum of all rows.
//!
//! ```text
//!  | fixed series | route "api" | service "api" | route "new" | ...
//!  '- the same in every row -'  '- as they were named, at start and by reloads -'
//! ```
//!
//! A name keeps its place for good, and a row only ever gets longer: so rows of before and after a reload are summed cell
//! by cell, and a route that went and came back goes on counting where it stopped. A row whose writer has ended is added
//! to what is kept of all such, so that no counter goes back and no row stays.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::label::{
    CODE_COUNT, Closed, Cut, Decision, Door, HandshakeFailure, METHODS, OriginEvent, ParseError, Rehearsed, StreamReset,
};
use super::metrics::{DURATION_BOUNDS, OVERHEAD_BOUNDS};

/// Where the series of one route begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteSeries(pub(super) usize);

/// Where the series of one service begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceSeries(pub(super) usize);

/// Where each fixed series begins.
#[derive(Debug)]
pub(super) struct Layout {
    /// Requests for which no route was chosen.
    pub(super) unrouted: RouteSeries,
    pub(super) overheads: usize,
    pub(super) decisions: usize,
    pub(super) opened: usize,
    pub(super) rests: usize,
    pub(super) closed: usize,
    pub(super) limited: usize,
    pub(super) stream_resets: usize,
    pub(super) cuts: usize,
    pub(super) handshakes: usize,
    pub(super) parse_errors: usize,
    /// Where they end.
    end: usize,
}

impl Layout {
    pub(super) fn new(reasons: usize) -> Self {
        let mut end = CACHE_LINES_APART;
        let mut take = |count: usize| {
            let start = end;
            end += count;
            start
        };
        Self {
            unrouted: RouteSeries(take(ROUTE_CELLS)),
            overheads: take(histogram_len(&OVERHEAD_BOUNDS)),
            decisions: take(Decision::ALL.len() * (reasons + 1)),
            opened: take(1),
            rests: take(1),
            closed: take(Closed::ALL.len()),
            limited: take(Door::ALL.len()),
            stream_resets: take(StreamReset::ALL.len()),
            cuts: take(Cut::ALL.len()),
            handshakes: take(HandshakeFailure::ALL.len()),
            parse_errors: take(ParseError::ALL.len()),
            end: take(0),
        }
    }
}

/// A route's cells: its requests by method and code, then the histogram of their durations, then what it reported.
pub(super) const ROUTE_CELLS: usize = ROUTE_REHEARSED + Rehearsed::ALL.len();
pub(super) const ROUTE_REHEARSED: usize = ROUTE_REQUESTS + histogram_len(&DURATION_BOUNDS);
pub(super) const ROUTE_REQUESTS: usize = METHODS.len() * CODE_COUNT;

/// Cells of one histogram: a bucket for each bound and one above, then the sum of nanoseconds.
pub(super) const fn histogram_len(bounds: &[u64]) -> usize {
    bounds.len() + 2
}

/// The names that have series, in the order they were first heard of.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) routes: Vec<(String, RouteSeries)>,
    pub(super) services: Vec<(String, ServiceSeries)>,
    end: usize,
}

impl Named {
    pub(super) fn new(layout: &Layout) -> Self {
        Self { routes: Vec::new(), services: Vec::new(), end: layout.end }
    }

    /// The place of a route, which is made where the name is new.
    pub(super) fn route(&mut self, name: &str) -> RouteSeries {
        place(&mut self.routes, name, RouteSeries(self.end), ROUTE_CELLS, &mut self.end)
    }

    /// The place of a service, which is made where the name is new.
    pub(super) fn service(&mut self, name: &str) -> ServiceSeries {
        place(&mut self.services, name, ServiceSeries(self.end), OriginEvent::ALL.len(), &mut self.end)
    }

    /// A row with all of them, zero.
    pub(super) fn row(&self) -> Row {
        (0..self.len()).map(|_| AtomicU64::new(0)).collect()
    }

    /// How long a row is that has all of them.
    pub(super) fn len(&self) -> usize {
        self.end + CACHE_LINES_APART
    }
}

fn place<S: Copy>(known: &mut Vec<(String, S)>, name: &str, next: S, cells: usize, end: &mut usize) -> S {
    if let Some((_, series)) = known.iter().find(|(known, _)| known == name) {
        return *series;
    }
    known.push((name.to_owned(), next));
    *end += cells;
    next
}

/// One writer's counters.
pub(super) type Row = Arc<[AtomicU64]>;

/// All rows.
#[derive(Debug, Default)]
pub(super) struct Rows(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    live: Vec<Row>,
    /// The sum of the rows whose writer has ended.
    ended: Vec<u64>,
}

impl Rows {
    pub(super) fn add(&self, row: &Row) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).live.push(Arc::clone(row));
    }

    /// The row's writer has ended.
    pub(super) fn end(&self, row: &Row) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = counted.live.iter().position(|live| Arc::ptr_eq(live, row)) {
            counted.live.swap_remove(at);
            add(&mut counted.ended, row.iter().map(|cell| cell.load(Ordering::Relaxed)));
        }
    }

    /// The sum, `len` cells long.
    pub(super) fn sum(&self, len: usize) -> Vec<u64> {
        let counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sums = vec![0; len];
        add(&mut sums, counted.ended.iter().copied());
        for row in &counted.live {
            add(&mut sums, row.iter().map(|cell| cell.load(Ordering::Relaxed)));
        }
        sums
    }

    #[cfg(test)]
    pub(super) fn live(&self) -> usize {
        self.0.lock().unwrap().live.len()
    }
}

fn add(sums: &mut Vec<u64>, row: impl ExactSizeIterator<Item = u64>) {
    sums.resize(sums.len().max(row.len()), 0);
    for (sum, count) in sums.iter_mut().zip(row) {
        *sum = sum.wrapping_add(count);
    }
}

/// Unused cells at both ends of a row, so that two rows never share a cache line, nor the pair a prefetcher takes.
const CACHE_LINES_APART: usize = 16;
