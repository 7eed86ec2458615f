//! One request about tokens: what it asks is looked up, handed to the desk, and what comes of it is put into words.

use bytes::Bytes;
use http::header::LINK;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;

use super::account;
use super::envelope::one;
use super::number;
use super::page::Page;
use super::refusal::gone;
use super::token::{Body, Rotated, Wanted};
use crate::key::rotation::Rotation;
use crate::key::token::Prefix;
use crate::key::{AccountId, Key, KeyState, Kind, UserId};
use crate::keyring::command::{KeyFilter, NewKey};
use crate::manage::config::{AcrossAccounts, DbtConfig};
use crate::manage::desk::Desk;
use crate::manage::holder::Holder;
use crate::manage::problem::{Code, Problem};
use crate::secret::Secret;

/// Who asks, of whom.
pub(super) struct Visit<'a> {
    pub(super) said: &'a DbtConfig,
    pub(super) desk: &'a Desk<'a>,
    pub(super) holder: &'a Holder,
}

/// Where tokens lie, as the path says: a user's personal ones in an account, or an account's own.
pub(super) struct Drawer {
    account: AccountId,
    user: Option<UserId>,
}

impl Drawer {
    /// Of the account's service tokens.
    ///
    /// # Errors
    /// The holder is not of that account, be it there or not.
    pub(super) fn of_account(holder: &Holder, account: &str) -> Result<Self, Problem> {
        let account = holder.accounts().find(|own| own.as_str() == account).cloned();
        Ok(Self { account: account.ok_or_else(|| Problem::new(Code::AccountNotFound))?, user: None })
    }

    /// Of a user's personal tokens in it.
    ///
    /// # Errors
    /// As for [`Self::of_account`], or no user is called so.
    pub(super) fn of_user(holder: &Holder, account: &str, user: &str) -> Result<Self, Problem> {
        let user = user.parse().map_err(|_| Problem::new(Code::UserNotFound))?;
        Ok(Self { user: Some(user), ..Self::of_account(holder, account)? })
    }

    const fn kind(&self) -> Kind {
        if self.user.is_some() { Kind::Personal } else { Kind::Service }
    }

    fn has(&self, key: &Key) -> bool {
        key.kind == self.kind() && key.account.as_ref() == Some(&self.account) && key.user == self.user
    }
}

impl Visit<'_> {
    /// The accounts of the token.
    pub(super) async fn accounts(&self) -> Result<Response<Full<Bytes>>, Problem> {
        if self.said.accounts == AcrossAccounts::Gone {
            let mut answer = gone();
            let successor =
                self.holder.account().map(|own| format!("</api/v3/accounts/{own}/>; rel=\"successor-version\""));
            let successor = successor.and_then(|line| HeaderValue::try_from(line).ok());
            answer.headers_mut().extend(successor.map(|line| (LINK, line)));
            return Ok(answer);
        }
        Ok(account::listed(&self.desk.accounts().await?))
    }

    /// Rotates the token that asks, where it is of that user, and of that account where one is named.
    pub(super) async fn rotate_own(&self, account: Option<&str>, user: &str) -> Result<Response<Full<Bytes>>, Problem> {
        if let Some(account) = account {
            Drawer::of_account(self.holder, account)?;
        }
        if self.holder.user().is_none_or(|own| own.as_str() != user) {
            return Err(Problem::new(Code::UserNotFound));
        }
        let key = self.desk.key(self.holder.key().clone()).await?;
        let (key, secret) = self.rotated(&key).await?;
        Ok(one(Rotated::of(&key, &secret)))
    }

    /// Those that are not deleted.
    pub(super) async fn list(&self, drawer: &Drawer, page: Page) -> Result<Response<Full<Bytes>>, Problem> {
        let Drawer { account, user } = drawer;
        let filter = KeyFilter {
            account: Some(account.clone()),
            user: user.clone(),
            kind: Some(drawer.kind()),
            ..KeyFilter::default()
        };
        let own = user.is_some() && self.holder.user() == user.as_ref();
        let keys = self.desk.keys(filter, !own).await?;
        let living = keys.iter().filter(|key| key.state != KeyState::Revoked && drawer.has(key));
        Ok(page.shown(living.map(Body::masked).collect()))
    }

    pub(super) async fn make(&self, drawer: &Drawer, wanted: Wanted) -> Result<Response<Full<Bytes>>, Problem> {
        let (account, user, kind) = (&drawer.account, drawer.user.as_ref(), drawer.kind());
        wanted.check(account.as_str(), user.map(UserId::as_str))?;
        // A personal token may what its user may.
        let permissions = if kind == Kind::Service { wanted.permissions()? } else { Default::default() };
        let draft = |id, imprint| {
            let (account, user) = (Some(account.clone()), user.cloned());
            Ok(NewKey { account, user, name: wanted.name, permissions, ..NewKey::bare(id, imprint, kind) })
        };
        let (key, secret) = self.desk.mint(self.prefix(kind), draft).await?;
        Ok(one(Body::made(&key, &secret)))
    }

    /// One of them, also where it is deleted.
    pub(super) async fn key(&self, drawer: &Drawer, token: &str) -> Result<Key, Problem> {
        let missing = || Problem::new(Code::KeyNotFound);
        let key = self.desk.numbered(number::read(token).ok_or_else(missing)?).await?;
        if drawer.has(&key) { Ok(key) } else { Err(missing()) }
    }

    pub(super) async fn show(&self, drawer: &Drawer, token: &str) -> Result<Response<Full<Bytes>>, Problem> {
        Ok(one(Body::masked(&self.key(drawer, token).await?)))
    }

    pub(super) async fn rotate(&self, drawer: &Drawer, token: &str) -> Result<Response<Full<Bytes>>, Problem> {
        let key = self.living(drawer, token).await?;
        let (key, secret) = self.rotated(&key).await?;
        Ok(one(Body::made(&key, &secret)))
    }

    pub(super) async fn end(&self, drawer: &Drawer, token: &str) -> Result<Response<Full<Bytes>>, Problem> {
        let key = self.living(drawer, token).await?;
        self.desk.set_state(key.id, KeyState::Revoked, None).await?;
        let mut answer = Response::new(Full::default());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        Ok(answer)
    }

    async fn living(&self, drawer: &Drawer, token: &str) -> Result<Key, Problem> {
        let key = self.key(drawer, token).await?;
        if key.state == KeyState::Revoked { Err(Problem::new(Code::StateConflict)) } else { Ok(key) }
    }

    /// The old secret ends at once. Of two who rotate the same token one is late; where that is the token it asks with, it has
    /// none any more.
    async fn rotated(&self, key: &Key) -> Result<(Key, Secret), Problem> {
        let rotation = Rotation { generation: Some(key.generation), ..Rotation::IMMEDIATE };
        let rotated = self.desk.rotate(key, self.prefix(key.kind), rotation).await;
        rotated.map_err(|problem| match problem.code {
            Code::RotationConflict if key.id == *self.holder.key() => Problem::new(Code::KeyInvalid),
            _ => problem,
        })
    }

    const fn prefix(&self, kind: Kind) -> &Prefix {
        match kind {
            Kind::Service => &self.said.service_prefix,
            Kind::User | Kind::Personal | Kind::Operator => &self.said.prefix,
        }
    }
}
