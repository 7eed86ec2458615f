//! What a new key is to be, from the flags of `key mint`. The secret is made here and goes nowhere but to its holder.

use anyhow::Context as _;
use ipnet::IpNet;

use super::expiry::Expiry;
use crate::clock::Timestamp;
use crate::key::token::{self, Prefix};
use crate::key::{AccountId, Imprint, KeyId, Kind, Permission, UserId};
use crate::keyring::command::NewKey;
use crate::secret::Secret;

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Arguments {
    /// The account a service or personal key is held to. A user key may name one its user is a member of.
    #[arg(long)]
    account: Option<AccountId>,
    /// Whose key it is: service, personal, user or operator.
    #[arg(long, default_value = "service")]
    kind: Kind,
    /// The user behind it; for personal and user keys.
    #[arg(long)]
    user: Option<UserId>,
    /// What its owner calls it.
    #[arg(long, default_value = "", hide_default_value = true)]
    name: String,
    /// Until when it is accepted: 30d from now, 2030-01-01T00:00:00Z, or never.
    #[arg(long, value_name = "WHEN", aliases = ["expires-in", "expires-at"], default_value = "never")]
    expires: Expiry,
    /// Not accepted before, such as 2030-01-01T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    not_before: Option<Timestamp>,
    /// What it may do, such as jobs:run, jobs:* or *; may be given more than once.
    #[arg(long = "permission", value_name = "P")]
    permissions: Vec<Permission>,
    /// A network it may be used from, such as 10.0.0.0/8; any where none is given.
    #[arg(long = "allow-ip", value_name = "CIDR", value_parser = network)]
    allowed_ips: Vec<IpNet>,
    /// What the secret begins with, such as uspl; the setting keys.prefix where left out.
    #[arg(long)]
    prefix: Option<Prefix>,
}

impl Arguments {
    /// The key to be made, and its secret.
    pub(super) fn key(self, usual_prefix: &Prefix, now: Timestamp) -> anyhow::Result<(NewKey, Secret)> {
        let prefix = self.prefix.as_ref().unwrap_or(usual_prefix);
        let (bare, secret) = bare_key(prefix, self.kind)?;
        let key = NewKey {
            account: self.account,
            user: self.user,
            name: self.name,
            permissions: self.permissions.into(),
            allowed_ips: self.allowed_ips,
            not_before: self.not_before,
            expires_at: self.expires.end(now),
            ..bare
        };
        Ok((key, secret))
    }
}

/// A new key of which nothing but its kind is said, and its secret.
pub(in crate::cli) fn bare_key(prefix: &Prefix, kind: Kind) -> anyhow::Result<(NewKey, Secret)> {
    let (secret, imprint) = new_secret(prefix)?;
    Ok((NewKey::bare(new_id()?, imprint, kind), secret))
}

/// A new secret, and what may be kept of it.
pub(in crate::cli) fn new_secret(prefix: &Prefix) -> anyhow::Result<(Secret, Imprint)> {
    token::mint(prefix, getrandom::fill).context(NO_RANDOM)
}

/// A new key's id.
pub(in crate::cli) fn new_id() -> anyhow::Result<KeyId> {
    Ok(token::random_id("key_", 16, getrandom::fill).context(NO_RANDOM)?.parse()?)
}

const NO_RANDOM: &str = "the system gives no random bytes";

/// A network; a bare address is a network of one.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<std::net::IpAddr>().map(IpNet::from);
    text.parse()
        .or_else(|_| address())
        .map_err(|_| "write a network as 10.0.0.0/8 or an address as 192.0.2.7".to_owned())
}

const EXAMPLES: &str = "\
Examples:
  KEY=$(keyward key mint --account acme --name ci --permission 'jobs:*' --expires 30d)
  keyward key mint --account acme --kind personal --user paul@example.com --json

The secret alone goes to standard output. It is shown once and cannot be had again; `key rotate` makes another.";
