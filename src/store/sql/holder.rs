//! Whether a holder may have a key, and until when: see [`Policy`]. Each check runs inside the transaction of the change that
//! needs it.

use super::{Db, Stop, values};
use crate::clock::Timestamp;
use crate::key::{AccountId, Edit, Key, Kind, Status, UserId};
use crate::store::{Clash, Draft, Policy, Rejected};

/// A new key's holder has a licence, where one is asked for: in the account of a personal key, anywhere for a user key.
pub(super) fn must_be_licensed(db: &Db<'_>, policy: &Policy, draft: &Draft) -> Result<(), Stop> {
    let (true, Some(user)) = (Policy::binds(draft.kind), &draft.user) else { return Ok(()) };
    let account = draft.account.as_ref().filter(|_| draft.kind == Kind::Personal);
    let licences = db.rows(
        "SELECT licence FROM membership WHERE \"user\" = ?1 AND (?2 IS NULL OR account = ?2)",
        values![user.as_str(), account.map(AccountId::as_str)],
        |row| Ok(policy.licensed(row.optional_text(0)?)),
    )?;
    if policy.licences.is_empty() || licences.contains(&true) {
        return Ok(());
    }
    let place = account.map_or_else(|| "any account".to_owned(), |account| format!("account {:?}", account.as_str()));
    let known: Vec<_> = policy.licences.iter().map(|licence| format!("{:?}", licence.as_str())).collect();
    let why = format!(
        "user {:?} has no licence in {place} under which a {} key is held: {}",
        user.as_str(),
        draft.kind,
        known.join(" or ")
    );
    Err(Rejected::Conflict(Clash::Licence, why).into())
}

/// A holder has room for another living key. One that has expired or is revoked takes none.
pub(super) fn must_have_room(
    db: &Db<'_>,
    policy: &Policy,
    kind: Kind,
    (account, user): (Option<&AccountId>, Option<&UserId>),
    now: Timestamp,
) -> Result<(), Stop> {
    let most = policy.per_holder;
    let (true, Some(user)) = (most > 0 && Policy::binds(kind), user) else { return Ok(()) };
    let account = account.filter(|_| kind == Kind::Personal);
    let held = db.one(
        "SELECT count(*) FROM key
          WHERE \"user\" = ?1 AND kind = ?2 AND account IS NOT DISTINCT FROM ?3
            AND state <> 'revoked' AND (expires_at IS NULL OR expires_at > ?4)",
        values![user.as_str(), kind.as_str(), account.map(AccountId::as_str), now],
        |row| row.int(0),
    )?;
    if held < i64::from(most) {
        return Ok(());
    }
    let place = account.map_or_else(String::new, |account| format!(" in account {:?}", account.as_str()));
    let why = format!(
        "user {:?} has {held} living {kind} keys{place}, and may have {most}: revoke one first, or rotate it",
        user.as_str()
    );
    Err(Rejected::LimitReached(why, most).into())
}

/// Until when a key is accepted once `said` is done to it. One that had expired comes to life again only where there is room.
pub(super) fn expiry(
    db: &Db<'_>,
    policy: &Policy,
    key: &Key,
    said: Edit<Timestamp>,
    now: Timestamp,
) -> Result<Option<Timestamp>, Stop> {
    let end = said.applied(key.expires_at);
    if end == key.expires_at {
        return Ok(end);
    }
    let invalid = |why: String| Err(Rejected::Invalid(why).into());
    match end {
        Some(end) if end <= now => return invalid(format!("the key would have expired at {end} already")),
        Some(end) if key.not_before.is_some_and(|start| end <= start) => {
            return invalid("the key would expire before it becomes valid".to_owned());
        }
        _ => {}
    }
    policy.check_expiry(key.kind, end, now)?;
    if key.status_at(now) == Status::Expired {
        must_have_room(db, policy, key.kind, (key.account.as_ref(), key.user.as_ref()), now)?;
    }
    Ok(end)
}
