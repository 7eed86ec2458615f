//! `keyward serve`: run the gateway.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::output::say;
use super::settings::{flag, said};
use crate::app::{App, Reload, control_runtime};
use crate::config::{Settings, Source, Taken};
use crate::net::listen::Bound;
use crate::secret::Secret;
use crate::telemetry::logs;

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Settings file.
    #[arg(long, env = "KEYWARD_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The API to stand in front of; `echo` for a built-in one that answers what it received.
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// Where clients connect; may be given more than once.
    #[arg(long, value_name = "ADDR")]
    listen: Vec<String>,
    /// Where health, metrics and operators are answered.
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
    /// The store, such as sqlite:///var/lib/keyward/keyward.db.
    #[arg(long, value_name = "URL")]
    store: Option<String>,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let flags = [
        flag("--upstream", "services.upstream.url", arguments.upstream),
        flag("--listen", "server.listen", arguments.listen),
        flag("--admin", "admin.listen", arguments.admin),
        flag("--store", "store.url", arguments.store),
    ];
    let source = Source::new(said(arguments.config, flags.into_iter().flatten().collect()));
    let Taken { settings, prints } = source.take();
    let settings = settings?;
    let threshold = logs::start(&settings.log).context("the log cannot start")?;
    let runtime = control_runtime()?;
    runtime.block_on(async {
        let (stop, asked) = (stops()?, signals(&[SignalKind::hangup()])?);
        outlive_file_limits()?;
        let app = App::start(&settings).await?;
        if let Some(secret) = app.first_operator(&settings).await? {
            print_operator(&secret);
        }
        say_where(&app, &settings);
        let reload = Reload::new(source, prints, asked, threshold);
        anyhow::Ok(app.run_until(stop, Some(reload)).await?)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// SIGTERM and SIGINT.
pub(super) fn stops() -> anyhow::Result<mpsc::Receiver<()>> {
    signals(&[SignalKind::terminate(), SignalKind::interrupt()])
}

/// Signals of these kinds, listened to from now on, so that one during the start is not lost. What comes while one waits to be
/// looked at counts once.
fn signals(kinds: &[SignalKind]) -> anyhow::Result<mpsc::Receiver<()>> {
    let (tell, told) = mpsc::channel(1);
    for kind in kinds {
        let (mut signal, tell) = (signal(*kind).context("the system gives no signals")?, tell.clone());
        tokio::spawn(async move {
            while signal.recv().await.is_some() {
                // Where it is full, one waits already.
                let _ = tell.try_send(());
            }
        });
    }
    Ok(told)
}

/// Where a limit on the size of files (`ulimit -f`) is reached, a write is to fail: the system would end the process.
fn outlive_file_limits() -> anyhow::Result<()> {
    let kind = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
    signal(kind).map(drop).context("the system gives no signals")
}

fn say_where(app: &App, settings: &Settings) {
    let url = |bound: &Bound| format!("{}://{}", bound.protocol.scheme(), bound.address);
    for bound in app.bound() {
        let proxy_protocol = bound.proxied.then_some(true);
        tracing::info!(face = "clients", url = url(bound).as_str(), proxy_protocol, "listening");
    }
    tracing::info!(store = %crate::config::redact(&settings.store.url), "keys are kept");
    tracing::info!(face = "admin", url = url(&app.admin()).as_str(), "listening");
}

/// Not an event: a secret must not reach whatever collects those.
fn print_operator(secret: &Secret) {
    if let Some(text) = secret.expose_str() {
        say("The store is new. This operator key runs keyward; it is shown this once (lost? keyward operator reset):");
        say(text);
    }
}

const EXAMPLES: &str = "\
Examples:
  keyward serve --upstream http://127.0.0.1:3000
  keyward serve --config /etc/keyward/keyward.toml
  KEYWARD__SERVER__LISTEN=0.0.0.0:8080 keyward serve --upstream http://127.0.0.1:3000

SIGHUP, or a change of the settings file or of a file named in it, has the settings taken over while keyward runs. SIGTERM ends
it once everything is answered; a second one at once.

Without a routes setting, --upstream gets every request that carries a valid key; where a path has a segment `accounts`,
the one after it must be the key's account.";
