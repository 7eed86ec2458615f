//! The PROXY protocol, as a balancer that forwards bytes speaks it.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::keyward::binary;
use crate::support::origin::value;
use crate::support::pki::Root;
use crate::support::tls::Tls;
use crate::support::{Keyward, Minted, Origin, Wire, eventually, keyward};

/// One way in.
struct Door {
    name: &'static str,
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    http2: bool,
}

/// A keyward whose addresses are all for the PROXY protocol, and a key for 192.0.2.0/24 alone.
struct Started {
    keyward: Keyward,
    origin: Origin,
    key: Minted,
    root: Root,
}

fn started(more: &str) -> Started {
    let (setup, origin) = (keyward(), Origin::plain());
    let root = Root::new(setup.folder());
    let files = root.certificate(setup.folder(), &["one.test"]);
    let config = format!(
        "{more}\n[server]\nlisten = [\"127.0.0.1:0\"]\nhttp2_listen = [\"127.0.0.1:0\"]\ntls_listen = [\"127.0.0.1:0\"]\n\
         proxy_protocol = [\"127.0.0.1:0\"]\ntrusted_proxies = [\"127.0.0.0/8\"]\n\
         [[server.certificates]]\nchain_file = {:?}\nkey_file = {:?}\n\
         [services.api]\nurl = \"{}\"\n\
         [[routes]]\npath = \"/open/**\"\nservice = \"api\"\nopen = true\n\
         [[routes]]\npath = \"/**\"\nservice = \"api\"\n",
        files.chain,
        files.key,
        origin.url()
    );
    let keyward = setup.config(config).start();
    keyward.account("101");
    let key = keyward.service_key("101", &["--allow-ip", "192.0.2.0/24"]);
    Started { keyward, origin, key, root }
}

impl Started {
    fn doors(&self) -> [Door; 4] {
        let keyward = &self.keyward;
        let tls = |alpn: &str| {
            let mut config = ClientConfig::clone(&Tls::trusting(&self.root).0);
            config.alpn_protocols = vec![alpn.into()];
            Some(Arc::new(config))
        };
        [
            Door { name: "plain", address: keyward.address(), tls: None, http2: false },
            Door { name: "h2c", address: keyward.http2_address(), tls: None, http2: true },
            Door { name: "tls", address: keyward.tls_address(), tls: tls("http/1.1"), http2: false },
            Door { name: "h2", address: keyward.tls_address(), tls: tls("h2"), http2: true },
        ]
    }

    /// A connection without TLS that begins so.
    fn begun(&self, header: impl AsRef<[u8]>) -> Wire {
        let mut wire = self.keyward.wire();
        wire.send(header);
        wire
    }

    /// Waits until a counter says so.
    fn expect_count(&self, name: &str, reason: &str, count: u64) {
        let series = format!("{name}{{reason=\"{reason}\"}}");
        eventually(&format!("{series} {count}"), || self.keyward.metric(&series) == count);
    }
}

/// GET over a connection that begins with this header; the status.
fn get(door: &Door, header: &[u8], path: &str, token: &str) -> u16 {
    let request = Request::get(format!("http://one.test{path}")).header("host", "one.test");
    // What its client says of itself counts for nothing.
    let request = request.header("authorization", token).header("x-forwarded-for", "203.0.113.9");
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut stream = TcpStream::connect(door.address).await.unwrap();
        stream.write_all(header).await.unwrap();
        let Some(config) = &door.tls else { return exchange(stream, door.http2, request).await };
        let name = ServerName::try_from("one.test").unwrap();
        let stream = TlsConnector::from(Arc::clone(config)).connect(name, stream).await.unwrap();
        exchange(stream, door.http2, request).await
    })
}

async fn exchange<S>(stream: S, http2: bool, request: Request<Empty<Bytes>>) -> u16
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = TokioIo::new(stream);
    let answer = if http2 {
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await
    } else {
        let (mut sender, connection) = http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await
    };
    answer.unwrap().status().as_u16()
}

/// v1 of 192.0.2.7.
const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n";

/// v2 of the same, with something more behind the addresses.
const BYTES: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10\xc0\0\x02\x07\xc6\x33\x64\x01\x12\x67\x01\xbb\x04\0\x01\x2a";

