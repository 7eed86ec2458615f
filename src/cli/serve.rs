//! `keyward serve`: run the gateway.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::output::say;
use super::settings::{flag, from};
use crate::app::{App, control_runtime};
use crate::config::Settings;
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
    let settings = from(arguments.config, flags.into_iter().flatten().collect())?.resolve()?;
    logs::start(&settings.log).context("the log cannot start")?;
    let runtime = control_runtime()?;
    runtime.block_on(async {
        let stop = Stop::listen()?;
        outlive_file_limits()?;
        let app = App::start(&settings).await?;
        if let Some(secret) = app.first_operator(&settings).await? {
            print_operator(&secret);
        }
        say_where(&app, &settings);
        anyhow::Ok(app.run_until(stop.asked()).await?)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// SIGTERM and SIGINT. They are listened to from the start on, so that one during the start is not lost.
pub(super) struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    pub(super) fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("the system gives no signals");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// Waits for one of them.
    pub(super) async fn asked(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Where a limit on the size of files (`ulimit -f`) is reached, a write is to fail: the system would end the process.
fn outlive_file_limits() -> anyhow::Result<()> {
    let kind = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
    signal(kind).map(drop).context("the system gives no signals")
}

fn say_where(app: &App, settings: &Settings) {
    let url = |bound: &Bound| format!("{}://{}", bound.protocol.scheme(), bound.address);
    for bound in app.bound() {
        tracing::info!(face = "clients", url = url(bound).as_str(), "listening");
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

Without a routes setting, --upstream gets every request that carries a valid key; where a path has a segment `accounts`,
the one after it must be the key's account.";
