//! The settings of the management face: of its listener, and of what it answers on the clients' own.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::key::token::Prefix;
use crate::measure::Span;

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
    /// Changes that a holder may ask for in a minute, in whichever form; any number where zero.
    pub changes_per_minute: u32,
}

/// `[leaks]`: where secrets that somebody found are reported, on the clients' listeners.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LeaksConfig {
    /// What stands before `/v1/leaks`; nowhere where empty.
    pub path: String,
    /// GitHub's public keys, as `/meta/public_keys/secret_scanning` has them; without them its reports are not taken.
    pub github_keys_file: Option<PathBuf>,
    /// What is done about a secret that is good.
    pub policy: LeakPolicy,
    /// Reports of anybody that are taken in a second.
    pub reports_per_second: u32,
}

/// What is done about a secret that was found and is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LeakPolicy {
    /// It is logged and counted.
    Alert,
    /// Its key is revoked, too.
    Revoke,
}

/// `[dialects]`: the forms of vendors' key APIs that are answered on the clients' listeners.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DialectsConfig {
    /// dbt Cloud's.
    pub dbt: DbtConfig,
    /// Vultr's API v2.
    pub vultr: DialectConfig,
    /// Userplane's.
    pub userplane: DialectConfig,
}

/// `[dialects.vultr]` and `[dialects.userplane]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DialectConfig {
    /// Whether it is spoken.
    pub enabled: bool,
    /// At these hosts alone; at any where empty.
    pub hosts: Vec<String>,
    /// What the secrets of keys that are made there begin with.
    pub prefix: Prefix,
}

/// `[dialects.dbt]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DbtConfig {
    /// Whether it is spoken.
    pub enabled: bool,
    /// At these hosts alone; at any where empty.
    pub hosts: Vec<String>,
    /// What secrets of personal and user keys begin with.
    pub prefix: Prefix,
    /// What secrets of service keys begin with.
    pub service_prefix: Prefix,
    /// How long personal keys that are made there are accepted; for ever where zero.
    pub expires_in: Span,
    /// What becomes of the lists of accounts.
    pub accounts: AcrossAccounts,
}

/// What becomes of a request that names no account and asks about all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AcrossAccounts {
    /// It is answered with those that the key belongs to.
    Scoped,
    /// It is refused (410).
    Gone,
    /// It is the origin's matter.
    Forwarded,
}
