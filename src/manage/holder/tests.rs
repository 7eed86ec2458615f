//! Whatever a holder may be shown the secret of can do nothing that they could not do before.

use std::net::Ipv4Addr;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::clock::Timestamp;
use crate::key::{AccountState, Digest, KeyState, Presented, judge, token};
use crate::store::Draft;

const PERMISSIONS: [&str; 5] = ["jobs:run", "jobs:*", "users:read", MANAGE, "*"];
const NETWORKS: [&str; 3] = ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.0/24"];
const ASKED: [&str; 4] = ["jobs:run", "jobs:stop", "users:read", "billing:read"];

/// What users may in accounts.
type Directory = Vec<(AccountId, UserId, Permissions)>;

/// A key by what decides what it can do.
#[derive(Clone, Debug)]
struct Sketch {
    kind: Kind,
    account: Option<AccountId>,
    user: Option<UserId>,
    permissions: Permissions,
    allowed_ips: Vec<IpNet>,
}

impl Sketch {
    fn standing(&self, directory: &Directory) -> Standing {
        let at = |(account, _, held): &(AccountId, UserId, Permissions)| {
            (account.clone(), AccountState::Active, held.clone())
        };
        let memberships = directory
            .iter()
            .filter(|(account, user, _)| {
                Some(user) == self.user.as_ref() && self.account.as_ref().is_none_or(|own| own == account)
            })
            .map(at)
            .collect();
        Standing {
            id: "key_1".parse().unwrap(),
            serial: 1,
            number: 1,
            licensed: true,
            kind: self.kind,
            state: KeyState::Active,
            secret: Presented::Current,
            not_before: None,
            expires_at: None,
            account: self.account.clone().map(|account| (account, AccountState::Active)),
            user: self.user.clone(),
            memberships,
            permissions: self.permissions.clone(),
            allowed_ips: self.allowed_ips.clone(),
        }
    }

    fn verified(&self, directory: &Directory) -> Option<Verified> {
        judge(&Arc::new(self.standing(directory)), &Digest::from_bytes([0; 32]), Timestamp::from_millis(1)).ok()
    }

    fn draft(&self) -> NewKey {
        let (_, imprint) = token::mint(&"kw_test".parse().unwrap(), getrandom::fill).unwrap();
        NewKey {
            account: self.account.clone(),
            user: self.user.clone(),
            permissions: self.permissions.clone(),
            allowed_ips: self.allowed_ips.clone(),
            ..Draft::bare("key_2".parse().unwrap(), imprint, self.kind)
        }
    }

    fn of(new: &NewKey) -> Self {
        Self {
            kind: new.kind,
            account: new.account.clone(),
            user: new.user.clone(),
            permissions: new.permissions.clone(),
            allowed_ips: new.allowed_ips.clone(),
        }
    }

    /// Everything it may: from which address, in which account, what.
    fn may(&self, directory: &Directory) -> Vec<(Ipv4Addr, Option<AccountId>, &'static str)> {
        let Some(verified) = self.verified(directory) else { return Vec::new() };
        let mut all = Vec::new();
        for client in [[10, 0, 0, 1], [10, 1, 0, 1], [192, 0, 2, 1], [203, 0, 113, 1]].map(Ipv4Addr::from) {
            for account in [None, Some("101"), Some("102")] {
                for asked in ASKED {
                    let permission: Permission = asked.parse().unwrap();
                    let ask = Ask { client: client.into(), account, permission: Some(&permission) };
                    // Where a request names no account, it acts in the key's own.
                    all.extend(grant(&verified, &ask).ok().map(|grant| (client, grant.account, asked)));
                }
            }
        }
        all
    }
}

fn permissions() -> impl Strategy<Value = Permissions> {
    let names = subsequence(PERMISSIONS.to_vec(), 0..=3);
    names.prop_map(|names| names.into_iter().map(|name| name.parse::<Permission>().unwrap()).collect())
}

fn sketch() -> impl Strategy<Value = Sketch> {
    let kind = select(vec![Kind::User, Kind::Personal, Kind::Service]);
    let networks = subsequence(NETWORKS.to_vec(), 0..=2);
    (kind, select(vec!["101", "102"]), select(vec!["paul", "anna"]), permissions(), networks).prop_map(
        |(kind, account, user, permissions, networks)| Sketch {
            kind,
            account: (kind != Kind::User).then(|| account.parse().unwrap()),
            user: (kind != Kind::Service).then(|| user.parse().unwrap()),
            permissions,
            allowed_ips: networks.into_iter().map(|net| net.parse().unwrap()).collect(),
        },
    )
}

fn directory() -> impl Strategy<Value = Directory> {
    let places = [("101", "paul"), ("101", "anna"), ("102", "paul"), ("102", "anna")];
    let held = prop::collection::vec(prop::option::of(permissions()), 4);
    held.prop_map(move |held| {
        let place = |((account, user), held): ((&str, &str), Option<Permissions>)| {
            Some((account.parse().unwrap(), user.parse().unwrap(), held?))
        };
        places.into_iter().zip(held).filter_map(place).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn a_key_that_may_be_made_can_do_nothing_that_its_maker_cannot(
        directory in directory(), grown in directory(), maker in sketch(), wanted in sketch(),
    ) {
        let Some(verified) = maker.verified(&directory) else { return Ok(()) };
        let client = maker.allowed_ips.first().map_or_else(|| Ipv4Addr::new(10, 1, 0, 1).into(), IpNet::addr);
        let holder = Holder::new(verified, client).unwrap();
        let named = |(account, user, _): &&(AccountId, UserId, Permissions)| {
            Some(account) == wanted.account.as_ref() && Some(user) == wanted.user.as_ref()
        };
        let of_another = wanted.user.is_some() && wanted.user != maker.user;
        let of_user = of_another.then(|| directory.iter().find(named).map(|(_, _, held)| held.clone()).unwrap_or_default());
        let mut new = wanted.draft();
        if holder.narrow(&mut new, of_user.as_ref()).is_err() {
            return Ok(());
        }
        let (made, could) = (Sketch::of(&new), maker.may(&directory));
        for one in made.may(&directory) {
            prop_assert!(could.contains(&one), "{one:?} beyond {maker:?} with {made:?}");
        }
        // It stays so, whatever users may later: the maker's own permissions of today and those of that day.
        let could: Vec<_> = could.into_iter().chain(maker.may(&grown)).collect();
        for one in made.may(&grown) {
            prop_assert!(could.contains(&one), "{one:?} later beyond {maker:?} with {made:?}");
        }
    }
}
