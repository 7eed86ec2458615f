//! Where tokens lie, as a path says: a user's personal ones in an account, or an account's own.

use super::number::{self, Number};
use crate::key::{Account, AccountId, Key, Kind, User, UserId};
use crate::manage::desk::Desk;
use crate::manage::holder::Holder;
use crate::manage::problem::{Code, Problem};

/// Somebody or something that a path names, by its id or by its number.
pub(super) struct Named<T> {
    pub(super) id: T,
    pub(super) number: Number,
}

/// One account's tokens, or one user's in it.
pub(super) struct Drawer {
    pub(super) account: Named<AccountId>,
    pub(super) user: Option<Named<UserId>>,
}

impl Drawer {
    /// Of the account's service tokens.
    ///
    /// # Errors
    /// The holder is not of that account, be it there or not.
    pub(super) async fn of_account(desk: &Desk<'_>, holder: &Holder, named: &str) -> Result<Self, Problem> {
        Ok(Self { account: account(desk, holder, named).await?, user: None })
    }

    /// Of a user's personal tokens in it.
    ///
    /// # Errors
    /// As for [`Self::of_account`], or nobody is called so.
    pub(super) async fn of_user(desk: &Desk<'_>, holder: &Holder, named: &str, user: &str) -> Result<Self, Problem> {
        let account = account(desk, holder, named).await?;
        let user = match own_user(desk, holder, user).await? {
            Some(own) => own,
            None if holder.manages(&account.id) => another(desk, &account.id, user).await?,
            None => return Err(Problem::new(Code::UserNotFound)),
        };
        Ok(Self { account, user: Some(user) })
    }

    pub(super) const fn kind(&self) -> Kind {
        if self.user.is_some() { Kind::Personal } else { Kind::Service }
    }

    pub(super) fn has(&self, key: &Key) -> bool {
        let user = self.user.as_ref().map(|user| &user.id);
        key.kind == self.kind() && key.account.as_ref() == Some(&self.account.id) && key.user.as_ref() == user
    }
}

/// One of the holder's accounts. One whose id is that very text comes before one that has the number.
async fn account(desk: &Desk<'_>, holder: &Holder, named: &str) -> Result<Named<AccountId>, Problem> {
    let found = match holder.accounts().find(|own| own.as_str() == named) {
        Some(own) => Some(desk.account(own.clone()).await?),
        None if number::read(named).is_some() => {
            let is = |account: &Account| Number::known(account.id.as_str(), account.serial).is(named);
            desk.accounts().await?.into_iter().find(is)
        }
        None => None,
    };
    let found = found.ok_or_else(|| Problem::new(Code::AccountNotFound))?;
    let number = Number::known(found.id.as_str(), found.serial);
    Ok(Named { id: found.id, number })
}

/// The holder's own user, where that is whom the path names.
pub(super) async fn own_user(desk: &Desk<'_>, holder: &Holder, named: &str) -> Result<Option<Named<UserId>>, Problem> {
    let Some(id) = holder.user() else { return Ok(None) };
    let own = Named::from(desk.user(id.clone()).await?);
    Ok((own.id.as_str() == named || own.number.is(named)).then_some(own))
}

/// A member of an account that the holder manages.
async fn another(desk: &Desk<'_>, account: &AccountId, named: &str) -> Result<Named<UserId>, Problem> {
    let missing = || Problem::new(Code::UserNotFound);
    let by_id = match named.parse() {
        Ok(id) => desk.user(id).await,
        Err(_) => Err(missing()),
    };
    let user = match by_id {
        Err(problem) if problem.code == Code::UserNotFound => {
            let is = |user: &User| Number::known(user.id.as_str(), user.serial).is(named);
            desk.users().await?.into_iter().find(is).ok_or_else(missing)
        }
        found => found,
    }?;
    if desk.member(account, &user.id).await?.is_some() { Ok(user.into()) } else { Err(missing()) }
}

impl From<User> for Named<UserId> {
    fn from(user: User) -> Self {
        let number = Number::known(user.id.as_str(), user.serial);
        Self { id: user.id, number }
    }
}
