//! The whole of `net` over real sockets on port 0: a handler that does what the path says, and the clients it meets.

mod clear;
mod drain;
mod floods;
mod limits;
mod proxied;
mod rest;
mod small;
mod stages;
mod tls;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use http::StatusCode;
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::sync::Semaphore;

use super::config::{Config, Limits, Terms, Timeouts};
use super::drain::Drain;
use super::listen::{Listeners, Protocol, Wanted};
use super::newest::Newest;
use super::tls::ServerTls;
use super::worker::{Drained, Setup, WorkerFailed, Workers};
use super::*;
use crate::clock::Clock;
use crate::measure::Span;
use crate::telemetry::exposition::Form;
use crate::telemetry::metrics::{Metrics, Names};

/// Answers what the path says.
struct Scripted {
    number: usize,
    gate: Arc<Semaphore>,
    begun: Arc<AtomicUsize>,
}

impl Handler for Scripted {
    type Body = Text;

    async fn handle(self: Rc<Self>, peer: Rc<Peer>, request: Request<Incoming>) -> Response<Text> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        match request.uri().path() {
            "/worker" => Response::new(Text::Once(Some(self.number.to_string().into()))),
            "/name" => {
                let name = peer.tls.as_ref().and_then(|tls| tls.server_name.as_deref());
                Response::new(Text::Once(Some(format!("{:?} {}", name, peer.secure()).into())))
            }
            "/address" => Response::new(Text::Once(Some(format!("{} {}", peer.address, peer.may_tell).into()))),
            "/serves" => {
                let host = request.uri().query().unwrap_or_default();
                let serves = peer.tls.as_ref().is_some_and(|tls| tls.serves(host));
                Response::new(Text::Once(Some(serves.to_string().into())))
            }
            "/wait" => {
                let _passed = self.gate.acquire().await.unwrap();
                Response::new(Text::Once(Some("waited".into())))
            }
            "/last" => {
                peer.close_soon();
                Response::new(Text::Once(Some("last".into())))
            }
            "/refuse" => {
                let mut response = Response::new(Text::Once(Some("refused".into())));
                *response.status_mut() = StatusCode::UNAUTHORIZED;
                response
            }
            "/large" => Response::new(Text::Once(Some(vec![b'.'; 100 * 1024].into()))),
            "/endless" => Response::new(Text::Endless),
            "/panic" => panic!("asked to"),
            _ => {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                Response::new(Text::Once(Some(body)))
            }
        }
    }
}

/// A body for tests.
enum Text {
    Once(Option<Bytes>),
    Endless,
}

impl Body for Text {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(match &mut *self {
            Self::Once(text) => text.take().map(|text| Ok(Frame::data(text))),
            Self::Endless => Some(Ok(Frame::data(Bytes::from_static(&[b'.'; 16 * 1024])))),
        })
    }
}

/// A running face.
struct Face {
    address: SocketAddr,
    workers: Workers,
    metrics: Arc<Metrics>,
    drain: Drain,
    gate: Arc<Semaphore>,
    begun: Arc<AtomicUsize>,
}

/// What differs from test to test.
struct Case {
    workers: usize,
    limits: Limits,
    timeouts: Timeouts,
    exempt: Vec<ipnet::IpNet>,
    /// Where there are any, the address is for the PROXY protocol.
    proxies: Vec<ipnet::IpNet>,
    tls: Option<ServerTls>,
    /// HTTP/2 where there is no TLS.
    clear_http2: bool,
    clock: Clock,
}

impl Default for Case {
    fn default() -> Self {
        let long = Span(Duration::from_secs(600));
        let timeouts = Timeouts {
            tls_handshake: long,
            first_byte: long,
            header: long,
            idle: long,
            body_idle: long,
            write_stall: long,
            connection_age: Span(Duration::ZERO),
            drain_min: long,
            drain_max: long,
        };
        let limits = Config::of_reference().limits;
        let (exempt, proxies, clock) = (Vec::new(), Vec::new(), Clock::System);
        Self { workers: 1, limits, timeouts, exempt, proxies, tls: None, clear_http2: false, clock }
    }
}

