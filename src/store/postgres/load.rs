//! What the request path asks: one digest, and what changed. Each is one statement outside any transaction, so that the position
//! it answers belongs to exactly the rows it answers, and to a snapshot taken after it was asked.
//!
//! That there is one head stands in each, for the planner: of a table that it has not counted yet it expects hundreds of rows, and
//! prepares a statement for that by compiling it, which takes longer than all else.

use super::trouble::Trouble;
use crate::store::log::{MANY, News, Tail};
use crate::store::sql::{Error, Row, Words, is_licensed, log, membership, standing};
use crate::store::{Loaded, Policy};

/// A look-up: one row, or one for each place where the key's user belongs. `$2` comes back as it was sent.
pub(super) const LOAD: &str = r#"
    SELECT h.seq, s.state, k.serial, k.id, k.kind, k.state, k.account, a.state, k."user", k.permissions, k.allowed_ips,
           k.not_before, k.expires_at, s.until, s.used, s.number, m.account, ma.state, m.permissions, m.licence,
           pg_is_in_recovery(), $2
      FROM keyward.head h
      LEFT JOIN keyward.secret s ON s.digest = $1
      LEFT JOIN keyward.key k ON k.serial = s.key
      LEFT JOIN keyward.account a ON a.id = k.account
      LEFT JOIN keyward.membership m ON m."user" = k."user" AND (k.kind = 'user' OR m.account = k.account)
      LEFT JOIN keyward.account ma ON ma.id = m.account
     WHERE h.one = 1 ORDER BY m.account"#;

/// What a look-up brought back.
pub(super) fn loaded(rows: &[Row<'_>], policy: &Policy, nonce: i64) -> Result<Loaded, Error> {
    let words = &mut Words::default();
    let first = first(rows, 20, nonce)?;
    let mut key = standing(first, words)?;
    if let Some(key) = &mut key {
        for row in rows {
            key.memberships.extend(membership(row, policy, words)?);
        }
        key.licensed = is_licensed(policy, key);
    }
    Ok(Loaded { as_of: first.position(0)?, standing: key })
}

/// The first row of an answer, of which two columns from `at` on show that a primary answered, and this very question: not a
/// standby, and nothing that remembers answers.
pub(super) fn first<'a, 'r>(rows: &'a [Row<'r>], at: usize, nonce: i64) -> Result<&'a Row<'r>, Error> {
    let first = rows.first().ok_or(Trouble::NoPrimary)?;
    if first.flag(at)? || first.int(at + 1)? != nonce {
        return Err(Trouble::NoPrimary.into());
    }
    Ok(first)
}

/// What changed after a position, and what else a replica wants to know. `$2` comes back as it was sent.
pub(super) fn renew() -> String {
    format!("SELECT * FROM keyward.renewal($1, $2, $3, $4, {})", MANY + 1)
}

/// What changed after a position.
pub(super) fn tail(rows: &[Row<'_>], first: &Row<'_>, after: u64) -> Result<Tail, Error> {
    let head = first.position(3)?;
    if head <= after {
        let news = if head == after { News::Entries(Vec::new()) } else { News::WentBack };
        return Ok(Tail { head, news });
    }
    if head - after > MANY as u64 {
        return Ok(Tail { head, news: News::Gone });
    }
    // Where every entry is trimmed away there is one row without any.
    let some = rows.iter().filter(|row| !matches!(row.optional_int(0), Ok(None)));
    let entries = some.map(log::entry).collect::<Result<Vec<_>, _>>()?;
    // Positions have no gaps; fewer entries than positions means that the oldest were trimmed.
    let whole = entries.len() as u64 == head - after;
    Ok(Tail { head, news: if whole { News::Entries(entries) } else { News::Gone } })
}
