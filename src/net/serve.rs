//! One connection, from accept to close.
//!
//! What a plain listener speaks is its setting; nothing is sniffed, because a sniff has no time-out. Under TLS, ALPN chooses.
//! Every setting hyper has a choice about is said here, also where it is the default, because the next version's default
//! may be another.

use std::cell::RefCell;
use std::error::Error as _;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Handler;
use super::answer::{Answering, FRAME};
use super::config::Limits;
use super::conn::{Conn, Phase};
use super::frames::Counted;
use super::peer::{Peer, Source, TlsPeer};
use super::rest::{Active, Readable, Rewound, Step, rest};
use super::tls::{ALPN_HTTP2, ServerTls};
use super::tunnel::Client;
use super::turn::Turns;
use super::watch::Watched;
use crate::telemetry::label::{Closed, HandshakeFailure, ParseError};
use crate::telemetry::metrics::Shard;

/// What is spoken on a connection.
#[derive(Clone)]
pub(super) enum Transport {
    Http1,
    Http2,
    Tls(ServerTls),
}

/// What all connections of one worker share.
pub(super) struct Serving<H> {
    handler: Rc<H>,
    /// For connections to come.
    terms: RefCell<Rc<Spoken>>,
    handshakes: Turns,
    metrics: Rc<Shard>,
}

/// How connections are spoken on.
struct Spoken {
    limits: Limits,
    http1: http1::Builder,
}

impl Spoken {
    fn new(limits: Limits) -> Rc<Self> {
        let http1 = http1(&limits);
        Rc::new(Self { limits, http1 })
    }
}

impl<H: Handler> Serving<H> {
    pub(super) fn new(handler: H, limits: Limits, metrics: Rc<Shard>) -> Rc<Self> {
        let terms = RefCell::new(Spoken::new(limits));
        Rc::new(Self { handler: Rc::new(handler), terms, handshakes: Turns::default(), metrics })
    }

    /// Serves whoever connects from now on under these.
    pub(super) fn renew(&self, limits: Limits) {
        self.terms.replace(Spoken::new(limits));
    }

    fn terms(&self) -> Rc<Spoken> {
        Rc::clone(&self.terms.borrow())
    }

    /// Serves one client until either side is done, and tells why it ended. Its place among the `handshake`s is given back
    /// once that ended.
    pub(super) async fn connection(
        self: &Rc<Self>,
        stream: TcpStream,
        source: Source,
        conn: &Rc<Conn>,
        transport: &Transport,
        handshake: Option<OwnedSemaphorePermit>,
    ) -> Closed {
        let ended = match stream.local_addr() {
            Ok(local) => self.spoken(stream, source, local, conn, transport, handshake).await,
            Err(_) => Err(Closed::Broken),
        };
        // Where it ended before it could go on as anything.
        drop(conn.next().take());
        conn.finished(ended)
    }

    async fn spoken(
        self: &Rc<Self>,
        stream: TcpStream,
        source: Source,
        local: SocketAddr,
        conn: &Rc<Conn>,
        transport: &Transport,
        handshake: Option<OwnedSemaphorePermit>,
    ) -> Result<(), Closed> {
        let stream = Watched::new(stream, Rc::clone(conn));
        let Transport::Tls(tls) = transport else {
            let http2 = matches!(transport, Transport::Http2);
            conn.speak(http2);
            let peer = Rc::new(Peer::new(source, local, None, Rc::clone(conn)));
            if http2 {
                return Box::pin(self.http2(stream, conn, peer)).await;
            }
            let (stream, ended) = self.http1(stream, conn, peer).await;
            return linger(stream, conn, ended).await;
        };
        let stream = Box::pin(self.handshake(stream, conn, tls)).await?;
        drop(handshake);
        let (_, session) = stream.get_ref();
        let (name, http2) = (session.server_name().map(Into::into), session.alpn_protocol() == Some(ALPN_HTTP2));
        let secured = TlsPeer { server_name: name, server: tls.clone() };
        let peer = Rc::new(Peer::new(source, local, Some(secured), Rc::clone(conn)));
        conn.speak(http2);
        if http2 {
            return Box::pin(self.http2(stream, conn, peer)).await;
        }
        let (stream, ended) = self.http1(stream, conn, peer).await;
        linger(stream.into_inner().0, conn, ended).await
    }

