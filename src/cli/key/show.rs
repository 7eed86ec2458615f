//! Keys as people and programs see them: all but the secret.

use serde_json::Value;

use crate::cli::output::{cell, key_json, print, print_json, print_list, say, table};
use crate::cli::receipt::{self, Received};
use crate::clock::Timestamp;
use crate::key::Key;
use crate::keyring::command::{Caller, Completed, SecretUse, Tally};

/// One key, a line a member.
pub(super) fn print_key(json: bool, key: &Key, now: Timestamp, receipt: Option<&Received>) -> anyhow::Result<()> {
    let mut value = key_json(key, now);
    if json {
        receipt::add(&mut value, receipt);
        return print_json(&value);
    }
    print(&lines(&value))?;
    receipt::say(receipt);
    Ok(())
}

/// One key, and under it a table for each of its secrets.
pub(super) fn print_key_in_use(json: bool, key: &Key, secrets: &[SecretUse], now: Timestamp) -> anyhow::Result<()> {
    let mut value = key_json(key, now);
    if json {
        value["secrets"] = serde_json::to_value(secrets)?;
        return print_json(&value);
    }
    let mut text = lines(&value);
    for secret in secrets {
        let until = secret.valid_until.map(|until| format!(" until {until}")).unwrap_or_default();
        let state = secret.state.as_str();
        text.push_str(&format!("\nsecret {}, …{}, {state}{until}: ", secret.number, secret.hint));
        if secret.callers.is_empty() && secret.more.is_none() {
            text.push_str("no caller was seen\n");
            continue;
        }
        text.push_str("used by\n");
        text.push_str(&callers_table(&secret.callers, secret.more));
    }
    Ok(print(&text)?)
}

/// A key whose rotation has ended; a warning, where somebody had not left the old secret.
pub(super) fn print_completed(
    json: bool,
    completed: &Completed,
    now: Timestamp,
    receipt: Option<&Received>,
) -> anyhow::Result<()> {
    let Completed { key, left, more } = completed;
    if json {
        let mut value = key_json(key, now);
        (value["left"], value["more"]) = (serde_json::to_value(left)?, serde_json::to_value(more)?);
        receipt::add(&mut value, receipt);
        return print_json(&value);
    }
    print_key(false, key, now, receipt)?;
    if !left.is_empty() || more.is_some() {
        say("Warning: these used the old secret while the rotation ran, and are refused from now on:");
        say(callers_table(left, *more).trim_end());
    }
    Ok(())
}

fn callers_table(callers: &[Caller], more: Option<Tally>) -> String {
    let row = |caller: &Caller| {
        let Tally { count, first_seen, last_seen } = caller.seen;
        let (address, agent) = (caller.address.to_string(), &caller.user_agent);
        let agent = if agent.is_empty() { "-".to_owned() } else { agent.clone() };
        vec![address, caller.route.clone(), count.to_string(), first_seen.to_string(), last_seen.to_string(), agent]
    };
    let columns = ["address", "route", "count", "first seen", "last seen", "user agent"];
    let mut text = match callers {
        [] => String::new(),
        callers => table(&columns, &callers.iter().map(row).collect::<Vec<_>>()),
    };
    if let Some(more) = more {
        text.push_str(&format!("and {} more requests of others, the last at {}\n", more.count, more.last_seen));
    }
    text
}

fn lines(value: &Value) -> String {
    let mut text = String::new();
    for (name, value) in value.as_object().into_iter().flatten() {
        let shown = match value {
            Value::Null => "-".to_owned(),
            Value::String(text) => text.clone(),
            Value::Array(members) => members.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
            other => other.to_string(),
        };
        text.push_str(format!("{name:<14}{shown}").trim_end());
        text.push('\n');
    }
    text
}

/// Keys, a line each.
pub(super) fn print_keys(json: bool, keys: &[Key], now: Timestamp) -> anyhow::Result<()> {
    let columns = ["id", "account", "user", "kind", "state", "secret", "expires", "last used", "name"];
    print_list(
        json,
        "keys",
        keys,
        |key| key_json(key, now),
        &columns,
        |key| {
            let prefix = key.prefix.as_ref().map_or_else(String::new, |prefix| format!("{prefix}_"));
            vec![
                key.id.to_string(),
                cell(key.account.as_ref()),
                cell(key.user.as_ref()),
                key.kind.to_string(),
                key.state_at(now).to_owned(),
                format!("{prefix}…{}", key.hint),
                cell(key.expires_at),
                cell(key.last_used_at),
                key.name.clone(),
            ]
        },
    )
}
