//! `--admin`: a command is carried out by a keyward that runs elsewhere, at its admin listener, for who has an operator key.
//!
//! The key comes from a file or from the environment, never from the command line, where every process of the machine could
//! read it; and it goes to another machine over TLS alone, unless somebody says otherwise.

mod client;

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::error::ErrorKind;
use zeroize::Zeroizing;

pub(super) use self::client::Client;
use super::dial::{Dialer, Url};
use crate::manage::commands::SILENCE;
use crate::secret::Secret;

#[derive(Debug, clap::Args)]
pub(super) struct AdminArguments {
    /// Have the keyward do it whose admin listener is there, such as `https://keyward.internal:9090` [env: KEYWARD_ADMIN_URL].
    #[arg(long = "admin", id = "admin_url", value_name = "URL", global = true, conflicts_with = "store", help_heading = PLACE)]
    url: Option<String>,
    /// The file with the operator key to ask it with; where left out, it is in the environment [env: KEYWARD_OPERATOR_KEY].
    #[arg(long, value_name = "FILE", global = true, help_heading = PLACE)]
    operator_key_file: Option<PathBuf>,
    /// The certificates (PEM) to trust there, instead of those that the system trusts.
    #[arg(long, value_name = "FILE", global = true, help_heading = PLACE)]
    admin_ca: Option<PathBuf>,
    /// Send the operator key over http to another machine: only where nobody can listen on the way.
    #[arg(long, global = true, help_heading = PLACE)]
    admin_in_clear: bool,
}

impl AdminArguments {
    /// The server to ask; none where none is named. The environment counts where `heed_environment`.
    pub(super) fn server(self, heed_environment: bool) -> anyhow::Result<Option<Server>> {
        let from_environment = || std::env::var(URL_VARIABLE).ok().filter(|url| heed_environment && !url.is_empty());
        let (said, text) = match self.url {
            Some(url) => ("--admin", url),
            None => match from_environment() {
                Some(url) => (URL_VARIABLE, url),
                None => return Ok(None),
            },
        };
        let url: Url = text.parse().unwrap_or_else(|bad| usage(&format!("{said} is no URL of a keyward: {bad}")));
        let key = match &self.operator_key_file {
            Some(file) => read_key(file)?,
            None => match std::env::var(KEY_VARIABLE).map(Secret::from) {
                Ok(key) if !key.expose().is_empty() => key,
                _ => usage(&format!(
                    "an operator key is needed to ask {url}: give it in the variable {KEY_VARIABLE}, or name a file that holds \
                     it with --operator-key-file"
                )),
            },
        };
        if !key.is_visible() || key.expose().is_empty() {
            let place = self.operator_key_file.as_deref().map_or_else(|| KEY_VARIABLE.into(), Path::to_string_lossy);
            usage(&format!("what {place} holds is no key: a key is one word of visible ASCII"));
        }
        let dialer = Dialer::new(self.admin_ca.as_deref(), self.admin_in_clear)?;
        Ok(Some(Server { url, key, dialer, patience: SILENCE }))
    }
}

/// A keyward elsewhere, and what to ask it with.
#[derive(Clone)]
pub(super) struct Server {
    url: Url,
    key: Secret,
    dialer: Dialer,
    /// How long to wait for a server that says nothing.
    patience: Duration,
}

/// The key in a file, which may end with a line break.
fn read_key(file: &Path) -> anyhow::Result<Secret> {
    let mut text = Zeroizing::new(Vec::with_capacity(LONGEST_FILE));
    let unreadable = || format!("the operator key cannot be read from {}", file.display());
    File::open(file).and_then(|file| file.take(LONGEST_FILE as u64).read_to_end(&mut text)).with_context(unreadable)?;
    Ok(Secret::new(text.trim_ascii()))
}

/// Ends the process as wrong usage does.
fn usage(said: &str) -> ! {
    clap::Error::raw(ErrorKind::ValueValidation, format!("{said}\n")).exit()
}

const PLACE: &str = "A keyward elsewhere";
const URL_VARIABLE: &str = "KEYWARD_ADMIN_URL";
const KEY_VARIABLE: &str = "KEYWARD_OPERATOR_KEY";
const LONGEST_FILE: usize = 4096;
