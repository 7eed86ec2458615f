//! Tokens on the wire: what is said of a wanted one, and how one is shown. Its secret is shown where it was just made; elsewhere
//! no more than its last characters are.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::drawer::Drawer;
use super::envelope::Moment;
use super::number::{self, Number};
use crate::key::token::Prefix;
use crate::key::{Key, KeyState, Kind, Permission, Permissions};
use crate::manage::problem::Problem;
use crate::secret::Secret;

/// A token.
#[derive(Serialize)]
pub(super) struct Body<'a> {
    id: i64,
    created_at: Moment,
    updated_at: Moment,
    account_id: &'a Number,
    user_id: Option<&'a Number>,
    #[serde(rename = "type")]
    kind: u8,
    uid: &'a str,
    name: &'a str,
    state: u8,
    /// The vendor's has a hash here, which is nobody's to know.
    token: Option<&'a str>,
    token_string: Cow<'a, str>,
    last_used: Option<Moment>,
    expires_at: Option<Moment>,
    #[serde(flatten)]
    service: Option<Service<'a>>,
}

/// What only service tokens have.
#[derive(Serialize)]
struct Service<'a> {
    service_token_permissions: Vec<Grant<'a>>,
    metadata_only: bool,
    webhooks_only: bool,
}

/// A permission set, in all projects or in one.
#[derive(Serialize)]
pub(super) struct Grant<'a> {
    permission_set: &'a str,
    project_id: Option<i64>,
    writable_environment_categories: [&'a str; 0],
}

impl<'a> Body<'a> {
    pub(super) fn masked(key: &'a Key, drawer: &'a Drawer) -> Self {
        let prefix = key.prefix.as_ref().map(Prefix::as_str);
        let begin = prefix.map_or_else(String::new, |prefix| format!("{prefix}_"));
        Self::of(key, drawer, format!("{begin}{MASK}{}", key.hint).into())
    }

    pub(super) fn made(key: &'a Key, drawer: &'a Drawer, secret: &'a Secret) -> Self {
        Self::of(key, drawer, secret.expose_str().unwrap_or_default().into())
    }

    fn of(key: &'a Key, drawer: &'a Drawer, token_string: Cow<'a, str>) -> Self {
        let service = (key.kind == Kind::Service).then(|| Service {
            service_token_permissions: grants(key),
            metadata_only: is_only(&key.permissions, METADATA_ONLY),
            webhooks_only: is_only(&key.permissions, WEBHOOKS_ONLY),
        });
        Self {
            id: key.serial,
            created_at: Moment(key.created_at),
            updated_at: Moment(key.rotated_at.unwrap_or(key.created_at)),
            account_id: &drawer.account.number,
            user_id: drawer.user.as_ref().map(|user| &user.number),
            kind: GENERAL,
            uid: key.kid.as_deref().unwrap_or(key.id.as_str()),
            name: &key.name,
            state: if key.state == KeyState::Revoked { DELETED } else { ACTIVE },
            token: None,
            token_string,
            last_used: key.last_used_at.map(Moment),
            expires_at: key.expires_at.map(Moment),
            service,
        }
    }
}

const MASK: &str = "**********";
const GENERAL: u8 = 2;
const ACTIVE: u8 = 1;
const DELETED: u8 = 2;

fn is_only(permissions: &Permissions, set: &str) -> bool {
    !permissions.is_empty() && permissions.iter().all(|permission| permission.as_str() == set)
}

/// What a key may do.
pub(super) fn grants(key: &Key) -> Vec<Grant<'_>> {
    key.permissions.iter().map(Grant::of).collect()
}

impl<'a> Grant<'a> {
    /// `job_admin` stands for all projects, `job_admin:33` for one.
    fn of(permission: &'a Permission) -> Self {
        let text = permission.as_str();
        let in_one = text.rsplit_once(':').and_then(|(set, project)| Some((set, number::read(project)?)));
        let (permission_set, project_id) = in_one.map_or((text, None), |(set, project)| (set, Some(project)));
        Self { permission_set, project_id, writable_environment_categories: [] }
    }
}

