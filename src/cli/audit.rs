//! `keyward audit`: who did what, the latest first.

use serde_json::Value;

use super::access::{carry_out, unexpected};
use super::output::{cell, print, print_json, say, table};
use super::settings::StoreArguments;
use crate::clock::{BadTimestamp, Clock, Timestamp};
use crate::key::{AccountId, KeyId, UserId};
use crate::keyring::command::{AuditFilter, Command, Entry, Outcome, Who};
use crate::measure::Span;
use crate::store::audit::{Action, Ending, WhoKind};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only about this key.
    #[arg(long)]
    key: Option<KeyId>,
    /// Only about this account.
    #[arg(long)]
    account: Option<AccountId>,
    /// Only about this user.
    #[arg(long)]
    user: Option<UserId>,
    /// Only this, such as key.rotate.
    #[arg(long)]
    action: Option<Action>,
    /// Only what ended so: done or refused.
    #[arg(long)]
    outcome: Option<Ending>,
    /// Only by this kind of caller: keyward, command_line, operator, holder or stranger.
    #[arg(long)]
    who: Option<WhoKind>,
    /// Only by the operator or the holder of this key.
    #[arg(long, value_name = "KEY")]
    by: Option<KeyId>,
    /// From this moment on, or for this long: 2030-01-01T00:00:00Z, 7d.
    #[arg(long, value_parser = moment)]
    since: Option<Timestamp>,
    /// Before this moment, or as long ago.
    #[arg(long, value_parser = moment)]
    until: Option<Timestamp>,
    /// At most so many.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    #[command(flatten)]
    store: StoreArguments,
    /// Print JSON: `entries`.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { key, account, user, action, outcome, who, by, since, until, limit, store, json } = arguments;
    let most = Some(limit.saturating_add(1));
    let filter = AuditFilter { key, account, user, action, outcome, who, by_key: by, since, until, before: None, most };
    let mut entries = match carry_out(&store.settings()?, Command::ListAudit(Box::new(filter))).await? {
        Outcome::Audit(entries) => entries,
        other => return Err(unexpected(&other)),
    };
    let more = entries.len() > limit as usize;
    entries.truncate(limit as usize);
    if json {
        print_json(&serde_json::json!({ "entries": entries }))?;
    } else if entries.is_empty() {
        say("Nothing of that kind is noted.");
    } else {
        let columns = ["at", "who", "from", "action", "outcome", "key", "account", "user", "count", "details"];
        print(&table(&columns, &entries.iter().map(row).collect::<Vec<_>>()))?;
    }
    if more {
        say(&format!("There are more: --limit shows more than {limit}, --until those before a moment."));
    }
    Ok(())
}

fn row(entry: &Entry) -> Vec<String> {
    let who = match &entry.by.who {
        Who::Operator { key } => format!("operator {key}"),
        Who::Holder { key } => format!("holder {key}"),
        Who::CommandLine { uid } => format!("command line, uid {uid}"),
        Who::Keyward => "keyward".to_owned(),
        Who::Stranger => "stranger".to_owned(),
    };
    let details = entry.details.iter().map(|(name, value)| format!("{name}={}", plain(value)));
    vec![
        entry.last_at.to_string(),
        who,
        cell(entry.by.address),
        entry.action.to_string(),
        entry.outcome.to_string(),
        cell(entry.key.as_ref()),
        cell(entry.account.as_ref()),
        cell(entry.user.as_ref()),
        entry.count.to_string(),
        details.collect::<Vec<_>>().join(" "),
    ]
}

/// A value in one cell. What a terminal might take for more than text stays escaped.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) if text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"') => text.clone(),
        Value::String(text) => format!("\"{}\"", text.escape_debug()),
        Value::Array(members) => members.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// A moment, or how long ago it was.
fn moment(text: &str) -> Result<Timestamp, BadTimestamp> {
    match text.parse::<Span>() {
        Ok(ago) => Ok(Clock::System.now().minus(ago.0)),
        Err(_) => text.parse(),
    }
}
