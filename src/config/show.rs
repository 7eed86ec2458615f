//! The effective settings for people and machines: every value with the place it came from, and nothing secret.

use std::fmt::Write as _;

use figment::value::{Dict, Num, Value};
use serde_json::json;

use super::read::Read;
use super::redact::redact;

impl Read {
    /// As TOML; a comment tells where each value came from.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        self.write_table(&mut text, "", "", &self.merged());
        text.trim_start().to_owned()
    }

    /// As JSON: `settings`, and `sources` by dotted key.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let merged = self.merged();
        let mut sources = serde_json::Map::new();
        self.sources(&mut sources, "", &merged);
        let settings: serde_json::Map<_, _> = merged.iter().map(|(key, value)| (key.clone(), to_json(value))).collect();
        json!({ "settings": settings, "sources": sources })
    }

    /// `header` is `path` as TOML writes it, with quotes where a name needs them.
    fn write_table(&self, text: &mut String, path: &str, header: &str, table: &Dict) {
        let (tables, leaves): (Vec<_>, Vec<_>) = table.iter().partition(|(_, value)| is_tables(value));
        if !path.is_empty() && (!leaves.is_empty() || tables.is_empty()) {
            let _ = writeln!(text, "\n[{header}]");
        }
        for (key, value) in leaves {
            self.write_leaf(text, &join(path, key), key, value);
        }
        for (key, value) in tables {
            let (path, header) = (join(path, key), join(header, &toml_edit::Key::new(key.as_str()).to_string()));
            match value {
                Value::Array(_, members) => {
                    for (at, member) in members.iter().enumerate() {
                        let _ = writeln!(text, "\n[[{header}]]");
                        for (key, value) in member.as_dict().into_iter().flatten() {
                            self.write_leaf(text, &format!("{path}.{at}.{key}"), key, value);
                        }
                    }
                }
                Value::Dict(_, table) => self.write_table(text, &path, &header, table),
                _ => {}
            }
        }
    }

    fn write_leaf(&self, text: &mut String, path: &str, key: &str, value: &Value) {
        let said = format!("{} = {}", toml_edit::Key::new(key), to_toml(value));
        let (place, _) = self.place(path);
        let _ = writeln!(text, "{said:<48}  # {place}");
    }

    fn sources(&self, sources: &mut serde_json::Map<String, serde_json::Value>, path: &str, table: &Dict) {
        for (key, value) in table {
            let path = join(path, key);
            match value {
                Value::Dict(_, table) => self.sources(sources, &path, table),
                _ => drop(sources.insert(path.clone(), self.place(&path).0.to_string().into())),
            }
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Whether TOML writes it under a header of its own: a table, or a list of tables.
fn is_tables(value: &Value) -> bool {
    match value {
        Value::Dict(..) => true,
        Value::Array(_, members) => !members.is_empty() && members.iter().all(|member| member.as_dict().is_some()),
        _ => false,
    }
}

fn to_toml(value: &Value) -> toml_edit::Value {
    match value {
        Value::String(_, text) => redact(text).as_ref().into(),
        Value::Char(_, c) => c.to_string().into(),
        Value::Bool(_, value) => (*value).into(),
        Value::Num(_, Num::F32(value)) => f64::from(*value).into(),
        Value::Num(_, Num::F64(value)) => (*value).into(),
        Value::Num(_, number) => integer(*number).into(),
        Value::Empty(..) => "".into(),
        Value::Array(_, members) => members.iter().map(to_toml).collect::<toml_edit::Array>().into(),
        Value::Dict(_, table) => {
            let members = table.iter().map(|(key, value)| (key.as_str(), to_toml(value)));
            members.collect::<toml_edit::InlineTable>().into()
        }
    }
}

fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::String(_, text) => redact(text).into(),
        Value::Char(_, c) => c.to_string().into(),
        Value::Bool(_, value) => (*value).into(),
        Value::Num(_, Num::F32(value)) => f64::from(*value).into(),
        Value::Num(_, Num::F64(value)) => (*value).into(),
        Value::Num(_, number) => integer(*number).into(),
        Value::Empty(..) => serde_json::Value::Null,
        Value::Array(_, members) => members.iter().map(to_json).collect(),
        Value::Dict(_, table) => table.iter().map(|(key, value)| (key.clone(), to_json(value))).collect(),
    }
}

/// A whole number; TOML knows none beyond `i64`.
fn integer(number: Num) -> i64 {
    let unsigned = number.to_u128().and_then(|number| i64::try_from(number).ok());
    let signed = || number.to_i128().and_then(|number| i64::try_from(number).ok());
    unsigned.or_else(signed).unwrap_or(i64::MAX)
}
