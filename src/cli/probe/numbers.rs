//! The results of a probe that goes on, as Prometheus metrics on a listener of its own.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::tally::Verdict;
use super::told::{Conclusion, Run};
use crate::telemetry::exposition::Form;

type Labels = [(&'static str, String); 1];

/// What is counted.
pub(super) struct Numbers {
    stale: Family<Labels, Gauge<f64, AtomicU64>>,
    runs: Family<Labels, Counter>,
    receipts: Histogram,
    registry: Registry,
    /// One run is noted, or one scrape is written, at a time.
    turn: Mutex<()>,
}

impl Numbers {
    pub(super) fn new() -> Self {
        let (stale, runs) = (Family::default(), Family::<Labels, Counter>::default());
        let receipts = Histogram::new(BOUNDS);
        for conclusion in Conclusion::ALL {
            let _ = runs.get_or_create(&result(conclusion));
        }
        let mut registry = Registry::default();
        let help = "How long after its revocation was answered the replica accepted the key in the last run; 0 where not at all";
        registry.register("keyward_probe_stale_seconds", help, stale.clone());
        registry.register("keyward_probe_runs", "Runs", runs.clone());
        let help = "From the request for a revocation to its answer";
        registry.register("keyward_probe_receipt_seconds", help, receipts.clone());
        Self { stale, runs, receipts, registry, turn: Mutex::default() }
    }

    /// What a run found. Of a replica that could not be told there is no figure until it can be.
    pub(super) fn note(&self, run: &Run) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.runs.get_or_create(&result(run.conclusion())).inc();
        self.receipts.observe(run.receipt_seconds());
        for row in &run.rows {
            let replica = [("replica", row.url.clone())];
            let stale = match &row.verdict {
                Verdict::Fresh => 0.0,
                Verdict::Stale(stale) => stale.as_secs_f64(),
                Verdict::Unknown(_) => {
                    self.stale.remove(&replica);
                    continue;
                }
            };
            self.stale.get_or_create(&replica).set(stale);
        }
    }

    /// That a run found nothing.
    pub(super) fn note_nothing(&self) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.runs.get_or_create(&result(Conclusion::Unmeasured)).inc();
        self.stale.clear();
    }

    /// Answers scrapes at `address` from now on.
    pub(super) async fn serve(self: &Arc<Self>, address: SocketAddr) -> std::io::Result<()> {
        let listener = TcpListener::bind(address).await?;
        crate::cli::output::say(&format!("Metrics are at http://{}/metrics", listener.local_addr()?));
        let (numbers, places) = (Arc::clone(self), Arc::new(Semaphore::new(SCRAPES)));
        tokio::spawn(async move {
            loop {
                let place = Arc::clone(&places).acquire_owned().await;
                let Ok((stream, _)) = listener.accept().await else {
                    // Too many open files, most likely.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                };
                let numbers = Arc::clone(&numbers);
                tokio::spawn(async move {
                    let _place = place;
                    let answer =
                        service_fn(|request| std::future::ready(Ok::<_, Infallible>(numbers.answer(&request))));
                    let served = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), answer);
                    let _ = timeout(PATIENCE, served).await;
                });
            }
        });
        Ok(())
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.uri().path() != "/metrics" {
            let mut nothing = Response::new(Full::default());
            *nothing.status_mut() = StatusCode::NOT_FOUND;
            return nothing;
        }
        let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
        let form = Form::accepted(accept);
        let mut response = Response::new(Full::from(self.render(form)));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(form.content_type()));
        response
    }

    fn render(&self, form: Form) -> String {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        // Writing to a `String` does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        form.write(text)
    }
}

fn result(conclusion: Conclusion) -> Labels {
    [("result", conclusion.as_str().to_owned())]
}

/// Seconds: a few milliseconds among healthy replicas, as long as leases last where one is silent.
const BOUNDS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 120.0];
/// Scrapes at one time.
const SCRAPES: usize = 8;
/// How long a scrape may take.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::probe::told::tests::run;

    #[test]
    fn a_replica_has_a_figure_where_its_last_run_has_one() {
        let run = |verdict: Verdict| run(&[verdict], true);
        let numbers = Numbers::new();
        let has = |line: &str| numbers.render(Form::Prometheus).lines().any(|told| told == line);
        assert!(has("keyward_probe_runs_total{result=\"stale\"} 0"), "{}", numbers.render(Form::Prometheus));
        numbers.note(&run(Verdict::Stale(Duration::from_millis(1500))));
        assert!(
            has("keyward_probe_stale_seconds{replica=\"http://10.0.0.5:8080\"} 1.5"),
            "{}",
            numbers.render(Form::Prometheus)
        );
        numbers.note(&run(Verdict::Fresh));
        assert!(
            has("keyward_probe_stale_seconds{replica=\"http://10.0.0.5:8080\"} 0.0"),
            "{}",
            numbers.render(Form::Prometheus)
        );
        numbers.note(&run(Verdict::Unknown("it did not answer".to_owned())));
        let told = numbers.render(Form::Prometheus);
        assert!(!told.contains("replica=") && has("keyward_probe_runs_total{result=\"unmeasured\"} 1"), "{told}");
        assert!(
            has("keyward_probe_receipt_seconds_count 3") && has("keyward_probe_receipt_seconds_bucket{le=\"0.005\"} 3")
        );
    }
}
