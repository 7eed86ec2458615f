//! figment's and serde's errors as sentences a person can act on: what is wrong with which value, and what would be right.

use figment::error::{Actual, Kind};
use figment::value::Value;

use super::redact::redact;

/// What is wrong, given the value it is about and the default's value under the same key.
pub(super) fn explain(kind: &Kind, value: Option<&Value>, default: Option<&Value>, default_root: &Value) -> String {
    let found = value.and_then(Value::as_str).map(|text| format!("{:?}", redact(text)));
    match kind {
        Kind::Message(message) => match found {
            Some(found) if message.starts_with("invalid socket address") => {
                format!("{found} is not an address: write IP and port, such as \"127.0.0.1:8080\" or \"[::]:8080\"")
            }
            Some(found) if message.starts_with("invalid IP address syntax") => {
                format!("{found} is not a network: write it as \"10.0.0.0/8\" or \"192.0.2.7/32\"")
            }
            Some(found) if message.starts_with("not a ") => format!("{found} is {message}"),
            Some(found) => format!("{found} is not allowed: {message}"),
            None => message.clone(),
        },
        Kind::InvalidType(actual, expected) | Kind::InvalidValue(actual, expected) => {
            let example = match default {
                Some(Value::String(_, text)) if !text.is_empty() => format!(", such as {text:?}"),
                _ => String::new(),
            };
            format!("expected {}{example}, found {}", plain(expected), shown(actual))
        }
        Kind::InvalidLength(found, expected) => format!("expected {expected}, found {found}"),
        Kind::UnknownVariant(name, words) => {
            let (name, near) = (redact(name), nearest(name, words));
            let meant = near.map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default();
            format!("{name:?} is none of {}{meant}", words.join(", "))
        }
        Kind::UnknownField(name, words) => match (nearest(name, words), elsewhere(default_root, name)) {
            (Some(near), _) => format!("no such setting; did you mean `{near}`?"),
            (None, Some(table)) => format!("no such setting here; `{name}` is a setting of [{table}]"),
            (None, None) => format!("no such setting; there are {}", words.join(", ")),
        },
        Kind::MissingField(name) => format!("`{name}` is missing"),
        Kind::DuplicateField(name) => format!("`{name}` is given twice"),
        other => other.to_string(),
    }
}

/// The name among `words` that `name` was most likely meant to be.
pub(super) fn nearest<'a>(name: &str, words: &[&'a str]) -> Option<&'a str> {
    let far = (name.chars().count() / 3).max(1);
    let distances = words.iter().map(|word| (strsim::damerau_levenshtein(name, word), *word));
    distances.filter(|(distance, _)| *distance <= far).min().map(|(_, word)| word)
}

/// The table that does have a setting of this name.
fn elsewhere(root: &Value, name: &str) -> Option<String> {
    fn search(value: &Value, name: &str, path: &str) -> Option<String> {
        let dict = value.as_dict()?;
        if !path.is_empty() && dict.contains_key(name) {
            return Some(path.to_owned());
        }
        dict.iter().find_map(|(key, inner)| {
            search(inner, name, &if path.is_empty() { key.clone() } else { format!("{path}.{key}") })
        })
    }
    search(root, name, "")
}

/// Rust's names of types in plain words.
fn plain(expected: &str) -> &str {
    match expected {
        "usize" | "u8" | "u16" | "u32" | "u64" => "a number from 0",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "a boolean" => "true or false",
        "a string" => "text in quotes",
        "a sequence" => "a list",
        "a map" => "a table",
        "socket address" => "an address and port",
        _ if expected.starts_with("struct ") => "a table",
        _ if expected.starts_with("enum ") => "a word",
        _ => expected,
    }
}

fn shown(actual: &Actual) -> String {
    match actual {
        Actual::Bool(value) => value.to_string(),
        Actual::Unsigned(value) => value.to_string(),
        Actual::Signed(value) => value.to_string(),
        Actual::Float(value) => value.to_string(),
        Actual::Char(value) => format!("{:?}", value.to_string()),
        Actual::Str(value) => format!("{:?}", redact(value)),
        Actual::Seq => "a list".to_owned(),
        Actual::Map => "a table".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_near() {
        let words = ["listen", "tls_listen", "workers", "url"];
        for (typed, meant) in [
            ("lisen", Some("listen")),
            ("ulr", Some("url")),
            ("worker", Some("workers")),
            ("pepper", None),
            ("x", None),
        ] {
            assert_eq!(nearest(typed, &words), meant, "{typed}");
        }
    }
}
