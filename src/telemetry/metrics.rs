//! The numbers of keyward, and how a worker adds to them.
//!
//! Every worker has a [`Shard`]: one flat row of counters that only its thread writes, so an add is a load and a store,
//! without a lock, a hash or another core's cache line. A scrape sums the rows (see `scrape`). prometheus-client's own
//! families take a read lock and hash the labels on each use, which is why they are not used (its `metrics/family.rs`).
//!
//! ```text
//!   worker 0: Shard [..|requests|durations|decisions|..] --.
//!   worker 1: Shard [..|requests|durations|decisions|..] ---+--> sum -> text, on a scrape
//!   app: counter(..), gauge(..), read when asked ----------'
//! ```

use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Method, StatusCode};
use prometheus_client::registry::Registry;

use super::exposition::Form;
use super::label::{
    CODE_COUNT, Closed, Decision, HandshakeFailure, METHODS, OriginEvent, ParseError, code_index, method_index,
};
use super::scrape::Scrape;

/// What the labels may be called; bounded, and known before the first request.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Routes, in the order of their index.
    pub routes: Vec<String>,
    /// Services, in the order of their index.
    pub services: Vec<String>,
    /// Reasons a decision may give; any other counts as `other`.
    pub reasons: Vec<&'static str>,
}

/// All numbers of the process.
#[derive(Debug)]
pub struct Metrics {
    book: Arc<Book>,
    registry: Registry,
}

impl Metrics {
    /// Numbers under these names, all zero.
    #[must_use]
    pub fn new(names: Names) -> Arc<Self> {
        let layout = Layout::of(&names);
        let book = Arc::new(Book { names, layout, shards: Mutex::default(), extras: Mutex::default() });
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Scrape(Arc::clone(&book))));
        Arc::new(Self { book, registry })
    }

    /// A row of counters for the calling thread. It is not `Send`, because only one thread may write it.
    #[must_use]
    pub fn shard(&self) -> Rc<Shard> {
        let cells: Arc<[AtomicU64]> = (0..self.book.layout.len).map(|_| AtomicU64::new(0)).collect();
        self.book.shards.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&cells));
        Rc::new(Shard { cells, book: Arc::clone(&self.book), one_writer: PhantomData })
    }

    /// Adds a counter that somebody else keeps; `name` without its `_total`.
    pub fn counter(&self, name: &'static str, help: &'static str, read: impl Fn() -> u64 + Send + Sync + 'static) {
        self.extra(Extra { name, help, reading: Reading::Counter(Box::new(read)) });
    }

    /// Adds a number that goes up and down and that somebody else keeps.
    pub fn gauge(&self, name: &'static str, help: &'static str, read: impl Fn() -> f64 + Send + Sync + 'static) {
        self.extra(Extra { name, help, reading: Reading::Gauge(Box::new(read)) });
    }

    /// Adds a family of counters that somebody else keeps, one for each value of `label`; `name` without its `_total`.
    pub fn counters(
        &self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        read: impl Fn() -> Vec<(&'static str, u64)> + Send + Sync + 'static,
    ) {
        self.extra(Extra { name, help, reading: Reading::Counters(label, Box::new(read)) });
    }

    /// Everything, in the form that was asked for.
    #[must_use]
    pub fn render(&self, form: Form) -> String {
        let mut text = String::with_capacity(16 * 1024);
        // Writing to a `String` does not fail, and every label is plain text.
        if let Err(error) = prometheus_client::encoding::text::encode(&mut text, &self.registry) {
            tracing::error!(%error, "metrics could not be written");
        }
        form.write(text)
    }

    fn extra(&self, extra: Extra) {
        self.book.extras.lock().unwrap_or_else(PoisonError::into_inner).push(extra);
    }
}

/// One thread's counters.
pub struct Shard {
    cells: Arc<[AtomicU64]>,
    book: Arc<Book>,
    one_writer: PhantomData<Rc<()>>,
}

impl Shard {
    /// A request was answered: `total` from its head to the end of its answer. `route` is the route's index, or `None`
    /// where no route was chosen.
    pub fn request(&self, route: Option<usize>, method: &Method, status: StatusCode, total: Duration) {
        let layout = &self.book.layout;
        let route = route.filter(|index| *index < self.book.names.routes.len()).unwrap_or(self.book.names.routes.len());
        self.add(layout.requests + (route * METHODS.len() + method_index(method)) * CODE_COUNT + code_index(status), 1);
        self.observe(layout.durations + route * histogram_len(&DURATION_BOUNDS), &DURATION_BOUNDS, total);
    }

