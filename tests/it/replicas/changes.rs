//! Operators who rotate and revoke, at one replica and another, and hold each to its receipt.
//!
//! An answer that was lost says nothing, so the same is asked again, elsewhere: a rotation then ends whatever the lost one
//! made, and a revoked key is revoked. Only a receipt that says complete counts.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::{interval, sleep, timeout};

use super::scene::{Scene, now};
use crate::support::PATIENCE;
use crate::support::draw::Draw;
use crate::support::http::head;

/// The operators' key, and what they have done.
pub(super) struct Desk {
    scene: Arc<Scene>,
    operator: String,
    receipts: Mutex<Vec<Receipt>>,
    /// How often the same was asked again.
    again: AtomicUsize,
    failures: Mutex<Vec<String>>,
}

/// A complete one.
#[derive(Clone, Copy, Debug)]
struct Receipt {
    /// From the first byte of the request to the last of what said so.
    took: Duration,
    /// Somebody was waited for who said nothing.
    by_time: bool,
}

struct Key {
    id: String,
    secret: usize,
}

impl Desk {
    pub(super) fn new(scene: &Arc<Scene>, operator: &str) -> Self {
        Self {
            scene: Arc::clone(scene),
            operator: operator.into(),
            receipts: Mutex::default(),
            again: AtomicUsize::new(0),
            failures: Mutex::default(),
        }
    }

    /// Changes that are complete.
    pub(super) fn complete(&self) -> usize {
        self.receipts.lock().unwrap().len()
    }

    /// What was answered that nobody can be answered.
    pub(super) fn failures(&self) -> Vec<String> {
        self.failures.lock().unwrap().clone()
    }

    pub(super) async fn account(&self) {
        self.until_done(&mut Draw::seeded(0), "POST", "/v1/accounts", &json!({"id": "101"})).await;
    }

    /// Makes a few keys and changes one after the other, until the end.
    pub(super) async fn work(self: Arc<Self>, pause: Duration, mut draw: Draw) {
        let mut keys = Vec::new();
        for _ in 0..KEYS {
            keys.extend(self.mint(&mut draw).await);
        }
        let mut ticks = interval(pause);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !self.scene.has_ended() && !keys.is_empty() {
            ticks.tick().await;
            let key = &mut keys[draw.below(KEYS as u64)];
            let revoked = draw.below(5) == 0;
            let Some(secret) = self.change(key, revoked, &mut draw).await else { return };
            key.secret = secret;
            if revoked {
                let Some(next) = self.mint(&mut draw).await else { return };
                *key = next;
            }
        }
    }

    async fn mint(&self, draw: &mut Draw) -> Option<Key> {
        let (_, made, _) =
            self.until_done(draw, "POST", "/v1/keys", &json!({"account_id": "101", "name": "one"})).await?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Some(Key { id: text(&made["key"]["id"])?, secret: self.scene.born(&text(&made["secret"])?) })
    }

    /// Ends a key's secret, and its key where `revoked`. The secret it has then; none where the work ended before.
    async fn change(&self, key: &Key, revoked: bool, draw: &mut Draw) -> Option<usize> {
        self.scene.judge.lock().unwrap().doomed(key.secret, now());
        let path = format!("/v1/keys/{}", key.id);
        let (begun, said, mut read) = if revoked {
            self.until_done(draw, "DELETE", &path, &Value::Null).await?
        } else {
            self.until_done(draw, "POST", &format!("{path}/rotate"), &json!({})).await?
        };
        let next = said["secret"].as_str().map(|text| self.scene.born(text));
        let mut receipt = said.get("receipt").cloned();
        while let Some(pending) = receipt.as_ref().filter(|receipt| receipt["complete"] != true) {
            sleep(POLLED_EVERY).await;
            let path = format!("/v1/revisions/{}", pending["rev"]);
            let (_, said, at) = self.until_done(draw, "GET", &path, &Value::Null).await?;
            (receipt, read) = (Some(said), at);
        }
        self.scene.dead(key.secret, read);
        let lapsed = |receipt: &Value| receipt["replicas"].as_array().is_some_and(|all| all.iter().any(is_lapsed));
        let by_time = receipt.as_ref().is_some_and(lapsed);
        self.receipts.lock().unwrap().push(Receipt { took: read - begun, by_time });
        Some(next.unwrap_or(key.secret))
    }

    /// Asks one replica after the other until one has answered. When the first byte was sent to that one, what it said, and
    /// when the last was read.
    async fn until_done(
        &self,
        draw: &mut Draw,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Option<(Instant, Value, Instant)> {
        loop {
            let replica = draw.below(self.scene.replicas() as u64);
            let answer = timeout(PATIENCE, self.send(replica, method, path, body))
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            match answer {
                Ok((begun, 200..=202, said)) => {
                    let read = now();
                    return Some((begun, serde_json::from_slice(&said).expect("JSON"), read));
                }
                Ok((_, 500..=599, _)) | Err(_) if !self.scene.has_ended() => {
                    self.again.fetch_add(1, Ordering::SeqCst);
                    sleep(ASKED_AGAIN_AFTER).await;
                }
                Ok((_, 500..=599, _)) | Err(_) => return None,
                Ok((_, status, said)) => {
                    let said = String::from_utf8_lossy(&said);
                    self.failures
                        .lock()
                        .unwrap()
                        .push(format!("{method} {path} at replica {replica}: {status} {said}"));
                    return None;
                }
            }
        }
    }

    async fn send(
        &self,
        replica: usize,
        method: &str,
        path: &str,
        body: &Value,
    ) -> io::Result<(Instant, u16, Vec<u8>)> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (authorization, length) = (format!("Bearer {}", self.operator), body.len().to_string());
        let headers =
            [("Authorization", &*authorization), ("Content-Type", "application/json"), ("Content-Length", &length)];
        let of_body = if body.is_empty() { 1 } else { 3 };
        let mut line = self.scene.admin(replica).await?;
        let begun = now();
        let (status, said) = line.ask(&(head(method, path, &headers[..of_body]) + &body)).await?;
        Ok((begun, status, said))
    }
}

/// How long receipts took.
impl fmt::Display for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let receipts = self.receipts.lock().unwrap().clone();
        write!(f, "{} changes complete, {} asked again", receipts.len(), self.again.load(Ordering::SeqCst))?;
        for (by_time, name) in [(false, "acknowledged"), (true, "by time")] {
            let mut took: Vec<f64> = receipts
                .iter()
                .filter(|receipt| receipt.by_time == by_time)
                .map(|receipt| receipt.took.as_secs_f64() * 1000.0)
                .collect();
            took.sort_by(f64::total_cmp);
            let at = |percent: usize| took.get((took.len() * percent / 100).min(took.len().saturating_sub(1)));
            if let (Some(p50), Some(p99), Some(max)) = (at(50), at(99), took.last()) {
                write!(f, "; {} {name}: p50 {p50:.1} ms, p99 {p99:.1} ms, max {max:.1} ms", took.len())?;
            }
        }
        Ok(())
    }
}

fn is_lapsed(replica: &Value) -> bool {
    replica["how"] == "lapsed"
}

/// Keys that one operator looks after.
const KEYS: usize = 3;
const POLLED_EVERY: Duration = Duration::from_millis(20);
const ASKED_AGAIN_AFTER: Duration = Duration::from_millis(20);
