//! The audit log: written inside the transaction of the change that an entry is about, and read.

use std::net::IpAddr;

use super::{Db, Error, Row, Stop, Value, answer, list, log, values};
use crate::clock::Timestamp;
use crate::key::{AccountId, KeyId, UserId};
use crate::store::audit::{Action, AuditFilter, By, Details, Ending, Entry, Note, Who, WhoKind};
use crate::store::{Along, Reuse};

/// A change, with what goes along with it; `tell` says more once it is known what became of it.
pub(in crate::store) fn along<T>(
    along: Along,
    tell: impl FnOnce(&T) -> Details,
    change: impl FnOnce(&Db<'_>) -> Result<T, Stop>,
) -> impl FnOnce(&Db<'_>) -> Result<T, Stop> {
    move |db| {
        let Along { note, kept } = along;
        if let (Some(kept), Some(note)) = (&kept, &note) {
            answer::must_be_first(db, kept, note.at)?;
        }
        let before = log::head(db)?;
        let made = change(db)?;
        if let Some(mut note) = note {
            // Several uses may each be taken for the first; the others change nothing.
            if note.action != Action::KeyFirstUse || log::head(db)? > before {
                note.details.extend(tell(&made));
                append(db, &note, Ending::Done)?;
                append_others(db, &note, before)?;
            }
        }
        if let Some(kept) = kept {
            answer::keep(db, &kept, log::head(db)?)?;
        }
        Ok(made)
    }
}

/// Notes that keyward retired the old secrets of these keys, because nobody used them.
pub(in crate::store) fn retired(db: &Db<'_>, keys: &[KeyId], at: Timestamp) -> Result<(), Error> {
    keys.iter().try_for_each(|key| {
        let note = Note { key: Some(key.clone()), ..Note::new(By::KEYWARD, at, Action::KeyRetire) };
        append(db, &note, Ending::Done).map(drop)
    })
}

/// Notes what was refused. The same again by the same caller within an hour only counts.
pub(in crate::store) fn refused(db: &Db<'_>, note: &Note) -> Result<(), Error> {
    match again(db, note, Ending::Refused, 1, note.at)? {
        true => Ok(()),
        false => append(db, note, Ending::Refused).map(drop),
    }
}

/// Notes what somebody told. The same again within an hour only counts.
pub(in crate::store) fn told(db: &Db<'_>, note: &Note) -> Result<(), Error> {
    match again(db, note, Ending::Done, 1, note.at)? {
        true => Ok(()),
        false => append(db, note, Ending::Done).map(drop),
    }
}

/// Notes that dead secrets were presented; of which keys that is the first time for an hour, and from where.
pub(in crate::store) fn reused(db: &Db<'_>, reuses: &[Reuse]) -> Result<Vec<(KeyId, Option<IpAddr>)>, Error> {
    let mut new = Vec::new();
    for Reuse { secret, count, first, last, address } in reuses {
        let sql = "SELECT k.id FROM secret s JOIN key k ON k.serial = s.key WHERE s.digest = ?1";
        let found = db.first(sql, values![secret], |row| row.parsed(0))?;
        // It may have been deleted by hand since.
        let Some(key) = found else { continue };
        let by = By { who: Who::Stranger, address: *address, request_id: None };
        let note = Note { key: Some(key), ..Note::new(by, *first, Action::KeyReuse) };
        if again(db, &note, Ending::Refused, *count, *last)? {
            continue;
        }
        let seq = append(db, &note, Ending::Refused)?;
        db.execute(
            "UPDATE audit SET count = ?2, last_at = ?3 WHERE seq = ?1",
            values![seq, count.cast_signed(), *last],
        )?;
        new.extend(note.key.map(|key| (key, *address)));
    }
    Ok(new)
}

/// Entries, the latest first.
pub(in crate::store) fn entries(db: &Db<'_>, filter: &AuditFilter) -> Result<Vec<Entry>, Error> {
    let wanted: [(_, Option<Value<'_>>); _] = [
        ("key = ", filter.key.as_ref().map(|key| key.as_str().into())),
        ("account = ", filter.account.as_ref().map(|account| account.as_str().into())),
        ("\"user\" = ", filter.user.as_ref().map(|user| user.as_str().into())),
        ("action = ", filter.action.map(|action| action.as_str().into())),
        ("outcome = ", filter.outcome.map(|outcome| outcome.as_str().into())),
        ("who = ", filter.who.map(|who| who.as_str().into())),
        ("caller = ", filter.by_key.as_ref().map(|key| key.as_str().into())),
        ("last_at >= ", filter.since.map(Value::from)),
        ("at < ", filter.until.map(Value::from)),
        ("seq < ", filter.before.map(Value::from)),
    ];
    // A key's id stands for an operator's or a holder's; a number is a user of the operating system.
    let mut conditions = vec!["TRUE".to_owned()];
    let mut values = Vec::new();
    for (condition, value) in wanted {
        if let Some(value) = value {
            values.push(value);
            conditions.push(format!("{condition}?{}", values.len()));
        }
    }
    if filter.by_key.is_some() {
        conditions.push("who IN ('operator', 'holder')".to_owned());
    }
    values.push(list::most(filter.most).into());
    let sql = format!(
        "SELECT seq, at, last_at, count, action, outcome, who, caller, address, request_id, key, account, \"user\", details
           FROM audit WHERE {} ORDER BY seq DESC LIMIT ?{}",
        conditions.join(" AND "),
        values.len()
    );
    db.rows(&sql, &values, entry)
}

/// Trims what ended before `until`, oldest first; how many entries went.
pub(in crate::store) fn trim(db: &Db<'_>, until: Timestamp) -> Result<usize, Error> {
    let oldest = db.one("SELECT min(seq) FROM audit", values![], |row| row.optional_int(0))?;
    let Some(oldest) = oldest else { return Ok(0) };
    let young = db
        .first("SELECT seq FROM audit WHERE last_at >= ?1 ORDER BY seq LIMIT 1", values![until], |row| row.int(0))?
        .unwrap_or(i64::MAX);
    let keep_from = young.min(oldest.saturating_add(TRIM_AT_ONCE));
    db.execute("DELETE FROM audit WHERE seq < ?1", values![keep_from])
}

/// Most entries trimmed at once, so that no change waits long behind it.
const TRIM_AT_ONCE: i64 = 10_000;
/// What comes again within this span has one entry.
const SPAN_MILLIS: i64 = 60 * 60 * 1000;

/// Writes an entry; its number.
fn append(db: &Db<'_>, note: &Note, outcome: Ending) -> Result<i64, Error> {
    let Note { by, at, action, key, account, user, details } = note;
    db.one(
        "INSERT INTO audit (at, last_at, action, outcome, who, caller, address, request_id, key, account, \"user\", details)
         VALUES (?1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, coalesce(?9, (SELECT account FROM key WHERE id = ?8)),
                 coalesce(?10, (SELECT \"user\" FROM key WHERE id = ?8)), ?11)
         RETURNING seq",
        values![
            *at,
            action.as_str(),
            outcome.as_str(),
            by.who.kind().as_str(),
            caller(&by.who),
            by.address.map(|address| address.to_string()),
            by.request_id.as_deref(),
            key.as_ref().map(KeyId::as_str),
            account.as_ref().map(AccountId::as_str),
            user.as_ref().map(UserId::as_str),
            text(details),
        ],
        |row| row.int(0),
    )
}

/// An entry for every other key that the change ended or made: those of a member who left, those of operators who were replaced,
/// those that take the place of a user's. The log knows which secrets a change touched.
fn append_others(db: &Db<'_>, note: &Note, before: u64) -> Result<(), Error> {
    // From the log to the secrets and on to their keys, each by its index: a planner that is left to choose begins with every
    // revoked key there is.
    let sql = "SELECT DISTINCT k.id, t.made
                 FROM (SELECT l.kind = 5 AS made,
                              (SELECT CASE WHEN substr(s.digest, 1, 16) = l.subject THEN s.key END FROM secret s
                                WHERE s.digest >= l.subject ORDER BY s.digest LIMIT 1) AS key
                         FROM log l WHERE l.seq > ?1 AND l.kind IN (1, 5)) t
                      CROSS JOIN key k
                WHERE k.serial = t.key AND k.id IS DISTINCT FROM ?2
                  AND (t.made AND ?3 = 1 OR NOT t.made AND k.state = 'revoked')";
    // An import is one entry, whatever it made.
    let with_made = note.action == Action::KeyReplace;
    let key = note.key.as_ref().map(KeyId::as_str);
    let others = db.rows(sql, values![before.cast_signed(), key, with_made], |row| {
        let action = if row.flag(1)? { Action::KeyMint } else { Action::KeyRevoke };
        Ok((row.parsed::<KeyId>(0)?, action))
    })?;
    for (key, action) in others {
        let because = Note::new(note.by.clone(), note.at, action).saying("because", note.action.as_str());
        append(db, &Note { key: Some(key), ..because }, Ending::Done)?;
    }
    Ok(())
}

/// Counts what an entry of the last hour says already; whether there is one.
fn again(db: &Db<'_>, note: &Note, outcome: Ending, count: u64, last: Timestamp) -> Result<bool, Error> {
    let Note { by, at, action, key, account, user, details } = note;
    // Of no key or of this one: written out for the sake of the index.
    let about = match key {
        Some(_) => "key = ?5",
        None => "key IS NULL AND account IS NOT DISTINCT FROM ?11 AND \"user\" IS NOT DISTINCT FROM ?12",
    };
    let sql = format!(
        "UPDATE audit SET count = count + ?1, last_at = CASE WHEN last_at > ?2 THEN last_at ELSE ?2 END, address = ?3,
                request_id = ?4
          WHERE seq = (SELECT seq FROM audit
                        WHERE {about} AND at > ?6 AND action = ?7 AND outcome = ?8 AND who = ?9
                              AND caller IS NOT DISTINCT FROM ?10 AND details = ?13
                        ORDER BY at DESC LIMIT 1)"
    );
    let counted = db.execute(
        &sql,
        values![
            count.cast_signed(),
            last,
            by.address.map(|address| address.to_string()),
            by.request_id.as_deref(),
            key.as_ref().map(KeyId::as_str),
            at.as_millis().saturating_sub(SPAN_MILLIS),
            action.as_str(),
            outcome.as_str(),
            by.who.kind().as_str(),
            caller(&by.who),
            account.as_ref().map(AccountId::as_str),
            user.as_ref().map(UserId::as_str),
            text(details),
        ],
    )?;
    Ok(counted > 0)
}

fn text(details: &Details) -> String {
    // A map of texts, numbers and lists can always be written.
    serde_json::to_string(details).unwrap_or_else(|_| "{}".to_owned())
}

fn caller(who: &Who) -> Option<String> {
    match who {
        Who::Keyward | Who::Stranger => None,
        Who::CommandLine { uid } => Some(uid.to_string()),
        Who::Operator { key } | Who::Holder { key } => Some(key.to_string()),
    }
}

fn who(row: &Row<'_>, kind: usize, caller: usize) -> Result<Who, Error> {
    Ok(match row.parsed(kind)? {
        WhoKind::Keyward => Who::Keyward,
        WhoKind::Stranger => Who::Stranger,
        WhoKind::CommandLine => Who::CommandLine { uid: row.parsed(caller)? },
        WhoKind::Operator => Who::Operator { key: row.parsed(caller)? },
        WhoKind::Holder => Who::Holder { key: row.parsed(caller)? },
    })
}

fn entry(row: &Row<'_>) -> Result<Entry, Error> {
    Ok(Entry {
        seq: row.int(0)?,
        at: row.moment(1)?,
        last_at: row.moment(2)?,
        count: row.int(3)?.cast_unsigned(),
        action: row.parsed(4)?,
        outcome: row.parsed(5)?,
        by: By { who: who(row, 6, 7)?, address: row.optional(8)?, request_id: row.optional_text(9)?.map(Box::from) },
        key: row.optional(10)?,
        account: row.optional(11)?,
        user: row.optional(12)?,
        details: row.json(13)?,
    })
}
