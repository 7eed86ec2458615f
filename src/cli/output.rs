//! How outcomes are shown: aligned tables for people, JSON for programs, and a secret alone on its line.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Value, json};

use super::receipt::{self, Received};
use crate::clock::Timestamp;
use crate::key::Key;
use crate::secret::Secret;

/// Writes to standard output. A reader that left (`| head`) is no failure.
pub(super) fn print(text: &str) -> io::Result<()> {
    write(text.as_bytes())
}

/// Says something about what was asked for, on standard error. Where nobody can hear it, that changes nothing.
pub(super) fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints `value` as JSON.
pub(super) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    Ok(write(&text)?)
}

/// Prints a list: as an object with one plural member, or as a table.
pub(super) fn print_list<T>(
    json: bool,
    plural: &str,
    items: &[T],
    to_json: impl Fn(&T) -> Value,
    columns: &[&str],
    row: impl Fn(&T) -> Vec<String>,
) -> anyhow::Result<()> {
    if json {
        return print_json(&json!({ plural: items.iter().map(to_json).collect::<Vec<_>>() }));
    }
    if items.is_empty() {
        say(&format!("There are no {plural} yet."));
        return Ok(());
    }
    Ok(print(&table(columns, &items.iter().map(row).collect::<Vec<_>>()))?)
}

/// Prints a secret: alone on standard output, with the one warning on standard error; or as a member of its key.
pub(super) fn print_secret(
    json: bool,
    key: &Key,
    secret: &Secret,
    now: Timestamp,
    receipt: Option<&Received>,
) -> anyhow::Result<()> {
    if json {
        let mut value = key_json(key, now);
        value["secret"] = secret.expose_str().into();
        receipt::add(&mut value, receipt);
        return print_json(&value);
    }
    let mut line = zeroize::Zeroizing::new(secret.expose().to_vec());
    line.push(b'\n');
    write(&line)?;
    say(&format!("This is the secret of {}. It is shown only now: keep it, keyward does not.", key.id));
    receipt::say(receipt);
    Ok(())
}

/// A key with the state a person should read at `now`.
pub(super) fn key_json(key: &Key, now: Timestamp) -> Value {
    let mut value = json!(key);
    value["state"] = key.state_at(now).into();
    value["rotation"] = json!(key.rotation_at(now));
    value
}

/// Lines with aligned columns; the header is in capitals.
pub(super) fn table(columns: &[&str], rows: &[Vec<String>]) -> String {
    let header: Vec<String> = columns.iter().map(|column| column.to_uppercase()).collect();
    let lines = || std::iter::once(&header).chain(rows);
    let width = |at: usize| lines().filter_map(|line| line.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut text = String::new();
    for line in lines() {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A value that may be missing, as a cell.
pub(super) fn cell(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn write(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::key::{KeyState, Kind, Permissions};

    /// A living service key of account 101.
    pub(in crate::cli) fn key() -> Key {
        Key {
            id: "key_1".parse().unwrap(),
            serial: 1,
            kind: Kind::Service,
            state: KeyState::Active,
            account: Some("101".parse().unwrap()),
            user: None,
            name: "ci".to_owned(),
            prefix: None,
            kid: None,
            hint: "wxyz".to_owned(),
            permissions: Permissions::default(),
            allowed_ips: Vec::new(),
            not_before: None,
            expires_at: Some(Timestamp::from_millis(1000)),
            created_at: Timestamp::from_millis(0),
            rotated_at: None,
            last_used_at: None,
            generation: 1,
            version: 1,
            rotation: None,
        }
    }

    #[test]
    fn a_keys_json_has_what_programs_lean_on() {
        let value = key_json(&key(), Timestamp::from_millis(0));
        assert_eq!((&value["id"], &value["account"]), (&json!("key_1"), &json!("101")));
        assert_eq!((&value["kind"], &value["state"]), (&json!("service"), &json!("active")));
        assert_eq!(key_json(&key(), Timestamp::from_millis(1000))["state"], "expired");
        assert!(value.get("secret").is_none());
    }

    #[test]
    fn columns_are_aligned_and_lines_have_no_tail() {
        let rows = [vec!["key_1".to_owned(), "a".to_owned()], vec!["k".to_owned(), String::new()]];
        assert_eq!(table(&["id", "account"], &rows), "ID     ACCOUNT\nkey_1  a\nk\n");
    }
}