/// The answer to a rotation by the route that has an answer of its own.
#[derive(Serialize)]
pub(super) struct Rotated<'a> {
    id: &'a Number,
    user_id: &'a Number,
    api_key: &'a str,
    token_string: &'a str,
    created_at: Moment,
}

impl<'a> Rotated<'a> {
    pub(super) fn of(key: &Key, user: &'a Number, secret: &'a Secret) -> Self {
        let secret = secret.expose_str().unwrap_or_default();
        Self { id: user, user_id: user, api_key: secret, token_string: secret, created_at: Moment(key.created_at) }
    }
}

/// A wanted token. Clients send whole objects, so members that nobody reads are no fault.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    pub(super) name: String,
    #[serde(default)]
    permission_grants: Vec<WantedGrant>,
    #[serde(default)]
    metadata_only: bool,
    #[serde(default)]
    webhooks_only: bool,
    account_id: Option<Value>,
    user_id: Option<Value>,
    state: Option<u64>,
}

/// What a service token is to be allowed from now on.
#[derive(Debug, Deserialize)]
pub(super) struct WantedGrants {
    permission_grants: Vec<WantedGrant>,
}

impl WantedGrants {
    pub(super) fn permissions(&self) -> Result<Permissions, Problem> {
        self.permission_grants.iter().map(WantedGrant::permission).collect()
    }
}

#[derive(Debug, Deserialize)]
struct WantedGrant {
    permission_set: String,
    project_id: Option<i64>,
    #[serde(default)]
    writable_environment_categories: Vec<String>,
}

impl Wanted {
    /// Refuses a token without a name, or whose place is another than the path's.
    pub(super) fn check(&self, drawer: &Drawer) -> Result<(), Problem> {
        if self.name.trim().is_empty() {
            return Err(Problem::member("/name", "a token needs a name"));
        }
        if self.state.is_some_and(|state| state != u64::from(ACTIVE)) {
            return Err(Problem::member("/state", "a token is deleted by DELETE"));
        }
        let account = Some((drawer.account.id.as_str(), &drawer.account.number));
        let user = drawer.user.as_ref().map(|user| (user.id.as_str(), &user.number));
        let agrees = |said: &Option<Value>, place: Option<(&str, &Number)>| match (said, place) {
            (None | Some(Value::Null), _) => true,
            (Some(Value::String(text)), Some((id, number))) => text == id || number.is(text),
            (Some(other), Some((_, number))) => number.is(&other.to_string()),
            (Some(_), None) => false,
        };
        let said = [("/account_id", &self.account_id, account), ("/user_id", &self.user_id, user)];
        match said.into_iter().find(|(_, said, place)| !agrees(said, *place)) {
            Some((pointer, ..)) => Err(Problem::member(pointer, "it is another than in the path")),
            None => Ok(()),
        }
    }

    /// What a service token is to be allowed: a permission set's name is the permission.
    pub(super) fn permissions(&self) -> Result<Permissions, Problem> {
        let alone = [(self.metadata_only, METADATA_ONLY), (self.webhooks_only, WEBHOOKS_ONLY)];
        let alone = alone.into_iter().filter(|(wanted, _)| *wanted).map(|(_, set)| permission(set));
        alone.chain(self.permission_grants.iter().map(WantedGrant::permission)).collect()
    }
}

impl WantedGrant {
    fn permission(&self) -> Result<Permission, Problem> {
        // A permission cannot say less than all, and more than was asked for is not granted.
        if self.writable_environment_categories.iter().any(|category| category != "all") {
            return Err(Problem::member("/permission_grants", "only all categories of environments can be granted"));
        }
        match self.project_id {
            Some(project) => permission(&format!("{}:{project}", self.permission_set)),
            None => permission(&self.permission_set),
        }
    }
}

fn permission(text: &str) -> Result<Permission, Problem> {
    text.parse().map_err(|_| Problem::member("/permission_grants", "a permission set has a plain name"))
}

const METADATA_ONLY: &str = "metadata_only";
const WEBHOOKS_ONLY: &str = "webhooks_only";
