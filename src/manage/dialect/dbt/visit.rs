//! One request about tokens: what it asks is looked up, handed to the desk, and what comes of it is put into words.

use bytes::Bytes;
use http::header::LINK;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;

use super::account;
use super::drawer::{Drawer, own_user};
use super::envelope::one;
use super::number;
use super::page::Page;
use super::refusal::gone;
use super::token::{self, Body, Rotated, Wanted, WantedGrants};
use crate::key::rotation::Rotation;
use crate::key::token::Prefix;
use crate::key::{Key, KeyState, Kind};
use crate::keyring::command::{KeyChange, KeyFilter, NewKey};
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

    /// Whose token asks.
    pub(super) async fn who_am_i(&self) -> Result<Response<Full<Bytes>>, Problem> {
        let user = match self.holder.user() {
            Some(user) => Some(self.desk.user(user.clone()).await?),
            None => None,
        };
        Ok(account::who_am_i(user.as_ref(), &self.desk.accounts().await?))
    }

    /// The drawer of an account's service tokens.
    pub(super) async fn services(&self, account: &str) -> Result<Drawer, Problem> {
        Drawer::of_account(self.desk, self.holder, account).await
    }

    /// That of a user's personal ones there.
    pub(super) async fn personals(&self, account: &str, user: &str) -> Result<Drawer, Problem> {
        Drawer::of_user(self.desk, self.holder, account, user).await
    }

    /// Rotates the token that asks, where it is of that user, and of that account where one is named.
    pub(super) async fn rotate_own(&self, account: Option<&str>, user: &str) -> Result<Response<Full<Bytes>>, Problem> {
        if let Some(account) = account {
            self.services(account).await?;
        }
        let own = own_user(self.desk, self.holder, user).await?.ok_or_else(|| Problem::new(Code::UserNotFound))?;
        let key = self.desk.key(self.holder.key().clone()).await?;
        let (key, secret) = self.rotated(&key).await?;
        Ok(one(Rotated::of(&key, &own.number, &secret)))
    }

    /// Those that are not deleted.
    pub(super) async fn list(&self, drawer: &Drawer, page: Page) -> Result<Response<Full<Bytes>>, Problem> {
        let user = drawer.user.as_ref().map(|user| &user.id);
        let filter = KeyFilter {
            account: Some(drawer.account.id.clone()),
            user: user.cloned(),
            kind: Some(drawer.kind()),
            ..KeyFilter::default()
        };
        let own = user.is_some() && self.holder.user() == user;
        let keys = self.desk.keys(filter, !own).await?;
        let living = keys.iter().filter(|key| key.state != KeyState::Revoked && drawer.has(key));
        Ok(page.shown(living.map(|key| Body::masked(key, drawer)).collect()))
    }

    pub(super) async fn make(&self, drawer: &Drawer, wanted: Wanted) -> Result<Response<Full<Bytes>>, Problem> {
        let (kind, lasts) = (drawer.kind(), self.said.expires_in.0);
        wanted.check(drawer)?;
        // A personal token may what its user may.
        let permissions = if kind == Kind::Service { wanted.permissions()? } else { Default::default() };
        let expires_at = (kind == Kind::Personal && !lasts.is_zero()).then(|| self.desk.now().plus(lasts));
        let draft = |id, imprint| {
            Ok(NewKey {
                account: Some(drawer.account.id.clone()),
                user: drawer.user.as_ref().map(|user| user.id.clone()),
                name: wanted.name,
                permissions,
                expires_at,
                ..NewKey::bare(id, imprint, kind)
            })
        };
        let (key, secret) = self.desk.mint(self.prefix(kind), draft).await?;
        Ok(one(Body::made(&key, drawer, &secret)))
    }

    /// One of them, also where it is deleted.
    pub(super) async fn key(&self, drawer: &Drawer, token: &str) -> Result<Key, Problem> {
        let missing = || Problem::new(Code::KeyNotFound);
        let key = self.desk.numbered(number::read(token).ok_or_else(missing)?).await?;
        if drawer.has(&key) { Ok(key) } else { Err(missing()) }
    }

    pub(super) async fn show(&self, drawer: &Drawer, token: &str) -> Result<Response<Full<Bytes>>, Problem> {
        Ok(one(Body::masked(&self.key(drawer, token).await?, drawer)))
    }

    pub(super) async fn rotate(&self, drawer: &Drawer, token: &str) -> Result<Response<Full<Bytes>>, Problem> {
        let key = self.living(drawer, token).await?;
        let (key, secret) = self.rotated(&key).await?;
        Ok(one(Body::made(&key, drawer, &secret)))
    }

    pub(super) async fn end(&self, drawer: &Drawer, token: &str) -> Result<Response<Full<Bytes>>, Problem> {
        let key = self.living(drawer, token).await?;
        self.desk.revoke(key.id, None).await?;
        let mut answer = Response::new(Full::default());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        Ok(answer)
    }

    pub(super) async fn rename(
        &self,
        drawer: &Drawer,
        token: &str,
        wanted: Wanted,
    ) -> Result<Response<Full<Bytes>>, Problem> {
        wanted.check(drawer)?;
        let key = self.living(drawer, token).await?;
        let change = KeyChange { name: Some(wanted.name), ..KeyChange::default() };
        Ok(one(Body::masked(&self.desk.change(key.id, change, None).await?, drawer)))
    }

    /// What a service token may do; from now on this, where something is said.
    pub(super) async fn grants(
        &self,
        drawer: &Drawer,
        token: &str,
        wanted: Option<WantedGrants>,
        page: Page,
    ) -> Result<Response<Full<Bytes>>, Problem> {
        let key = match wanted {
            None => self.key(drawer, token).await?,
            Some(wanted) => {
                let change = KeyChange { permissions: Some(wanted.permissions()?), ..KeyChange::default() };
                self.desk.change(self.living(drawer, token).await?.id, change, None).await?
            }
        };
        Ok(page.shown(token::grants(&key)))
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
