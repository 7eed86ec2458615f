//! A few replicas, and an operator who does one thing after the other.

use serde_json::{Value, json};

use crate::support::http::head;
use crate::support::keyward::Setup;
use crate::support::{Answer, Minted, Origin, Replica, Wire};

/// Replicas of one store in front of one origin, with an account 101.
pub(super) struct Crew {
    pub(super) replicas: Vec<Replica>,
    operator: String,
    _origin: Origin,
}

impl Crew {
    pub(super) fn start(count: usize, setup: impl Fn(Setup) -> Setup + Clone + Send + 'static) -> Self {
        let origin = Origin::plain();
        let url = origin.url();
        let replicas = Replica::start(count, move |_, plain| setup(plain.upstream(&url)));
        let said: Vec<String> = replicas.iter().flat_map(|replica| replica.now().stderr.all()).collect();
        let operator = said.iter().map(|line| line.trim()).find(|line| line.starts_with("kw_live_"));
        let operator = operator.expect("one start is the first, and prints an operator's key").to_owned();
        let crew = Self { replicas, operator, _origin: origin };
        crew.done("POST", "/v1/accounts", &json!({"id": "101"}));
        crew
    }

    /// What an operator is answered at a replica.
    pub(super) fn ask(&self, replica: usize, method: &str, path: &str, body: &Value) -> Answer {
        ask(&self.replicas[replica], &self.operator, method, path, body)
    }

    /// Asks without waiting for the answer.
    pub(super) fn begin(&self, replica: usize, method: &'static str, path: String) -> std::thread::JoinHandle<Answer> {
        let (address, operator) = (self.replicas[replica].now().admin(), self.operator.clone());
        std::thread::spawn(move || ask_at(address, &operator, method, &path, &Value::Null))
    }

    /// Asks the first one for what must be done, and be true everywhere; what it said.
    pub(super) fn done(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.ask(0, method, path, body);
        assert!(matches!(answer.status, 200 | 201), "{method} {path}: {} {}", answer.status, answer.text());
        answer.json()
    }

    /// A service key of account 101.
    pub(super) fn minted(&self) -> Minted {
        let made = self.done("POST", "/v1/keys", &json!({"account_id": "101", "name": "one"}));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Minted { id: text(&made["key"]["id"]), secret: text(&made["secret"]) }
    }

    /// What clients are answered with this secret, at each.
    pub(super) fn statuses(&self, secret: &str) -> Vec<u16> {
        self.replicas.iter().map(|replica| replica.now().get("/", secret).status).collect()
    }
}

fn ask(replica: &Replica, operator: &str, method: &str, path: &str, body: &Value) -> Answer {
    ask_at(replica.now().admin(), operator, method, path, body)
}

fn ask_at(address: std::net::SocketAddr, operator: &str, method: &str, path: &str, body: &Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let (authorization, length) = (format!("Bearer {operator}"), body.len().to_string());
    let headers =
        [("Authorization", &*authorization), ("Content-Type", "application/json"), ("Content-Length", &length)];
    let of_body = if body.is_empty() { 1 } else { 3 };
    let mut wire = Wire::connect(address);
    wire.send(head(method, path, &headers[..of_body]) + &body);
    wire.answer(method)
}
