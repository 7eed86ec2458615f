//! What a file is written in, and how an account is found in another gateway's consumer.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// What a file is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// A table with a header.
    Csv,
    /// One JSON object a line.
    Jsonl,
    /// Kong: `kong config db_export`, decK, or lists of the Admin API.
    Kong,
    /// Apache APISIX: lists of the Admin API, or apisix.yaml.
    Apisix,
}

impl Format {
    /// The format of a file that is named as such files are.
    pub(super) fn of(file: &Path) -> Option<Self> {
        let name = file.file_name()?.to_str()?.to_ascii_lowercase();
        let (stem, ending) = name.rsplit_once('.')?;
        match (stem, ending) {
            (_, "csv") => Some(Self::Csv),
            (_, "jsonl" | "ndjson") => Some(Self::Jsonl),
            ("kong", "yaml" | "yml" | "json") => Some(Self::Kong),
            ("apisix", "yaml" | "yml" | "json") => Some(Self::Apisix),
            _ => None,
        }
    }

    /// Whether it speaks of consumers, and not of accounts.
    pub(super) const fn has_consumers(self) -> bool {
        matches!(self, Self::Kong | Self::Apisix)
    }
}

/// What of a consumer becomes the account of its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AccountFrom {
    /// What it is called.
    Username,
    /// What another system calls it; in APISIX its label `custom_id`.
    CustomId,
    /// What Kong calls it.
    Id,
    /// The value of a tag `NAME:VALUE` (Kong) or a label `NAME` (APISIX), of the key or of the consumer.
    Tag(String),
}

impl AccountFrom {
    /// The value of the tag that is asked for, among such as `NAME:VALUE`.
    pub(super) fn tagged<'a>(name: &str, mut tags: impl Iterator<Item = &'a String>) -> Option<&'a str> {
        tags.find_map(|tag| tag.split_once(':').filter(|(key, _)| *key == name).map(|(_, value)| value))
    }
}

impl FromStr for AccountFrom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("tag:")) {
            ("username", _) => Ok(Self::Username),
            ("custom_id", _) => Ok(Self::CustomId),
            ("id", _) => Ok(Self::Id),
            (_, Some(name)) if !name.is_empty() => Ok(Self::Tag(name.to_owned())),
            _ => Err("give one of username, custom_id, id and tag:NAME".to_owned()),
        }
    }
}

impl fmt::Display for AccountFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Username => f.write_str("username"),
            Self::CustomId => f.write_str("custom_id"),
            Self::Id => f.write_str("id"),
            Self::Tag(name) => write!(f, "tag {name}"),
        }
    }
}