    async fn handshake(&self, stream: Watched, conn: &Conn, tls: &ServerTls) -> Result<TlsStream<Watched>, Closed> {
        let accept = pin!(TlsAcceptor::from(tls.config()).accept(stream));
        let accept = pin!(self.handshakes.take(conn, accept));
        match conn.run(accept, |_| {}).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => {
                self.metrics.handshake_failed(handshake_failure(&error));
                Err(Closed::Handshake)
            }
            Err(why) => {
                if why == Closed::HandshakeTimeout {
                    self.metrics.handshake_failed(HandshakeFailure::Timeout);
                }
                Err(why)
            }
        }
    }

    async fn http1<I>(self: &Rc<Self>, stream: I, conn: &Rc<Conn>, peer: Rc<Peer>) -> (I, Result<(), Closed>)
    where
        I: Readable + AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let mut io = Rewound { ahead: Bytes::new(), stream };
        loop {
            // Boxed, for its memory is given back while the connection rests.
            let (back, step) = Box::pin(self.http1_until_idle(io, conn, &peer)).await;
            io = back;
            match step {
                Ok(Step::Ended(Ok(()))) => {
                    let ended = tunnelled(&mut io, conn).await;
                    return (io.stream, ended);
                }
                Ok(Step::Ended(Err(error))) => return (io.stream, Err(self.failed(&error))),
                Err(why) => return (io.stream, Err(why)),
                // A head has begun, right behind the request before.
                Ok(Step::Idle) if !io.ahead.is_empty() => conn.enter(Phase::Head),
                Ok(Step::Idle) => {
                    self.metrics.client_rests();
                    let rested = conn.run(pin!(rest(&io.stream, conn)), |_| {}).await;
                    if let Err(why) = rested {
                        return (io.stream, Err(why));
                    }
                }
            }
        }
    }

    async fn http1_until_idle<I>(
        self: &Rc<Self>,
        io: Rewound<I>,
        conn: &Rc<Conn>,
        peer: &Rc<Peer>,
    ) -> (Rewound<I>, Result<Step<hyper::Result<()>>, Closed>)
    where
        I: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let service = service_fn(|request| self.answer(conn, peer, request));
        let connection = self.terms().http1.serve_connection(TokioIo::new(io), service);
        let mut active = Active { connection, conn };
        let step = conn
            .run(Pin::new(&mut active), |active| Pin::new(&mut active.get_mut().connection).graceful_shutdown())
            .await;
        let parts = active.connection.into_parts();
        // Empty, it would still hold the whole buffer.
        let ahead = if parts.read_buf.is_empty() { Bytes::new() } else { parts.read_buf };
        (Rewound { ahead, stream: parts.io.into_inner().stream }, step)
    }

    async fn http2<I>(self: &Rc<Self>, io: I, conn: &Rc<Conn>, peer: Rc<Peer>) -> Result<(), Closed>
    where
        I: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        // Boxed, for a stream's future is moved five times before it is polled.
        let service = service_fn(|request| Box::pin(self.answer(conn, &peer, request)));
        let terms = self.terms();
        let builder = http2(&terms.limits, LocalExec(Rc::clone(conn)));
        let io = Counted::new(io, Rc::clone(conn), Rc::clone(&self.metrics), &terms.limits);
        let connection = pin!(builder.serve_connection(TokioIo::new(io), service));
        let ended = conn.run(connection, http2::Connection::graceful_shutdown).await;
        ended.and_then(|result| result.map_err(|error| conn.verdict().unwrap_or_else(|| self.failed(&error))))
    }

    /// The request counts as in flight from here, not from the first poll.
    fn answer(
        self: &Rc<Self>,
        conn: &Rc<Conn>,
        peer: &Rc<Peer>,
        request: Request<Incoming>,
    ) -> Answering<impl Future<Output = Response<H::Body>> + use<H>> {
        let upgrade = request.extensions().get::<OnUpgrade>().is_some();
        let in_flight = conn.begin(!request.body().is_end_stream(), upgrade);
        conn.leave_after(self.terms.borrow().limits.connection_requests);
        let answer = Rc::clone(&self.handler).handle(Rc::clone(peer), request);
        Answering::new(answer, in_flight)
    }

    fn failed(&self, error: &hyper::Error) -> Closed {
        match parse_error(error) {
            Some(why) => {
                self.metrics.parse_error(why);
                if why == ParseError::Http2Flood { Closed::Flood } else { Closed::Malformed }
            }
            None => Closed::Broken,
        }
    }
}

/// Lets a connection go on as what its last answer said, if it said so.
async fn tunnelled<I: AsyncRead + AsyncWrite + Unpin>(io: &mut Rewound<I>, conn: &Conn) -> Result<(), Closed> {
    let Some(mut tunnel) = conn.next().take() else {
        // hyper leaves the end to others where the last request asked for an upgrade; its client is to see it before we linger.
        if conn.should_linger() {
            let _ = conn.run(pin!(io.shutdown()), |_| {}).await?;
        }
        return Ok(());
    };
    conn.enter(Phase::Tunnel);
    // What hyper could not write of the head is gone with it.
    if conn.is_blocked() {
        tunnel.cut(Closed::Broken);
        return Err(Closed::Broken);
    }
    let moving = pin!(poll_fn(|cx| tunnel.poll(&mut Client::new(io, conn), cx)));
    let ended = conn.run(moving, |_| {}).await;
    if let Err(why) = ended {
        tunnel.cut(why);
    }
    ended
}

