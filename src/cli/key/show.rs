//! Keys as people and programs see them: all but the secret.

use serde_json::Value;

use crate::cli::output::{cell, key_json, print, print_json, print_list};
use crate::clock::Timestamp;
use crate::key::Key;

/// One key, a line a member.
pub(super) fn print_key(json: bool, key: &Key, now: Timestamp) -> anyhow::Result<()> {
    let value = key_json(key, now);
    if json {
        return print_json(&value);
    }
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
    Ok(print(&text)?)
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
