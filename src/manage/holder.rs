//! What the holder of a key may do with keys: see and manage what is theirs, and never become more than they are.
//!
//! Theirs is the key itself. Of a personal key it is also every personal key of its user in its account; of a user's legacy
//! key, every key of its user. Who holds the permission [`MANAGE`] in an account manages all personal and service keys there.
//!
//! To be shown a secret is to become that key. So whatever shows one asks that the key can do nothing which the holder's own
//! cannot: no wider permissions, and no other networks to come from.

use std::net::IpAddr;

use ipnet::IpNet;

use super::problem::{Code, Problem};
use crate::clock::Timestamp;
use crate::key::{
    AccountId, Ask, Edit, Key, KeyId, KeyState, Kind, Permission, Permissions, Standing, UserId, Verified, grant,
};
use crate::keyring::command::{KeyChange, NewKey};

/// Holding it in an account means to manage the keys of everybody there.
pub(super) const MANAGE: &str = "keys:manage";

/// Proof that a living key's holder asks, with its newest secret where they ask about keys.
#[derive(Clone, Debug)]
pub(super) struct Holder {
    verified: Verified,
    client: IpAddr,
}

/// What a key can do, or will.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach<'a> {
    pub(super) kind: Kind,
    pub(super) account: Option<&'a AccountId>,
    pub(super) user: Option<&'a UserId>,
    pub(super) permissions: &'a Permissions,
    pub(super) allowed_ips: &'a [IpNet],
}

impl<'a> Reach<'a> {
    pub(super) fn of(key: &'a Key) -> Self {
        Self {
            kind: key.kind,
            account: key.account.as_ref(),
            user: key.user.as_ref(),
            permissions: &key.permissions,
            allowed_ips: &key.allowed_ips,
        }
    }

    fn of_new(key: &'a NewKey) -> Self {
        Self {
            kind: key.kind,
            account: key.account.as_ref(),
            user: key.user.as_ref(),
            permissions: &key.permissions,
            allowed_ips: &key.allowed_ips,
        }
    }
}

impl Holder {
    /// A key that was verified for this client.
    ///
    /// # Errors
    /// [`Code::KeySuperseded`]: whoever holds only a superseded secret shall not be able to take the key over.
    pub(super) fn new(verified: Verified, client: IpAddr) -> Result<Self, Problem> {
        match verified.superseded_until() {
            Some(_) => Err(Problem::new(Code::KeySuperseded)),
            None => Ok(Self { verified, client }),
        }
    }

    /// A key that was verified for this client, and asks nothing about keys: its superseded secret may do that too.
    pub(super) const fn who_only_reads(verified: Verified, client: IpAddr) -> Self {
        Self { verified, client }
    }

    /// The key that asks.
    pub(super) fn key(&self) -> &KeyId {
        self.verified.key()
    }

    /// What was judged of it.
    pub(super) fn standing(&self) -> &Standing {
        self.verified.standing()
    }

    /// The account it is held to; none for a user's legacy key.
    pub(super) fn account(&self) -> Option<&AccountId> {
        self.standing().account.as_ref().map(|(account, _)| account)
    }

    /// The account it is held to; for a user's legacy key the one its user belongs to, where that is one alone.
    pub(super) fn home(&self) -> Option<&AccountId> {
        match &*self.standing().memberships {
            [(account, ..)] => self.account().or(Some(account)),
            _ => self.account(),
        }
    }

    /// The user behind it.
    pub(super) fn user(&self) -> Option<&UserId> {
        self.standing().user.as_ref()
    }

    /// The accounts it may act in.
    pub(super) fn accounts(&self) -> impl Iterator<Item = &AccountId> {
        let standing = self.standing();
        let of_user = standing.memberships.iter().map(|(account, _, _)| account).filter(|_| standing.account.is_none());
        self.account().into_iter().chain(of_user).filter(|account| self.permissions_in(account).is_some())
    }

    /// What it may do in an account; none where it does not belong.
    pub(super) fn permissions_in(&self, account: &AccountId) -> Option<Permissions> {
        let ask = Ask { client: self.client, account: Some(account.as_str()), permission: None };
        grant(&self.verified, &ask).ok().map(|grant| grant.permissions)
    }

    /// Whether it manages the keys of an account.
    pub(super) fn manages(&self, account: &AccountId) -> bool {
        let manage: Option<Permission> = MANAGE.parse().ok();
        self.permissions_in(account).zip(manage).is_some_and(|(held, manage)| held.cover(&manage))
    }

    /// Whether a key is theirs.
    pub(super) fn owns(&self, key: &Key) -> bool {
        let same_user = self.user().is_some() && self.user() == key.user.as_ref();
        key.id == *self.key()
            || match (self.standing().kind, key.kind) {
                (Kind::Personal, Kind::Personal) => same_user && self.account() == key.account.as_ref(),
                (Kind::User, Kind::User) => same_user,
                (Kind::User, Kind::Personal) => same_user && self.belongs(key.account.as_ref()),
                _ => false,
            }
    }

    /// Whether they may see a key, and end it.
    pub(super) fn reaches(&self, key: &Key) -> bool {
        let bound = matches!(key.kind, Kind::Personal | Kind::Service);
        self.owns(key) || (bound && key.account.as_ref().is_some_and(|account| self.manages(account)))
    }

    /// Whether they may be shown the secret of a key that they reach.
    ///
    /// # Errors
    /// [`Code::ScopeEscalation`].
    pub(super) fn may_become(&self, key: &Key) -> Result<(), Problem> {
        if key.id == *self.key() { Ok(()) } else { self.cover(Reach::of(key)) }
    }

