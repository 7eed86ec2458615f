//! The audit log: written inside the transaction of the change that an entry is about, and read.

use std::net::IpAddr;

use rusqlite::types::Value as Column;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::{Stop, answer, load, row};
use crate::clock::Timestamp;
use crate::key::{AccountId, KeyId, UserId};
use crate::store::audit::{Action, AuditFilter, By, Details, Ending, Entry, Note, Who, WhoKind};
use crate::store::{Along, Reuse};

/// A change, with what goes along with it; `tell` says more once it is known what became of it.
pub(in crate::store) fn along<T>(
    along: Along,
    tell: impl FnOnce(&T) -> Details,
    change: impl FnOnce(&Connection) -> Result<T, Stop>,
) -> impl FnOnce(&Connection) -> Result<T, Stop> {
    move |db| {
        let Along { note, kept } = along;
        let before = load::head(db)?;
        let made = change(db)?;
        if let Some(mut note) = note {
            // Several uses may each be taken for the first; the others change nothing.
            if note.action != Action::KeyFirstUse || load::head(db)? > before {
                note.details.extend(tell(&made));
                append(db, &note, Ending::Done)?;
                append_others(db, &note, before)?;
            }
        }
        if let Some(kept) = kept {
            answer::keep(db, &kept, load::head(db)?)?;
        }
        Ok(made)
    }
}

/// Notes that keyward retired the old secrets of these keys, because nobody used them.
pub(in crate::store) fn retired(db: &Connection, keys: &[KeyId], at: Timestamp) -> rusqlite::Result<()> {
    keys.iter().try_for_each(|key| {
        let note = Note { key: Some(key.clone()), ..Note::new(By::KEYWARD, at, Action::KeyRetire) };
        append(db, &note, Ending::Done)
    })
}

/// Notes what was refused. The same again by the same caller within an hour only counts.
pub(in crate::store) fn refused(db: &Connection, note: &Note) -> rusqlite::Result<()> {
    match again(db, note, Ending::Refused, 1, note.at)? {
        true => Ok(()),
        false => append(db, note, Ending::Refused),
    }
}

/// Notes what somebody told. The same again within an hour only counts.
pub(in crate::store) fn told(db: &Connection, note: &Note) -> rusqlite::Result<()> {
    match again(db, note, Ending::Done, 1, note.at)? {
        true => Ok(()),
        false => append(db, note, Ending::Done),
    }
}

/// Notes that dead secrets were presented; of which keys that is the first time for an hour, and from where.
pub(in crate::store) fn reused(db: &Connection, reuses: &[Reuse]) -> rusqlite::Result<Vec<(KeyId, Option<IpAddr>)>> {
    let mut new = Vec::new();
    for Reuse { secret, count, first, last, address } in reuses {
        let mut find =
            db.prepare_cached("SELECT k.id FROM secret s JOIN key k ON k.serial = s.key WHERE s.digest = ?1")?;
        let found = find.query_row([secret.as_bytes()], |row| row::parsed(row, 0)).optional()?;
        // It may have been deleted by hand since.
        let Some(key) = found else { continue };
        let by = By { who: Who::Stranger, address: *address, request_id: None };
        let note = Note { key: Some(key), ..Note::new(by, *first, Action::KeyReuse) };
        if again(db, &note, Ending::Refused, *count, *last)? {
            continue;
        }
        append(db, &note, Ending::Refused)?;
        db.prepare_cached("UPDATE audit SET count = ?2, last_at = ?3 WHERE seq = ?1")?.execute((
            db.last_insert_rowid(),
            count.cast_signed(),
            last.as_millis(),
        ))?;
        new.extend(note.key.map(|key| (key, *address)));
    }
    Ok(new)
}

/// Entries, the latest first.
pub(in crate::store) fn entries(db: &Connection, filter: &AuditFilter) -> rusqlite::Result<Vec<Entry>> {
    let text = |value: &str| Column::Text(value.to_owned());
    let wanted = [
        ("key = ", filter.key.as_ref().map(|key| text(key.as_str()))),
        ("account = ", filter.account.as_ref().map(|account| text(account.as_str()))),
        ("user = ", filter.user.as_ref().map(|user| text(user.as_str()))),
        ("action = ", filter.action.map(|action| text(action.as_str()))),
        ("outcome = ", filter.outcome.map(|outcome| text(outcome.as_str()))),
        ("who = ", filter.who.map(|who| text(who.as_str()))),
        ("caller = ", filter.by_key.as_ref().map(|key| text(key.as_str()))),
        ("last_at >= ", filter.since.map(|since| Column::Integer(since.as_millis()))),
        ("at < ", filter.until.map(|until| Column::Integer(until.as_millis()))),
        ("seq < ", filter.before.map(Column::Integer)),
    ];
    // A key's id stands for an operator's or a holder's; a number is a user of the operating system.
    let mut conditions = vec!["1".to_owned()];
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
    values.push(Column::Integer(filter.most.map_or(-1, i64::from)));
    let sql = format!(
        "SELECT seq, at, last_at, count, action, outcome, who, caller, address, request_id, key, account, user, details
           FROM audit WHERE {} ORDER BY seq DESC LIMIT ?{}",
        conditions.join(" AND "),
        values.len()
    );
    db.prepare_cached(&sql)?.query_map(params_from_iter(values), entry)?.collect()
}

