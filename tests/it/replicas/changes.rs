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

use super::line::Said;
use super::scene::{Scene, now};
use crate::support::PATIENCE;
use crate::support::draw::Draw;
use crate::support::http::head;

/// The operators' key, and what they have done.
pub(super) struct Desk {
    scene: Arc<Scene>,
    operator: String,
    /// What a replica has read counts no longer than this.
    lapse: Duration,
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
    /// It was waited for, so what it took is no matter of how often one asks.
    patient: bool,
}

struct Key {
    id: String,
    secret: usize,
}

/// What an operator was answered.
struct Answered {
    /// When the first byte was sent.
    begun: Instant,
    status: u16,
    /// The position of the change.
    revision: Option<u64>,
    said: Value,
    /// When the last byte was read.
    read: Instant,
}

impl Desk {
    pub(super) fn new(scene: &Arc<Scene>, operator: &str, lapse: Duration) -> Self {
        Self {
            scene: Arc::clone(scene),
            operator: operator.into(),
            lapse,
            receipts: Mutex::default(),
            again: AtomicUsize::new(0),
            failures: Mutex::default(),
        }
    }

    /// Changes that are complete.
    pub(super) fn complete(&self) -> usize {
        self.receipts.lock().unwrap().len()
    }

    /// Counts from now on.
    pub(super) fn forget(&self) {
        self.receipts.lock().unwrap().clear();
    }

    /// Of the complete ones, those that were by what everybody said.
    pub(super) fn acknowledged(&self) -> usize {
        self.receipts.lock().unwrap().iter().filter(|receipt| !receipt.by_time).count()
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
        let made = self.until_done(draw, "POST", "/v1/keys", &json!({"account_id": "101", "name": "one"})).await?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let (id, secret) = (text(&made.said["key"]["id"])?, text(&made.said["secret"])?);
        let secret = self.scene.born(&secret, made.revision);
        // It only gives, so nobody who is silent is waited for; but what they have read counts no longer than that.
        self.scene.known(secret, made.read + self.lapse);
        Some(Key { id, secret })
    }

    /// Ends a key's secret, and its key where `revoked`. The secret it has then; none where the work ended before.
    async fn change(&self, key: &Key, revoked: bool, draw: &mut Draw) -> Option<usize> {
        self.scene.judge.lock().unwrap().doomed(key.secret, now());
        // Some do not wait, and ask how far it has come.
        let patient = draw.below(8) > 0;
        let wait = if patient { "" } else { "?wait=0s" };
        let path = format!("/v1/keys/{}", key.id);
        let done = if revoked {
            self.until_done(draw, "DELETE", &format!("{path}{wait}"), &Value::Null).await?
        } else {
            self.until_done(draw, "POST", &format!("{path}/rotate{wait}"), &json!({})).await?
        };
        let next = done.said["secret"].as_str().map(|text| self.scene.born(text, done.revision));
        let Some(mut receipt) = done.said.get("receipt").cloned() else {
            self.fail(format!("{path}: {} and no receipt: {}", done.status, done.said));
            return None;
        };
        let (mut status, mut read) = (done.status, done.read);
        while receipt["complete"] != true {
            if status != 202 || receipt["complete_within_ms"].as_u64().is_none() {
                self.fail(format!("{path}: {status} with a receipt that is not complete: {receipt}"));
                return None;
            }
            sleep(POLLED_EVERY).await;
            let path = format!("/v1/revisions/{}?wait=0s", receipt["rev"]);
            let told = self.until_done(draw, "GET", &path, &Value::Null).await?;
            (status, receipt, read) = (told.status, told.said, told.read);
        }
        if status == 202 {
            self.fail(format!("{path}: {status} with a receipt that is complete: {receipt}"));
        }
        self.scene.dead(key.secret, read);
        next.into_iter().for_each(|next| self.scene.known(next, read));
        let by_time = receipt["replicas"].as_array().is_some_and(|all| all.iter().any(is_lapsed));
        self.receipts.lock().unwrap().push(Receipt { took: read - done.begun, by_time, patient });
        Some(next.unwrap_or(key.secret))
    }

    fn fail(&self, why: String) {
        self.failures.lock().unwrap().push(why);
    }

    /// Asks one replica after the other until one has answered.
    async fn until_done(&self, draw: &mut Draw, method: &str, path: &str, body: &Value) -> Option<Answered> {
        loop {
            let replica = draw.below(self.scene.replicas() as u64);
            let answer = timeout(PATIENCE, self.send(replica, method, path, body))
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            match answer {
                Ok((begun, said)) if matches!(said.status, 200..=202) => {
                    let (status, revision, read) = (said.status, said.number("keyward-revision"), now());
                    let said = serde_json::from_slice(&said.body).expect("JSON");
                    return Some(Answered { begun, status, revision, said, read });
                }
                Ok((_, said)) if said.status < 500 => {
                    let (status, said) = (said.status, String::from_utf8_lossy(&said.body));
                    self.fail(format!("{method} {path} at replica {replica}: {status} {said}"));
                    return None;
                }
                Ok(_) | Err(_) if self.scene.has_ended() => return None,
                Ok(_) | Err(_) => {
                    self.again.fetch_add(1, Ordering::SeqCst);
                    sleep(ASKED_AGAIN_AFTER).await;
                }
            }
        }
    }

    async fn send(&self, replica: usize, method: &str, path: &str, body: &Value) -> io::Result<(Instant, Said)> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (authorization, length) = (format!("Bearer {}", self.operator), body.len().to_string());
        let headers =
            [("Authorization", &*authorization), ("Content-Type", "application/json"), ("Content-Length", &length)];
        let of_body = if body.is_empty() { 1 } else { 3 };
        let mut line = self.scene.admin(replica).await?;
        let begun = now();
        let said = line.ask(&(head(method, path, &headers[..of_body]) + &body)).await?;
        Ok((begun, said))
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
                .filter(|receipt| receipt.patient && receipt.by_time == by_time)
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
    replica["state"] == "lapsed"
}

/// Keys that one operator looks after.
const KEYS: usize = 3;
const POLLED_EVERY: Duration = Duration::from_millis(20);
const ASKED_AGAIN_AFTER: Duration = Duration::from_millis(20);
