//! TLS in front: who is shown what, and HTTP/2 behind it.

use std::path::Path;

use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::net::config::{CertificateFiles, Terms};
use crate::net::newest::Newest;

/// Two certificates, and clients that trust both.
pub(super) struct Pki {
    _folder: tempfile::TempDir,
    server: ServerTls,
    roots: Arc<RootCertStore>,
}

pub(super) fn pki() -> Pki {
    let folder = tempfile::tempdir().unwrap();
    let mut roots = RootCertStore::empty();
    let files = ["one.test", "two.test"].map(|name| certificate(folder.path(), name, &mut roots));
    let server = ServerTls::load(&files, "server.certificates").unwrap();
    Pki { _folder: folder, server, roots: Arc::new(roots) }
}

fn certificate(folder: &Path, name: &str, roots: &mut RootCertStore) -> CertificateFiles {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let (chain, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
    std::fs::write(&chain, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    roots.add(CertificateDer::from_pem_file(&chain).unwrap()).unwrap();
    CertificateFiles { chain_file: Some(chain), key_file: Some(key) }
}

impl Pki {
    pub(super) fn case(&self) -> Case {
        Case { tls: Some(self.server.clone()), ..Case::default() }
    }

    pub(super) async fn connect(&self, face: &Face, name: &str, alpn: &[&[u8]]) -> TlsStream<tokio::net::TcpStream> {
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(Arc::clone(&self.roots))
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        let stream = tokio::net::TcpStream::connect(face.address).await.unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }

    pub(super) async fn http2(&self, face: &Face, name: &str) -> http2::SendRequest<Full<Bytes>> {
        self.http2_with_end(face, name).await.0
    }

    /// An HTTP/2 client, and how its connection ended.
    async fn http2_with_end(
        &self,
        face: &Face,
        name: &str,
    ) -> (http2::SendRequest<Full<Bytes>>, tokio::task::JoinHandle<hyper::Result<()>>) {
        let stream = self.connect(face, name, &[b"h2"]).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .handshake(TokioIo::new(stream))
            .await
            .unwrap();
        (sender, tokio::spawn(connection))
    }
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(format!("https://one.test{path}")).body(Full::default()).unwrap()
}

pub(super) async fn text(sender: &mut http2::SendRequest<Full<Bytes>>, path: &str) -> String {
    let answer = sender.send_request(get(path)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn sni_picks_the_certificate_and_alpn_the_protocol() {
    let pki = pki();
    let face = pki.case().start();
    for name in ["one.test", "two.test"] {
        // The client checks that the certificate is for this name.
        let mut client = pki.http2(&face, name).await;
        assert_eq!(text(&mut client, "/name").await, format!("Some({name:?}) true"));
        assert_eq!(text(&mut client, &format!("/serves?{name}")).await, "true");
        let other = if name == "one.test" { "two.test" } else { "one.test" };
        assert_eq!(text(&mut client, &format!("/serves?{other}")).await, "false");
    }
    for alpn in [&[b"http/1.1".as_slice()][..], &[]] {
        let mut client = pki.connect(&face, "two.test", alpn).await;
        client.write_all(b"GET /name HTTP/1.1\r\nhost: two.test\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("two.test"), "{answer}");
    }
}

#[tokio::test]
async fn a_body_goes_there_and_back_over_http2() {
    let pki = pki();
    let face = pki.case().start();
    let mut client = pki.http2(&face, "one.test").await;
    let sent = Bytes::from(vec![b'x'; 3 * 1024 * 1024]);
    let request = Request::post("https://one.test/").body(Full::new(sent.clone())).unwrap();
    let answer = client.send_request(request).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), sent);
}

#[tokio::test]
async fn an_http2_client_without_a_preface_is_freed() {
    let pki = pki();
    let mut case = pki.case();
    case.timeouts.header = SHORT;
    let face = case.start();
    let mut client = pki.connect(&face, "one.test", &[b"h2"]).await;
    // The server's own settings come; then the connection ends, in whatever manner.
    let _ = tokio::time::timeout(BOUND, client.read_to_end(&mut Vec::new())).await.unwrap();
    face.wait_for_closed("header_timeout");
}

#[tokio::test]
async fn an_idle_http2_connection_is_told_and_freed() {
    let pki = pki();
    let mut case = pki.case();
    case.timeouts.idle = SHORT;
    let face = case.start();
    let (mut client, end) = pki.http2_with_end(&face, "one.test").await;
    text(&mut client, "/name").await;
    // An end without a GOAWAY would be an error to the client.
    tokio::time::timeout(BOUND, end).await.unwrap().unwrap().unwrap();
    face.wait_for_closed("idle_timeout");
}

#[tokio::test]
async fn a_connection_that_has_had_its_requests_is_told_and_ends() {
    let pki = pki();
    let mut case = pki.case();
    case.limits.connection_requests = 2;
    let face = case.start();
    let (mut client, end) = pki.http2_with_end(&face, "one.test").await;
    for _ in 0..2 {
        assert_eq!(text(&mut client, "/worker").await, "0");
    }
    tokio::time::timeout(BOUND, end).await.unwrap().unwrap().unwrap();
    face.wait_for_closed("requests");
}

#[tokio::test]
async fn one_stream_that_is_not_read_is_ended_and_its_connection_lives_on() {
    let pki = pki();
    let mut case = pki.case();
    case.timeouts.write_stall = SHORT;
    let face = case.start();
    let mut client = pki.http2(&face, "one.test").await;
    let stalled = client.send_request(get("/endless")).await.unwrap();
    face.wait_for_line(r#"keyward_client_streams_reset_total{reason="write_stall"} 1"#);
    let end = tokio::time::timeout(BOUND, stalled.into_body().collect()).await.unwrap();
    assert!(end.is_err());
    assert_eq!(text(&mut client, "/worker").await, "0");
}

#[test]
fn a_client_that_does_not_shake_hands_is_freed() {
    let pki = pki();
    let mut case = pki.case();
    case.timeouts.tls_handshake = SHORT;
    let face = case.start();
    let mut client = face.connect();
    assert!(read_to_close(&mut client).is_empty());
    face.wait_for_closed("handshake_timeout");
    face.wait_for_line(r#"keyward_tls_handshake_failures_total{reason="timeout"} 1"#);
}

#[tokio::test]
async fn a_silent_handshake_makes_way_where_there_is_no_room_for_another() {
    let pki = pki();
    let mut case = pki.case();
    case.limits.handshakes = 1;
    let face = case.start();
    let mut silent = face.connect();
    face.wait_for_line("keyward_client_connections 1");
    let mut client = pki.http2(&face, "one.test").await;
    assert_eq!(text(&mut client, "/worker").await, "0");
    assert!(read_to_close(&mut silent).is_empty());
    face.wait_for_line(r#"keyward_client_connections_limited_total{limit="handshakes"} 1"#);
    face.wait_for_line(r#"keyward_client_connections_closed_total{reason="handshake_timeout"} 1"#);
    // Those that are done take no place.
    let mut other = pki.http2(&face, "two.test").await;
    assert_eq!(text(&mut other, "/worker").await, "0");
    assert_eq!(text(&mut client, "/worker").await, "0");
}

#[test]
fn plain_http_on_a_tls_port_is_counted_as_such() {
    let pki = pki();
    let face = pki.case().start();
    let mut client = face.connect();
    client.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
    read_to_close(&mut client);
    face.wait_for_line(r#"keyward_tls_handshake_failures_total{reason="not_tls"} 1"#);
}

#[tokio::test]
async fn an_http2_request_in_flight_survives_the_drain() {
    let pki = pki();
    let face = pki.case().start();
    let mut client = pki.http2(&face, "one.test").await;
    let mut waiting = Box::pin(client.send_request(get("/wait")));
    let gate = Arc::clone(&face.gate);
    let begun = async {
        while face.begun.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(PAUSE).await
        }
    };
    tokio::select! {
        _ = &mut waiting => panic!("answered too early"),
        () = begun => {}
    }
    let drain = face.drain.clone();
    let draining = tokio::spawn(face.workers.drain(Duration::ZERO, BOUND));
    drain.reached(super::super::drain::Stage::Closing).await;
    gate.add_permits(1);
    let answer = waiting.await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "waited");
    assert_eq!(draining.await.unwrap().cut, 0);
}

#[test]
fn a_tls_listener_without_a_certificate_does_not_start() {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let wanted = Wanted { address, protocol: Protocol::Tls, proxied: false, setting: "server.tls_listen.0".to_owned() };
    let listeners = Listeners::bind(&[wanted], 1, BOUND).unwrap();
    let plain = Case::default();
    let setup = Setup {
        name: "keyward-test",
        terms: Newest::new(Terms {
            limits: plain.limits,
            timeouts: plain.timeouts,
            exempt: Arc::default(),
            proxies: Arc::default(),
        }),
        tls: None,
        metrics: Metrics::new(Names::default()),
        clock: Clock::System,
        drain: Drain::new(),
    };
    let make = |number| Scripted { number, gate: Arc::new(Semaphore::new(0)), begun: Arc::new(AtomicUsize::new(0)) };
    let failed = Workers::start(&setup, listeners, make).err().unwrap();
    assert!(std::error::Error::source(&failed).unwrap().to_string().contains("no certificate"));
}
