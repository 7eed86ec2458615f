//! The settings of the listeners.

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::measure::{Size, Span};

/// `[server]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Plain HTTP/1.1 addresses.
    pub listen: Vec<SocketAddr>,
    /// Plain HTTP/2 addresses, by prior knowledge.
    pub http2_listen: Vec<SocketAddr>,
    /// TLS addresses.
    pub tls_listen: Vec<SocketAddr>,
    /// Worker threads; 0 for one a core.
    pub workers: usize,
    /// Networks whose forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// What is shown to TLS clients.
    #[serde(default)]
    pub certificates: Vec<CertificateFiles>,
    /// How much of anything.
    pub limits: Limits,
    /// How long anything may take.
    pub timeouts: Timeouts,
}

/// One of `[[server.certificates]]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateFiles {
    /// PEM: the certificate, then what leads to its root.
    pub chain_file: Option<PathBuf>,
    /// PEM: its private key.
    pub key_file: Option<PathBuf>,
}

/// `[server.limits]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Open client connections in all.
    pub connections: usize,
    /// A request's head.
    pub header_bytes: Size,
    /// Read buffer of one HTTP/1.1 connection.
    pub buffer_bytes: Size,
    /// Concurrent HTTP/2 streams of one connection.
    pub streams: u32,
}

/// `[server.timeouts]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Timeouts {
    /// Accept to the end of the handshake.
    pub tls_handshake: Span,
    /// First byte to the end of a head; accept to first byte.
    pub header: Span,
    /// A kept connection without a request.
    pub idle: Span,
    /// A request body that does not progress.
    pub body_idle: Span,
    /// A client that takes no byte.
    pub write_stall: Span,
    /// Accepting goes on for so long after SIGTERM.
    pub drain_min: Span,
    /// Requests in flight are waited for at most so long.
    pub drain_max: Span,
}