/// Trims what ended before `until`, oldest first; how many entries went.
pub(in crate::store) fn trim(db: &Connection, until: Timestamp) -> rusqlite::Result<usize> {
    let oldest: Option<i64> = db.prepare_cached("SELECT min(seq) FROM audit")?.query_row([], |row| row.get(0))?;
    let Some(oldest) = oldest else { return Ok(0) };
    let young = db
        .prepare_cached("SELECT seq FROM audit WHERE last_at >= ?1 ORDER BY seq LIMIT 1")?
        .query_row([until.as_millis()], |row| row.get::<_, i64>(0))
        .optional()?
        .unwrap_or(i64::MAX);
    let keep_from = young.min(oldest.saturating_add(TRIM_AT_ONCE));
    db.prepare_cached("DELETE FROM audit WHERE seq < ?1")?.execute([keep_from])
}

/// Most entries trimmed at once, so that no change waits long behind it.
const TRIM_AT_ONCE: i64 = 10_000;
/// What comes again within this span has one entry.
const SPAN_MILLIS: i64 = 60 * 60 * 1000;

fn append(db: &Connection, note: &Note, outcome: Ending) -> rusqlite::Result<()> {
    let Note { by, at, action, key, account, user, details } = note;
    db.prepare_cached(
        "INSERT INTO audit (at, last_at, action, outcome, who, caller, address, request_id, key, account, user, details)
         VALUES (?1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8,
                 coalesce(?9, (SELECT account FROM key WHERE id = ?8)), coalesce(?10, (SELECT user FROM key WHERE id = ?8)),
                 ?11)",
    )?
    .execute(params![
        at.as_millis(),
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
    ])?;
    Ok(())
}

/// An entry for every other key that the change ended or made: those of a member who left, those of operators who were replaced,
/// those that take the place of a user's. The log knows which secrets a change touched.
fn append_others(db: &Connection, note: &Note, before: u64) -> rusqlite::Result<()> {
    let mut others = db.prepare_cached(
        "SELECT DISTINCT k.id, l.kind = 5
           FROM log l CROSS JOIN secret s
                  ON s.digest >= l.subject AND s.digest <= CAST(l.subject || x'ffffffffffffffffffffffffffffffff' AS BLOB)
                CROSS JOIN key k ON k.serial = s.key
          WHERE l.seq > ?1 AND k.id IS NOT ?2 AND (l.kind = 1 AND k.state = 'revoked' OR l.kind = 5 AND ?3)",
    )?;
    // An import is one entry, whatever it made.
    let with_made = note.action == Action::KeyReplace;
    let key = note.key.as_ref().map(KeyId::as_str);
    let others = others.query_map(params![before.cast_signed(), key, with_made], |row| {
        Ok((row::parsed(row, 0)?, if row.get(1)? { Action::KeyMint } else { Action::KeyRevoke }))
    })?;
    for (key, action) in others.collect::<Result<Vec<(KeyId, Action)>, _>>()? {
        let because = Note::new(note.by.clone(), note.at, action).saying("because", note.action.as_str());
        append(db, &Note { key: Some(key), ..because }, Ending::Done)?;
    }
    Ok(())
}

/// Counts what an entry of the last hour says already; whether there is one.
fn again(db: &Connection, note: &Note, outcome: Ending, count: u64, last: Timestamp) -> rusqlite::Result<bool> {
    let Note { by, at, action, key, account, user, details } = note;
    let mut count_again = db.prepare_cached(
        "UPDATE audit SET count = count + ?1, last_at = max(last_at, ?2), address = ?3, request_id = ?4
          WHERE seq = (SELECT seq FROM audit
                        WHERE key IS ?5 AND at > ?6 AND action = ?7 AND outcome = ?8 AND who = ?9 AND caller IS ?10
                              AND details = ?11 AND (?5 IS NOT NULL OR (account IS ?12 AND user IS ?13))
                        ORDER BY at DESC LIMIT 1)",
    )?;
    let counted = count_again.execute(params![
        count.cast_signed(),
        last.as_millis(),
        by.address.map(|address| address.to_string()),
        by.request_id.as_deref(),
        key.as_ref().map(KeyId::as_str),
        at.as_millis().saturating_sub(SPAN_MILLIS),
        action.as_str(),
        outcome.as_str(),
        by.who.kind().as_str(),
        caller(&by.who),
        text(details),
        account.as_ref().map(AccountId::as_str),
        user.as_ref().map(UserId::as_str),
    ])?;
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

fn who(row: &Row<'_>, kind: usize, caller: usize) -> rusqlite::Result<Who> {
    Ok(match row::parsed(row, kind)? {
        WhoKind::Keyward => Who::Keyward,
        WhoKind::Stranger => Who::Stranger,
        WhoKind::CommandLine => Who::CommandLine { uid: row::parsed(row, caller)? },
        WhoKind::Operator => Who::Operator { key: row::parsed(row, caller)? },
        WhoKind::Holder => Who::Holder { key: row::parsed(row, caller)? },
    })
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let request_id: Option<String> = row.get(9)?;
    Ok(Entry {
        seq: row.get(0)?,
        at: row::moment(row, 1)?,
        last_at: row::moment(row, 2)?,
        count: row.get::<_, i64>(3)?.cast_unsigned(),
        action: row::parsed(row, 4)?,
        outcome: row::parsed(row, 5)?,
        by: By {
            who: who(row, 6, 7)?,
            address: row::optional(row, 8)?,
            request_id: request_id.map(String::into_boxed_str),
        },
        key: row::optional(row, 10)?,
        account: row::optional(row, 11)?,
        user: row::optional(row, 12)?,
        details: row::json(row, 13)?,
    })
}
