//! Adopting keys by the thousand, all or none.
//!
//! An adopted key must work as soon as the import is done, in the account of its row. So accounts and users not met
//! before are made, and so is the membership a personal or user key needs; with no permissions, because an import knows
//! none and widening is somebody's decision; with the licence that its first row names. A membership that is there is left as it is.

use std::collections::{HashMap, HashSet};

use super::change::{add_account, add_user, insert_keys, places};
use super::{Db, Error, Row, Stop, Value, values};
use crate::clock::Timestamp;
use crate::key::{AccountId, Digest, Kind, Line, UserId};
use crate::store::{Clash, Draft, Fate, Imported, Rejected, Trial};

/// From so many keys on, one log entry stands for all.
const BULK: usize = 500;

/// Adopts keys. Whoever is named in a problem is named by row, counted from 1, never by secret.
pub(in crate::store) fn import(db: &Db<'_>, drafts: &[Draft], now: Timestamp) -> Result<Imported, Stop> {
    let bulk = drafts.len() >= BULK;
    if bulk {
        // One entry per row would be gone through by nobody.
        db.execute("UPDATE head SET bulk = 1", values![])?;
        keep_pages(db, 256)?;
    }
    let outcome = adopt(db, drafts, now);
    if bulk {
        keep_pages(db, 4)?;
    }
    let imported = outcome?;
    if bulk {
        db.execute("UPDATE head SET bulk = 0", values![])?;
        db.execute("INSERT INTO log (kind, subject, narrowing) VALUES (4, ?1, 0)", values![&[]])?;
    }
    Ok(imported)
}

/// A large page cache in MiB, because digests come in no order; a server sees to its own.
fn keep_pages(db: &Db<'_>, mebibytes: i64) -> Result<(), Error> {
    match db {
        Db::Sqlite(db) => Ok(db.pragma_update(None, "cache_size", -1024 * mebibytes)?),
        Db::Postgres(_) => Ok(()),
    }
}

fn adopt(db: &Db<'_>, drafts: &[Draft], now: Timestamp) -> Result<Imported, Stop> {
    let mut adoption = Adoption::begin(db, now);
    let mut at = 0;
    for some in drafts.chunks(db.at_once()) {
        for fate in adoption.take(some)? {
            at += 1;
            if let Fate::Refused(why) = fate {
                return Err(Rejected::Conflict(Clash::Owner, format!("row {at}: {why}")).into());
            }
        }
    }
    Ok(adoption.imported)
}

/// What would become of each row; the caller takes back what was changed to find out.
pub(in crate::store) fn attempt(db: &Db<'_>, drafts: &[Draft], now: Timestamp) -> Result<Trial, Stop> {
    let mut adoption = Adoption::begin(db, now);
    let mut fates = Vec::with_capacity(drafts.len());
    for some in drafts.chunks(db.at_once()) {
        fates.extend(adoption.take(some)?);
    }
    let Imported { accounts, users, .. } = adoption.imported;
    Ok(Trial { fates, accounts, users })
}

/// An import under way: row after row, until one is refused; a trial goes on behind it.
struct Adoption<'a> {
    places: Places<'a>,
    imported: Imported,
}

impl<'a> Adoption<'a> {
    fn begin(db: &'a Db<'a>, now: Timestamp) -> Self {
        Self { places: Places { db, now, seen: HashSet::new() }, imported: Imported::default() }
    }

    /// Takes some rows, and tells each one's fate.
    fn take(&mut self, drafts: &[Draft]) -> Result<Vec<Fate>, Stop> {
        let Places { db, now, .. } = self.places;
        let mut theirs = current_owners(db, drafts)?;
        let (mut fates, mut new) = (Vec::with_capacity(drafts.len()), Vec::new());
        for draft in drafts {
            let owner = owner(draft);
            let known = theirs.get(&draft.secret.digest);
            if known.is_some_and(|theirs| *theirs != owner) {
                fates.push(Fate::Refused("the same secret is another owner's key already".to_owned()));
                continue;
            }
            let already = known.is_some();
            self.places.settle(draft, &mut self.imported)?;
            if already {
                self.imported.already += 1;
                fates.push(Fate::Already);
                continue;
            }
            new.push((draft, draft.account.as_ref().filter(|_| draft.kind != Kind::User)));
            theirs.insert(draft.secret.digest, owner);
            self.imported.keys += 1;
            fates.push(Fate::Adopted);
        }
        insert_keys(db, &new, now)?;
        Ok(fates)
    }
}

type Owner = (Kind, Option<AccountId>, Option<UserId>);

fn owner(draft: &Draft) -> Owner {
    let account = if draft.kind == Kind::User { None } else { draft.account.clone() };
    (draft.kind, account, draft.user.clone())
}

/// Whose key already has the secret of which draft.
fn current_owners(db: &Db<'_>, drafts: &[Draft]) -> Result<HashMap<Digest, Owner>, Error> {
    let sql = format!(
        "SELECT s.digest, k.kind, k.account, k.\"user\" FROM secret s JOIN key k ON k.serial = s.key
          WHERE s.digest IN {}",
        places(1, drafts.len())
    );
    let values: Vec<Value<'_>> = drafts.iter().map(|draft| Value::from(&draft.secret.digest)).collect();
    let owner =
        |row: &Row<'_>| Ok((Digest::from_bytes(row.array(0)?), (row.parsed(1)?, row.optional(2)?, row.optional(3)?)));
    Ok(db.rows(&sql, &values, owner)?.into_iter().collect())
}

/// Accounts, users and memberships an import needs; each is looked at once.
struct Places<'a> {
    db: &'a Db<'a>,
    now: Timestamp,
    seen: HashSet<(Option<AccountId>, Option<UserId>)>,
}

impl Places<'_> {
    fn settle(&mut self, draft: &Draft, imported: &mut Imported) -> Result<(), Error> {
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
            self.db.execute(
                "INSERT INTO membership (\"user\", account, licence) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                values![user.as_str(), account.as_str(), draft.licence.as_ref().map(Line::as_str)],
            )?;
        }
        Ok(())
    }
}