    /// What keyward itself added to a request.
    pub fn overhead(&self, spent: Duration) {
        self.observe(self.book.layout.overheads, &OVERHEAD_BOUNDS, spent);
    }

    /// A decision was made, for a reason out of [`Names::reasons`].
    pub fn decision(&self, decision: Decision, reason: &'static str) {
        let reasons = &self.book.names.reasons;
        let reason = reasons.iter().position(|known| *known == reason).unwrap_or(reasons.len());
        self.add(self.book.layout.decisions + decision.index() * (reasons.len() + 1) + reason, 1);
    }

    /// Something happened to a connection to the service with this index.
    pub fn origin(&self, service: usize, event: OriginEvent) {
        if service < self.book.names.services.len() {
            self.add(self.book.layout.origins + service * OriginEvent::ALL.len() + event.index(), 1);
        }
    }

    /// A client connected.
    pub fn client_opened(&self) {
        self.add(self.book.layout.opened, 1);
    }

    /// A client's connection ended.
    pub fn client_closed(&self, why: Closed) {
        self.add(self.book.layout.closed + why.index(), 1);
    }

    /// One HTTP/2 stream was ended because its client took none of its bytes; its connection lives on.
    pub fn stream_stalled(&self) {
        self.add(self.book.layout.stalled_streams, 1);
    }

    /// A TLS handshake failed.
    pub fn handshake_failed(&self, why: HandshakeFailure) {
        self.add(self.book.layout.handshakes + why.index(), 1);
    }

    /// What a client sent was no HTTP.
    pub fn parse_error(&self, why: ParseError) {
        self.add(self.book.layout.parse_errors + why.index(), 1);
    }

    fn observe(&self, base: usize, bounds: &[u64], value: Duration) {
        let nanos = u64::try_from(value.as_nanos()).unwrap_or(u64::MAX);
        let bucket = bounds.iter().position(|bound| nanos <= *bound).unwrap_or(bounds.len());
        self.add(base + bucket, 1);
        self.add(base + bounds.len() + 1, nanos);
    }

    fn add(&self, index: usize, by: u64) {
        let cell = &self.cells[index];
        // The only writer, so a load and a store lose nothing, and need no locked instruction.
        cell.store(cell.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
    }
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shard").field("counters", &self.cells.len()).finish_non_exhaustive()
    }
}

/// What a scrape reads.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) names: Names,
    pub(super) layout: Layout,
    shards: Mutex<Vec<Arc<[AtomicU64]>>>,
    pub(super) extras: Mutex<Vec<Extra>>,
}

impl Book {
    /// All rows, summed.
    pub(super) fn sum(&self) -> Vec<u64> {
        let mut sums = vec![0_u64; self.layout.len];
        for cells in self.shards.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            for (sum, cell) in sums.iter_mut().zip(cells.iter()) {
                *sum = sum.wrapping_add(cell.load(Ordering::Relaxed));
            }
        }
        sums
    }
}

/// A number that another part keeps.
pub(super) struct Extra {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) reading: Reading,
}

/// How such a number is read.
pub(super) enum Reading {
    Counter(Box<dyn Fn() -> u64 + Send + Sync>),
    Gauge(Box<dyn Fn() -> f64 + Send + Sync>),
    /// One for each value of a label.
    Counters(&'static str, Box<dyn Fn() -> Vec<(&'static str, u64)> + Send + Sync>),
}

impl fmt::Debug for Extra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Where each series begins in a row.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) requests: usize,
    pub(super) durations: usize,
    pub(super) overheads: usize,
    pub(super) decisions: usize,
    pub(super) origins: usize,
    pub(super) opened: usize,
    pub(super) closed: usize,
    pub(super) stalled_streams: usize,
    pub(super) handshakes: usize,
    pub(super) parse_errors: usize,
    len: usize,
}

impl Layout {
    fn of(names: &Names) -> Self {
        let routes = names.routes.len() + 1;
        let mut end = CACHE_LINES_APART;
        let mut take = |count: usize| {
            let start = end;
            end += count;
            start
        };
        Self {
            requests: take(routes * METHODS.len() * CODE_COUNT),
            durations: take(routes * histogram_len(&DURATION_BOUNDS)),
            overheads: take(histogram_len(&OVERHEAD_BOUNDS)),
            decisions: take(Decision::ALL.len() * (names.reasons.len() + 1)),
            origins: take(names.services.len() * OriginEvent::ALL.len()),
            opened: take(1),
            closed: take(Closed::ALL.len()),
            stalled_streams: take(1),
            handshakes: take(HandshakeFailure::ALL.len()),
            parse_errors: take(ParseError::ALL.len()),
            len: take(CACHE_LINES_APART) + CACHE_LINES_APART,
        }
    }
}

