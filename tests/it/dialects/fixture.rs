//! Requests and the answers they must get, byte for byte, written from what is known of a vendor's API before keyward answered
//! it. Each names its source, and what no source says. What differs from run to run stands in braces.

use serde_json::Value;

use crate::support::http::head;
use crate::support::{Answer, Keyward};

pub(crate) struct Fixture {
    name: String,
    said: Value,
}

/// The fixture of this name.
pub(crate) fn fixture(vendor: &str, name: &str) -> Fixture {
    let path = format!("{}/tests/fixtures/dialects/{vendor}/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let said: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert!(said["source"].as_str().is_some_and(|source| !source.is_empty()), "{path} names no source");
    Fixture { name: path, said }
}

impl Fixture {
    /// Asks what it says, with a key where one is given and these in place of what stands in braces.
    pub(crate) fn ask(&self, keyward: &Keyward, secret: Option<&str>, known: &[(&str, &str)]) -> Answer {
        let [method, path, body] = [0, 1, 2].map(|at| filled(self.said["request"][at].as_str().unwrap(), known));
        ask(keyward, secret, &method, &path, &body)
    }

    /// The answer has to be this one, with these in place of what stands in braces.
    pub(crate) fn expect(&self, answer: &Answer, known: &[(&str, &str)]) {
        let text = |member: &str| self.said[member].as_str().map(|text| filled(text, known));
        assert_eq!(answer.text(), text("body").unwrap(), "{}", self.name);
        assert_eq!(u64::from(answer.status), self.said["status"].as_u64().unwrap(), "{}", self.name);
        assert_eq!(answer.header("content-type"), text("content-type").as_deref(), "{}", self.name);
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{}", self.name);
    }
}

/// Asks over a connection of its own.
pub(crate) fn ask(keyward: &Keyward, secret: Option<&str>, method: &str, path: &str, body: &str) -> Answer {
    let (authorization, length) = (format!("Bearer {}", secret.unwrap_or_default()), body.len().to_string());
    let mut headers = Vec::new();
    if secret.is_some() {
        headers.push(("Authorization", authorization.as_str()));
    }
    if !body.is_empty() {
        headers.extend([("Content-Type", "application/json"), ("Content-Length", length.as_str())]);
    }
    let mut wire = keyward.wire();
    wire.send(head(method, path, &headers) + body);
    wire.answer(method)
}

fn filled(text: &str, known: &[(&str, &str)]) -> String {
    known.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}
