//! Keys of Kong's key-auth plugin: a declarative configuration (`kong config db_export`, decK), or lists of the Admin API.
//!
//! ```text
//!  consumers[] ----------------- id, username, custom_id, tags
//!     '-- keyauth_credentials[]  key, ttl, tags                     (nested, as people and decK write it)
//!  keyauth_credentials[] ------- key, ttl, tags, consumer           (beside them, as db_export does)
//!  data[] ---------------------- either, as GET /consumers and GET /key-auths answer; a page names the next
//! ```
//!
//! A credential names its consumer by id or by username, as text or as an object. All documents are read before any is resolved.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::document::{Plain, account, many, service_key};
use super::entry::Entry;
use super::format::AccountFrom;
use crate::clock::Timestamp;
use crate::key::AccountId;
use crate::keyring::command::NewKey;

/// One document of an export; most of what it says is of no concern here.
#[derive(Deserialize)]
pub(super) struct Document {
    #[serde(default, deserialize_with = "many")]
    consumers: Option<Vec<Consumer>>,
    #[serde(default, deserialize_with = "many")]
    keyauth_credentials: Option<Vec<Credential>>,
    #[serde(default, deserialize_with = "many")]
    data: Option<Vec<Listed>>,
    #[serde(default)]
    next: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Consumer {
    id: Option<String>,
    username: Option<String>,
    custom_id: Option<String>,
    #[serde(default, deserialize_with = "many")]
    tags: Option<Vec<String>>,
    #[serde(default, deserialize_with = "many")]
    keyauth_credentials: Option<Vec<Credential>>,
}

#[derive(Deserialize)]
struct Credential {
    id: Option<String>,
    key: Option<Plain>,
    #[serde(default)]
    consumer: Reference,
    ttl: Option<f64>,
    #[serde(default, deserialize_with = "many")]
    tags: Option<Vec<String>>,
}

/// A member of a list: a credential where it has a key, or else a consumer.
#[derive(Deserialize)]
struct Listed {
    id: Option<String>,
    username: Option<String>,
    custom_id: Option<String>,
    #[serde(default, deserialize_with = "many")]
    tags: Option<Vec<String>>,
    key: Option<Plain>,
    #[serde(default)]
    consumer: Reference,
    ttl: Option<f64>,
}

/// The keys of an export's documents, each document with what its places begin with.
pub(super) fn entries(
    documents: Vec<(String, Document)>,
    from: &AccountFrom,
    now: Timestamp,
) -> anyhow::Result<Vec<Entry>> {
    let mut export = Export::default();
    let mut entries = Vec::new();
    for (place, document) in documents {
        if let Some(why) = export.take(&place, document) {
            entries.push(Entry::refused(place.trim_end_matches(": ").to_owned(), why));
        }
    }
    for place in export.unfinished.iter().flatten() {
        entries.push(Entry::refused(place.clone(), "is not the last page of its list: give all of them"));
    }
    let names = Names::of(&export.consumers);
    for (at, owner, credential) in &export.credentials {
        let reference = &credential.consumer;
        let consumer = owner.or_else(|| names.find(reference)).and_then(|at| export.consumers.get(at));
        let account = credential.account(consumer, from);
        let named = consumer.and_then(|consumer| consumer.username.as_deref());
        let name = [named.filter(|_| *from != AccountFrom::Username), credential.id.as_deref()];
        let mut key = service_key(credential.key.as_ref(), account, &name)?;
        match credential.ttl.map_or(Some(None), |ttl| end(ttl, now)) {
            Some(expires_at) => key = key.map(|key| NewKey { expires_at, ..key }),
            // Without it the key would be accepted for ever.
            None => key = Err(vec!["ttl is no span of time".to_owned()]),
        }
        entries.push(Entry { at: at.clone(), key });
    }
    Ok(entries)
}

/// Everything the documents say, before it is put together.
#[derive(Default)]
struct Export {
    consumers: Vec<Consumer>,
    /// Where each stands, and the number of the consumer it stands in.
    credentials: Vec<(String, Option<usize>, Credential)>,
    /// The last pages, of consumers and of keys, where a list goes on in one that is not there.
    unfinished: [Option<String>; 2],
}

impl Export {
    /// Takes a document up; why not, where it is none of Kong's.
    fn take(&mut self, place: &str, document: Document) -> Option<&'static str> {
        let Document { consumers, keyauth_credentials, data, next } = document;
        if consumers.is_none() && keyauth_credentials.is_none() && data.is_none() {
            return Some("has neither consumers nor keyauth_credentials nor data, so it is no export of Kong's");
        }
        for (at, mut consumer) in consumers.into_iter().flatten().enumerate() {
            let number = self.consumers.len();
            for (inner, credential) in consumer.keyauth_credentials.take().into_iter().flatten().enumerate() {
                let at = format!("{place}consumers[{at}].keyauth_credentials[{inner}]");
                self.credentials.push((at, Some(number), credential));
            }
            self.consumers.push(consumer);
        }
        for (at, credential) in keyauth_credentials.into_iter().flatten().enumerate() {
            self.credentials.push((format!("{place}keyauth_credentials[{at}]"), None, credential));
        }
        if let Some(data) = &data {
            let of_keys = data.iter().any(Listed::is_key);
            self.unfinished[usize::from(of_keys)] = next.map(|_| format!("{place}data"));
        }
        for (at, listed) in data.into_iter().flatten().enumerate() {
            let is_key = listed.is_key();
            let Listed { id, username, custom_id, tags, key, consumer, ttl } = listed;
            if is_key {
                let credential = Credential { id, key, consumer, ttl, tags };
                self.credentials.push((format!("{place}data[{at}]"), None, credential));
            } else {
                self.consumers.push(Consumer { id, username, custom_id, tags, keyauth_credentials: None });
            }
        }
        None
    }
}