/// Cells of one histogram: a bucket for each bound and one above, then the sum of nanoseconds.
pub(super) const fn histogram_len(bounds: &[u64]) -> usize {
    bounds.len() + 2
}

const MICRO: u64 = 1_000;
const MILLI: u64 = 1_000_000;

/// OpenTelemetry's bounds for a request, and three below them, because a gateway is quick.
pub(super) const DURATION_BOUNDS: [u64; 16] = [
    MILLI / 2,
    MILLI,
    5 * MILLI / 2,
    5 * MILLI,
    10 * MILLI,
    25 * MILLI,
    50 * MILLI,
    75 * MILLI,
    100 * MILLI,
    250 * MILLI,
    500 * MILLI,
    750 * MILLI,
    1_000 * MILLI,
    2_500 * MILLI,
    5_000 * MILLI,
    10_000 * MILLI,
];

/// What keyward adds is measured in microseconds.
pub(super) const OVERHEAD_BOUNDS: [u64; 12] = [
    10 * MICRO,
    25 * MICRO,
    50 * MICRO,
    100 * MICRO,
    250 * MICRO,
    500 * MICRO,
    MILLI,
    5 * MILLI / 2,
    5 * MILLI,
    10 * MILLI,
    25 * MILLI,
    100 * MILLI,
];

/// Unused cells at both ends of a row, so that two rows never share a cache line, nor the pair a prefetcher takes.
const CACHE_LINES_APART: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics() -> Arc<Metrics> {
        Metrics::new(Names {
            routes: vec!["api".to_owned(), "say \"hi\"".to_owned()],
            services: vec!["origin".to_owned()],
            reasons: vec!["valid", "revoked"],
        })
    }

    #[test]
    fn what_two_workers_counted_is_summed() {
        let metrics = metrics();
        let (one, two) = (metrics.shard(), metrics.shard());
        one.request(Some(0), &Method::GET, StatusCode::OK, Duration::from_millis(3));
        two.request(Some(0), &Method::GET, StatusCode::OK, Duration::from_millis(700));
        two.request(None, &Method::GET, StatusCode::UNAUTHORIZED, Duration::ZERO);
        one.decision(Decision::Refused, "revoked");
        two.decision(Decision::Refused, "never heard of");
        one.client_opened();
        one.client_opened();
        one.client_closed(Closed::IdleTimeout);
        one.origin(0, OriginEvent::Reused);
        one.origin(7, OriginEvent::Reused);
        let text = metrics.render(Form::OpenMetrics);
        for line in [
            r#"keyward_http_requests_total{route="api",method="GET",code="200"} 2"#,
            r#"keyward_http_requests_total{route="none",method="GET",code="401"} 1"#,
            r#"keyward_http_request_duration_seconds_bucket{le="0.005",route="api"} 1"#,
            r#"keyward_http_request_duration_seconds_count{route="api"} 2"#,
            r#"keyward_auth_decisions_total{result="refused",reason="revoked"} 1"#,
            r#"keyward_auth_decisions_total{result="refused",reason="other"} 1"#,
            r#"keyward_client_connections 1"#,
            r#"keyward_client_connections_closed_total{reason="idle_timeout"} 1"#,
            r#"keyward_origin_connections_total{service="origin",result="reused"} 1"#,
        ] {
            assert!(text.lines().any(|have| have == line), "no line {line} in\n{text}");
        }
    }

    #[test]
    fn a_scrape_is_valid_text_and_reads_what_others_keep() {
        let metrics = metrics();
        metrics.shard().request(Some(1), &Method::POST, StatusCode::CREATED, Duration::from_millis(1));
        metrics.counter("keyward_borrowed", "A number of another part", || 42);
        metrics.gauge("keyward_level", "Another", || 0.5);
        let text = metrics.render(Form::OpenMetrics);
        assert!(text.contains("keyward_borrowed_total 42"), "{text}");
        assert!(text.contains("keyward_level 0.5"), "{text}");
        assert!(text.contains(r#"route="say \"hi\"""#), "{text}");
        assert!(text.ends_with("# EOF\n"));
        let known: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap();
            assert!(known.iter().any(|family| name.starts_with(family)), "{line} has no type");
            assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
        }
        for family in ["http_requests", "client_connections", "parse_errors", "tls_handshake_failures", "build_info"] {
            assert!(known.contains(&format!("keyward_{family}").as_str()), "{family} is missing");
        }
    }
}
