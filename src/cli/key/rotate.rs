//! `keyward key rotate`.

use std::time::Duration;

use super::expiry::Expiry;
use super::{expect_key, mint};
use crate::cli::access::Access;
use crate::cli::output::{print_secret, say};
use crate::cli::receipt::Patience;
use crate::cli::settings::Site;
use crate::clock::{Clock, Timestamp};
use crate::key::rotation::{Mode, Rotation};
use crate::key::token::Prefix;
use crate::key::{KeyId, SecretState};
use crate::keyring::command::Command;
use crate::measure::Span;
use crate::store;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The key's id.
    id: KeyId,
    /// How long the old secret is good beside the new one, such as 24h; with --until-quiet, at most.
    #[arg(long, visible_alias = "at-most")]
    grace: Option<Span>,
    /// The old secret ends sooner, once nobody has used it for so long, such as 1h.
    #[arg(long, value_name = "SPAN", requires = "grace")]
    until_quiet: Option<Span>,
    /// The old secret stays until the new one is first used, and for --grace after that.
    #[arg(long)]
    first_use: bool,
    /// With --first-use: a new secret that is not used for so long is given up.
    #[arg(long, default_value = "7d", requires = "first_use")]
    within: Span,
    /// End a rotation that still runs.
    #[arg(long)]
    supersede: bool,
    /// What the key is called from now on; as it was where left out.
    #[arg(long)]
    name: Option<String>,
    /// Until when the key is accepted: 30d from now, 2030-01-01T00:00:00Z, or never; as it was where left out.
    #[arg(long, value_name = "WHEN")]
    expires: Option<Expiry>,
    /// What the new secret begins with; as the old one did where left out.
    #[arg(long)]
    prefix: Option<Prefix>,
    #[command(flatten)]
    patience: Patience,
}

impl Arguments {
    /// Of a key that has had so many secrets.
    fn rotation(&self, generation: i64, now: Timestamp) -> Rotation {
        let grace = self.grace.map(|Span(span)| span);
        let mode = match grace {
            _ if self.first_use => Mode::FirstUse { within: self.within.0, grace: grace.unwrap_or(Duration::ZERO) },
            Some(span) => Mode::Grace(span),
            None => Mode::Immediate,
        };
        Rotation {
            mode,
            supersede: self.supersede,
            until_quiet: self.until_quiet.map(|Span(span)| span),
            generation: Some(generation),
            name: self.name.clone(),
            expires_at: Expiry::edit(self.expires, now),
        }
    }
}

pub(super) async fn run(settings: &Site, arguments: Arguments, json: bool) -> anyhow::Result<()> {
    let mut access = Access::open(settings, store::Access::Existing).await?;
    let before = expect_key(access.run(Command::ShowKey(arguments.id.clone())).await?)?;
    let rotation = arguments.rotation(before.generation, Clock::System.now());
    let prefix = arguments.prefix.or(before.prefix).unwrap_or_else(|| settings.keys.prefix.clone());
    let (secret, imprint) = mint::new_secret(&prefix)?;
    let rotate = Command::RotateKey(arguments.id, imprint, rotation);
    let (outcome, receipt) = access.change(rotate, arguments.patience.span()).await?;
    let key = expect_key(outcome)?;
    access.close().await;
    let now = Clock::System.now();
    print_secret(json, &key, &secret, now, receipt.as_ref())?;
    if let Some(second) = key.rotation_at(now).filter(|_| !json) {
        let (hint, until) = (&second.hint, second.valid_until);
        say(&if second.state == SecretState::Pending {
            format!("The old secret stays until this one is first used; not used before {until}, this one is given up.")
        } else {
            let quiet = second.until_quiet_seconds.map(|seconds| Span(Duration::from_secs(seconds)));
            let quiet = quiet.map(|span| format!(", or until nobody has used it for {span}")).unwrap_or_default();
            format!("The old secret, …{hint}, is good until {until}{quiet}; `keyward key complete` ends it sooner.")
        });
    }
    Ok(())
}
