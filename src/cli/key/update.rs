//! `keyward key update`: what is said of a key, but for its secret.

use anyhow::bail;
use ipnet::IpNet;

use super::expiry::Expiry;
use super::mint::network;
use crate::cli::receipt::Patience;
use crate::clock::Timestamp;
use crate::key::{KeyId, Permission};
use crate::keyring::command::{Command, KeyChange};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The key's id.
    id: KeyId,
    /// What its owner calls it.
    #[arg(long)]
    name: Option<String>,
    /// What it may do, instead of what it may now; may be given more than once.
    #[arg(long = "permission", value_name = "P")]
    permissions: Vec<Permission>,
    /// It may nothing of its own: a service key nothing at all, a person's key whatever the person may.
    #[arg(long, conflicts_with = "permissions")]
    no_permissions: bool,
    /// A network it may be used from, instead of those now; may be given more than once.
    #[arg(long = "allow-ip", value_name = "CIDR", value_parser = network)]
    allowed_ips: Vec<IpNet>,
    /// It may be used from anywhere.
    #[arg(long, conflicts_with = "allowed_ips")]
    any_ip: bool,
    /// Until when it is accepted: 30d from now, 2030-01-01T00:00:00Z, or never.
    #[arg(long, value_name = "WHEN")]
    expires: Option<Expiry>,
    #[command(flatten)]
    patience: Patience,
}

impl Arguments {
    pub(super) fn command(self, now: Timestamp) -> anyhow::Result<(Command, Patience)> {
        let change = KeyChange {
            state: None,
            name: self.name,
            permissions: (self.no_permissions || !self.permissions.is_empty()).then(|| self.permissions.into()),
            allowed_ips: (self.any_ip || !self.allowed_ips.is_empty()).then_some(self.allowed_ips),
            expires_at: Expiry::edit(self.expires, now),
        };
        if change == KeyChange::default() {
            bail!("nothing is said to change: give --name, --permission, --allow-ip or --expires");
        }
        Ok((Command::ChangeKey(self.id, Box::new(change), None), self.patience))
    }
}
