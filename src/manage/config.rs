//! The settings of the management face: of its listener, and of what it answers on the clients' own.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::key::token::Prefix;

/// `[admin]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Allows an address other than loopback without a certificate.
    pub open_bind_without_tls: bool,
    /// PEM certificate chain; TLS where set.
    pub chain_file: Option<PathBuf>,
    /// PEM private key.
    pub key_file: Option<PathBuf>,
}

impl Config {
    /// Whether TLS is spoken.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        self.chain_file.is_some() || self.key_file.is_some()
    }
}

/// `[self_service]`: where holders of keys ask about what is theirs, on the clients' listeners.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SelfServiceConfig {
    /// What stands before the native API's paths; none where empty.
    pub path: String,
    /// At these hosts alone; at any where empty.
    pub hosts: Vec<String>,
}

/// `[dialects]`: the forms of vendors' key APIs that are answered on the clients' listeners.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DialectsConfig {
    /// `[dialects.userplane]`.
    pub userplane: UserplaneConfig,
}

/// `[dialects.userplane]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct UserplaneConfig {
    /// Whether it is spoken.
    pub enabled: bool,
    /// At these hosts alone; at any where empty.
    pub hosts: Vec<String>,
    /// What secrets begin with that are made so.
    pub prefix: Prefix,
}
