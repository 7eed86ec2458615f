//! `keyward probe staleness`: what no gateway tells of itself, measured from outside: for how long a revoked key goes on being
//! accepted, on every replica, after the revocation was answered.
//!
//! ```text
//!  mint a key --> ask every replica with it, all the time --> revoke it --> until each has refused for a while --> verdicts
//! ```
//!
//! Only requests that began after the answer count, so what is found is true, and may be too little by the distance of two
//! requests. The key lives for minutes by itself, so that nothing is left of a probe that was killed.

mod ask;
mod numbers;
mod said;
mod staleness;
mod tally;
mod told;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Subcommand;
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue};
use rustls_pki_types::ServerName;
use tokio::sync::mpsc;

use self::ask::{Carrier, Question, Replica};
use self::numbers::Numbers;
use self::staleness::Probe;
use self::told::Conclusion;
use super::dial::{Dialer, Url};
use super::output::say;
use super::sentence;
use super::serve::stops;
use super::settings::StoreArguments;
use crate::config::Problems;
use crate::key::{AccountId, Permission};
use crate::measure::Span;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Measure for how long each replica goes on accepting a key after its revocation was answered.
    Staleness(Box<Staleness>),
}

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
struct Staleness {
    /// A replica, by its own address for clients, such as http://10.0.0.5:8080; once for each.
    #[arg(long = "replica", value_name = "URL", required = true)]
    replicas: Vec<Url>,
    /// What to ask for there: with the key it must be answered, and without one refused.
    #[arg(long, default_value = "/")]
    path: PathAndQuery,
    /// A header to send along, such as 'Host: api.example.com'; may be given more than once.
    #[arg(long = "header", value_name = "LINE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// How the key is carried: bearer, token or header:NAME.
    #[arg(long, default_value = "bearer")]
    carrier: Carrier,
    /// The account whose key is made; where left out keyward-probe, which is made where it is not there.
    #[arg(long)]
    account: Option<AccountId>,
    /// What the key may do, where the path needs it; may be given more than once.
    #[arg(long = "permission", value_name = "P")]
    permissions: Vec<Permission>,
    /// The certificates (PEM) that the replicas' own must come from; those that the system trusts where left out.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// What the replicas' certificates are for, where that is not the host in their URLs.
    #[arg(long, value_name = "NAME", value_parser = server_name)]
    server_name: Option<ServerName<'static>>,
    /// Requests a second to each replica; two that follow each other are what the figure is exact to.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,
    /// How long each replica must have refused before it is believed.
    #[arg(long, default_value = "2s")]
    settle: Span,
    /// How long to go on at most where one does not.
    #[arg(long, default_value = "2m")]
    at_most: Span,
    /// Measure again and again, so often, until stopped.
    #[arg(long, value_name = "SPAN")]
    every: Option<Span>,
    /// Where to serve the results as Prometheus metrics, with --every.
    #[arg(long, value_name = "ADDR", requires = "every")]
    metrics: Option<SocketAddr>,
    #[command(flatten)]
    store: StoreArguments,
    /// Print JSON; with --every a line each time.
    #[arg(long)]
    json: bool,
}

/// Exit codes: 0 nobody accepted the key after a complete receipt, 1 somebody did, 2 that could not be told.
pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Verb::Staleness(wanted) = arguments.verb;
    match staleness(*wanted).await {
        Ok(conclusion) => Ok(conclusion.code()),
        Err(error) if error.is::<Problems>() => Err(error),
        Err(error) => {
            say(&format!("keyward: nothing was measured: {}", sentence(&error)));
            Ok(Conclusion::Unmeasured.code())
        }
    }
}

async fn staleness(wanted: Staleness) -> anyhow::Result<Conclusion> {
    let mut stop = stops()?;
    let mut headers: HeaderMap = wanted.headers.into_iter().collect();
    let mut dialer = Dialer::new(wanted.ca.as_deref(), true)?;
    if let Some(name) = wanted.server_name {
        if !headers.contains_key(HOST) {
            headers.insert(HOST, HeaderValue::try_from(&*name.to_str())?);
        }
        dialer = dialer.expecting(name);
    }
    let question = Arc::new(Question { path: wanted.path, headers, carrier: wanted.carrier });
    let replica = |url| Arc::new(Replica { url, dialer: dialer.clone(), question: Arc::clone(&question) });
    let probe = Probe {
        site: wanted.store.settings()?,
        replicas: wanted.replicas.into_iter().map(replica).collect(),
        account: wanted.account,
        permissions: wanted.permissions.into(),
        rate: wanted.rate,
        settle: wanted.settle.0,
        at_most: wanted.at_most.0,
    };
    match wanted.every {
        None => {
            let run = probe.measure(&mut stop).await?;
            run.print(wanted.json)?;
            Ok(run.conclusion())
        }
        Some(Span(every)) => repeatedly(&probe, every, wanted.metrics, wanted.json, stop).await,
    }
}

/// Until stopped. What goes wrong once may go well the next time, and is counted.
async fn repeatedly(
    probe: &Probe,
    every: Duration,
    metrics: Option<SocketAddr>,
    json: bool,
    mut stop: mpsc::Receiver<()>,
) -> anyhow::Result<Conclusion> {
    let numbers = Arc::new(Numbers::new());
    if let Some(address) = metrics {
        numbers.serve(address).await.with_context(|| format!("metrics cannot be served at {address}"))?;
    }
    let mut turns = tokio::time::interval(every.max(Duration::from_secs(1)));
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = turns.tick() => {}
            _ = stop.recv() => return Ok(Conclusion::Fresh),
        }
        match probe.measure(&mut stop).await {
            Ok(run) => {
                numbers.note(&run);
                run.print_again(json)?;
            }
            Err(error) if error.is::<staleness::Stopped>() => return Ok(Conclusion::Fresh),
            Err(error) => {
                numbers.note_nothing();
                say(&format!("nothing was measured: {}", sentence(&error)));
            }
        }
    }
}

fn header(line: &str) -> Result<(HeaderName, HeaderValue), String> {
    let form = || "write it as NAME: VALUE".to_owned();
    let (name, value) = line.split_once(':').ok_or_else(form)?;
    let name = HeaderName::from_str(name.trim()).map_err(|_| form())?;
    Ok((name, HeaderValue::from_str(value.trim()).map_err(|_| form())?))
}

fn server_name(text: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(text.to_owned()).map_err(|_| "no name that a certificate can be for".to_owned())
}

const EXAMPLES: &str = "\
Examples:
  keyward probe staleness --admin https://keyward.internal:9090 --replica http://10.0.0.5:8080 --replica http://10.0.0.6:8080
  keyward probe staleness --replica http://127.0.0.1:8080 --account 101 --path /api/v2/accounts/101/jobs --json
  keyward probe staleness --replica http://127.0.0.1:8080 --every 1m --metrics 127.0.0.1:9100

Exit codes: 0 no replica accepted the key after its revocation was answered, 1 one did, 2 that could not be told.";