const NOT_READ: &str = "keyward_parse_errors_total";
const CLOSED: &str = "keyward_client_connections_closed_total";

#[test]
fn the_client_that_is_told_is_the_client_over_every_protocol() {
    let started = started("");
    let token = format!("Token {}", started.key.secret);
    for door in started.doors() {
        for (version, header, status) in
            [("v1", LINE, 200), ("v2", BYTES, 200), ("another", b"PROXY TCP4 198.51.100.9 192.0.2.1 1 2\r\n", 403)]
        {
            let path = format!("/{}/{version}", door.name);
            assert_eq!(get(&door, header, &path, &token), status, "{path}");
            let logged = &started.keyward.logged(&path, 1)[0];
            let client = if status == 200 { "192.0.2.7" } else { "198.51.100.9" };
            assert_eq!(logged["client"], client, "{path}: {logged}");
            if status == 200 {
                let head = started.origin.last();
                assert!(head.starts_with(&format!("GET {path} ")), "{head}");
                assert_eq!(value(&head, "x-forwarded-for"), Some(client), "{path}");
            }
        }
    }
    assert_eq!(started.keyward.metric(NOT_READ), 0);
}

#[test]
fn a_header_may_come_byte_by_byte_or_with_what_follows() {
    let started = started("");
    let request = format!("GET /a HTTP/1.1\r\nHost: a\r\nAuthorization: Token {}\r\n\r\n", started.key.secret);
    for header in [LINE, BYTES] {
        let all = [header, request.as_bytes()].concat();
        let mut wire = started.begun(&all[..1]);
        all[1..].iter().for_each(|byte| wire.send([*byte]));
        assert_eq!(wire.answer("GET").status, 200, "{header:?}");
        let mut wire = started.begun(&all);
        assert_eq!(wire.answer("GET").status, 200, "{header:?}");
        // It comes once a connection.
        assert_eq!(wire.get("/a", &started.key.secret).status, 200);
        wire.send(header);
        assert_eq!(wire.answer("GET").status, 400);
    }
}