    /// Whether they may change a key that they reach: to less always, and to no more than they are.
    ///
    /// # Errors
    /// [`Code::ScopeEscalation`].
    pub(super) fn may_change(&self, key: &Key, change: &KeyChange) -> Result<(), Problem> {
        self.may_last(key, &change.expires_at)?;
        let resumes = change.state == Some(KeyState::Active) && key.state != KeyState::Active;
        if !resumes && change.permissions.is_none() && change.allowed_ips.is_none() {
            return Ok(());
        }
        self.cover(Reach {
            permissions: change.permissions.as_ref().unwrap_or(&key.permissions),
            allowed_ips: change.allowed_ips.as_deref().unwrap_or(&key.allowed_ips),
            ..Reach::of(key)
        })
    }

    /// Whether they may have a key that they reach last until then: longer only where they could make another as good.
    ///
    /// # Errors
    /// [`Code::ScopeEscalation`].
    pub(super) fn may_last(&self, key: &Key, until: &Edit<Timestamp>) -> Result<(), Problem> {
        let longer = match (until, key.expires_at) {
            (Edit::Keep, _) | (_, None) => false,
            (Edit::Clear, Some(_)) => true,
            (Edit::Set(until), Some(end)) => *until > end,
        };
        let could_make = (key.kind == Kind::Personal && self.owns(key))
            || key.account.as_ref().is_some_and(|account| self.manages(account));
        if longer && !could_make { Err(escalation("it would last longer than now")) } else { Ok(()) }
    }

    /// Makes a wanted key theirs: fills in what binds this one, and refuses what would be more. `of_user` is what the user of a
    /// personal key may in its account, where that is another's: the key is bound to it, for whoever saw its secret shall not
    /// grow with that user.
    ///
    /// # Errors
    /// [`Code::ScopeEscalation`].
    pub(super) fn narrow(&self, new: &mut NewKey, of_user: Option<&Permissions>) -> Result<(), Problem> {
        let own = self.standing();
        if new.permissions.is_empty() && new.kind == Kind::Personal {
            let held = new.account.as_ref().and_then(|account| self.permissions_in(account));
            new.permissions = match of_user.zip(held) {
                Some((of_user, held)) => of_user.within(&held),
                None => own.permissions.clone(),
            };
        }
        if new.allowed_ips.is_empty() {
            new.allowed_ips.clone_from(&own.allowed_ips);
        }
        let reach = Reach::of_new(new);
        let theirs = match (own.kind, new.kind) {
            (Kind::Personal | Kind::User, Kind::Personal) => reach.user == self.user() && self.belongs(reach.account),
            _ => false,
        };
        let managed = matches!(new.kind, Kind::Personal | Kind::Service)
            && reach.account.is_some_and(|account| self.manages(account));
        if !theirs && !managed {
            return Err(escalation("a key of that kind, account or user is not yours to make"));
        }
        self.cover(reach)
    }

    /// Makes a wanted key another one like their own: of its kind, account, user, permissions and networks. So it cannot be more.
    ///
    /// # Errors
    /// [`Code::ScopeEscalation`] where their own is an account's, which are for who manages them.
    pub(super) fn liken(&self, new: &mut NewKey) -> Result<(), Problem> {
        let own = self.standing();
        if self.user().is_none() && !self.account().is_some_and(|account| self.manages(account)) {
            return Err(escalation("a key of that kind, account or user is not yours to make"));
        }
        new.kind = own.kind;
        new.account = self.account().cloned();
        new.user = self.user().cloned();
        new.permissions = own.permissions.clone();
        new.allowed_ips.clone_from(&own.allowed_ips);
        Ok(())
    }

    /// Whether a key is one that [`liken`](Self::liken) could have made.
    pub(super) fn is_like(&self, key: &Key) -> bool {
        let own = (self.standing().kind, self.account(), self.user());
        self.user().is_some() && own == (key.kind, key.account.as_ref(), key.user.as_ref())
    }

    fn belongs(&self, account: Option<&AccountId>) -> bool {
        account.is_some_and(|account| self.permissions_in(account).is_some())
    }

    fn cover(&self, key: Reach<'_>) -> Result<(), Problem> {
        let own = self.standing();
        let from_elsewhere = !own.allowed_ips.is_empty()
            && (key.allowed_ips.is_empty()
                || !key.allowed_ips.iter().all(|net| own.allowed_ips.iter().any(|ours| ours.contains(net))));
        if from_elsewhere {
            return Err(escalation("it could be used from networks that this key is not allowed from"));
        }
        let same_user = self.user().is_some() && self.user() == key.user;
        let within = match key.kind {
            // What its user may is what this one's user may; so what bounds this one has to bound it too.
            Kind::Personal if same_user => {
                own.permissions.is_empty() || (!key.permissions.is_empty() && all(&own.permissions, key.permissions))
            }
            Kind::Personal | Kind::Service => {
                let held = key.account.and_then(|account| self.permissions_in(account));
                // A personal key that is bound to nothing may whatever its user may.
                let bound = key.kind == Kind::Service || !key.permissions.is_empty();
                bound && held.is_some_and(|held| all(&held, key.permissions))
            }
            Kind::User => own.kind == Kind::User && same_user && own.permissions.is_empty(),
            Kind::Operator => false,
        };
        if within { Ok(()) } else { Err(escalation("it could do what this key cannot")) }
    }
}

fn all(held: &Permissions, wanted: &Permissions) -> bool {
    wanted.iter().all(|one| held.cover(one))
}

fn escalation(why: &str) -> Problem {
    Problem::detailed(Code::ScopeEscalation, why)
}

#[cfg(test)]
mod tests;
