//! Who carries a command out: the running server, over its socket, or this process, with the store under its lock.
//!
//! The lock decides, never a guess: where it is free no server runs, and this process holds it until it is done.

use std::path::Path;

use anyhow::{Context as _, bail};

use crate::config::Settings;
use crate::keyring::command::{Command, Outcome};
use crate::manage::socket::{self, Client};

/// A way to have commands carried out.
pub(super) enum Access {
    /// By the server that runs on the store.
    Socket(Client),
}

impl Access {
    /// Finds out which way is open.
    pub(super) async fn open(settings: &Settings) -> anyhow::Result<Self> {
        let url = &settings.store.url;
        let database = Path::new(url.strip_prefix("sqlite://").unwrap_or(url));
        let path = socket::path_beside(database);
        let client = Client::connect(&path).await.with_context(|| format!("cannot ask {}", path.display()))?;
        match client {
            Some(client) => Ok(Self::Socket(client)),
            None => bail!("no server runs on {}", database.display()),
        }
    }

    /// Has `command` carried out. What it changes holds when this returns.
    pub(super) async fn run(&mut self, command: Command) -> anyhow::Result<Outcome> {
        match self {
            Self::Socket(client) => Ok(client.ask(command).await?),
        }
    }
}

/// The error of an outcome that does not fit its command: the two sides are not of one version.
pub(super) fn unexpected(outcome: &Outcome) -> anyhow::Error {
    let what = match outcome {
        Outcome::Account(_) => "an account",
        Outcome::Accounts(_) => "accounts",
        Outcome::User(_) => "a user",
        Outcome::Users(_) => "users",
        Outcome::Member(_) => "a membership",
        Outcome::Members(_) => "memberships",
        Outcome::Key(_) => "a key",
        Outcome::Keys(_) => "keys",
        Outcome::Imported(_) => "an import",
    };
    anyhow::anyhow!("the running server answered with {what}, which was not asked for; is it of another version?")
}
