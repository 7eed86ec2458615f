//! Who carries a command out: the keyward that `--admin` names, over HTTP; where it names none, the server that runs on the
//! store, over its socket, or this process, with the store under its lock.
//!
//! The lock decides, never a guess: where it is free no server runs, and this process holds it until it is done. Where it is
//! held, its holder is a server, which answers on the socket, or another command, which is done in a moment.

use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::runtime::Handle;

use super::admin;
use super::output::say;
use super::receipt::{Patience, Received, short};
use super::settings::Site;
use crate::clock::Clock;
use crate::config::{Settings, pepper};
use crate::key::Digester;
use crate::keyring::command::{By, Command, Outcome};
use crate::keyring::effect::Effect;
use crate::keyring::{self, Keyring};
use crate::manage::socket::{self, Client};
use crate::store::{self, Store, StoreError};

/// A way to have commands carried out.
pub(super) enum Access {
    /// By a server elsewhere.
    Admin(Box<admin::Client>),
    /// By the server that runs on the store.
    Socket(Client),
    /// By this process.
    Own(Box<Keyring>),
}

impl Access {
    /// Finds out which way is open. `missing` says whether a store that is not there is made.
    pub(super) async fn open(settings: &Site, missing: store::Access) -> anyhow::Result<Self> {
        if let Some(server) = &settings.admin {
            return Ok(Self::Admin(Box::new(admin::Client::connect(server).await?)));
        }
        if settings.store.is_postgres() {
            return Self::shared(settings, missing).await;
        }
        let socket = socket::path_beside(&settings.store.path()?);
        for _ in 0..ATTEMPTS {
            if let Some(keyring) = own(settings, missing).await? {
                return Ok(Self::Own(Box::new(keyring)));
            }
            let client = Client::connect(&socket).await;
            if let Some(client) = client.with_context(|| format!("cannot ask the server at {}", socket.display()))? {
                return Ok(Self::Socket(client));
            }
            tokio::time::sleep(PAUSE).await;
        }
        let store = settings.store.path()?;
        bail!(
            "another process holds the lock {}.lock, and no server answers at {}: if a keyward is starting or stopping \
             there, try again; if it hangs, end it. The lock ends with its process; the file itself means nothing",
            store.display(),
            socket.display()
        )
    }

    /// The replica of this machine, where its folder is named and it runs; else this process, beside whoever serves.
    async fn shared(settings: &Settings, missing: store::Access) -> anyhow::Result<Self> {
        if let Some(place) = settings.store.place() {
            let socket = socket::path_beside(&place);
            let client = Client::connect(&socket).await;
            if let Some(client) = client.with_context(|| format!("cannot ask the server at {}", socket.display()))? {
                return Ok(Self::Socket(client));
            }
        }
        let keyring = own(settings, missing).await?.context("the store is locked")?;
        Ok(Self::Own(Box::new(keyring)))
    }

    /// Has `command` carried out, of which nobody is told when it is true everywhere: it only shows something, or takes nothing
    /// away.
    pub(super) async fn run(&mut self, command: Command) -> anyhow::Result<Outcome> {
        Ok(self.change(command, Duration::MAX).await?.0)
    }

    /// Has `command` carried out, and waits for no longer than patience lasts until what it takes away is gone everywhere.
    pub(super) async fn change(
        &mut self,
        command: Command,
        patience: Duration,
    ) -> anyhow::Result<(Outcome, Option<Received>)> {
        let began = Clock::System.boot();
        let (done, served) = match self {
            Self::Admin(client) => (client.ask_within(command, patience).await?, true),
            Self::Socket(client) => (client.ask_within(command, patience).await?, true),
            Self::Own(keyring) => {
                if keyring.store().is_shared() && command.effect() == Effect::Narrows {
                    let bound = short(keyring.longest_open());
                    say(&format!(
                        "no running keyward was asked: committing directly; in force everywhere after at most {bound}"
                    ));
                }
                let by = By::command_line(rustix::process::geteuid().as_raw());
                (keyring.operate_within(&by, command, patience).await?, keyring.store().is_shared())
            }
        };
        let mut done = done.unlost()?;
        if let Some(receipt) = done.receipt.as_mut().filter(|_| !served) {
            // This process, which is about to end and served nobody.
            receipt.replicas.clear();
        }
        let took = Clock::System.boot().since(began);
        Ok((done.outcome, done.receipt.map(|receipt| Received { receipt, took, served })))
    }

