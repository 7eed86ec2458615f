//! A store with keys, and keys that it does not have. Both are made by `keyward load`, so both look right.

use std::fs;
use std::path::{Path, PathBuf};

use crate::place;
use crate::run::{Run, Trouble, seconds};

pub(super) struct Keys {
    store: PathBuf,
    pub(super) valid: Vec<Key>,
    pub(super) unknown: Vec<Key>,
}

/// A secret, and an account whose path it asks for.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) secret: String,
    pub(super) account: String,
}

impl Keys {
    pub(super) fn make(folder: &Path) -> Result<Self, Trouble> {
        let (store, other) = (folder.join("keyward.db"), folder.join("other.db"));
        let valid = load(&store)?;
        let unknown = load(&other)?;
        Ok(Self { store, valid, unknown })
    }

    /// The store of the valid ones, as a setting.
    pub(super) fn store(&self) -> String {
        url(&self.store)
    }
}

/// Fills a store, and answers what was filled in.
fn load(store: &Path) -> Result<Vec<Key>, Trouble> {
    let out = store.with_extension("csv");
    Run::new("", seconds(60))
        .arg(place::dist_binary())
        .args("load --accounts 8 --keys 64 --out")
        .arg(&out)
        .arg("--store")
        .arg(url(store))
        .read()?;
    let rows = fs::read_to_string(&out).map_err(Trouble::io(format!("read {}", out.display())))?;
    let key = |row: &str| {
        let (secret, account) = row.split_once(',')?;
        Some(Key { secret: secret.to_owned(), account: account.to_owned() })
    };
    Ok(rows.lines().skip(1).filter_map(key).collect())
}

fn url(store: &Path) -> String {
    format!("sqlite://{}", store.display())
}
