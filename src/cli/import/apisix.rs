//! Keys of APISIX's key-auth plugin: lists of the Admin API, or a file of the standalone mode.
//!
//! ```text
//!  list[].value ---- username, labels, plugins.key-auth.key      GET /apisix/admin/consumers
//!  list[].key ------ /apisix/consumers/NAME/credentials/ID       GET /apisix/admin/consumers/NAME/credentials
//!  consumers[] ----- the same values; a credential's id is NAME/credentials/ID      apisix.yaml
//! ```
//!
//! One answer about one object is such a list of one. A consumer without a key has nothing to bring along.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use super::document::{Plain, account, many, service_key};
use super::entry::Entry;
use super::format::AccountFrom;
use crate::key::AccountId;

/// One document of an export.
#[derive(Deserialize)]
pub(super) struct Document {
    #[serde(default, deserialize_with = "many")]
    list: Option<Vec<Item>>,
    #[serde(default, deserialize_with = "many")]
    consumers: Option<Vec<Value>>,
    key: Option<String>,
    value: Option<Value>,
}

/// A value, and where the Admin API keeps it.
#[derive(Deserialize)]
struct Item {
    key: Option<String>,
    value: Option<Value>,
}

/// A consumer or a credential.
#[derive(Deserialize)]
struct Value {
    id: Option<String>,
    username: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    plugins: Option<Plugins>,
}

#[derive(Deserialize)]
struct Plugins {
    #[serde(rename = "key-auth")]
    key_auth: Option<KeyAuth>,
}

#[derive(Deserialize)]
struct KeyAuth {
    key: Option<Plain>,
    #[serde(rename = "_meta")]
    meta: Option<Meta>,
}

#[derive(Deserialize)]
struct Meta {
    disable: Option<bool>,
}

/// The keys of an export's documents, each document with what its places begin with.
pub(super) fn entries(documents: Vec<(String, Document)>, from: &AccountFrom) -> anyhow::Result<Vec<Entry>> {
    let (mut entries, mut items) = (Vec::new(), Vec::new());
    for (place, document) in documents {
        let Document { list, consumers, key, value } = document;
        if list.is_none() && consumers.is_none() && value.is_none() {
            let why = "has neither list nor consumers nor value, so it is no export of APISIX's";
            entries.push(Entry::refused(place.trim_end_matches(": ").to_owned(), why));
        }
        let listed = list.into_iter().flatten().enumerate();
        items.extend(listed.map(|(at, Item { key, value })| (format!("{place}list[{at}]"), key, value)));
        let standing = consumers.into_iter().flatten().enumerate();
        items.extend(standing.map(|(at, value)| (format!("{place}consumers[{at}]"), None, Some(value))));
        items.extend(value.map(|value| (format!("{place}value"), key, Some(value))));
    }
    let items: Vec<_> = items.into_iter().filter_map(|(at, key, value)| Some(Found::of(at, key, value?))).collect();
    let labels: HashMap<_, _> = items.iter().filter(|found| found.credential.is_none()).map(Found::labels).collect();
    for found in &items {
        let Some(key_auth) = found.value.plugins.as_ref().and_then(|plugins| plugins.key_auth.as_ref()) else {
            continue;
        };
        let theirs = found.username.as_deref().and_then(|username| labels.get(username)).copied().flatten();
        let named = found.username.as_deref().filter(|_| *from != AccountFrom::Username);
        let name = [named, found.credential.as_deref()];
        let mut key = service_key(key_auth.key.as_ref(), found.account(theirs, from), &name)?;
        if key_auth.meta.as_ref().is_some_and(|meta| meta.disable == Some(true)) {
            key = Err(vec!["key-auth is switched off: as an adopted key it would be accepted again".to_owned()]);
        }
        entries.push(Entry { at: found.at.clone(), key });
    }
    Ok(entries)
}

/// A consumer or a credential, and whose it is.
struct Found {
    at: String,
    username: Option<String>,
    /// The credential's id; none where it is the consumer itself.
    credential: Option<String>,
    value: Value,
}

impl Found {
    fn of(at: String, key: Option<String>, value: Value) -> Self {
        let path = key.as_deref().or(value.id.as_deref());
        let parts = path.and_then(|path| path.split_once("/credentials/"));
        let (username, credential) = match parts {
            Some((consumer, credential)) => {
                (consumer.rsplit('/').next().map(str::to_owned), Some(credential.to_owned()))
            }
            None => (value.username.clone(), None),
        };
        Self { at, username, credential, value }
    }