#[test]
fn curl_speaks_it() {
    let started = started("");
    for (address, arguments) in [
        (started.keyward.address(), &["--http1.1"][..]),
        (started.keyward.http2_address(), &["--http2-prior-knowledge"]),
    ] {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--haproxy-protocol", "--output", "/dev/null"])
            .args(["--write-out", "%{http_code}"])
            .args(arguments)
            .arg(format!("http://{address}/open/curl"))
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "200", "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(started.keyward.logged("/open/curl", 2)[0]["client"], "127.0.0.1");
}

#[test]
fn nothing_is_served_without_a_header_where_one_has_to_come() {
    let started = started("");
    let mut wire = started.begun("GET /open/a HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n");
    assert!(wire.is_closed_unanswered());
    started.expect_count(NOT_READ, "proxy_header", 1);
    for (count, door) in started.doors().into_iter().skip(1).enumerate() {
        let mut wire = Wire::connect(door.address);
        wire.send(if door.tls.is_some() { &b"\x16\x03\x01\x02\0"[..] } else { b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" });
        assert!(wire.is_closed_unanswered(), "{}", door.name);
        started.expect_count(NOT_READ, "proxy_header", count as u64 + 2);
    }
    assert!(started.origin.seen().heads.is_empty());
}

#[test]
fn what_is_no_header_ends_its_connection_and_is_counted() {
    let started = started("");
    let longer = |length: u16| [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11"[..], &length.to_be_bytes()].concat();
    let endless = [&b"PROXY UNKNOWN "[..], &[b'x'; 107]].concat();
    let (malformed, large) = ("proxy_header", "proxy_header_too_large");
    let cases: [(&[u8], &str, u64); 7] = [
        (b"\xff\0garbage", malformed, 1),
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 4711\r\n", malformed, 2),
        (b"PROXY TCP4 192.0.2.777 198.51.100.1 4711 443\r\n", malformed, 3),
        (b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0", malformed, 4),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x04\xc0\0\x02\x07", malformed, 5),
        (&longer(2049), large, 1),
        (&endless, large, 2),
    ];
    for (header, reason, count) in cases {
        assert!(started.begun(header).is_closed_unanswered(), "{}", header.escape_ascii());
        started.expect_count(NOT_READ, reason, count);
    }
    started.expect_count(CLOSED, "malformed", 7);
    // The longest that may be.
    let mut wire = started.begun([&longer(2048)[..], &BYTES[16..28], &[0; 2048 - 12]].concat());
    assert_eq!(wire.get("/a", &started.key.secret).status, 200);
}

#[test]
fn who_is_silent_before_or_within_a_header_is_closed_in_time() {
    let started = started("[server.timeouts]\nfirst_byte = \"200ms\"\nheader = \"200ms\"\n");
    assert!(started.keyward.wire().is_ended());
    started.expect_count(CLOSED, "first_byte_timeout", 1);
    for (count, header) in [(1, &LINE[..20]), (2, &BYTES[..20])] {
        assert!(started.begun(header).is_ended());
        started.expect_count(CLOSED, "header_timeout", count);
    }
}

#[test]
fn a_client_that_its_proxy_does_not_know_cannot_say_who_it_is() {
    let started = started("");
    for header in [&b"PROXY UNKNOWN\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\0"] {
        let mut wire = started.begun(header);
        let token = format!("Token {}", started.key.secret);
        let said = [("Authorization", token.as_str()), ("X-Forwarded-For", "192.0.2.7")];
        let answer = wire.ask("GET", "/a", &said);
        assert_eq!((answer.status, answer.code().as_str()), (403, "IP_NOT_ALLOWED"));
        assert_eq!(wire.ask("GET", "/open/a", &said).status, 200);
        assert_eq!(value(&started.origin.last(), "x-forwarded-for"), Some("127.0.0.1"));
    }
    // One that it knows, and that is a trusted proxy, may go on telling.
    let mut wire = started.begun("PROXY TCP4 127.0.0.9 198.51.100.1 4711 443\r\n");
    assert_eq!(wire.ask("GET", "/open/a", &[("X-Forwarded-For", "192.0.2.7")]).status, 200);
    assert_eq!(value(&started.origin.last(), "x-forwarded-for"), Some("192.0.2.7, 127.0.0.9"));
}

#[test]
fn a_header_from_a_network_that_is_not_trusted_is_not_read() {
    let (keyward, _origin) = other("proxy_protocol = [\"127.0.0.1:0\"]\ntrusted_proxies = [\"192.0.2.0/24\"]\n");
    let mut wire = keyward.wire();
    assert!(wire.is_ended());
    let mut wire = keyward.wire();
    // It may be closed already.
    wire.try_send(LINE);
    assert!(wire.is_closed_unanswered());
    let series = format!("{CLOSED}{{reason=\"untrusted\"}}");
    eventually("both are counted", || keyward.metric(&series) == 2);
    keyward.stderr.expect("no trusted proxy");
}

#[test]
fn a_header_where_none_has_to_come_is_no_request() {
    let (keyward, origin) = other("trusted_proxies = [\"127.0.0.0/8\"]\n");
    for header in [LINE, BYTES] {
        let mut wire = keyward.wire();
        wire.send([header, b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
        assert_eq!(wire.answer("GET").status, 400, "{header:?}");
        assert!(wire.is_closed_unanswered());
    }
    assert!(origin.seen().heads.is_empty());
}

/// A keyward with one address and one open route, and its origin.
fn other(more: &str) -> (Keyward, Origin) {
    let origin = Origin::plain();
    let config = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\n{more}[services.api]\nurl = \"{}\"\n\
         [[routes]]\npath = \"/**\"\nservice = \"api\"\nopen = true\n",
        origin.url()
    );
    (keyward().config(config).start(), origin)
}

#[test]
fn addresses_that_are_none_of_ours_and_proxies_that_are_nobody_are_told_at_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keyward.toml");
    let listen = "listen = [\"127.0.0.1:8080\"]\nproxy_protocol = [\"127.0.0.1:8080\", \"127.0.0.1:8081\"]\n";
    std::fs::write(&file, format!("[server]\n{listen}[services.api]\nurl = \"echo\"\n")).unwrap();
    let output = binary().args(["validate", "--config"]).arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8_lossy(&output.stderr);
    for told in [
        "keyward.toml:3:1: server.proxy_protocol: nobody may send the header",
        "keyward.toml:3:37: server.proxy_protocol.1: 127.0.0.1:8081 is none of `listen`",
    ] {
        assert!(said.contains(told), "{told:?} is not in\n{said}");
    }
}