impl Listed {
    const fn is_key(&self) -> bool {
        self.key.is_some() || self.consumer.is_given()
    }
}

impl Credential {
    /// The account of its consumer, or why none can be told.
    fn account(&self, consumer: Option<&Consumer>, from: &AccountFrom) -> Result<AccountId, String> {
        if let AccountFrom::Tag(name) = from {
            let own = self.tags.iter().flatten();
            let theirs = consumer.into_iter().flat_map(|consumer| consumer.tags.iter().flatten());
            return account(from, AccountFrom::tagged(name, own.chain(theirs)));
        }
        // Every reference of Kong's own is by id, so this one needs no consumer.
        if *from == AccountFrom::Id && consumer.is_none() && self.consumer.is_given() {
            return account(from, self.consumer.id());
        }
        let Some(consumer) = consumer else {
            let why = if self.consumer.is_given() { "its consumer is not in the file" } else { "it names no consumer" };
            return Err(format!("account cannot be told: {why}"));
        };
        let found = match from {
            AccountFrom::Username => &consumer.username,
            AccountFrom::CustomId => &consumer.custom_id,
            AccountFrom::Id | AccountFrom::Tag(_) => &consumer.id,
        };
        account(from, found.as_deref())
    }
}

/// The consumers, by what a credential may name them by.
struct Names<'a> {
    ids: HashMap<&'a str, usize>,
    usernames: HashMap<&'a str, usize>,
}

impl<'a> Names<'a> {
    fn of(consumers: &'a [Consumer]) -> Self {
        let by = |text: fn(&Consumer) -> Option<&str>| {
            consumers.iter().enumerate().filter_map(|(at, consumer)| Some((text(consumer)?, at))).collect()
        };
        Self { ids: by(|consumer| consumer.id.as_deref()), usernames: by(|consumer| consumer.username.as_deref()) }
    }

    fn find(&self, reference: &Reference) -> Option<usize> {
        let by_id = reference.id().and_then(|id| self.ids.get(id));
        by_id.or_else(|| reference.username().and_then(|name| self.usernames.get(name))).copied()
    }
}

