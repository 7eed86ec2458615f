//! The judge: sends a case, then innocent requests of another account, and reads the origin's tape. It has one measure
//! for whatever it is put in front of.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use rustls::ClientConfig;

use super::case::{Case, Keys, Sent};
use super::client::{Answer, Door};
use super::hearing::Heard;
use super::recorder::{Recorder, is_innocent, told};
use super::strict::{self, Message};

/// What is judged: its ways in, and the origin behind it.
pub(super) struct Suspect {
    pub(super) doors: Vec<(Door, SocketAddr)>,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) origin: Recorder,
    pub(super) keys: Keys,
    /// How long silence may last.
    pub(super) patience: Duration,
    pub(super) innocents: AtomicUsize,
}

/// What a suspect did wrong.
#[derive(Debug)]
pub(super) enum Wrong {
    /// The origin received what it must not, or somebody innocent was not served as itself.
    Harm(String),
    /// Nobody was harmed, and the client was answered otherwise than it should be.
    Manner(String),
}

impl From<String> for Wrong {
    fn from(what: String) -> Self {
        Self::Manner(what)
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Harm(what) | Self::Manner(what)) = self;
        f.write_str(what)
    }
}

impl Wrong {
    fn with(self, add: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::Harm(what) => Self::Harm(add(what)),
            Self::Manner(what) => Self::Manner(add(what)),
        }
    }
}

impl Suspect {
    /// Puts one case through every door it is for, and tells what was wrong.
    pub(super) fn judge(&self, case: &Case) -> Result<(), Wrong> {
        for (door, address) in &self.doors {
            let http2 = matches!(door, Door::Http2 | Door::ClearHttp2);
            let frames = matches!(case.sent, Sent::Frames(_));
            // Where a case is split matters only to what is split into lines and chunks.
            let twice = *door == Door::Dripping && case.everywhere;
            if twice || (frames != http2 && !(http2 && case.everywhere)) {
                continue;
            }
            self.origin.lies(case.lie);
            let heard =
                if http2 { self.over_http2(case, *door, *address) } else { self.over_http1(case, *door, *address) };
            let tapes = self.origin.take();
            let verdict = heard.and_then(|heard| self.check(case, &heard, &tapes));
            let tapes = || tapes.iter().map(|tape| String::from_utf8_lossy(tape)).collect::<Vec<_>>();
            let place = |what| format!("{} ({door:?}): {what}\n    tapes: {:?}", case.name, tapes());
            verdict.map_err(|wrong| wrong.with(place))?;
        }
        Ok(())
    }

    fn check(&self, case: &Case, heard: &Heard, tapes: &[Vec<u8>]) -> Result<(), Wrong> {
        let mut messages = Vec::new();
        for tape in tapes {
            let text = String::from_utf8_lossy(tape);
            if text.contains(&self.keys.secret) || text.contains(&self.keys.other) {
                return Err(Wrong::Harm("a secret reached the origin".into()));
            }
            messages.extend(strict::messages(tape).map_err(Wrong::Harm)?);
        }
        if let Some(breach) = messages.iter().flat_map(strict::breaches).next() {
            return Err(Wrong::Harm(breach));
        }
        let (innocents, mut others): (Vec<_>, Vec<_>) =
            messages.iter().partition(|message| is_innocent(&message.target));
        let mut seen: Vec<_> = innocents.iter().map(|message| normal(message)).collect();
        let mut expected = heard.innocents.clone();
        seen.sort();
        expected.sort();
        if seen != expected {
            return Err(Wrong::Harm(format!("of the innocent, the origin received {seen:?}, not {expected:?}")));
        }
        others.retain(|message| message.whole || !is_cut(case, message));
        let mut forwarded: Vec<_> = others.iter().map(|message| normal(message)).collect();
        let mut expected: Vec<_> = case.forwarded.iter().map(|text| written(text)).collect();
        forwarded.sort();
        expected.sort();
        if forwarded != expected {
            let what = format!("the origin received {forwarded:?}, not {expected:?}");
            let less = forwarded.iter().all(|message| expected.contains(message)) && forwarded.len() < expected.len();
            return Err(if less { Wrong::Manner(what) } else { Wrong::Harm(what) });
        }
        Ok(answered(case, heard, &others)?)
    }
}

/// Whether the client was answered what it had to be.
fn answered(case: &Case, heard: &Heard, forwarded: &[&Message]) -> Result<(), String> {
    // Streams may overtake each other on the way; on one connection to the origin what they became came in some order.
    let mut truths: Vec<_> = forwarded.iter().map(|message| told(message)).collect();
    truths.sort_by_key(|told| case.forwarded.iter().position(|text| told.starts_with(&format!("{} ", line_of(text)))));
    let mut truths = truths.into_iter();
    let expected: Vec<String> = case
        .answers
        .iter()
        .map(|text| match *text {
            // The origin's own word, where it has one.
            "200" if case.lie.is_none() && case.sent.method() != "HEAD" => {
                format!("200 {}", truths.next().unwrap_or_default())
            }
            text => text.to_owned(),
        })
        .collect();
    let said = |answer: &Answer| format!("{} {}", answer.status, answer.said()).trim_end().to_owned();
    let said: Vec<_> = heard.answers.iter().map(said).collect();
    if said == expected { Ok(()) } else { Err(format!("the client was answered {said:?}, not {expected:?}")) }
}

/// A request in the form that cases are written in, without what the gateway itself says.
fn normal(message: &Message) -> String {
    let own = |name: &str, value: &str| strict::is_ours(name) || (name == "via" && value == "1.1 keyward");
    let clients = message.fields.iter().filter(|(name, value)| !own(name, value));
    let mut fields: Vec<_> = clients.map(|(name, value)| format!("{name}: {value}")).collect();
    fields.push(format!("for {}", message.field("x-keyward-account").unwrap_or("nobody")));
    fields.sort();
    let cut = if message.whole { "" } else { ", cut off" };
    let body = String::from_utf8_lossy(&message.body);
    format!("{} {}{cut}|{}||{body}", message.method, message.target, fields.join("|"))
}

/// The same of what a case says.
fn written(text: &str) -> String {
    let (head, body) = text.split_once("||").unwrap_or((text, ""));
    let (line, fields) = head.split_once('|').unwrap_or((head, ""));
    let mut fields: Vec<_> = fields.split('|').filter(|field| !field.is_empty()).collect();
    if !fields.iter().any(|field| field.starts_with("host: ")) {
        fields.push("host: api.test");
    }
    if !fields.iter().any(|field| field.starts_with("for ")) {
        fields.push(if line.contains(" /open") { "for nobody" } else { "for 101" });
    }
    fields.sort_unstable();
    format!("{line}|{}||{body}", fields.join("|"))
}

/// The request line of what a case says.
fn line_of(text: &str) -> &str {
    text.split('|').next().unwrap_or_default()
}

fn is_cut(case: &Case, message: &Message) -> bool {
    let line = format!("{} {}", message.method, message.target);
    message.target.is_empty() || case.cut.contains(&line.as_str())
}
