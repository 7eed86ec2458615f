//! Texts that many keys share: each is read once, and kept once.

use std::collections::HashMap;

use foldhash::quality::RandomState;

use super::{Error, Row};
use crate::key::{AccountId, Permissions};

/// Accounts and sets of permissions met so far.
#[derive(Debug, Default)]
pub struct Words {
    accounts: Met<AccountId>,
    permissions: Met<Permissions>,
    /// How many of each are kept in mind.
    most: usize,
}

impl Words {
    /// For who reads many keys; [`Words::default`] keeps nothing in mind.
    #[must_use]
    pub fn many() -> Self {
        Self { most: 10_000, ..Self::default() }
    }

    pub(in crate::store) fn account(&mut self, row: &Row<'_>, at: usize) -> Result<Option<AccountId>, Error> {
        let Some(text) = row.optional_text(at)? else { return Ok(None) };
        recall(&mut self.accounts, self.most, text, || row.parsed(at)).map(Some)
    }

    pub(in crate::store) fn permissions(&mut self, row: &Row<'_>, at: usize) -> Result<Permissions, Error> {
        let text = row.text(at)?;
        recall(&mut self.permissions, self.most, text, || row.permissions(at))
    }
}

type Met<T> = HashMap<Box<str>, T, RandomState>;

fn recall<T: Clone>(
    met: &mut Met<T>,
    most: usize,
    text: &str,
    read: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    if let Some(known) = met.get(text) {
        return Ok(known.clone());
    }
    let new = read()?;
    if met.len() < most {
        met.insert(text.into(), new.clone());
    }
    Ok(new)
}
