//! The judge: sends a case, then innocent requests of another account, and reads the origin's tape. It has one measure
//! for whatever it is put in front of.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::ClientConfig;

use super::case::{After, Case, Keys, Sent};
use super::client::{Answer, Client, Door, connect};
use super::frames::{self, Streams};
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

/// What was asked and answered, as far as it can be judged without the origin.
struct Heard {
    answers: Vec<Answer>,
    innocents: Vec<String>,
}

impl Suspect {
    /// Puts one case through every door it is for, and tells what was wrong.
    pub(super) fn judge(&self, case: &Case) -> Result<(), String> {
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
            verdict.map_err(|wrong| {
                let tapes: Vec<_> = tapes.iter().map(|tape| String::from_utf8_lossy(tape)).collect();
                format!("{} ({door:?}): {wrong}\n    tapes: {tapes:?}", case.name)
            })?;
        }
        Ok(())
    }

    fn over_http1(&self, case: &Case, door: Door, address: SocketAddr) -> Result<Heard, String> {
        let mut client = self.open(door, address);
        let bytes = case.sent.bytes(&self.keys);
        if door == Door::Dripping && bytes.len() < DRIPPED {
            bytes.chunks(3).for_each(|piece| client.send(piece));
        } else {
            client.send(&bytes);
        }
        let mut heard = Heard { answers: Vec::new(), innocents: Vec::new() };
        for expected in case.answers {
            let answer = client.answer(case.sent.method())?;
            // Whether the head of an answer that breaks off gets through is a matter of time.
            match answer.filter(|answer| *expected != CUT || !answer.is_broken_off()) {
                Some(answer) => heard.answers.push(answer),
                None if *expected == CUT => heard.answers.push(Answer { status: CUT.into(), body: Vec::new() }),
                None => return Err(format!("ended instead of {expected}, after {:?}", heard.answers)),
            }
        }
        self.origin.go_on();
        if case.after != After::Closed {
            let innocent = self.innocent();
            client.send(&ask(&innocent, &self.keys.other));
            match client.answer("GET")? {
                Some(answer) => {
                    served(&innocent, &answer)?;
                    heard.innocents.push(innocent);
                }
                None if case.after == After::Either => {}
                None => return Err("ended before the next request".into()),
            }
            client.finish();
        }
        match client.rest()?.as_str() {
            "" => {}
            more => return Err(format!("{more:?} behind the last answer")),
        }
        let mut client = self.open(door, address);
        for body in [None, Some("innocent")] {
            let innocent = self.innocent();
            let request = match body {
                None => ask(&innocent, &self.keys.other),
                Some(body) => tell(&innocent, &self.keys.other, body),
            };
            client.send(&request);
            let answer = client.answer("GET")?.ok_or("ended instead of an answer to the innocent")?;
            served(&innocent, &answer)?;
            heard.innocents.push(innocent);
        }
        Ok(heard)
    }

    fn over_http2(&self, case: &Case, door: Door, address: SocketAddr) -> Result<Heard, String> {
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
        let mut innocent = |client: &mut Client, streams: &mut Streams, stream| {
            let innocent = self.innocent();
            client.send(&frames::request(stream, &fields(&innocent, &self.keys.other), b""));
            streams.read(client, streams.whole.len() + 1)?;
            served(&innocent, streams.whole.get(&stream).ok_or("no answer to the innocent")?)?;
            heard.innocents.push(innocent);
            Ok::<_, String>(())
        };
        if !ends {
            innocent(&mut client, &mut streams, 101)?;
        }
        let mut client = self.open(door, address);
        client.send(&frames::opening());
        innocent(&mut client, &mut Streams::default(), 1)?;
        Ok(heard)
    }

    fn open(&self, door: Door, address: SocketAddr) -> Client {
        let mut tls = (*self.tls).clone();
        tls.alpn_protocols = vec![if door == Door::Http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        let tls = matches!(door, Door::Tls | Door::Http2).then(|| Arc::new(tls));
        Client::over(connect(address, tls.as_ref(), self.patience))
    }

    /// The target of a request that nobody else makes.
    fn innocent(&self) -> String {
        format!("/innocent/{}", self.innocents.fetch_add(1, Ordering::Relaxed))
    }

    fn check(&self, case: &Case, heard: &Heard, tapes: &[Vec<u8>]) -> Result<(), String> {
        let mut messages = Vec::new();
        for tape in tapes {
            let text = String::from_utf8_lossy(tape);
            if text.contains(&self.keys.secret) || text.contains(&self.keys.other) {
                return Err("a secret reached the origin".into());
            }
            messages.extend(strict::messages(tape)?);
        }
        if let Some(breach) = messages.iter().flat_map(strict::breaches).next() {
            return Err(breach);
        }
        let (innocents, mut others): (Vec<_>, Vec<_>) =
            messages.iter().partition(|message| is_innocent(&message.target));
        let mut seen: Vec<_> = innocents.iter().map(|message| normal(message)).collect();
        let form = |target: &String| format!("GET {target}|for 202|host: api.test||");
        let mut expected: Vec<_> = heard.innocents.iter().map(form).collect();
        // The last of them has a body over HTTP/1.1.
        if let Some(last) = seen.iter_mut().find(|text| text.ends_with("||innocent")) {
            *last = last.replace("POST", "GET").replace("|content-length: 8", "").replace("||innocent", "||");
        }
        seen.sort();
        expected.sort();
        if seen != expected {
            return Err(format!("of the innocent, the origin received {seen:?}, not {expected:?}"));
        }
        others.retain(|message| message.whole || !is_cut(case, message));
        let mut forwarded: Vec<_> = others.iter().map(|message| normal(message)).collect();
        let mut expected: Vec<_> = case.forwarded.iter().map(|text| written(text)).collect();
        forwarded.sort();
        expected.sort();
        if forwarded != expected {
            return Err(format!("the origin received {forwarded:?}, not {expected:?}"));
        }
        answered(case, heard, &others)
    }
}

/// The answer that is none or breaks off.
const CUT: &str = "cut";

/// Longer ones are sent at once.
const DRIPPED: usize = 2000;

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

fn served(innocent: &str, answer: &Answer) -> Result<(), String> {
    let (said, method) = (answer.said(), ["GET", "POST"]);
    let own = method.iter().any(|method| said == format!("{method} {innocent} for 202"));
    if answer.status == "200" && own {
        Ok(())
    } else {
        Err(format!("{innocent} was answered {} {said}", answer.status))
    }
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

fn ask(target: &str, secret: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: api.test\r\nAuthorization: Token {secret}\r\n\r\n").into_bytes()
}

fn tell(target: &str, secret: &str, body: &str) -> Vec<u8> {
    let head = format!("POST {target} HTTP/1.1\r\nHost: api.test\r\nAuthorization: Token {secret}\r\n");
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn fields(target: &str, secret: &str) -> Vec<(String, String)> {
    let mut fields = opening_fields("GET", target);
    fields.push(("authorization".into(), format!("Token {secret}")));
    fields
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