    /// Ends in order; the store's lock is free afterwards.
    pub(super) async fn close(self) {
        if let Self::Own(keyring) = self {
            keyring.shutdown().await;
        }
    }
}

/// Has one command carried out.
pub(super) async fn carry_out(settings: &Site, command: Command) -> anyhow::Result<Outcome> {
    // What has nothing to look for in an empty store would only leave one behind under a mistyped name.
    let missing = match &command {
        Command::CreateAccount(..) | Command::CreateUser(..) | Command::Import(_) => store::Access::Create,
        _ => store::Access::Existing,
    };
    let mut access = Access::open(settings, missing).await?;
    let outcome = access.run(command).await;
    access.close().await;
    outcome
}

/// Has one command carried out that may take something away.
pub(super) async fn change(
    settings: &Site,
    command: Command,
    patience: Patience,
) -> anyhow::Result<(Outcome, Option<Received>)> {
    let mut access = Access::open(settings, store::Access::Existing).await?;
    let done = access.change(command, patience.span()).await;
    access.close().await;
    done
}

/// Has a command carried out that only a running server can: what it asks for is in the server's memory.
pub(super) async fn ask_server(settings: &Site, command: Command) -> anyhow::Result<Outcome> {
    if let Some(server) = &settings.admin {
        return admin::Client::connect(server).await?.ask(command).await;
    }
    let Some(store) = settings.store.place() else {
        bail!(
            "what was asked for is in a server's memory alone: name one with --admin, or its folder with store.folder"
        );
    };
    let socket = socket::path_beside(&store);
    let client = Client::connect(&socket).await;
    let client = client.with_context(|| format!("cannot ask the server at {}", socket.display()))?;
    let Some(mut client) = client else {
        bail!("no keyward serves the store {}, and what was asked for is in its memory alone", store.display());
    };
    Ok(client.ask(command).await?)
}

/// The keyring over the store, in this process; none where another process holds the lock.
async fn own(settings: &Settings, missing: store::Access) -> anyhow::Result<Option<Keyring>> {
    let digester = Digester::new(pepper(&settings.keys).map_err(|flaw| anyhow::anyhow!("{flaw}"))?);
    let store = match Store::open(&settings.store, digester.mark(), missing) {
        Err(StoreError::Locked { .. }) => return Ok(None),
        opened => opened?.under(settings.keys.policy()),
    };
    // Nobody presents a secret to this one, so it reads nothing ahead.
    let config = keyring::Config { warm: false, known: 0, ..settings.keyring.clone() };
    let keyring = Keyring::open(&config, 0, store, digester, Clock::System, Handle::current()).await?;
    keyring.name_routes(settings.named_routes());
    Ok(Some(keyring))
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
        Outcome::Found(_) => "whose a secret is",
        Outcome::Callers(_) => "callers",
        Outcome::Completed(_) => "a completed rotation",
        Outcome::Migration(_) => "a migration report",
        Outcome::Replaced(_) => "a replaced key",
        Outcome::Imported(_) => "an import",
        Outcome::Audit(_) => "an audit log",
        Outcome::Rehearsal(_) => "a rehearsal",
        Outcome::Tried(_) => "what an import would do",
        Outcome::Revision(_) => "a revision",
        Outcome::Replicas(_) => "replicas",
        Outcome::Evicted(_) => "an evicted replica",
    };
    anyhow::anyhow!("the running server answered with {what}, which was not asked for; is it of another version?")
}

/// How often the lock and the socket are tried, five seconds in all: as long as a server needs to start or to stop.
const ATTEMPTS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);
