//! Prefixes under which a wrong checksum proves nothing, because foreign secrets of our shape were adopted under them.

use std::collections::HashSet;

use crate::key::token::Prefix;

/// The prefixes, or that we do not know them just now.
#[derive(Debug)]
pub(super) enum Adopted {
    /// Then any may be one of them: looking up once too often is only slower.
    Unsure,
    /// All of them.
    Prefixes(HashSet<Box<str>>),
}

impl Adopted {
    pub(super) fn of(prefixes: Vec<Prefix>) -> Self {
        Self::Prefixes(prefixes.iter().map(|prefix| prefix.as_str().into()).collect())
    }

    pub(super) fn may_hold(&self, prefix: &str) -> bool {
        match self {
            Self::Unsure => true,
            Self::Prefixes(all) => all.contains(prefix),
        }
    }
}
