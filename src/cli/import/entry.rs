//! What a file says, entry by entry, before anything is asked of the store: each is a key to be made, or is refused with every
//! reason. No reason ever shows a value: a secret may stand anywhere in a file that is wrong.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::fmt;

use crate::key::Imprint;
use crate::keyring::command::NewKey;
use crate::secret::Secret;

/// One entry of a file.
pub(super) struct Entry {
    /// Where it stands, such as `line 3` or `keyauth_credentials[2]`.
    pub(super) at: String,
    /// What it asks for, or why it is refused.
    pub(super) key: Result<NewKey, Vec<String>>,
}

impl Entry {
    pub(super) fn refused(at: String, why: impl Into<String>) -> Self {
        Self { at, key: Err(vec![why.into()]) }
    }
}

/// Refuses each entry whose secret an earlier one has.
pub(super) fn refuse_repeats(entries: &mut [Entry]) {
    let mut places = HashMap::new();
    for entry in entries {
        let Ok(key) = &entry.key else { continue };
        match places.entry(key.secret.sha256) {
            Place::Vacant(place) => drop(place.insert(entry.at.clone())),
            Place::Occupied(first) => entry.key = Err(vec![format!("secret is the same as in {}", first.get())]),
        }
    }
}

/// The keys to be made, with the place of each.
///
/// # Errors
/// Some are refused: then none is made.
pub(super) fn all_or_none(entries: Vec<Entry>) -> Result<(Vec<String>, Vec<NewKey>), Mistakes> {
    let (mut places, mut keys, mut mistakes) = (Vec::new(), Vec::new(), Vec::new());
    for Entry { at, key } in entries {
        match key {
            Ok(key) => {
                places.push(at);
                keys.push(key);
            }
            Err(why) => mistakes.extend(why.into_iter().map(|why| format!("{at}: {why}"))),
        }
    }
    if mistakes.is_empty() { Ok((places, keys)) } else { Err(Mistakes(mistakes)) }
}

/// Everything that is wrong with a file, as one error.
#[derive(Debug, thiserror::Error)]
pub(super) struct Mistakes(Vec<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(all) = self;
        write!(f, "{} {}", all.len(), if all.len() == 1 { "mistake" } else { "mistakes" })?;
        for mistake in all.iter().take(SHOWN) {
            write!(f, "\n  {mistake}")?;
        }
        match all.len().checked_sub(SHOWN) {
            None | Some(0) => Ok(()),
            Some(more) => write!(f, "\n  and {more} more"),
        }
    }
}

/// What is kept of a plain key, where it can be one.
pub(super) fn imprint(secret: &Secret) -> Result<Imprint, String> {
    let length = secret.expose().len();
    if !secret.is_visible() || !(SHORTEST..=LONGEST).contains(&length) {
        return Err(format!("is not {SHORTEST} to {LONGEST} visible ASCII characters"));
    }
    Ok(Imprint::of(secret))
}

const SHORTEST: usize = 16;
const LONGEST: usize = 512;
/// Mistakes shown; a file of the wrong format has as many as lines.
const SHOWN: usize = 100;
