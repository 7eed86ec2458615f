//! HTTP/2 clients that overdo it, as raw frames. Each costs its own connection, is counted, and nobody else notices.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::tls::{Pki, pki, text};
use super::*;

/// A client that speaks in frames.
struct Raw {
    stream: TlsStream<TcpStream>,
}

impl Raw {
    async fn connect(pki: &Pki, face: &Face) -> Self {
        let mut raw = Self { stream: pki.connect(face, "one.test", &[b"h2"]).await };
        raw.send(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(SETTINGS, 0, 0, b"")[..]].concat()).await;
        raw
    }

    /// Sends bytes, as far as the other side still takes any.
    async fn send(&mut self, bytes: &[u8]) {
        if self.stream.write_all(bytes).await.is_ok() {
            let _ = self.stream.flush().await;
        }
    }

    /// Everything until the other side ends the connection, in whatever manner.
    async fn rest(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let _ = tokio::time::timeout(BOUND, self.stream.read_to_end(&mut all)).await.expect("the connection goes on");
        all
    }

    /// Reads until `word` has come so often.
    async fn wait_for(&mut self, word: &[u8], times: usize) {
        let mut seen = Vec::new();
        while seen.windows(word.len()).filter(|window| *window == word).count() < times {
            let mut bytes = [0; 4096];
            let read = tokio::time::timeout(BOUND, self.stream.read(&mut bytes)).await.unwrap().unwrap();
            assert!(read > 0, "{seen:?}");
            seen.extend_from_slice(&bytes[..read]);
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The head of a request for `path`; nothing follows it where it is `last`.
fn request(stream: u32, path: &str, last: bool) -> Vec<u8> {
    // :method GET, :scheme https, :path, :authority (RFC 7541, appendix A).
    let mut block = vec![0x82, 0x87, 0x04, u8::try_from(path.len()).unwrap()];
    block.extend_from_slice(path.as_bytes());
    block.extend_from_slice(b"\x41\x08one.test");
    frame(HEADERS, END_HEADERS | if last { END_STREAM } else { 0 }, stream, &block)
}

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

/// The numbers a client gives its streams.
fn streams(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|number| 2 * number + 1)
}

/// What `flood` sends ends its connection, as a flood, and another client goes on being served.
async fn ends(face: &Face, pki: &Pki, flood: &[u8]) {
    let mut other = pki.http2(face, "one.test").await;
    assert_eq!(text(&mut other, "/worker").await, "0");
    let mut raw = Raw::connect(pki, face).await;
    raw.send(flood).await;
    raw.rest().await;
    face.wait_for_line(r#"keyward_client_connections_closed_total{reason="flood"} 1"#);
    face.wait_for_line(r#"keyward_parse_errors_total{reason="http2_flood"} 1"#);
    assert_eq!(text(&mut other, "/worker").await, "0");
    face.wait_for_line("keyward_client_connections 1");
}

#[tokio::test]
async fn streams_that_are_reset_before_they_are_looked_at() {
    let (pki, limit) = (pki(), 20);
    let mut case = pki.case();
    case.limits.pending_resets = limit;
    let flood: Vec<u8> =
        streams(1000).flat_map(|stream| [request(stream, "/wait", true), reset(stream)].concat()).collect();
    let face = case.start();
    ends(&face, &pki, &flood).await;
    assert!(face.begun.load(Ordering::SeqCst) < 100, "{}", face.begun.load(Ordering::SeqCst));
}

#[tokio::test]
async fn streams_that_are_reset_once_they_are_looked_at() {
    let pki = pki();
    let mut case = pki.case();
    case.limits.stream_resets = 10;
    let face = case.start();
    // Both on the flood's own worker: one whose request is in flight all the while, one that asks after each reset.
    let mut patient = Raw::connect(&pki, &face).await;
    patient.send(&request(1, "/wait", true)).await;
    face.wait_for_begun(1);
    let mut other = pki.http2(&face, "one.test").await;
    let mut raw = Raw::connect(&pki, &face).await;
    for (answered, stream) in streams(11).enumerate() {
        raw.send(&request(stream, "/wait", true)).await;
        face.wait_for_begun(2 * answered + 2);
        assert!(!face.metrics.render(Form::Prometheus).contains(r#"{reason="flood"} 1"#));
        raw.send(&reset(stream)).await;
        assert_eq!(text(&mut other, "/worker").await, "0");
    }
    raw.rest().await;
    face.wait_for_line(r#"keyward_client_connections_closed_total{reason="flood"} 1"#);
    face.wait_for_line("keyward_client_connections 2");
    face.gate.add_permits(1);
    patient.wait_for(b"waited", 1).await;
    assert_eq!(text(&mut other, "/worker").await, "0");
}

#[tokio::test]
async fn streams_that_we_are_made_to_reset() {
    let pki = pki();
    let mut case = pki.case();
    case.limits.error_resets = 10;
    let face = case.start();
    // A window that grows past what a window may be is an error of its stream (RFC 9113, 6.9.1).
    let update = |stream| frame(WINDOW_UPDATE, 0, stream, &0x7fff_ffff_u32.to_be_bytes());
    let mut raw = Raw::connect(&pki, &face).await;
    for (made, stream) in streams(10).enumerate() {
        raw.send(&[request(stream, "/wait", true), update(stream)].concat()).await;
        face.wait_for_line(&format!(r#"keyward_client_streams_reset_total{{reason="error"}} {}"#, made + 1));
    }
    raw.send(&[request(21, "/wait", true), update(21)].concat()).await;
    raw.rest().await;
    face.wait_for_closed("flood");
}

#[tokio::test]
async fn a_header_block_that_goes_on_without_end() {
    let pki = pki();
    let face = pki.case().start();
    let begun = frame(HEADERS, END_STREAM, 1, b"\x82\x87\x84\x41\x08one.test");
    // One long field, in pieces that each end within it.
    let more = frame(CONTINUATION, 0, 1, b"\x00\x01a\x01b");
    ends(&face, &pki, &[begun, more.repeat(20_000)].concat()).await;
    assert_eq!(face.begun.load(Ordering::SeqCst), 2);
}

/// A head of a byte for each of its `fields`, which all the same counts for 60 once unpacked (RFC 7541, 4.1).
fn short_and_large(stream: u32, fields: usize) -> Vec<u8> {
    let block = [&b"\x82\x87\x84\x41\x08one.test"[..], &vec![0x90; fields]].concat();
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block)
}

#[tokio::test]
async fn a_head_that_grows_when_it_is_unpacked() {
    let pki = pki();
    let face = pki.case().start();
    // Twice what is allowed is parsed, so that the handler can refuse it; four times that is a bomb.
    let mut raw = Raw::connect(&pki, &face).await;
    for (stream, count) in streams(3).zip(1..) {
        raw.send(&short_and_large(stream, 1500)).await;
        face.wait_for_line(&format!(r#"keyward_parse_errors_total{{reason="too_large"}} {count}"#));
    }
    face.wait_for_line("keyward_client_connections 1");
    drop(raw);
    face.wait_for_line("keyward_client_connections 0");
    ends(&face, &pki, &short_and_large(1, 6000)).await;
    assert_eq!(face.begun.load(Ordering::SeqCst), 2);
    face.wait_for_line(r#"keyward_parse_errors_total{reason="too_large"} 3"#);
}

#[tokio::test]
async fn data_frames_without_data() {
    let pki = pki();
    let face = pki.case().start();
    ends(&face, &pki, &[request(1, "/", false), frame(DATA, 0, 1, b"").repeat(1000)].concat()).await;
}

#[tokio::test]
async fn frames_that_ask_nothing() {
    let pki = pki();
    for flood in [
        frame(PING, 0, 0, &[0; 8]),
        frame(SETTINGS, 0, 0, b""),
        frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 16]),
        frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()),
        frame(200, 0, 0, b"nobody knows this one"),
    ] {
        let mut case = pki.case();
        case.limits.control_frames = 200;
        let face = case.start();
        ends(&face, &pki, &flood.repeat(2000)).await;
    }
}

#[tokio::test]
async fn a_client_within_its_bounds_goes_on() {
    let pki = pki();
    let mut case = pki.case();
    case.limits.control_frames = 200;
    let face = case.start();
    let mut raw = Raw::connect(&pki, &face).await;
    raw.send(&frame(PING, 0, 0, &[7; 8]).repeat(150)).await;
    for (stream, begun) in streams(50).zip(1..) {
        // An update and a priority for each request are what some clients send.
        raw.send(&[frame(PRIORITY, 0, stream, &[0, 0, 0, 0, 16]), request(stream, "/worker", true)].concat()).await;
        raw.send(&frame(WINDOW_UPDATE, 0, 0, &100_u32.to_be_bytes()).repeat(5)).await;
        face.wait_for_begun(begun);
    }
    face.wait_for_line("keyward_client_connections 1");
}

#[tokio::test]
async fn a_stream_more_than_may_be_is_refused_and_the_others_are_answered() {
    let pki = pki();
    let mut case = pki.case();
    case.limits.streams = 2;
    let face = case.start();
    let mut raw = Raw::connect(&pki, &face).await;
    raw.send(&streams(3).flat_map(|stream| request(stream, "/wait", true)).collect::<Vec<_>>()).await;
    face.wait_for_line(r#"keyward_client_streams_reset_total{reason="refused"} 1"#);
    face.wait_for_begun(2);
    face.gate.add_permits(2);
    raw.send(&frame(PING, 0, 0, b"all done")).await;
    raw.wait_for(b"waited", 2).await;
    assert_eq!(face.begun.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_stream_whose_last_bytes_are_not_taken_is_ended_too() {
    let pki = pki();
    let mut case = pki.case();
    case.timeouts.write_stall = SHORT;
    let face = case.start();
    let mut raw = Raw::connect(&pki, &face).await;
    // A window of one byte for each stream (RFC 9113, 6.5.2), and an answer that comes all at once.
    let one_byte = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 1]);
    raw.send(&[one_byte, request(1, "/large", true)].concat()).await;
    face.wait_for_line(r#"keyward_client_streams_reset_total{reason="write_stall"} 1"#);
    face.wait_for_line("keyward_client_connections 1");
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
