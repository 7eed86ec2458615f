//! Clients that ask without a pause, over every protocol, and know what became of each request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::tls::Tls;

/// How a client speaks.
#[derive(Clone)]
pub(crate) struct Manner {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
    pub(crate) http2: bool,
    /// A connection for each request.
    pub(crate) anew: bool,
}

/// Clients at work on a thread of their own.
pub(crate) struct Load {
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// Whether the other side was told to end: who comes now may find nobody.
    ending: AtomicBool,
    answered: AtomicUsize,
    connections: AtomicUsize,
    failures: std::sync::Mutex<Vec<String>>,
}

impl Load {
    /// A client for each manner.
    pub(crate) fn start(manners: Vec<Manner>) -> Self {
        let shared = Arc::new(Shared::default());
        let ours = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut clients = tokio::task::JoinSet::new();
                for (number, manner) in manners.into_iter().enumerate() {
                    clients.spawn(client(number, manner, Arc::clone(&ours)));
                }
                clients.join_all().await;
            });
        });
        Self { shared, thread: Some(thread) }
    }

    pub(crate) fn answered(&self) -> usize {
        self.shared.answered.load(Ordering::SeqCst)
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// From now on, who comes anew may find nobody.
    pub(crate) fn ending(&self) {
        self.shared.ending.store(true, Ordering::SeqCst);
    }

    /// Lets the clients finish, and gives what went wrong.
    pub(crate) fn finish(mut self) -> Vec<String> {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap();
        self.shared.failures.lock().unwrap().clone()
    }
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// Why a request was not answered.
enum Lost {
    /// It was never sent, so nothing was lost.
    Unsent,
    Sent(String),
}

async fn client(number: usize, manner: Manner, shared: Arc<Shared>) {
    let is = |flag: &AtomicBool| flag.load(Ordering::SeqCst);
    let fail = |what: String| shared.failures.lock().unwrap().push(format!("client {number}: {what}"));
    let mut count = 0_usize;
    'connections: while !is(&shared.stop) {
        let ending = is(&shared.ending);
        let mut sender = match connect(&manner).await {
            Ok(sender) => sender,
            Err(_) if ending || is(&shared.ending) => return,
            Err(error) => return fail(format!("cannot connect: {error}")),
        };
        shared.connections.fetch_add(1, Ordering::SeqCst);
        let mut served = 0;
        while !is(&shared.stop) {
            count += 1;
            let sent_late = is(&shared.ending);
            match ask(&mut sender, count).await {
                Ok(last) => {
                    shared.answered.fetch_add(1, Ordering::SeqCst);
                    served += 1;
                    if last || manner.anew {
                        continue 'connections;
                    }
                }
                Err(Lost::Unsent) => continue 'connections,
                // In the moment between the last look at the queue and its end, the kernel may take one more.
                Err(Lost::Sent(_)) if sent_late && served == 0 => continue 'connections,
                Err(Lost::Sent(error)) => return fail(format!("request {count}, {served} on its connection: {error}")),
            }
        }
    }
}

async fn connect(manner: &Manner) -> Result<Sender, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(manner.address).await?;
    stream.set_nodelay(true)?;
    match &manner.tls {
        None => speak(stream, manner.http2).await,
        Some(config) => {
            let mut config = rustls::ClientConfig::clone(config);
            config.alpn_protocols = vec![if manner.http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
            let name = ServerName::try_from("a.test")?;
            speak(TlsConnector::from(Arc::new(config)).connect(name, stream).await?, manner.http2).await
        }
    }
}

async fn speak<S>(stream: S, http2: bool) -> Result<Sender, Box<dyn std::error::Error + Send + Sync>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    if http2 {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        return Ok(Sender::Http2(sender));
    }
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(Sender::Http1(sender))
}

/// One request, by turns quick, slow, long to answer and long to send; whether the connection ends with it.
async fn ask(sender: &mut Sender, count: usize) -> Result<bool, Lost> {
    let (method, path, sent) = match count % 4 {
        0 => (Method::GET, "/quick", 0),
        1 => (Method::GET, "/slow?delay=20ms", 0),
        2 => (Method::GET, "/long?size=300000", 0),
        _ => (Method::POST, "/upload", 200_000),
    };
    let body = Full::new(Bytes::from(vec![b'x'; sent]));
    let request = Request::builder().method(method).uri(format!("http://a.test{path}"));
    let request = request.header(header::HOST, "a.test").body(body).unwrap();
    let answer = match sender {
        Sender::Http1(sender) => {
            sender.ready().await.map_err(|_| Lost::Unsent)?;
            let (mut parts, body) = request.into_parts();
            parts.uri = path.parse().unwrap();
            sender.try_send_request(Request::from_parts(parts, body)).await
        }
        Sender::Http2(sender) => {
            sender.ready().await.map_err(|_| Lost::Unsent)?;
            sender.try_send_request(request).await
        }
    };
    let answer: Response<Incoming> = answer.map_err(|mut error| match error.take_message() {
        Some(_) => Lost::Unsent,
        None => Lost::Sent(format!("{:?}", error.into_error())),
    })?;
    let (head, body) = answer.into_parts();
    let read = body.collect().await.map_err(|error| Lost::Sent(format!("{error:?}")))?.to_bytes();
    if head.status != StatusCode::OK || (path.starts_with("/long") && read.len() != 300_000) {
        return Err(Lost::Sent(format!("{path}: {} and {} bytes", head.status, read.len())));
    }
    Ok(head.headers.get(header::CONNECTION).is_some_and(|value| value == "close"))
}

/// A client of every manner, `each` times.
pub(crate) fn every_manner(plain: SocketAddr, tls: SocketAddr, trusted: &Tls, each: usize) -> Vec<Manner> {
    let manner = |secure: bool, http2: bool| Manner {
        address: if secure { tls } else { plain },
        tls: secure.then(|| Arc::clone(&trusted.0)),
        http2,
        anew: false,
    };
    [manner(false, false), manner(true, false), manner(true, true)].into_iter().cycle().take(3 * each).collect()
}
