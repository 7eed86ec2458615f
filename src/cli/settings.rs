//! The flags that stand for settings, and how every command comes by its settings.

use std::ops::Deref;
use std::path::PathBuf;

use super::admin::{self, AdminArguments};
use crate::config::{Flag, Problems, Read, Said, Settings, read};
use crate::key::{BadLine, Edit, Line};
use crate::store;

/// Where the store is: every command that touches it takes these.
#[derive(Debug, clap::Args)]
pub(super) struct StoreArguments {
    /// Settings file; of it the sections store and keys count here.
    #[arg(long, env = "KEYWARD_CONFIG", value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// The store, such as sqlite:///var/lib/keyward/keyward.db.
    #[arg(long, value_name = "URL", global = true)]
    store: Option<String>,
    #[command(flatten)]
    admin: AdminArguments,
}

/// What a command works on.
#[derive(Clone)]
pub(super) struct Site {
    settings: Settings,
    /// Who is asked, where that is not whoever has the store.
    pub(super) admin: Option<admin::Server>,
}

impl Site {
    /// The store with these settings, whoever has it.
    pub(super) const fn here(settings: Settings) -> Self {
        Self { settings, admin: None }
    }
}

/// Most of it is settings.
impl Deref for Site {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.settings
    }
}

/// What a family of commands on the store takes.
#[derive(Debug, clap::Args)]
pub(super) struct OnStore<V: clap::Subcommand> {
    #[command(subcommand)]
    pub(super) verb: V,
    #[command(flatten)]
    pub(super) store: StoreArguments,
    /// Print JSON.
    #[arg(long, global = true)]
    pub(super) json: bool,
}

impl StoreArguments {
    /// The settings, and whom to ask. Where nobody is named, those of the store and the keys are right.
    pub(super) fn settings(self) -> anyhow::Result<Site> {
        let Self { config, store, admin } = self;
        let admin = admin.server(store.is_none())?;
        let named = store.is_some();
        let read = from(config.clone(), flag("--store", "store.url", store).into_iter().collect())?;
        if admin.is_none() {
            let mut settings = read.resolve_store()?;
            // Who runs in the folder serves from the store that the settings name, and not from another one that a flag does.
            if named && from(config, Vec::new()).is_ok_and(|said| is_another(&said.settings.store, &settings.store)) {
                settings.store.folder = None;
            }
            return Ok(Site::here(settings));
        }
        // A store and a pepper on this machine are not what is asked about.
        if read.problems.is_empty() {
            Ok(Site { settings: read.settings, admin })
        } else {
            Err(Problems(read.problems).into())
        }
    }
}

fn is_another(said: &store::Config, store: &store::Config) -> bool {
    said.is_postgres() && said.url != store.url
}

/// The value of a flag that changes what need not be there: nothing takes it away.
pub(super) fn edited(text: &str) -> Result<Edit<Line>, BadLine> {
    if text.is_empty() { Ok(Edit::Clear) } else { text.parse().map(Edit::Set) }
}

/// A flag that was given, as a setting.
pub(super) fn flag(name: &'static str, key: &'static str, value: impl IntoIterator<Item = String>) -> Option<Flag> {
    let values: Vec<String> = value.into_iter().collect();
    (!values.is_empty()).then_some(Flag { name, key, values })
}

/// Everything that was said in a file, in this process's environment and by flags.
pub(super) fn from(config: Option<PathBuf>, flags: Vec<Flag>) -> Result<Read, Problems> {
    read(said(config, flags)).map_err(Problems)
}

/// The same, not read yet.
pub(super) fn said(config: Option<PathBuf>, flags: Vec<Flag>) -> Said {
    let environment = std::env::vars_os().collect();
    Said { file: config, usual_file: Some(USUAL_FILE.into()), environment, flags }
}

/// Read where no file is named, if it is there.
const USUAL_FILE: &str = "/etc/keyward/keyward.toml";