    fn labels(&self) -> (&str, Option<&BTreeMap<String, String>>) {
        (self.username.as_deref().unwrap_or_default(), self.value.labels.as_ref())
    }

    fn account(&self, theirs: Option<&BTreeMap<String, String>>, from: &AccountFrom) -> Result<AccountId, String> {
        let label = |name: &str| self.value.labels.iter().chain(theirs).find_map(|labels| labels.get(name));
        let found = match from {
            AccountFrom::Username => self.username.as_ref(),
            AccountFrom::CustomId => label("custom_id"),
            AccountFrom::Tag(name) => label(name),
            // APISIX has no other id of a consumer than its username.
            AccountFrom::Id => None,
        };
        account(from, found.map(String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::documents;
    use super::*;
    use crate::key::{Imprint, Kind};
    use crate::secret::Secret;

    fn read(texts: &[&str], from: &str) -> Vec<Entry> {
        let all = texts.iter().flat_map(|text| documents::<Document>(text.as_bytes()).unwrap());
        entries(all.map(|document| (String::new(), document)).collect(), &from.parse().unwrap()).unwrap()
    }

    fn account(entry: &Entry) -> &str {
        entry.key.as_ref().unwrap_or_else(|why| panic!("{}: {why:?}", entry.at)).account.as_ref().unwrap().as_str()
    }

    fn why(entry: &Entry) -> String {
        entry.key.as_ref().unwrap_err().join("; ")
    }

    const CONSUMERS: &str = include_str!("fixtures/apisix-consumers.json");
    const CREDENTIALS: &str = include_str!("fixtures/apisix-credentials.json");
    const STANDALONE: &str = include_str!("fixtures/apisix.yaml");

    #[test]
    fn consumers_are_read() {
        let read = read(&[CONSUMERS], "username");
        assert_eq!(read.iter().map(|entry| entry.at.as_str()).collect::<Vec<_>>(), ["list[0]", "list[2]", "list[3]"]);
        let key = read[0].key.as_ref().unwrap();
        assert_eq!((key.kind, account(&read[0])), (Kind::Service, "jack"));
        assert_eq!(key.secret, Imprint::of(&Secret::new(b"auth-one/of-sixteen+")), "Lua escapes the slash");
        assert!(why(&read[1]).contains("reference to a secret"), "{}", why(&read[1]));
        assert!(why(&read[2]).contains("switched off"), "{}", why(&read[2]));
    }

    #[test]
    fn credentials_are_their_consumers() {
        let read = read(&[CREDENTIALS], "username");
        assert_eq!(read.iter().map(account).collect::<Vec<_>>(), ["jack", "jack"]);
        assert_eq!(read[1].key.as_ref().unwrap().name, "key-auth-two");
        let by_label = self::read(&[CREDENTIALS, CONSUMERS], "custom_id");
        assert_eq!(
            (account(&by_label[0]), account(&by_label[1])),
            ("271fc4a264bb", "101"),
            "its own label comes first"
        );
        assert_eq!(account(&self::read(&[CONSUMERS], "tag:custom_id")[0]), "101");
        assert!(why(&self::read(&[CONSUMERS], "id")[0]).contains("there is no id"));
    }

    #[test]
    fn a_file_of_the_standalone_mode_is_read() {
        let read = read(&[STANDALONE], "username");
        assert_eq!(read.iter().map(account).collect::<Vec<_>>(), ["jack", "john_1", "john_1"]);
        assert_eq!(read[2].key.as_ref().unwrap().name, "john-b");
    }

    #[test]
    fn an_empty_list_of_luas_is_one_and_another_document_is_none() {
        assert!(read(&["{\"total\":0,\"list\":{}}"], "username").is_empty());
        assert!(why(&read(&["{\"data\": []}"], "username")[0]).contains("no export of APISIX's"));
        let one = "{\"key\":\"/apisix/consumers/tom\",\"value\":{\"username\":\"tom\",\"plugins\":{\"key-auth\":{\"key\":\"a-key-of-old-times\"}}}}";
        assert_eq!(account(&read(&[one], "username")[0]), "tom");
    }
}
