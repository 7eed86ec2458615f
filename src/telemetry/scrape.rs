//! A scrape: the summed counters written as families. Series that never counted are left out of the wide families
//! (requests, decisions, rehearsals), so that a route times a method times a code costs nothing until it happens.

use std::fmt::Error;
use std::sync::{Arc, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::label::{
    CODE_COUNT, Closed, Cut, Decision, Door, HandshakeFailure, METHODS, OriginEvent, ParseError, Rehearsed,
    StreamReset, code_text,
};
use super::metrics::{Book, DURATION_BOUNDS, OVERHEAD_BOUNDS, Reading};
use super::row::{ROUTE_CELLS, ROUTE_REHEARSED, ROUTE_REQUESTS, RouteSeries, ServiceSeries, histogram_len};

/// Writes a [`Book`] when asked.
#[derive(Debug)]
pub(super) struct Scrape(pub(super) Arc<Book>);

impl Collector for Scrape {
    fn encode(&self, mut out: DescriptorEncoder) -> Result<(), Error> {
        let Book { names, layout, extras, .. } = &*self.0;
        let (named, sums) = self.0.sum();
        let routes = named.routes.iter().map(|(name, series)| (name.as_str(), *series));
        let routes: Vec<_> = routes.chain([(NO_ROUTE, layout.unrouted)]).collect();
        let reasons: Vec<&str> = names.reasons.iter().copied().chain([OTHER_REASON]).collect();

        let mut requests = Vec::new();
        for (route, RouteSeries(base)) in &routes {
            let cells = sums[*base..base + ROUTE_REQUESTS].iter().enumerate();
            for (index, count) in cells.filter(|(_, count)| **count > 0) {
                let labels = [
                    ("route", (*route).to_owned()),
                    ("method", METHODS[index / CODE_COUNT].to_owned()),
                    ("code", code_text(index % CODE_COUNT)),
                ];
                requests.push((labels, *count));
            }
        }
        counters(&mut out, "keyward_http_requests", "Requests answered", &requests)?;

        let durations = routes.iter().map(|(route, RouteSeries(base))| {
            ([("route", (*route).to_owned())], &sums[base + ROUTE_REQUESTS..base + ROUTE_REHEARSED])
        });
        histograms(
            &mut out,
            "keyward_http_request_duration_seconds",
            "From a request's head to the end of its answer",
            &DURATION_BOUNDS,
            durations,
        )?;
        let overheads = &sums[layout.overheads..layout.overheads + histogram_len(&OVERHEAD_BOUNDS)];
        let (name, help) = ("keyward_gateway_overhead_seconds", "What keyward itself added to a request");
        let family = out.encode_descriptor(name, help, None, MetricType::Histogram)?;
        histogram(family, &OVERHEAD_BOUNDS, overheads)?;

        let mut decisions = Vec::new();
        for decision in Decision::ALL {
            let base = layout.decisions + decision.index() * reasons.len();
            let counts = &sums[base..base + reasons.len()];
            for (reason, count) in reasons.iter().zip(counts).filter(|(_, count)| **count > 0) {
                decisions.push(([("result", decision.as_str()), ("reason", *reason)], *count));
            }
        }
        counters(&mut out, "keyward_auth_decisions", "Decisions about requests", &decisions)?;

        let mut rehearsed = Vec::new();
        for (route, RouteSeries(base)) in &routes {
            let cells = Rehearsed::ALL.iter().zip(&sums[base + ROUTE_REHEARSED..base + ROUTE_CELLS]);
            for (why, count) in cells.filter(|(_, count)| **count > 0) {
                rehearsed.push(([("route", *route), ("reason", why.as_str())], *count));
            }
        }
        let help = "Requests forwarded that a rule in report mode would have refused";
        counters(&mut out, "keyward_rehearsal_refusals", help, &rehearsed)?;

        let mut origins = Vec::new();
        for (name, ServiceSeries(base)) in &named.services {
            for event in OriginEvent::ALL {
                let count = sums[base + event.index()];
                origins.push(([("service", name.as_str()), ("result", event.as_str())], count));
            }
        }
        counters(&mut out, "keyward_origin_connections", "Connections to origins", &origins)?;
        let (name, help) = ("keyward_origin_connections_open", "Open connections to origins");
        let mut open = out.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (name, ServiceSeries(base)) in &named.services {
            let count = |event: OriginEvent| sums[base + event.index()];
            let level = count(OriginEvent::Opened).saturating_sub(count(OriginEvent::Closed));
            open.encode_family(&[("service", name.as_str())])?.encode_gauge(&level)?;
        }

        let closed: Vec<_> =
            Closed::ALL.iter().map(|each| ([("reason", each.as_str())], sums[layout.closed + each.index()])).collect();
        let help = "Times an idle connection was reduced to its socket";
        out.encode_descriptor("keyward_client_connection_rests", help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&sums[layout.rests], None)?;
        let open = sums[layout.opened].saturating_sub(closed.iter().map(|(_, count)| count).sum());
        out.encode_descriptor("keyward_client_connections", "Open client connections", None, MetricType::Gauge)?
            .encode_gauge(&open)?;
        counters(&mut out, "keyward_client_connections_closed", "Client connections that ended", &closed)?;
        let limited = Door::ALL.iter().map(|each| ([("limit", each.as_str())], sums[layout.limited + each.index()]));
        let help = "Client connections that met a limit before they were served: closed where it is their address's, else held";
        counters(&mut out, "keyward_client_connections_limited", help, &limited.collect::<Vec<_>>())?;
        let resets = StreamReset::ALL
            .iter()
            .map(|each| ([("reason", each.as_str())], sums[layout.stream_resets + each.index()]));
        let help = "HTTP/2 streams reset by keyward";
        counters(&mut out, "keyward_client_streams_reset", help, &resets.collect::<Vec<_>>())?;
        let cuts = Cut::ALL.iter().map(|each| ([("part", each.as_str())], sums[layout.cuts + each.index()]));
        let help = "What was open for long, and was cut because its key ended or may no longer do it";
        counters(&mut out, "keyward_open_cut", help, &cuts.collect::<Vec<_>>())?;

        let handshakes = HandshakeFailure::ALL
            .iter()
            .map(|each| ([("reason", each.as_str())], sums[layout.handshakes + each.index()]));
        let help = "TLS handshakes that failed";
        counters(&mut out, "keyward_tls_handshake_failures", help, &handshakes.collect::<Vec<_>>())?;
        let parse =
            ParseError::ALL.iter().map(|each| ([("reason", each.as_str())], sums[layout.parse_errors + each.index()]));
        counters(&mut out, "keyward_parse_errors", "Input that could not be read", &parse.collect::<Vec<_>>())?;

        // A gauge that is always 1, as Prometheus' own text format has no type for this.
        out.encode_descriptor("keyward_build_info", "What is running", None, MetricType::Gauge)?
            .encode_family(&[("version", env!("CARGO_PKG_VERSION"))])?
            .encode_gauge(&1_u64)?;

        for extra in extras.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            match &extra.reading {
                Reading::Counter(read) => out
                    .encode_descriptor(extra.name, extra.help, None, MetricType::Counter)?
                    .encode_counter::<NoLabelSet, _, u64>(&read(), None)?,
                Reading::Gauge(read) => {
                    out.encode_descriptor(extra.name, extra.help, None, MetricType::Gauge)?.encode_gauge(&read())?;
                }
                Reading::Counters(label, read) => {
                    let series: Vec<_> = read().into_iter().map(|(value, count)| ([(*label, value)], count)).collect();
                    counters(&mut out, extra.name, extra.help, &series)?;
                }
                Reading::Gauges(label, read) => {
                    let mut family = out.encode_descriptor(extra.name, extra.help, None, MetricType::Gauge)?;
                    for (value, number) in read() {
                        family.encode_family(&[(*label, value)])?.encode_gauge(&number)?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn counters<L: EncodeLabelSet>(
    out: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    series: &[(L, u64)],
) -> Result<(), Error> {
    let mut family = out.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, count) in series {
        family.encode_family(labels)?.encode_counter::<NoLabelSet, _, u64>(count, None)?;
    }
    Ok(())
}

fn histograms<'a, L: EncodeLabelSet>(
    out: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    bounds: &[u64],
    series: impl Iterator<Item = (L, &'a [u64])>,
) -> Result<(), Error> {
    let mut family = out.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for (labels, cells) in series {
        histogram(family.encode_family(&labels)?, bounds, cells)?;
    }
    Ok(())
}

fn histogram(mut series: MetricEncoder<'_>, bounds: &[u64], cells: &[u64]) -> Result<(), Error> {
    let (counts, sum) = (&cells[..=bounds.len()], cells[bounds.len() + 1]);
    let limits = bounds.iter().map(|bound| *bound as f64 / NANOS).chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = limits.zip(counts.iter().copied()).collect();
    series.encode_histogram::<NoLabelSet>(sum as f64 / NANOS, counts.iter().sum(), &buckets, None)
}

/// Nanoseconds of a second.
const NANOS: f64 = 1e9;

/// The route of a request for which none was chosen.
const NO_ROUTE: &str = "none";

/// A reason that was not named beforehand.
const OTHER_REASON: &str = "other";
