//! `keyward migrate`: leaving the keys of users, which cross accounts.

use serde_json::{Value, json};

use super::access::{Access, unexpected};
use super::key::{new_id, new_secret};
use super::output::{key_json, print, print_json, print_secret, say};
use super::receipt::{self, Patience, Received, print_changed};
use super::settings::{OnStore, Site};
use crate::clock::{Clock, Timestamp};
use crate::key::token::Prefix;
use crate::key::{AccountId, KeyId, Kind, Permission};
use crate::keyring::command::{Command, Legacy, Old, Outcome, Replaced, Replacement, Tally};
use crate::measure::Span;
use crate::secret::Secret;
use crate::store;

pub(super) type Arguments = OnStore<Verb>;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Show each key of a user that can still be used: accounts, routes, addresses, user agents, and what should take its place.
    Report,
    /// Make the keys that take the place of a user's key, one in each account, and print their secrets, once.
    Replace(Replace),
}

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Replace {
    /// The id of the user's key.
    id: KeyId,
    /// What takes its place: personal or service.
    #[arg(long = "with", value_name = "KIND")]
    with: Kind,
    /// An account it is replaced in; may be given more than once.
    #[arg(long = "account", value_name = "ACCOUNT", required = true)]
    accounts: Vec<AccountId>,
    /// What the new keys are called; as the old one is where left out.
    #[arg(long)]
    name: Option<String>,
    /// What they may do; may be given more than once. What the routes ask for that the old one was seen on, where left out.
    #[arg(long = "permission", value_name = "P")]
    permissions: Vec<Permission>,
    /// How long the new keys are accepted, such as 90d.
    #[arg(long, value_name = "SPAN")]
    expires_in: Option<Span>,
    /// The old key expires after so long, if not sooner.
    #[arg(long, value_name = "SPAN", conflicts_with = "revoke_old")]
    old_expires_in: Option<Span>,
    /// The old key is revoked at once.
    #[arg(long)]
    revoke_old: bool,
    /// What the new secrets begin with; the setting keys.prefix where left out.
    #[arg(long)]
    prefix: Option<Prefix>,
    #[command(flatten)]
    patience: Patience,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let OnStore { verb, store, json } = arguments;
    let settings = store.settings()?;
    match verb {
        Verb::Report => report(&settings, json).await,
        Verb::Replace(wanted) => replace(&settings, wanted, json).await,
    }
}

async fn report(settings: &Site, as_json: bool) -> anyhow::Result<()> {
    let mut access = Access::open(settings, store::Access::Existing).await?;
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let page = match access.run(Command::ShowMigration(after, PAGE)).await? {
            Outcome::Migration(page) => page,
            other => return Err(unexpected(&other)),
        };
        let Some(last) = page.last() else { break };
        after = last.key.serial;
        all.extend(page);
    }
    access.close().await;
    let now = Clock::System.now();
    if as_json {
        let keys = all.iter().map(|one| legacy_json(one, now)).collect::<Result<Vec<_>, _>>()?;
        return print_json(&json!({ "keys": keys }));
    }
    if all.is_empty() {
        say("There is no key of a user that can still be used.");
        return Ok(());
    }
    let texts: Vec<String> = all.iter().map(|one| text(one, now)).collect();
    Ok(print(&texts.join("\n"))?)
}

/// Keys asked for at once.
const PAGE: u32 = 100;

fn legacy_json(one: &Legacy, now: Timestamp) -> anyhow::Result<Value> {
    let mut value = serde_json::to_value(one)?;
    value["key"] = key_json(&one.key, now);
    Ok(value)
}