/// Which consumer a credential is of.
#[derive(Default)]
enum Reference {
    #[default]
    None,
    /// By id or username.
    Text(String),
    Object {
        id: Option<String>,
        username: Option<String>,
    },
}

impl Reference {
    const fn is_given(&self) -> bool {
        !matches!(self, Self::None)
    }

    fn id(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::Text(text) => Some(text),
            Self::Object { id, .. } => id.as_deref(),
        }
    }

    fn username(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::Text(text) => Some(text),
            Self::Object { username, .. } => username.as_deref(),
        }
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Reference;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a consumer's id or username")
            }

            fn visit_str<E>(self, text: &str) -> Result<Reference, E> {
                Ok(Reference::Text(text.to_owned()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Reference, E> {
                Ok(Reference::Text(number.to_string()))
            }

            fn visit_unit<E>(self) -> Result<Reference, E> {
                Ok(Reference::None)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Reference, A::Error> {
                let (mut id, mut username) = (None, None);
                while let Some(name) = map.next_key::<String>()? {
                    match name.as_str() {
                        "id" => id = map.next_value()?,
                        "username" => username = map.next_value()?,
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(Reference::Object { id, username })
            }
        }

        deserializer.deserialize_any(Any)
    }
}

/// When a credential ends, if ever: `ttl` is seconds from now on, as the Admin API gives it, or a moment, as newer exports do; 0 is
/// for ever. Kong takes no span above 100,000,000 seconds, which tells the two apart. None where it is neither.
fn end(ttl: f64, now: Timestamp) -> Option<Option<Timestamp>> {
    const LONGEST: f64 = 100_000_000.0;
    let span = Duration::try_from_secs_f64(ttl).ok()?;
    let from = if ttl > LONGEST { Timestamp::from_millis(0) } else { now };
    Some((!span.is_zero()).then(|| from.plus(span)))
}

#[cfg(test)]
mod tests {
    use super::super::document::documents;
    use super::*;
    use crate::key::{Imprint, Kind};
    use crate::secret::Secret;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn read(texts: &[&str], from: &str) -> Vec<Entry> {
        let all = texts.iter().flat_map(|text| documents::<Document>(text.as_bytes()).unwrap());
        entries(all.map(|document| (String::new(), document)).collect(), &from.parse().unwrap(), NOW).unwrap()
    }

    fn key(entry: &Entry) -> &NewKey {
        entry.key.as_ref().unwrap_or_else(|why| panic!("{}: {why:?}", entry.at))
    }

    fn why(entry: &Entry) -> String {
        entry.key.as_ref().unwrap_err().join("; ")
    }

    fn account(entry: &Entry) -> &str {
        key(entry).account.as_ref().unwrap().as_str()
    }

    #[test]
    fn a_database_export_is_read() {
        let read = read(&[include_str!("fixtures/kong-db-export.yaml")], "username");
        assert_eq!(read.len(), 4);
        let first = key(&read[0]);
        assert_eq!(
            (first.kind, account(&read[0]), read[0].at.as_str()),
            (Kind::Service, "alice", "keyauth_credentials[0]")
        );
        assert_eq!(first.secret, Imprint::of(&Secret::new(b"4174348a-9222-4e81-b33e-5d72d2fd7f1e")));
        assert_eq!((first.name.as_str(), first.expires_at), ("6b9443ae-73f0-4db6-af00-4f1e3a415dbb", None));
        assert_eq!(key(&read[1]).expires_at, Some("2030-01-01T00:00:00Z".parse().unwrap()), "an absolute ttl");
        assert_eq!((account(&read[1]), key(&read[1]).secret.hint.as_str()), ("alice", "9012"), "digits stay text");
        assert!(why(&read[2]).contains("no username"), "{}", why(&read[2]));
        assert!(why(&read[3]).contains("account is wrong, which is its username: ids"), "{}", why(&read[3]));
    }

    #[test]
    fn the_account_is_what_was_asked_for() {
        let text = include_str!("fixtures/kong-db-export.yaml");
        let by_custom_id = read(&[text], "custom_id");
        assert_eq!((account(&by_custom_id[0]), account(&by_custom_id[2])), ("101", "102"));
        assert_eq!(key(&by_custom_id[0]).name, "alice 6b9443ae-73f0-4db6-af00-4f1e3a415dbb");
        assert_eq!(account(&read(&[text], "id")[0]), "59d1ef15-24a5-4373-b957-e8192c15ff6e");
        let by_tag = read(&[text], "tag:team");
        assert_eq!((account(&by_tag[0]), account(&by_tag[1])), ("blue", "red"), "the key's own tag comes first");
        assert!(why(&by_tag[2]).contains("there is no tag team"), "{}", why(&by_tag[2]));
    }

    #[test]
    fn the_nested_form_is_read() {
        let read = read(&[include_str!("fixtures/kong-deck.yaml")], "username");
        assert_eq!(
            read.iter().map(|entry| entry.at.as_str()).collect::<Vec<_>>()[..2],
            ["consumers[0].keyauth_credentials[0]", "consumers[1].keyauth_credentials[0]"]
        );
        assert_eq!((account(&read[0]), account(&read[1])), ("ariel", "rosario"));
        assert_eq!(key(&read[1]).expires_at, Some(NOW.plus(Duration::from_secs(3600))), "a span from now on");
        assert!(why(&read[2]).contains("reference to a secret"), "{}", why(&read[2]));
        assert!(why(&read[3]).contains("key is not 16 to 512 visible"), "{}", why(&read[3]));
    }

    #[test]
    fn a_ttl_that_is_none_does_not_make_a_key_last_for_ever() {
        let ends = |ttl: &str| {
            let text = format!(
                "{{\"data\":[{{\"key\":\"a-key-of-old-times\",\"consumer\":{{\"id\":\"1\"}},\"ttl\":{ttl}}}]}}"
            );
            read(&[&text], "id").remove(0).key.map(|key| key.expires_at)
        };
        assert_eq!((ends("0"), ends("null")), (Ok(None), Ok(None)));
        assert_eq!(ends("60"), Ok(Some(NOW.plus(Duration::from_secs(60)))));
        for ttl in ["-1", "1e300"] {
            assert_eq!(ends(ttl), Err(vec!["ttl is no span of time".to_owned()]), "{ttl}");
        }
    }

    #[test]
    fn lists_of_the_admin_api_are_put_together() {
        let (keys, consumers) =
            (include_str!("fixtures/kong-key-auths.json"), include_str!("fixtures/kong-consumers.json"));
        let both = read(&[keys, consumers], "username");
        assert_eq!(both.iter().map(account).collect::<Vec<_>>(), ["alice", "bob"]);
        assert_eq!(read(&[&format!("{consumers}\n{keys}")], "username").len(), 2, "in one file, one after the other");
        let alone = read(&[keys], "username");
        assert!(why(&alone[0]).contains("its consumer is not in the file"), "{}", why(&alone[0]));
        assert_eq!(account(&read(&[keys], "id")[0]), "59d1ef15-24a5-4373-b957-e8192c15ff6e");
        let page = keys.replace("\"next\": null", "\"next\": \"/key-auths?offset=WyJ\"");
        let unfinished = read(&[&page, consumers], "username");
        assert_eq!((unfinished[0].at.as_str(), why(&unfinished[0]).contains("not the last page")), ("data", true));
    }

    #[test]
    fn what_is_none_of_kongs_is_refused_and_nothing_of_it_shown() {
        assert!(why(&read(&["{\"list\": []}"], "username")[0]).contains("no export of Kong's"));
        for text in
            ["{\"data\": [{\"key\": 5}]}", "{\"data\": \"s3cr3t\"}", "consumers:\n- s3cr3t\n", "data: [\"s3cr3t"]
        {
            let told = format!("{:#}", documents::<Document>(text.as_bytes()).err().unwrap());
            assert!(told.contains("line ") && !told.contains("s3cr3t"), "{told}");
        }
    }
}
