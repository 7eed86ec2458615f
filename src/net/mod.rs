//! Sockets, TLS and serving. Knows no keys: what is asked and answered is its [`Handler`]'s business.
//!
//! ```text
//!  listen: one socket a worker and address, all on the same port (SO_REUSEPORT)
//!     |
//!  worker: a thread, a runtime, its own listeners, handler and reaper; nothing is handed to another thread
//!     |
//!  accept -> door -> proxied -> tls -> serve (HTTP/1.1, or what ALPN chose) -> Handler::handle
//!                           \           |                         '--101--> tunnel
//!                conn, watch: what a connection is doing, and since when; frames: what an HTTP/2 client sends
//!                      |
//!  reaper: once a second, ends what took too long; drain: ends everything, in order
//! ```
//!
//! hyper has no time-out for a handshake, an HTTP/2 preface, an idle HTTP/2 connection, a stalled write or a stalled body,
//! and its one for an HTTP/1 head costs a timer a request. So the reaper has them all, and [`body`] the last.

pub mod bell;
pub mod body;
pub mod config;
pub mod drain;
pub mod listen;
pub mod newest;
pub mod peer;
pub mod socket;
pub mod tls;
pub mod tunnel;
pub mod worker;

mod answer;
mod conn;
mod door;
mod frames;
mod open;
mod outbox;
mod proxied;
mod reaper;
mod rest;
mod serve;
mod turn;
mod watch;

use std::rc::Rc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;

pub use self::peer::{Exchange, Peer};

/// Any error, where only its text matters.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What answers requests: the gateway, or the management face. A worker has its own, made on its thread, so neither it
/// nor its futures need be `Send`.
pub trait Handler: 'static {
    /// The answer's body. `Unpin`, so that it can be wrapped without an allocation.
    type Body: Body<Data = Bytes, Error: Into<BoxError>> + Unpin + 'static;

    /// Answers one request. The future is dropped where the client leaves before the answer's head. What needs no waiting is
    /// best done before it is made: a future is moved about with room for all that it will ever hold at once.
    fn handle(
        self: Rc<Self>,
        peer: Rc<Peer>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Self::Body>> + 'static;
}

#[cfg(test)]
mod tests;
