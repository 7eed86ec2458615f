//! `keyward demo`: everything in one process, gone after Ctrl-C.
//!
//! What it prints is meant to be pasted: a comment that says what the line below it will answer, then the line. Each
//! stands for itself. A test runs every one of them and compares.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::ExitCode;

use anyhow::Context as _;

use super::key::{bare_key, expect_key};
use super::output::print;
use super::serve::stops;
use super::settings::{flag, from};
use crate::app::{App, control_runtime};
use crate::config::Settings;
use crate::key::{AccountId, Key, Kind};
use crate::keyring::command::{By, Command, NewKey};
use crate::secret::Secret;
use crate::telemetry::logs;

pub(super) fn run() -> anyhow::Result<ExitCode> {
    let folder = tempfile::Builder::new().prefix("keyward-demo-").tempdir().context("no temporary folder")?;
    let store = format!("sqlite://{}", folder.path().join("keyward.db").display());
    let flags = [
        flag("demo", "services.upstream.url", Some("echo".to_owned())),
        flag("demo", "server.listen", Some(free(8080))),
        flag("demo", "admin.listen", Some(free(9090))),
        flag("demo", "store.url", Some(store.clone())),
        flag("demo", "access_log.enabled", Some("false".to_owned())),
        flag("demo", "log.level", Some("warn".to_owned())),
    ];
    let settings = from(None, flags.into_iter().flatten().collect())?.resolve()?;
    logs::start(&settings.log).context("the log cannot start")?;
    control_runtime()?.block_on(async {
        let stop = stops()?;
        let app = App::start(&settings).await?;
        let (first, secret) = account_with_key(&app, &settings, "101").await?;
        let (_, second) = account_with_key(&app, &settings, "102").await?;
        let place = Place { gateway: app.bound()[0].address, admin: app.admin().address, store };
        print(&place.walk(&first, text(&secret)?, text(&second)?)?)?;
        anyhow::Ok(app.run_until(stop, None).await?)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Where things are.
struct Place {
    gateway: SocketAddr,
    admin: SocketAddr,
    store: String,
}

impl Place {
    /// The lines to paste, each below what it answers.
    fn walk(&self, key: &Key, secret: &str, second: &str) -> anyhow::Result<String> {
        let Self { gateway, admin, store } = self;
        let exe = std::env::current_exe().context("keyward does not know where it is")?;
        let rotate = format!("{} key rotate {} --store {store} 2>/dev/null", quoted(&exe.to_string_lossy()), key.id);
        let ask = |token: &str, account: &str| {
            format!("curl -i -H \"Authorization: Token {token}\" http://{gateway}/accounts/{account}/jobs")
        };
        Ok(format!(
            "keyward stands on http://{gateway} in front of an origin that answers what it received;\n\
             /readyz and /metrics are on http://{admin}. All of it is gone after Ctrl-C.\n\
             Paste these into another terminal, one after the other:\n\
             \n\
             # 1. account 101's key at its own path -> 200\n{}\n\
             # 2. the same key at another account's path -> 404 ACCOUNT_NOT_FOUND\n{}\n\
             # 3. account 102's key there -> 200\n{}\n\
             # 4. no key -> 401 API_KEY_REQUIRED\ncurl -i http://{gateway}/accounts/101/jobs\n\
             # 5. rotates account 101's key and asks with the new secret -> 200\n{}\n\
             # 6. the old secret, rotated away -> 401 API_KEY_INVALID\n{}\n",
            ask(secret, "101"),
            ask(secret, "102"),
            ask(second, "102"),
            ask(&format!("$({rotate})"), "101"),
            ask(secret, "101"),
        ))
    }
}

async fn account_with_key(app: &App, settings: &Settings, account: &str) -> anyhow::Result<(Key, Secret)> {
    let account: AccountId = account.parse()?;
    app.keyring().operate(&By::KEYWARD, Command::CreateAccount(account.clone(), None)).await?;
    let (bare, secret) = bare_key(&settings.keys.prefix, Kind::Service)?;
    let key = NewKey { account: Some(account), name: "demo".to_owned(), ..bare };
    let key = expect_key(app.keyring().operate(&By::KEYWARD, Command::MintKey(Box::new(key))).await?)?;
    Ok((key, secret))
}

/// The demo's whole purpose is to show its keys; they live as long as it does.
fn text(secret: &Secret) -> anyhow::Result<&str> {
    secret.expose_str().context("a minted secret is ASCII")
}

/// `port` where it is free, else any.
fn free(port: u16) -> String {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let port = if TcpListener::bind(address).is_ok() { port } else { 0 };
    SocketAddr::from((Ipv4Addr::LOCALHOST, port)).to_string()
}

/// As one word of a shell's line.
fn quoted(text: &str) -> String {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte));
    if plain { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
