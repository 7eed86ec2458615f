//! Leaving the keys of users, which cross accounts: what each was seen to do, and what should take its place.
//!
//! The rule is plain, and its reason stands beside every answer. A key that nobody was seen to use needs no replacement. One that a browser
//! used, or whose every use came from one address, is taken for a person's: a personal key for each account. All others are taken for
//! machines': a service key for each account. Whoever knows better replaces it otherwise.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use super::command::Problem;
use super::{Keyring, Shared};
use crate::clock::Timestamp;
use crate::key::{AccountId, Imprint, Key, Kind, Permission};
use crate::store::{Caller, LegacyUse, Replaced, Replacement, Store, Tally};

/// A route that a setting names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedRoute {
    /// Its name.
    pub name: String,
    /// What it asks for.
    pub permission: Option<Permission>,
}

/// The routes that settings name now.
pub(super) type Named = RwLock<Arc<[NamedRoute]>>;

/// A user's key, what it was seen to do, and what should take its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Legacy {
    /// The key.
    pub key: Key,
    /// The accounts it was used in.
    pub accounts: Vec<Seen<AccountId>>,
    /// The routes it was used on, by name.
    pub routes: Vec<SeenRoute>,
    /// Where it was used from.
    pub addresses: Vec<Seen<IpAddr>>,
    /// What used it.
    pub user_agents: Vec<Seen<String>>,
    /// Requests of callers for whom there was no place.
    pub more: Option<Tally>,
    /// What should take its place.
    pub advice: Advice,
}

/// Something, and how often and when it was seen. Of several the last seen stands first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen<T> {
    /// What it is.
    pub id: T,
    /// How often, and when.
    #[serde(flatten)]
    pub seen: Tally,
}

/// A route that was used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenRoute {
    /// Its name.
    pub id: String,
    /// Whether a setting names it, now.
    pub named: bool,
    /// How often, and when.
    #[serde(flatten)]
    pub seen: Tally,
}

/// What should take a key's place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advice {
    /// Personal or service; none where nothing need.
    pub with: Option<Kind>,
    /// In which accounts.
    pub accounts: Vec<AccountId>,
    /// Why.
    pub because: String,
}

impl Keyring {
    /// Says which routes settings name. Those that were seen and are not among them are marked as such.
    pub fn name_routes(&self, routes: Vec<NamedRoute>) {
        *self.shared.named.write().unwrap_or_else(PoisonError::into_inner) = routes.into();
    }
}

impl Shared {
    /// Keys of users that can still be used, with serials above `after`; at most `many`, oldest first.
    pub(super) async fn migration(&self, after: i64, many: u32, now: Timestamp) -> Result<Vec<Legacy>, Problem> {
        self.write_callers().await;
        let named = self.named();
        let uses = self.store.legacy_uses(after, many, self.callers.most(), now).await?;
        Ok(uses.into_iter().map(|one| legacy(one, &named)).collect())
    }

    /// Mints what takes a key's place, and ends that one as is asked for; in `store`, which knows what goes along with it.
    pub(super) async fn replace(
        &self,
        store: &Store,
        replacement: Replacement<Imprint>,
        now: Timestamp,
        revision: &mut Option<u64>,
    ) -> Result<Replaced, Problem> {
        self.write_callers().await;
        let seen = self.store.legacy_use(replacement.key.clone(), self.callers.most(), now).await?;
        let asked = seen.and_then(|seen| asked(&seen, &self.named()));
        let Replacement { key, kind, keys, name, permissions, expires_at, old } = replacement;
        let sealed = |(account, id, imprint)| (account, id, super::operate::secret(imprint, &self.digester));
        let keys = keys.into_iter().map(sealed).collect();
        let replacement = Replacement { key, kind, keys, name, permissions, expires_at, old };
        self.settle(store.replace(replacement, asked, now).await, revision).await
    }

    fn named(&self) -> Arc<[NamedRoute]> {
        Arc::clone(&self.named.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What the routes that a key was seen on ask for; none where that is not all known.
fn asked(seen: &LegacyUse, named: &[NamedRoute]) -> Option<Vec<Permission>> {
    let mut asked = Vec::new();
    for secret in &seen.secrets {
        if secret.more.is_some() {
            return None;
        }
        for caller in &secret.callers {
            let mut rules = named.iter().filter(|route| route.name == caller.route).peekable();
            rules.peek()?;
            for rule in rules {
                // What asks for nothing may still be judged by the origin, by all that the key may.
                asked.push(rule.permission.clone()?);
            }
        }
    }
    Some(asked)
}

fn legacy(one: LegacyUse, named: &[NamedRoute]) -> Legacy {
    let callers: Vec<&Caller> = one.secrets.iter().flat_map(|secret| &secret.callers).collect();
    let more = one.secrets.iter().filter_map(|secret| secret.more).reduce(Tally::and);
    let addresses = gathered(callers.iter().map(|caller| (caller.address, caller.seen)));
    let user_agents = gathered(callers.iter().map(|caller| (caller.user_agent.clone(), caller.seen)));
    let routes = gathered(callers.iter().map(|caller| (caller.route.clone(), caller.seen)));
    let is_named = |name: &str| named.iter().any(|route| route.name == name);
    let routes = routes.into_iter().map(|Seen { id, seen }| SeenRoute { named: is_named(&id), id, seen }).collect();
    let browser = user_agents.iter().any(|agent| agent.id.starts_with(BROWSER));
    let advice = advice(&one, addresses.len(), more.is_some(), browser);
    let accounts = one.reached.into_iter().map(|(id, seen)| Seen { id, seen }).collect();
    Legacy { key: one.key, accounts, routes, addresses, user_agents, more, advice }
}

/// Every browser's user agent begins so, and hardly any program's.
const BROWSER: &str = "Mozilla/";

fn advice(one: &LegacyUse, addresses: usize, more: bool, browser: bool) -> Advice {
    let reached: Vec<AccountId> = one.reached.iter().map(|(account, _)| account.clone()).collect();
    if addresses == 0 && !more && reached.is_empty() {
        let because = match one.key.last_used_at {
            None => "nobody was seen to use it".to_owned(),
            Some(at) => format!("nobody was seen to use it since callers are noted; it was last used at {at}"),
        };
        return Advice { with: None, accounts: Vec::new(), because };
    }
    let (with, because) = match (browser, addresses) {
        (true, _) => (Kind::Personal, "a browser used it, so a person does"),
        (false, 0 | 1) if !more => (Kind::Personal, "all its use came from one address, as one person's does"),
        (false, _) => (Kind::Service, "it was used from several addresses and by no browser, as machines do"),
    };
    if reached.is_empty() {
        let because = format!("{because}; its requests named no account, so these are its user's");
        return Advice { with: Some(with), accounts: one.memberships.clone(), because };
    }
    // Where its user is no longer a member it is refused, and needs no replacement.
    let accounts = reached.into_iter().filter(|account| one.memberships.contains(account)).collect();
    Advice { with: Some(with), accounts, because: because.to_owned() }
}

/// Each once, the last seen first.
fn gathered<T: Ord>(all: impl Iterator<Item = (T, Tally)>) -> Vec<Seen<T>> {
    let mut sums = BTreeMap::<T, Tally>::new();
    for (id, seen) in all {
        sums.entry(id).and_modify(|sum| *sum = sum.and(seen)).or_insert(seen);
    }
    let mut all: Vec<_> = sums.into_iter().map(|(id, seen)| Seen { id, seen }).collect();
    all.sort_by_key(|one| Reverse(one.seen.last_seen));
    all
}
