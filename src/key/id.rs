//! Names: of accounts, users, keys and permissions.
//!
//! An account's or user's id is the text the origin uses in its own paths, given by the operator; so it is compared as
//! text, byte for byte, and `007` is not `7`. The alphabet leaves out whatever a path, a header or a log could read twice.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

/// Longest id, in bytes.
const LONGEST: usize = 128;

/// The text is not an id: empty, longer than 128 bytes, `.` or `..`, or with a character outside `A-Z a-z 0-9 - . _ ~ @ : +`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "ids and permissions are 1 to 128 of the characters A-Z a-z 0-9 - . _ ~ @ : + (permissions also *), and not . or .."
)]
pub struct BadId;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $extra:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                check(text, $extra).map(|text| Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

text_id!(
    /// An account, by the text the origin uses for it.
    AccountId,
    ""
);
text_id!(
    /// A user, by the text the origin uses for them.
    UserId,
    ""
);
text_id!(
    /// A key's record. It stays the same through every rotation, and is no secret.
    KeyId,
    ""
);
text_id!(
    /// The name of something a key may do, such as `jobs:run`. `*` stands for all, a final `:*` for all that begin so.
    Permission,
    "*"
);

impl Permission {
    /// Whether holding `self` is enough where `needed` is asked for.
    #[must_use]
    pub fn covers(&self, needed: &Self) -> bool {
        match self.as_str().strip_suffix('*') {
            Some("") => true,
            Some(stem) if stem.ends_with(':') => needed.as_str().starts_with(stem),
            _ => self == needed,
        }
    }
}

/// A set of permissions, kept sorted and without repeats.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Permission>", into = "Vec<Permission>")]
pub struct Permissions(Arc<[Permission]>);

impl Permissions {
    /// Whether one of them covers `needed`.
    #[must_use]
    pub fn cover(&self, needed: &Permission) -> bool {
        self.0.iter().any(|held| held.covers(needed))
    }

    /// What both sets allow: each permission of one that the other covers.
    #[must_use]
    pub fn within(&self, other: &Self) -> Self {
        let ours = self.0.iter().filter(|held| other.cover(held));
        let theirs = other.0.iter().filter(|held| self.cover(held));
        ours.chain(theirs).cloned().collect()
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The permissions, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Permission> {
        self.0.iter()
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(iter: I) -> Self {
        let mut all: Vec<_> = iter.into_iter().collect();
        all.sort();
        all.dedup();
        Self(all.into())
    }
}

impl From<Vec<Permission>> for Permissions {
    fn from(all: Vec<Permission>) -> Self {
        all.into_iter().collect()
    }
}

impl From<Permissions> for Vec<Permission> {
    fn from(set: Permissions) -> Self {
        set.0.to_vec()
    }
}

impl fmt::Display for Permissions {
    /// Comma-separated, as the identity header carries them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, permission) in self.0.iter().enumerate() {
            write!(f, "{}{permission}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

fn check<'a>(text: &'a str, extra: &str) -> Result<&'a str, BadId> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~@:+".contains(c) || extra.contains(c);
    let fits = !text.is_empty() && text.len() <= LONGEST && text != "." && text != ".." && text.chars().all(allowed);
    if fits { Ok(text) } else { Err(BadId) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> Permissions {
        names.iter().map(|name| name.parse::<Permission>().unwrap()).collect()
    }

    #[test]
    fn ids_refuse_what_a_path_could_read_twice() {
        for good in ["101", "acme", "a.b-c_d~e", "paul@example.com", "urn:x:1"] {
            assert!(good.parse::<AccountId>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "a%20", "a;b", "ä", "a\\b", "a,b", "*", &"x".repeat(129)] {
            assert!(bad.parse::<AccountId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_permission_covers_itself_its_family_or_everything() {
        let needed: Permission = "jobs:run".parse().unwrap();
        for (held, covers) in
            [("jobs:run", true), ("jobs:*", true), ("*", true), ("jobs:r*", false), ("jobs", false), ("job:*", false)]
        {
            assert_eq!(held.parse::<Permission>().unwrap().covers(&needed), covers, "{held}");
        }
    }

    #[test]
    fn permissions_within_others_never_exceed_either() {
        assert_eq!(set(&["jobs:*", "users:read"]).within(&set(&["jobs:run", "billing:*"])), set(&["jobs:run"]));
        assert_eq!(set(&["*"]).within(&set(&["a", "b:*"])), set(&["a", "b:*"]));
        assert!(set(&["a"]).within(&Permissions::default()).is_empty());
    }
}
