//! Commands to a keyward elsewhere, over HTTP: how it is spoken to is asked first, so that whatever is wrong with the address,
//! the key or the version is known before a command leaves.

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, StatusCode, request};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::Server;
use crate::keyring::command::{Command, Outcome};
use crate::keyring::receipt::Done;
use crate::manage::commands::{self, AskError, Greeting, VERSION};

/// A server that was asked how it is spoken to, and answered.
pub(in crate::cli) struct Client {
    server: Server,
    /// Free for the next command; none after one that was not answered to its end.
    sender: Option<SendRequest<Upload>>,
}

impl Client {
    pub(in crate::cli) async fn connect(server: &Server) -> anyhow::Result<Self> {
        let sender = server.greeted().await.with_context(|| format!("cannot ask {server}"))?;
        Ok(Self { server: server.clone(), sender: Some(sender) })
    }

    /// Has the server carry `command` out. What it takes away is taken away everywhere when this answers.
    pub(in crate::cli) async fn ask(&mut self, command: Command) -> anyhow::Result<Outcome> {
        Ok(self.ask_within(command, Duration::MAX).await?.in_force()?)
    }

    /// The same, but waits for others no longer than patience lasts, and tells how far it came.
    pub(in crate::cli) async fn ask_within(&mut self, command: Command, patience: Duration) -> anyhow::Result<Done> {
        let line = Bytes::from(commands::line(command, patience)?);
        let mut sender = match self.sender.take() {
            Some(sender) if !sender.is_closed() => sender,
            // It was not needed for so long that the server hung up.
            _ => self.server.greeted().await.with_context(|| format!("cannot ask {}", self.server))?,
        };
        let done = self.server.answer(&mut sender, line).await?;
        self.sender = Some(sender);
        Ok(done)
    }
}

impl Server {
    /// A connection to it, over which it has said that it understands us.
    async fn greeted(&self) -> anyhow::Result<SendRequest<Upload>> {
        let mut sender = self.dialer.dial(&self.url).await?;
        let request = self.request(Method::GET)?.body(Upload::default())?;
        let response = match timeout(self.patience, sender.send_request(request)).await {
            Ok(response) => response.context("it gives no HTTP answer")?,
            Err(_) => bail!("it has said nothing for {:?}", self.patience),
        };
        let status = response.status();
        let text = self.short(response).await?;
        if status == StatusCode::NOT_FOUND {
            bail!("it takes no commands: it is no keyward's admin listener, or an older keyward's");
        }
        if status != StatusCode::OK {
            bail!("{}", told(status, &text));
        }
        let Greeting { v, keyward } =
            serde_json::from_slice(&text).context("it does not answer as a keyward's admin listener does")?;
        if v != VERSION {
            let own = env!("CARGO_PKG_VERSION");
            bail!(
                "it is keyward {keyward} and takes version {v} of commands; this is {own}, which gives version {VERSION}"
            );
        }
        Ok(sender)
    }

    /// Sends a command, and waits for what comes of it as long as the server says that it works on it.
    async fn answer(&self, sender: &mut SendRequest<Upload>, line: Bytes) -> Result<Done, AskError> {
        let whole = line.len();
        let (taken, mut progress) = watch::channel(0);
        let upload = Upload { left: line, taken: Some(taken) };
        let server = || self.to_string();
        let request = self.request(Method::POST).and_then(|request| Ok(request.body(upload)?));
        let request = request.map_err(|error| AskError::NotSent { server: server(), error: error.into() })?;
        let mut sent = pin!(sender.try_send_request(request));
        let response = loop {
            let more = async {
                if progress.changed().await.is_err() {
                    // Nobody asks for more: all is sent, and the answer is what is waited for.
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                response = &mut sent => break response,
                more = timeout(self.patience, more) => if more.is_err() {
                    let (server, patience) = (server(), self.patience);
                    let all = *progress.borrow() == whole;
                    return Err(if all { AskError::Silent { server, patience } } else { AskError::NotTaken { server, patience } });
                },
            }
        };
        let response = response.map_err(|mut error| {
            let (server, never_left) = (server(), error.take_message().is_some());
            let error = error.into_error().into();
            if never_left { AskError::NotSent { server, error } } else { AskError::Lost { server, error } }
        })?;
        let status = response.status();
        if status != StatusCode::OK {
            let text = self.short(response).await.unwrap_or_default();
            return Err(AskError::Refused { server: server(), why: told(status, &text) });
        }
        self.done(response.into_body()).await
    }

    async fn done(&self, mut body: Incoming) -> Result<Done, AskError> {
        let server = || self.to_string();
        let (mut text, mut searched, mut done) = (Vec::new(), 0, None);
        loop {
            let frame = timeout(self.patience, body.frame()).await;
            let Ok(frame) = frame else { return Err(AskError::Silent { server: server(), patience: self.patience }) };
            match frame.transpose().map_err(|error| AskError::Lost { server: server(), error: error.into() })? {
                Some(frame) => text.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
                None => break,
            }
            if text.len() > LONGEST_ANSWER {
                let error = format!("it is longer than {LONGEST_ANSWER} bytes; ask for less").into();
                return Err(AskError::Lost { server: server(), error });
            }
            while let Some(more) = memchr::memchr(b'\n', &text[searched..]) {
                done = commands::heard(&text[..searched + more], server)?;
                text.drain(..=searched + more);
                searched = 0;
            }
            searched = text.len();
        }
        done.ok_or_else(|| AskError::Lost { server: server(), error: "it ended before it was whole".into() })
    }

    /// An answer that is no command's.
    async fn short(&self, response: Response<Incoming>) -> anyhow::Result<Bytes> {
        let body = Limited::new(response.into_body(), SHORT).collect();
        let body = timeout(self.patience, body).await.context("its answer does not end")?;
        Ok(body.map_err(|error| anyhow::anyhow!(error)).context("its answer cannot be read")?.to_bytes())
    }

    fn request(&self, method: Method) -> anyhow::Result<request::Builder> {
        let mut line = Zeroizing::new(b"Bearer ".to_vec());
        line.extend_from_slice(self.key.expose());
        let mut line = HeaderValue::from_bytes(&line)?;
        line.set_sensitive(true);
        let request = self.url.request("/v1/commands").method(method);
        Ok(request.header(AUTHORIZATION, line).header(CONTENT_TYPE, "application/json"))
    }
}

/// As a message names it.
impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the keyward at {}", self.url)
    }
}

/// A command on its way, and how much of it was taken.
#[derive(Default)]
struct Upload {
    left: Bytes,
    taken: Option<watch::Sender<usize>>,
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let some = self.left.len().min(PIECE);
        let piece = self.left.split_to(some);
        if let Some(taken) = &self.taken {
            taken.send_modify(|taken| *taken += some);
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.len() as u64)
    }
}

/// What an answer says that is no good one.
fn told(status: StatusCode, text: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Problem {
        code: String,
        title: String,
        detail: Option<String>,
    }
    match serde_json::from_slice(text) {
        Ok(Problem { code, title, detail }) => {
            let detail = detail.map(|detail| format!(" {detail}")).unwrap_or_default();
            format!("it answers {}, {code}: {title}{detail}", status.as_u16())
        }
        Err(_) => format!("it answers {status}; is it a keyward's admin listener?"),
    }
}

/// How much is handed on at once.
const PIECE: usize = 64 << 10;
/// Longest answer that is no command's.
const SHORT: usize = 64 << 10;
/// Longest answer to a command: a list of a million keys is about half as long.
const LONGEST_ANSWER: usize = 1 << 30;