impl Case {
    fn start(self) -> Face {
        self.try_start(|handler| handler).unwrap()
    }

    fn try_start(self, made: impl Fn(Scripted) -> Scripted + Send + Clone + 'static) -> Result<Face, WorkerFailed> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let protocol = match (&self.tls, self.clear_http2) {
            (Some(_), _) => Protocol::Tls,
            (None, true) => Protocol::Http2,
            (None, false) => Protocol::Http1,
        };
        let proxied = !self.proxies.is_empty();
        let wanted = Wanted { address, protocol, proxied, setting: "server.listen.0".to_owned() };
        let listeners = Listeners::bind(&[wanted], self.workers, Duration::from_secs(600)).unwrap();
        let address = listeners.bound()[0].address;
        let (metrics, drain) = (Metrics::new(Names::default()), Drain::new());
        let setup = Setup {
            name: "keyward-test",
            terms: Newest::new(Terms {
                limits: self.limits,
                timeouts: self.timeouts,
                exempt: self.exempt.into(),
                proxies: self.proxies.into(),
            }),
            tls: self.tls,
            metrics: Arc::clone(&metrics),
            clock: self.clock,
            drain: drain.clone(),
        };
        let (gate, begun) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let (gate_of_all, begun_of_all) = (Arc::clone(&gate), Arc::clone(&begun));
        let workers = Workers::start(&setup, listeners, move |number| {
            made(Scripted { number, gate: Arc::clone(&gate_of_all), begun: Arc::clone(&begun_of_all) })
        })?;
        Ok(Face { address, workers, metrics, drain, gate, begun })
    }
}

impl Face {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(BOUND)).unwrap();
        stream.set_write_timeout(Some(BOUND)).unwrap();
        stream
    }

    /// Waits until a line of the scrape says so.
    fn wait_for_line(&self, line: &str) {
        wait_until(line, || self.metrics.render(Form::Prometheus).lines().any(|have| have == line));
    }

    fn wait_for_closed(&self, reason: &str) {
        self.wait_for_line(&format!(r#"keyward_client_connections_closed_total{{reason="{reason}"}} 1"#));
        self.wait_for_line("keyward_client_connections 0");
    }

    fn wait_for_begun(&self, requests: usize) {
        wait_until("requests begin", || self.begun.load(Ordering::SeqCst) >= requests);
    }

    fn drain(self, max: Duration) -> Drained {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(self.workers.drain(Duration::ZERO, max))
    }
}

/// Asks and reads one answer with a Content-Length or none.
fn ask(stream: &mut TcpStream, path: &str) -> String {
    write!(stream, "GET {path} HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
    read_answer(stream)
}

/// Reads up to the end of a chunked answer.
fn read_answer(stream: &mut TcpStream) -> String {
    let (mut answer, mut chunk) = (Vec::new(), [0; 4096]);
    while !answer.ends_with(b"0\r\n\r\n") {
        let read = stream.read(&mut chunk).unwrap();
        assert!(read > 0, "closed after {:?}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&chunk[..read]);
    }
    String::from_utf8(answer).unwrap()
}

/// Reads until the other side closes; whether in order or by a reset does not matter here.
fn read_to_close(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("not closed: {error}"),
    }
    all
}

fn wait_until(what: &str, happened: impl Fn() -> bool) {
    for _ in 0..BOUND.as_millis() / PAUSE.as_millis() {
        if happened() {
            return;
        }
        thread::sleep(PAUSE);
    }
    panic!("never: {what}");
}

/// No wait of a test takes longer, on however loaded a machine.
const BOUND: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(5);

/// A limit that a test wants to see pass.
const SHORT: Span = Span(Duration::from_millis(100));
