//! Another gateway's export: JSON, as its API answers, or YAML, as it keeps it in files; and what their entries share.
//!
//! Of what a parser has to say only the place is told: its words may quote the text, and a key may stand anywhere in it.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Budget, Options};

use super::entry::imprint;
use super::format::AccountFrom;
use crate::cli::key::new_id;
use crate::key::{AccountId, Imprint, Kind};
use crate::keyring::command::NewKey;
use crate::secret::Secret;

/// The documents of a text: YAML separates them by `---`, and JSON ones may follow each other.
pub(super) fn documents<T: DeserializeOwned>(text: &[u8]) -> anyhow::Result<Vec<T>> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    if matches!(text.trim_ascii_start().first(), Some(b'{' | b'[')) {
        let documents = serde_json::Deserializer::from_slice(text).into_iter();
        return documents.collect::<Result<_, _>>().map_err(|error| unreadable("JSON", error.line(), error.column()));
    }
    let text = std::str::from_utf8(text).map_err(|_| anyhow::anyhow!("is not UTF-8"))?;
    serde_saphyr::from_multiple_with_options(text, within(text)).map_err(|error| {
        let place = error.location();
        unreadable("YAML", place.map_or(0, |place| place.line()), place.map_or(0, |place| place.column()))
    })
}

fn unreadable(language: &str, line: impl fmt::Display, column: impl fmt::Display) -> anyhow::Error {
    anyhow::anyhow!("is no such export in {language}: it cannot be understood from line {line}, column {column} on")
}

/// As much as the text itself may hold: an export may be long, and what it repeats by reference is not multiplied.
fn within(text: &str) -> Options {
    let most = text.len().saturating_mul(4).max(1000);
    let mut budget = Budget::default();
    budget.max_events = most;
    budget.max_nodes = most;
    budget.max_total_scalar_bytes = most;
    budget.max_documents = most;
    let mut options = Options::default();
    options.with_snippet = false;
    options.budget = Some(budget);
    options
}

/// A plain key on its way into an [`Imprint`].
pub(super) struct Plain(Secret);

impl Plain {
    /// What is kept of it, where it can be a key.
    pub(super) fn imprint(&self) -> Result<Imprint, String> {
        if ELSEWHERE.iter().any(|mark| self.0.expose().starts_with(mark.as_bytes())) {
            return Err("is a reference to a secret that is kept elsewhere, not the key itself".to_owned());
        }
        imprint(&self.0)
    }
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Plain;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E>(self, text: &str) -> Result<Plain, E> {
                Ok(Plain(Secret::new(text.as_bytes())))
            }

            fn visit_string<E>(self, text: String) -> Result<Plain, E> {
                Ok(Plain(Secret::from(text)))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// A list that may be missing or null. Lua, which has one type for lists and objects, writes an empty one as `{}`.
pub(super) fn many<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    struct Many<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Many<T> {
        type Value = Option<Vec<T>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_unit<E>(self) -> Result<Option<Vec<T>>, E> {
            Ok(None)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Option<Vec<T>>, A::Error> {
            let mut all = Vec::new();
            while let Some(member) = list.next_element()? {
                all.push(member);
            }
            Ok(Some(all))
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<Vec<T>>, A::Error> {
            match map.next_key::<IgnoredAny>()? {
                None => Ok(Some(Vec::new())),
                Some(_) => Err(serde::de::Error::custom("an object where a list was expected")),
            }
        }
    }

    deserializer.deserialize_any(Many(PhantomData))
}

/// A service key of the account that a consumer becomes.
pub(super) fn service_key(
    key: Option<&Plain>,
    account: Result<AccountId, String>,
    name: &[Option<&str>],
) -> anyhow::Result<Result<NewKey, Vec<String>>> {
    let secret = key.map_or_else(|| Err("is missing".to_owned()), Plain::imprint).map_err(|why| format!("key {why}"));
    Ok(match (secret, account) {
        (Ok(secret), Ok(account)) => {
            let name = name.iter().flatten().copied().collect::<Vec<_>>().join(" ");
            Ok(NewKey { account: Some(account), name, ..NewKey::bare(new_id()?, secret, Kind::Service) })
        }
        (secret, account) => Err(secret.err().into_iter().chain(account.err()).collect()),
    })
}

/// The account that `text` names, which is what `from` found.
pub(super) fn account(from: &AccountFrom, text: Option<&str>) -> Result<AccountId, String> {
    let Some(text) = text else {
        return Err(format!("account cannot be told: there is no {from}; see --account-from"));
    };
    text.parse().map_err(|error| format!("account is wrong, which is its {from}: {error}; see --account-from"))
}

/// How Kong and APISIX mark a value that they fetch when they need it, and tools one that they fill in.
const ELSEWHERE: [&str; 4] = ["{vault://", "$secret://", "$env://", "${"];
