//! `keyward serve`: run the gateway.

use std::path::PathBuf;
use std::process::ExitCode;

use super::settings::{flag, from};

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
    let _resolved = from(arguments.config, flags.into_iter().flatten().collect())?.resolve()?;
    anyhow::bail!("the gateway is not part of this build yet")
}

const EXAMPLES: &str = "\
Examples:
  keyward serve --upstream http://127.0.0.1:3000
  keyward serve --config /etc/keyward/keyward.toml
  KEYWARD__SERVER__LISTEN=0.0.0.0:8080 keyward serve --upstream http://127.0.0.1:3000

Without a routes setting, --upstream gets every request that carries a valid key; where a path has a segment `accounts`,
the one after it must be the key's account.";
