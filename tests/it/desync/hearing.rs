//! Asking: a case through one door, then the innocent requests after it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::case::{After, Case, Keys, Sent};
use super::client::{Answer, Client, Door, connect};
use super::frames::{self, Streams};
use super::judge::{Suspect, Wrong};

/// What was asked and answered.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) answers: Vec<Answer>,
    /// The innocent requests, as the origin must have received them.
    pub(super) innocents: Vec<String>,
}

impl Suspect {
    pub(super) fn over_http1(&self, case: &Case, door: Door, address: SocketAddr) -> Result<Heard, Wrong> {
        let mut client = self.open(door, address);
        let bytes = case.sent.bytes(&self.keys);
        if door == Door::Dripping && bytes.len() < DRIPPED {
            bytes.chunks(3).for_each(|piece| client.send(piece));
        } else {
            client.send(&bytes);
        }
        let mut heard = Heard::default();
        for expected in case.answers {
            let answer = client.answer(case.sent.method())?;
            // Whether the head of an answer that breaks off gets through is a matter of time.
            let (cut, maybe) = (*expected == CUT, expected.strip_suffix('?'));
            let is_none = |answer: &Answer| cut && answer.is_broken_off() || maybe == Some(&answer.status);
            match answer.filter(|answer| !is_none(answer)) {
                Some(answer) => heard.answers.push(answer),
                None if cut || maybe.is_some() => {
                    heard.answers.push(Answer { status: (*expected).into(), body: Vec::new() });
                }
                None => return Err(format!("ended instead of {expected}, after {:?}", heard.answers).into()),
            }
        }
        self.origin.go_on();
        if case.after != After::Closed {
            let innocent = Innocent { target: self.innocent(), body: "" };
            client.send(&innocent.over_http1(&self.keys));
            match client.answer("GET")? {
                None if case.after == After::Either => {}
                None => return Err("ended before the next request".to_owned().into()),
                answer => innocent.served(answer.as_ref(), &mut heard)?,
            }
            client.finish();
        }
        match client.rest()?.as_str() {
            "" => {}
            more => return Err(Wrong::Harm(format!("{more:?} behind the last answer"))),
        }
        let mut client = self.open(door, address);
        for body in ["", "innocent"] {
            let innocent = Innocent { target: self.innocent(), body };
            client.send(&innocent.over_http1(&self.keys));
            innocent.served(client.answer("GET")?.as_ref(), &mut heard)?;
        }
        Ok(heard)
    }

    pub(super) fn over_http2(&self, case: &Case, door: Door, address: SocketAddr) -> Result<Heard, Wrong> {
        let mut client = self.open(door, address);
        client.send(&frames::opening());
        client.send(&match &case.sent {
            Sent::Frames(frames) => frames.iter().flat_map(|frame| frame.bytes(&self.keys)).collect(),
            sent => in_frames(sent, &self.keys),
        });
        let mut streams = Streams::default();
        let ends = case.answers.contains(&"goaway");
        streams.read(&mut client, if ends { usize::MAX } else { case.answers.len() })?;
        let mut heard = Heard { answers: streams.whole.values().cloned().collect(), innocents: Vec::new() };
        if streams.gone {
            heard.answers.push(Answer { status: "goaway".into(), body: Vec::new() });
        }
        self.origin.go_on();
        let mut fresh = self.open(door, address);
        fresh.send(&frames::opening());
        let same = (!ends).then_some((&mut client, &mut streams, 101));
        for (client, streams, stream) in same.into_iter().chain([(&mut fresh, &mut Streams::default(), 1)]) {
            let innocent = Innocent { target: self.innocent(), body: "" };
            client.send(&innocent.over_http2(stream, &self.keys));
            streams.read(client, streams.whole.len() + 1)?;
            innocent.served(streams.whole.get(&stream), &mut heard)?;
        }
        Ok(heard)
    }

    fn open(&self, door: Door, address: SocketAddr) -> Client {
        let mut tls = (*self.tls).clone();
        tls.alpn_protocols = vec![if door == Door::Http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        let tls = matches!(door, Door::Tls | Door::Http2).then(|| Arc::new(tls));
        Client::over(connect(address, tls.as_ref(), self.patience))
    }

    /// A target that no other request has.
    fn innocent(&self) -> String {
        format!("/innocent/{}", self.innocents.fetch_add(1, Ordering::Relaxed))
    }
}

/// A request that has done nothing: a GET where it has no body, else a POST.
struct Innocent {
    target: String,
    body: &'static str,
}

impl Innocent {
    const fn method(&self) -> &'static str {
        if self.body.is_empty() { "GET" } else { "POST" }
    }

    fn over_http1(&self, keys: &Keys) -> Vec<u8> {
        let Self { target, body } = self;
        let head = format!("{} {target} <bare>Authorization: Token <other>\r\n", self.method());
        let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        keys.fill(format!("{head}{length}\r\n{body}").as_bytes())
    }

    fn over_http2(&self, stream: u32, keys: &Keys) -> Vec<u8> {
        let mut fields = opening_fields(self.method(), &self.target);
        fields.push(("authorization".into(), format!("Token {}", keys.other)));
        frames::request(stream, &fields, b"")
    }

    /// Holds its answer to be its own.
    fn served(&self, answer: Option<&Answer>, heard: &mut Heard) -> Result<(), Wrong> {
        let Self { target, body } = self;
        let method = self.method();
        let said = answer.map(|answer| format!("{} {}", answer.status, answer.said()));
        if said != Some(format!("200 {method} {target} for 202")) {
            return Err(Wrong::Harm(format!("{target} was answered {said:?}")));
        }
        let length = if body.is_empty() { String::new() } else { format!("content-length: {}|", body.len()) };
        heard.innocents.push(format!("{method} {target}|{length}for 202|host: api.test||{body}"));
        Ok(())
    }
}

fn opening_fields(method: &str, target: &str) -> Vec<(String, String)> {
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    vec![field(":method", method), field(":scheme", "https"), field(":authority", "api.test"), field(":path", target)]
}

/// The same request over HTTP/2, on stream 1.
fn in_frames(sent: &Sent, keys: &Keys) -> Vec<u8> {
    let (method, target, key, lines, body) = match *sent {
        Sent::Keyed { method, target, fields, body } => (method, target, "<key>", fields, body),
        Sent::Bare { target, fields } => ("GET", target, "", fields, &b""[..]),
        Sent::Raw(_) | Sent::Frames(_) => unreachable!("only what is written as a request has two forms"),
    };
    let lines = keys.fill(&[key.as_bytes(), lines].concat());
    let lines = String::from_utf8(lines).unwrap();
    let mut fields = opening_fields(method, target);
    for line in lines.split_terminator("\r\n") {
        let (name, value) = line.split_once(':').unwrap();
        fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    frames::request(1, &fields, body)
}

/// The answer that is none or breaks off.
const CUT: &str = "cut";

/// Longer ones are sent at once.
const DRIPPED: usize = 2000;
