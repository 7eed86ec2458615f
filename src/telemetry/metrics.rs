//! The numbers of keyward, and how a worker adds to them.
//!
//! Every worker has a [`Shard`]: one flat row of counters (see `row`) that only its thread writes, so an add is a load and a
//! store, without a lock, a hash or another core's cache line. A scrape sums the rows (see `scrape`). prometheus-client's own
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
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Method, StatusCode};
use prometheus_client::registry::Registry;

use super::exposition::Form;
use super::label::{
    CODE_COUNT, Closed, Cut, Decision, Door, HandshakeFailure, OriginEvent, ParseError, Rehearsed, StreamReset,
    code_index, method_index,
};
use super::row::{Layout, Named, ROUTE_REHEARSED, ROUTE_REQUESTS, Row, Rows};
pub use super::row::{RouteSeries, ServiceSeries};
use super::scrape::Scrape;

/// What labels may be called that no setting names.
#[derive(Clone, Debug, Default)]
pub struct Names {
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
        let layout = Layout::new(names.reasons.len());
        let named = Mutex::new(Named::new(&layout));
        let book = Arc::new(Book { names, layout, named, rows: Rows::default(), extras: Mutex::default() });
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Scrape(Arc::clone(&book))));
        Arc::new(Self { book, registry })
    }

    /// The series of the routes of these names, new ones for new names. Shards that were made before do not count for those.
    pub fn routes(&self, names: &[String]) -> Vec<RouteSeries> {
        let mut named = self.book.named();
        names.iter().map(|name| named.route(name)).collect()
    }

    /// The series of the services of these names, as [`Self::routes`].
    pub fn services(&self, names: &[String]) -> Vec<ServiceSeries> {
        let mut named = self.book.named();
        names.iter().map(|name| named.service(name)).collect()
    }

    /// A row of counters for the calling thread. It is not `Send`, because only one thread may write it.
    #[must_use]
    pub fn shard(&self) -> Rc<Shard> {
        let cells = self.book.named().row();
        self.book.rows.add(&cells);
        Rc::new(Shard { cells, book: Arc::clone(&self.book), one_writer: PhantomData })
    }

    /// The same row where it has every series there is, else a new one.
    #[must_use]
    pub fn renewed(&self, shard: &Rc<Shard>) -> Rc<Shard> {
        let complete = shard.cells.len() == self.book.named().len();
        if complete { Rc::clone(shard) } else { self.shard() }
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

    /// Adds a family of numbers that go up and down, one for each value of `label`, of which there are as many as `read` tells.
    pub fn gauges(
        &self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        read: impl Fn() -> Vec<(String, f64)> + Send + Sync + 'static,
    ) {
        self.extra(Extra { name, help, reading: Reading::Gauges(label, Box::new(read)) });
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
    cells: Row,
    book: Arc<Book>,
    one_writer: PhantomData<Rc<()>>,
}

impl Shard {
    /// A request was answered: `total` from its head to the end of its answer. `route` is `None` where no route was
    /// chosen.
    pub fn request(&self, route: Option<RouteSeries>, method: &Method, status: StatusCode, total: Duration) {
        let RouteSeries(base) = route.unwrap_or(self.book.layout.unrouted);
        self.add(base + method_index(method) * CODE_COUNT + code_index(status), 1);
        self.observe(base + ROUTE_REQUESTS, &DURATION_BOUNDS, total);
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

    /// A route forwarded what it would have refused, had it enforced every rule.
    pub fn rehearsed(&self, RouteSeries(base): RouteSeries, why: Rehearsed) {
        self.add(base + ROUTE_REHEARSED + why.index(), 1);
    }

    /// Something happened to a connection to this service.
    pub fn origin(&self, ServiceSeries(base): ServiceSeries, event: OriginEvent) {
        self.add(base + event.index(), 1);
    }

    /// A client connected.
    pub fn client_opened(&self) {
        self.add(self.book.layout.opened, 1);
    }

    /// A client's idle connection came to rest: it holds little more than its socket.
    pub fn client_rests(&self) {
        self.add(self.book.layout.rests, 1);
    }

    /// A client's connection ended.
    pub fn client_closed(&self, why: Closed) {
        self.add(self.book.layout.closed + why.index(), 1);
    }

    /// A client's connection met a limit before it was served.
    pub fn limited(&self, by: Door) {
        self.add(self.book.layout.limited + by.index(), 1);
    }

    /// keyward reset one HTTP/2 stream; its connection lives on.
    pub fn stream_reset(&self, why: StreamReset) {
        self.add(self.book.layout.stream_resets + why.index(), 1);
    }

    /// Something was cut because its key ended.
    pub fn cut(&self, part: Cut) {
        self.add(self.book.layout.cuts + part.index(), 1);
    }

    /// A TLS handshake failed.
    pub fn handshake_failed(&self, why: HandshakeFailure) {
        self.add(self.book.layout.handshakes + why.index(), 1);
    }

    /// What a client sent could not be read.
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
        // Of a name that this row is older than, there is nothing to count in.
        let Some(cell) = self.cells.get(index) else { return };
        // The only writer, so a load and a store lose nothing, and need no locked instruction.
        cell.store(cell.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        self.book.rows.end(&self.cells);
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
    named: Mutex<Named>,
    rows: Rows,
    pub(super) extras: Mutex<Vec<Extra>>,
}

impl Book {
    fn named(&self) -> MutexGuard<'_, Named> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The names that have series, and all rows, summed.
    pub(super) fn sum(&self) -> (Named, Vec<u64>) {
        let named = self.named().clone();
        let sums = self.rows.sum(named.len());
        (named, sums)
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
    /// One for each value of a label, as is the next.
    Counters(&'static str, Box<dyn Fn() -> Vec<(&'static str, u64)> + Send + Sync>),
    Gauges(&'static str, Box<dyn Fn() -> Vec<(String, f64)> + Send + Sync>),
}

impl fmt::Debug for Extra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics() -> Arc<Metrics> {
        Metrics::new(Names { reasons: vec!["valid", "revoked"] })
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_two_workers_counted_is_summed() {
        let metrics = metrics();
        let (routes, services) = (metrics.routes(&names(&["api"])), metrics.services(&names(&["origin"])));
        let (one, two) = (metrics.shard(), metrics.shard());
        one.request(Some(routes[0]), &Method::GET, StatusCode::OK, Duration::from_millis(3));
        two.request(Some(routes[0]), &Method::GET, StatusCode::OK, Duration::from_millis(700));
        two.request(None, &Method::GET, StatusCode::UNAUTHORIZED, Duration::ZERO);
        one.decision(Decision::Refused, "revoked");
        two.decision(Decision::Refused, "never heard of");
        one.client_opened();
        one.client_opened();
        one.client_closed(Closed::IdleTimeout);
        one.origin(services[0], OriginEvent::Reused);
        one.rehearsed(routes[0], Rehearsed::AccountMismatch);
        two.rehearsed(routes[0], Rehearsed::AccountMismatch);
        let text = metrics.render(Form::OpenMetrics);
        for line in [
            r#"keyward_http_requests_total{route="api",method="GET",code="200"} 2"#,
            r#"keyward_http_requests_total{route="none",method="GET",code="401"} 1"#,
            r#"keyward_http_request_duration_seconds_bucket{le="0.005",route="api"} 1"#,
            r#"keyward_http_request_duration_seconds_count{route="api"} 2"#,
            r#"keyward_auth_decisions_total{result="refused",reason="revoked"} 1"#,
            r#"keyward_auth_decisions_total{result="refused",reason="other"} 1"#,
            r#"keyward_rehearsal_refusals_total{route="api",reason="account_mismatch"} 2"#,
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
        let routes = metrics.routes(&names(&["say \"hi\""]));
        metrics.shard().request(Some(routes[0]), &Method::POST, StatusCode::CREATED, Duration::from_millis(1));
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
    #[test]
    fn no_counter_goes_back_whatever_comes_and_goes() {
        let metrics = metrics();
        let counted = |line: &str| metrics.render(Form::OpenMetrics).lines().any(|have| have == line);
        let ask = |shard: &Shard, route| shard.request(Some(route), &Method::GET, StatusCode::OK, Duration::ZERO);
        let [old, kept] = metrics.routes(&names(&["old", "kept"]))[..] else { panic!("two routes") };
        let before = metrics.shard();
        assert!(Rc::ptr_eq(&before, &metrics.renewed(&before)), "nothing new is no reason for a new row");
        ask(&before, old);
        ask(&before, kept);
        // A reload: one goes, one stays, one comes, in another order. What has begun ends under the old row.
        let [new, still] = metrics.routes(&names(&["new", "kept"]))[..] else { panic!("two routes") };
        assert_eq!(still, kept);
        let after = metrics.renewed(&before);
        ask(&before, old);
        ask(&after, kept);
        ask(&after, new);
        for _ in 0..2 {
            for (route, count) in [("old", 2), ("kept", 2), ("new", 1)] {
                let line = format!(r#"keyward_http_requests_total{{route="{route}",method="GET",code="200"}} {count}"#);
                assert!(counted(&line), "{line}");
            }
        }
        assert_eq!(metrics.book.rows.live(), 2);
        drop(before);
        assert_eq!(metrics.book.rows.live(), 1);
        assert!(counted(r#"keyward_http_requests_total{route="old",method="GET",code="200"} 2"#));
        // It comes back, and goes on where it stopped.
        assert_eq!(metrics.routes(&names(&["old"])), [old]);
        ask(&after, old);
        assert!(counted(r#"keyward_http_requests_total{route="old",method="GET",code="200"} 3"#));
    }

    #[test]
    fn routes_of_one_name_are_one_series() {
        let metrics = metrics();
        let routes = metrics.routes(&names(&["/a", "/a"]));
        assert_eq!(routes[0], routes[1]);
        let text = metrics.render(Form::Prometheus);
        let count = r#"keyward_http_request_duration_seconds_count{route="/a"}"#;
        assert_eq!(text.matches(count).count(), 1, "{text}");
    }
}