/// Spawns on the worker, and tells the connection which task answers which stream.
#[derive(Clone)]
struct LocalExec(Rc<Conn>);

impl<F: Future + 'static> hyper::rt::Executor<F> for LocalExec {
    fn execute(&self, work: F) {
        self.0.adopt(tokio::task::spawn_local(work).abort_handle());
    }
}

/// A head that is parsed: twice what is allowed, so that the handler can refuse one that is over it in its own words. What
/// is over this is refused by hyper, with a status and nothing else.
fn parsed(limits: &Limits) -> usize {
    limits.header_bytes.as_usize().saturating_mul(2)
}

fn http1(limits: &Limits) -> http1::Builder {
    let header = parsed(limits);
    let mut builder = http1::Builder::new();
    builder
        // Without a timer hyper's time-outs do nothing, silently (hyper server/conn/http1.rs).
        .timer(TokioTimer::new())
        // The reaper tells a slow head from an idle connection, and does both without a timer a request.
        .header_read_timeout(None)
        .max_header_size(header)
        // Below 8 KiB hyper panics; and a head that is allowed must fit.
        .max_buf_size(limits.buffer_bytes.as_usize().max(header).max(8 * 1024))
        // A client that leaves cancels its request.
        .half_close(false)
        .keep_alive(true)
        // Would hold whole answers for a slow reader.
        .pipeline_flush(false)
        .title_case_headers(false)
        .preserve_header_case(false)
        .allow_multiple_spaces_in_request_line_delimiters(false)
        .ignore_invalid_headers(false)
        .auto_date_header(true);
    builder
}

fn http2(limits: &Limits, exec: LocalExec) -> http2::Builder<LocalExec> {
    let mut builder = http2::Builder::new(exec);
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10))
        .max_concurrent_streams(limits.streams)
        // Four to one, so that one slow reader does not stall the other streams (hyperium/hyper#2899).
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .adaptive_window(false)
        // As for HTTP/1.1, so that the choice of protocol is no way around it.
        .max_header_list_size(u32::try_from(parsed(limits)).unwrap_or(u32::MAX))
        // The default of 400 KiB a stream is 40 MiB a connection.
        .max_send_buf_size(64 * 1024)
        .max_frame_size(u32::try_from(FRAME).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(limits.pending_resets)
        .max_local_error_reset_streams(limits.error_resets)
        .auto_date_header(true);
    builder
}

/// Throws away what the client still sends, for a while, where closing at once could lose the answer.
async fn linger(mut stream: Watched, conn: &Conn, ended: Result<(), Closed>) -> Result<(), Closed> {
    if matches!(ended, Ok(()) | Err(Closed::Malformed)) && conn.should_linger() {
        conn.enter(Phase::Linger);
        let read = pin!(async {
            let (mut scrap, mut budget) = (vec![0; 16 * 1024], LINGER_BYTES);
            while budget > 0 {
                match stream.read(&mut scrap).await {
                    Ok(0) | Err(_) => break,
                    Ok(read) => budget = budget.saturating_sub(read),
                }
            }
        });
        match conn.run(read, |_| {}).await {
            Ok(()) | Err(Closed::Done) => {}
            Err(why) => return Err(why),
        }
    }
    ended
}

/// At most so much is thrown away.
const LINGER_BYTES: usize = 1024 * 1024;

fn parse_error(error: &hyper::Error) -> Option<ParseError> {
    if error.is_parse_version_h2() {
        return Some(ParseError::ClearHttp2);
    }
    if error.is_parse() {
        return Some(if error.is_parse_too_large() { ParseError::TooLarge } else { ParseError::Malformed });
    }
    let error = error.source()?.downcast_ref::<h2::Error>()?;
    // What the client says when it goes is its own matter.
    if error.is_remote() {
        return None;
    }
    match error.reason()? {
        h2::Reason::ENHANCE_YOUR_CALM => Some(ParseError::Http2Flood),
        h2::Reason::NO_ERROR => None,
        _ => Some(ParseError::Http2),
    }
}

fn handshake_failure(error: &io::Error) -> HandshakeFailure {
    use rustls::Error as Tls;
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Tls>()) {
        Some(Tls::InvalidMessage(_)) => HandshakeFailure::NotTls,
        Some(Tls::PeerIncompatible(_)) => HandshakeFailure::Incompatible,
        Some(Tls::NoApplicationProtocol) => HandshakeFailure::Alpn,
        Some(Tls::AlertReceived(_)) => HandshakeFailure::Alert,
        Some(_) => HandshakeFailure::Other,
        None => HandshakeFailure::Closed,
    }
}
