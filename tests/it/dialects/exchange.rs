//! Exchanges written down beforehand, and the promise that they happen so, byte for byte. Their form is in
//! `tests/fixtures/dialects/dbt/README.md`.

use std::collections::HashMap;
use std::net::SocketAddr;

use crate::support::{Answer, Wire};

/// What stands for the parts that nobody knows beforehand.
pub(crate) type Known = HashMap<String, String>;

struct Exchange<'a> {
    method: &'a str,
    path: &'a str,
    headers: Vec<(&'a str, &'a str)>,
    body: String,
    status: u16,
    answer_headers: Vec<(&'a str, &'a str)>,
    answer: &'a str,
}

/// Carries out the exchanges of a file one after the other, and gives how many there were.
pub(crate) fn play(name: &str, text: &str, address: SocketAddr, known: &mut Known) -> usize {
    let mut count = 0;
    for part in text.split("###\n") {
        let exchange = read(part);
        let place = format!("{name}: {} {}", exchange.method, exchange.path);
        assert!(part.starts_with("# source: "), "{place} does not name its source");
        let answer = exchange.ask(address, known);
        let said = answer.text();
        assert_eq!(answer.status, exchange.status, "{place}: {said}");
        for (name, value) in &exchange.answer_headers {
            assert!(answer.all(name).contains(value), "{place}: {name}: {value}: {:?}", answer.headers);
        }
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{place}");
        assert_fits(&place, &said, exchange.answer, known);
        count += 1;
    }
    count
}

fn read(part: &str) -> Exchange<'_> {
    let mut lines = part.lines().skip_while(|line| line.starts_with('#'));
    let (method, path) = lines.next().and_then(|line| line.split_once(' ')).expect("a request line");
    let mut head = || -> Vec<(&str, &str)> {
        let lines = lines.by_ref().take_while(|line| !line.is_empty());
        lines.map(|line| line.split_once(": ").unwrap_or_else(|| panic!("no header: {line}"))).collect()
    };
    let headers = head();
    let is_status = |line: &&str| line.len() == 3 && line.bytes().all(|byte| byte.is_ascii_digit());
    // Lines of a multipart body end as RFC 2046 wants them.
    let end = if headers.iter().any(|(_, value)| value.starts_with("multipart/")) { "\r\n" } else { "\n" };
    let mut body = Vec::new();
    let status = loop {
        match lines.next().expect("a status") {
            line if is_status(&line) => break line.parse().unwrap(),
            line => body.push(line),
        }
    };
    while body.last().is_some_and(|line| line.is_empty()) {
        body.pop();
    }
    let mut answer_headers = Vec::new();
    for line in lines.by_ref().take_while(|line| !line.is_empty()) {
        answer_headers.push(line.split_once(": ").unwrap());
    }
    let answer = lines.next().unwrap_or_default();
    assert_eq!(lines.next(), None, "an answer is one line");
    let body = if end == "\r\n" { body.join(end) + end } else { body.join(end) };
    Exchange { method, path, headers, body, status, answer_headers, answer }
}

impl Exchange<'_> {
    fn ask(&self, address: SocketAddr, known: &Known) -> Answer {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: dbt.test\r\n", self.method, filled(self.path, known));
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {}\r\n", filled(value, known)));
        }
        if !self.body.is_empty() {
            head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        let mut wire = Wire::connect(address);
        wire.send(head + "\r\n" + &self.body);
        wire.answer(self.method)
    }
}

/// A name in braces; JSON has none, since there a quotation mark or another brace follows.
fn hole(text: &str) -> Option<(&str, &str)> {
    let rest = text.strip_prefix('{')?;
    let (name, rest) = rest.split_once('}')?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.';
    (!name.is_empty() && name.chars().all(plain)).then_some((name, rest))
}

fn filled(text: &str, known: &Known) -> String {
    let (mut whole, mut rest) = (String::new(), text);
    while let Some(next) = rest.chars().next() {
        if let Some((name, after)) = hole(rest) {
            whole.push_str(known.get(name).unwrap_or_else(|| panic!("{name} is not known")));
            rest = after;
        } else {
            whole.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    whole
}

/// Holds an answer to what was expected, and learns from it what was not known.
fn assert_fits(place: &str, said: &str, expected: &str, known: &mut Known) {
    let (mut left, mut rest) = (said, expected);
    while !rest.is_empty() {
        let differs = |left: &str| panic!("{place}\n  says {said}\n   not {expected}\n  from {left}");
        if let Some((name, after)) = hole(rest) {
            let end = left.find(|c: char| !is_of(name, c)).unwrap_or(left.len());
            let value = &left[..end];
            match known.get(name) {
                Some(known) if left.starts_with(known.as_str()) => left = &left[known.len()..],
                Some(_) => differs(left),
                None if is_whole(name, value) => {
                    learn(known, name, value);
                    left = &left[end..];
                }
                None => differs(left),
            }
            rest = after;
        } else {
            let next = rest.chars().next().unwrap_or_default();
            match left.strip_prefix(next) {
                Some(after) => left = after,
                None => differs(left),
            }
            rest = &rest[next.len_utf8()..];
        }
    }
    assert_eq!(left, "", "{place} says more than {expected}");
}

fn is_of(name: &str, c: char) -> bool {
    match name.rsplit('.').next() {
        Some("id") => c.is_ascii_digit(),
        Some("time") => c.is_ascii_digit() || "-:.+T".contains(c),
        _ => c.is_ascii_alphanumeric() || c == '_',
    }
}

fn is_whole(name: &str, value: &str) -> bool {
    match name.rsplit('.').next() {
        Some("id") => !value.is_empty(),
        Some("time") => {
            let form = "dddd-dd-ddTdd:dd:dd.dddddd+00:00";
            let same = |(said, form): (char, char)| said == form || (form == 'd' && said.is_ascii_digit());
            value.len() == form.len() && value.chars().zip(form.chars()).all(same)
        }
        Some("uid") => value.len() == 12,
        Some("secret") => value.rsplit('_').next().is_some_and(|body| body.len() == 50),
        _ => false,
    }
}

/// A secret tells its hint, and the part of it that is public.
fn learn(known: &mut Known, name: &str, value: &str) {
    let (stem, part) = name.rsplit_once('.').unwrap_or(("", name));
    match part {
        "time" => {}
        "secret" => {
            let body = &value[value.len() - 50..];
            assert_eq!(known.get(&format!("{stem}.uid")).map_or(&body[..12], String::as_str), &body[..12]);
            know(known, stem, value);
        }
        _ => drop(known.insert(name.to_owned(), value.to_owned())),
    }
}

/// Makes a secret known by this name.
pub(crate) fn know(known: &mut Known, stem: &str, secret: &str) {
    known.insert(format!("{stem}.secret"), secret.to_owned());
    known.insert(format!("{stem}.hint"), secret[secret.len() - 4..].to_owned());
}
