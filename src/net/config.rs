//! The settings of the listeners.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::measure::{Size, Span};

/// `[server]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Plain HTTP/1.1 addresses.
    pub listen: Vec<SocketAddr>,
    /// Plain HTTP/2 addresses, by prior knowledge.
    pub http2_listen: Vec<SocketAddr>,
    /// TLS addresses.
    pub tls_listen: Vec<SocketAddr>,
    /// Which of these addresses have each connection begin with a PROXY header.
    pub proxy_protocol: Vec<SocketAddr>,
    /// Worker threads; 0 for one a core.
    pub workers: usize,
    /// Networks whose word about their client is believed: forwarding headers, and PROXY headers where they have to come.
    pub trusted_proxies: Vec<IpNet>,
    /// Where those say who their client is.
    pub client_header: ClientHeader,
    /// What is shown to TLS clients.
    #[serde(default)]
    pub certificates: Vec<CertificateFiles>,
    /// How much of anything.
    pub limits: Limits,
    /// How long anything may take.
    pub timeouts: Timeouts,
}

#[cfg(test)]
impl Config {
    /// As `config/default.toml` has it.
    pub(crate) fn of_reference() -> Self {
        use figment::providers::{Format, Toml};
        let reference = Toml::string(include_str!("../../config/default.toml"));
        figment::Figment::from(reference).extract_inner("server").unwrap()
    }
}

/// The header in which a trusted proxy tells of its client. Only the one that is named is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientHeader {
    /// `X-Forwarded-For`, and `X-Forwarded-Proto` for TLS.
    XForwardedFor,
    /// `Forwarded` (RFC 7239): `for`, and `proto` for TLS.
    Forwarded,
}

/// One of `[[server.certificates]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateFiles {
    /// PEM: the certificate, then what leads to its root.
    pub chain_file: Option<PathBuf>,
    /// PEM: its private key.
    pub key_file: Option<PathBuf>,
}

/// What a reload may change of a face that serves.
#[derive(Clone, Debug)]
pub struct Terms {
    /// How much of anything; `connections` is for all workers together.
    pub limits: Limits,
    /// How long anything may take.
    pub timeouts: Timeouts,
    /// Networks whose connections are not counted by address: there stand proxies, with many clients behind one.
    pub exempt: Arc<[IpNet]>,
    /// Networks that may send a PROXY header.
    pub proxies: Arc<[IpNet]>,
}

/// `[server.limits]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Open client connections in all.
    pub connections: usize,
    /// Those of one address (IPv6: one /64); 0 for as many as there are in all.
    pub connections_per_address: usize,
    /// TLS handshakes at one time, in all.
    pub handshakes: usize,
    /// Requests at one time, in all, each to the end of its answer.
    pub requests: usize,
    /// Requests of one connection, after which it ends; 0 for any number.
    pub connection_requests: u64,
    /// A request's head.
    pub header_bytes: Size,
    /// Read buffer of one HTTP/1.1 connection.
    pub buffer_bytes: Size,
    /// What a request's body brings in a second, on average, once it kept us waiting for `body_idle` in all; 0 for any.
    pub body_rate: Size,
    /// Concurrent HTTP/2 streams of one connection.
    pub streams: u32,
    /// HTTP/2 streams of one connection that were reset before they could be looked at.
    pub pending_resets: usize,
    /// HTTP/2 streams of one connection that its client made us reset, in its whole life.
    pub error_resets: usize,
    /// HTTP/2 streams of one connection that its client resets in half a minute.
    pub stream_resets: u32,
    /// HTTP/2 frames of one connection that neither ask nor carry anything, in half a minute.
    pub control_frames: u32,
}

/// `[server.timeouts]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Timeouts {
    /// Accept to the end of the handshake.
    pub tls_handshake: Span,
    /// Accept, or the end of the handshake, to the first byte of the first request.
    pub first_byte: Span,
    /// First byte to the end of a head; over HTTP/2 the client's preface.
    pub header: Span,
    /// A kept connection without a request.
    pub idle: Span,
    /// A request body that does not progress.
    pub body_idle: Span,
    /// A client that takes no byte.
    pub write_stall: Span,
    /// A connection's whole life, after which it ends once its answers are given; zero for any.
    pub connection_age: Span,
    /// Accepting goes on for so long after SIGTERM.
    pub drain_min: Span,
    /// Requests in flight are waited for at most so long.
    pub drain_max: Span,
}
