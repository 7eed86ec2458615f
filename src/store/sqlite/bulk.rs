//! Adopting keys by the thousand, all or none.
//!
//! An adopted key must work as soon as the import is done, in the account of its row. So accounts and users not met
//! before are made, and so is the membership a personal or user key needs; with no permissions, because an import knows
//! none and widening is somebody's decision; with the licence that its first row names. A membership that is there is left as it is.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension};

use super::change::{add_account, add_user, insert_key};
use super::{Stop, row};
use crate::clock::Timestamp;
use crate::key::{AccountId, Kind, Line, UserId};
use crate::store::{Clash, Draft, Fate, Imported, Rejected, Trial};

/// From so many keys on, one log entry stands for all.
const BULK: usize = 500;

/// Adopts keys. Whoever is named in a problem is named by row, counted from 1, never by secret.
pub(in crate::store) fn import(db: &Connection, drafts: &[Draft], now: Timestamp) -> Result<Imported, Stop> {
    let bulk = drafts.len() >= BULK;
    if bulk {
        // One entry per row would be gone through by nobody. A large page cache, because digests come in no order.
        db.execute_batch("UPDATE head SET bulk = 1; PRAGMA cache_size = -262144")?;
    }
    let outcome = adopt(db, drafts, now);
    if bulk {
        db.execute_batch("PRAGMA cache_size = -4096")?;
    }
    let imported = outcome?;
    if bulk {
        db.execute_batch("UPDATE head SET bulk = 0; INSERT INTO log (kind, subject, narrowing) VALUES (4, x'', 0)")?;
    }
    Ok(imported)
}

fn adopt(db: &Connection, drafts: &[Draft], now: Timestamp) -> Result<Imported, Stop> {
    let mut adoption = Adoption::begin(db, now);
    for (at, draft) in drafts.iter().enumerate() {
        match adoption.take(draft)? {
            Fate::Adopted | Fate::Already => {}
            Fate::Refused(why) => {
                return Err(Rejected::Conflict(Clash::Owner, format!("row {}: {why}", at + 1)).into());
            }
        }
    }
    Ok(adoption.imported)
}

/// What would become of each row; the caller takes back what was changed to find out.
pub(in crate::store) fn attempt(db: &Connection, drafts: &[Draft], now: Timestamp) -> Result<Trial, Stop> {
    let mut adoption = Adoption::begin(db, now);
    let fates = drafts.iter().map(|draft| adoption.take(draft)).collect::<Result<_, _>>()?;
    let Imported { accounts, users, .. } = adoption.imported;
    Ok(Trial { fates, accounts, users })
}

/// An import under way: row after row, until one is refused; a trial goes on behind it.
struct Adoption<'a> {
    places: Places<'a>,
    imported: Imported,
}

impl<'a> Adoption<'a> {
    fn begin(db: &'a Connection, now: Timestamp) -> Self {
        Self { places: Places { db, now, seen: HashSet::new() }, imported: Imported::default() }
    }

    fn take(&mut self, draft: &Draft) -> Result<Fate, Stop> {
        let Places { db, now, .. } = self.places;
        let owner = owner(draft);
        let theirs = current_owner(db, draft)?;
        if theirs.as_ref().is_some_and(|theirs| *theirs != owner) {
            return Ok(Fate::Refused("the same secret is another owner's key already".to_owned()));
        }
        self.places.settle(draft, &mut self.imported)?;
        if theirs.is_some() {
            self.imported.already += 1;
            return Ok(Fate::Already);
        }
        insert_key(db, draft, owner.1.as_ref(), now)?;
        self.imported.keys += 1;
        Ok(Fate::Adopted)
    }
}

type Owner = (Kind, Option<AccountId>, Option<UserId>);

fn owner(draft: &Draft) -> Owner {
    let account = if draft.kind == Kind::User { None } else { draft.account.clone() };
    (draft.kind, account, draft.user.clone())
}

/// Whose key already has the draft's secret.
fn current_owner(db: &Connection, draft: &Draft) -> rusqlite::Result<Option<Owner>> {
    db.prepare_cached(
        "SELECT k.kind, k.account, k.user FROM secret s JOIN key k ON k.serial = s.key WHERE s.digest = ?1",
    )?
    .query_row([draft.secret.digest.as_bytes()], |row| {
        Ok((row::parsed(row, 0)?, row::optional(row, 1)?, row::optional(row, 2)?))
    })
    .optional()
}

/// Accounts, users and memberships an import needs; each is looked at once.
struct Places<'a> {
    db: &'a Connection,
    now: Timestamp,
    seen: HashSet<(Option<AccountId>, Option<UserId>)>,
}

impl Places<'_> {
    fn settle(&mut self, draft: &Draft, imported: &mut Imported) -> rusqlite::Result<()> {
        if !self.seen.insert((draft.account.clone(), draft.user.clone())) {
            return Ok(());
        }
        if let Some(account) = &draft.account {
            imported.accounts += usize::from(add_account(self.db, account, self.now)?);
        }
        if let Some(user) = &draft.user {
            imported.users += usize::from(add_user(self.db, user, self.now)?);
        }
        if let (Some(account), Some(user)) = (&draft.account, &draft.user) {
            self.db
                .prepare_cached(
                    "INSERT INTO membership (user, account, licence) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                )?
                .execute((user.as_str(), account.as_str(), draft.licence.as_ref().map(Line::as_str)))?;
        }
        Ok(())
    }
}