fn text(one: &Legacy, now: Timestamp) -> String {
    let Legacy { key, accounts, routes, addresses, user_agents, more, advice } = one;
    let user = key.user.as_ref().map_or("-", |user| user.as_str());
    let mut text = format!("{}  user {user}  …{}  {}  {:?}\n", key.id, key.hint, key.state_at(now), key.name);
    let mut list = |name: &str, items: Vec<String>| {
        for (at, item) in items.iter().enumerate() {
            let name = if at == 0 { name } else { "" };
            text.push_str(&format!("  {name:<13}{item}\n"));
        }
    };
    let row = |what: &str, seen: Tally| format!("{what}: {}, the last at {}", seen.count, seen.last_seen);
    list("accounts", accounts.iter().map(|one| row(one.id.as_str(), one.seen)).collect());
    let route = |name: &str, named: bool| format!("{name}{}", if named { "" } else { " (no setting names it)" });
    list("routes", routes.iter().map(|one| row(&route(&one.id, one.named), one.seen)).collect());
    list("addresses", addresses.iter().map(|one| row(&one.id.to_string(), one.seen)).collect());
    let agent = |name: &str| if name.is_empty() { "(none)".to_owned() } else { name.to_owned() };
    list("user agents", user_agents.iter().map(|one| row(&agent(&one.id), one.seen)).collect());
    list("others", more.iter().map(|seen| row("requests", *seen)).collect());
    let accounts: Vec<&str> = advice.accounts.iter().map(AccountId::as_str).collect();
    let advised = match advice.with {
        Some(kind) if accounts.is_empty() => format!("a {kind} key, but its user is no member anywhere it was used"),
        Some(kind) => format!("a {kind} key in {}", accounts.join(", ")),
        None => "nothing".to_owned(),
    };
    list("replace with", vec![format!("{advised}: {}", advice.because)]);
    text
}

async fn replace(settings: &Site, wanted: Replace, as_json: bool) -> anyhow::Result<()> {
    let now = Clock::System.now();
    let prefix = wanted.prefix.as_ref().unwrap_or(&settings.keys.prefix);
    let (mut keys, mut secrets) = (Vec::new(), Vec::new());
    for account in wanted.accounts {
        let (secret, imprint) = new_secret(prefix)?;
        keys.push((account, new_id()?, imprint));
        secrets.push(secret);
    }
    let old = match wanted.old_expires_in {
        Some(Span(span)) => Old::Expires(now.plus(span)),
        None if wanted.revoke_old => Old::Revoked,
        None => Old::Stays,
    };
    let replacement = Replacement {
        key: wanted.id,
        kind: wanted.with,
        keys,
        name: wanted.name,
        permissions: (!wanted.permissions.is_empty()).then(|| wanted.permissions.into()),
        expires_at: wanted.expires_in.map(|Span(span)| now.plus(span)),
        old,
    };
    let mut access = Access::open(settings, store::Access::Existing).await?;
    let replace = Command::ReplaceKey(Box::new(replacement));
    let (replaced, receipt) = match access.change(replace, wanted.patience.span()).await? {
        (Outcome::Replaced(replaced), receipt) => (replaced, receipt),
        (other, _) => return Err(unexpected(&other)),
    };
    access.close().await;
    print_replaced(as_json, &replaced, &secrets, now, receipt.as_ref())
}

/// As JSON, or each secret alone on its line, in the order of the accounts.
fn print_replaced(
    as_json: bool,
    replaced: &Replaced,
    secrets: &[Secret],
    now: Timestamp,
    receipt: Option<&Received>,
) -> anyhow::Result<()> {
    let Replaced { keys, old } = replaced;
    if as_json {
        let made = keys.iter().zip(secrets).map(|(key, secret)| {
            let mut value = key_json(key, now);
            value["secret"] = secret.expose_str().into();
            value
        });
        return print_changed(&json!({ "keys": made.collect::<Vec<_>>(), "old": key_json(old, now) }), receipt);
    }
    for (key, secret) in keys.iter().zip(secrets) {
        let (kind, account) = (key.kind, key.account.as_ref().map_or("", |account| account.as_str()));
        print_secret(false, key, secret, now, None)?;
        let may = if key.permissions.is_empty() { "-".to_owned() } else { key.permissions.to_string() };
        say(&format!("It is a {kind} key in account {account}; permissions: {may}."));
    }
    let until = old.expires_at.map(|end| format!(", expires at {end}")).unwrap_or_default();
    say(&format!("The old key, {}, is {}{until}.", old.id, old.state_at(now)));
    receipt::say(receipt);
    Ok(())
}

const EXAMPLES: &str = "\
Examples:
  keyward migrate replace key_4fT… --with personal --account 101 --account 102 --old-expires-in 7d
  keyward migrate replace key_4fT… --with service --account 101 --permission jobs:run --revoke-old

The secrets go to standard output, a line each, in the order of the accounts.";
