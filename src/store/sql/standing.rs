//! What a look-up brings back, read from its rows.

use super::{Error, Row, Words};
use crate::key::{AccountId, AccountState, Permissions, Presented, SecretState, Standing};
use crate::store::Policy;

/// The key in a row, without the places of its user. Its columns from the second on, whichever the first is: the secret's state;
/// the key's serial, id, kind, state and account; that account's state; the key's user, permissions, networks, start and end; the
/// secret's end, whether it was used, and its number.
pub(in crate::store) fn standing(row: &Row<'_>, words: &mut Words) -> Result<Option<Standing>, Error> {
    // No secret, or one whose key was deleted by hand.
    let Some(serial) = row.optional_int(2)? else { return Ok(None) };
    // An account deleted by hand leaves its keys behind; they are refused as long as it is missing.
    let account = words.account(row, 6)?;
    let state = row.optional(7)?.unwrap_or(AccountState::Suspended);
    Ok(Some(Standing {
        secret: presented(row)?,
        number: row.int(15)?,
        serial,
        id: row.parsed(3)?,
        kind: row.parsed(4)?,
        state: row.parsed(5)?,
        account: account.map(|account| (account, state)),
        user: row.optional(8)?,
        permissions: words.permissions(row, 9)?,
        allowed_ips: row.networks(10)?,
        not_before: row.optional_moment(11)?,
        expires_at: row.optional_moment(12)?,
        memberships: Vec::new(),
        licensed: true,
    }))
}

/// The place in a row where the key's user belongs: its account, that one's state, permissions and licence stand from column 16 on.
/// One without the licence that is asked for counts as none.
pub(in crate::store) fn membership(
    row: &Row<'_>,
    policy: &Policy,
    words: &mut Words,
) -> Result<Option<(AccountId, AccountState, Permissions)>, Error> {
    if !policy.licensed(row.optional_text(19)?) {
        return Ok(None);
    }
    // Nobody's, nowhere, or in an account deleted by hand.
    let (Some(account), Some(state)) = (words.account(row, 16)?, row.optional(17)?) else { return Ok(None) };
    Ok(Some((account, state, words.permissions(row, 18)?)))
}

/// Whether the key's user may hold it, once the places are known where they have a licence.
pub(in crate::store) const fn is_licensed(policy: &Policy, key: &Standing) -> bool {
    policy.licences.is_empty() || key.user.is_none() || !key.memberships.is_empty()
}

/// What the secret is, and until when.
fn presented(row: &Row<'_>) -> Result<Presented, Error> {
    let end = || row.moment(13);
    Ok(match row.parsed(1)? {
        SecretState::Pending => Presented::Pending(end()?),
        SecretState::Current if row.optional_int(14)? == Some(0) => Presented::Fresh,
        SecretState::Current => Presented::Current,
        SecretState::Grace => Presented::Grace(end()?),
        SecretState::Retired => Presented::Retired,
    })
}
