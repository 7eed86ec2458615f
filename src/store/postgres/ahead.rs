//! What is read before anybody asks, in chunks: see SQLite's.

use super::load::first;
use crate::clock::Timestamp;
use crate::key::{Digest, Standing};
use crate::store::sql::{Error, Row, Words, is_licensed, membership, standing};
use crate::store::{Chunk, Place, Policy, Which};

/// Active keys below serial `$1`, by their last use and moment `$2`; `$3` is how many, and the lowest of their serials stands in the
/// last column where there may be more.
macro_rules! living {
    ($which:literal) => {
        concat!(
            r#"
    WITH chosen AS (
      SELECT k.* FROM keyward.key k LEFT JOIN keyward.usage u ON u.key = k.serial
       WHERE k.state = 'active' AND k.serial < $1 AND "#,
            $which,
            r#"
       ORDER BY k.serial DESC LIMIT $3)
    SELECT s.digest, s.state, k.serial, k.id, k.kind, k.state, k.account, a.state, k."user", k.permissions, k.allowed_ips,
           k.not_before, k.expires_at, s.until, s.used, s.number, m.account, ma.state, m.permissions, m.licence,
           pg_is_in_recovery(), $4, h.seq, (SELECT CASE WHEN count(*) = $3 THEN min(serial) END FROM chosen)
      FROM keyward.head h
      LEFT JOIN chosen k ON true
      LEFT JOIN keyward.secret s ON s.key = k.serial AND s.state = 'current'
      LEFT JOIN keyward.account a ON a.id = k.account
      LEFT JOIN keyward.membership m ON m."user" = k."user" AND (k.kind = 'user' OR m.account = k.account)
      LEFT JOIN keyward.account ma ON ma.id = m.account
     WHERE h.one = 1 ORDER BY k.serial DESC, s.digest, m.account"#
        )
    };
}

/// The statement for a place, and the moment that is its second parameter.
pub(super) const fn living(place: Place) -> (&'static str, Timestamp) {
    match place.which {
        Which::UsedSince(since) => (living!("u.last_used_at >= $2"), since),
        Which::NotUsedSince(since) => (living!("(u.last_used_at >= $2) IS NOT TRUE"), since),
    }
}

/// A chunk of keys. One that cannot be read is passed over; who presents its secret is told of it.
pub(super) fn chunk(
    rows: &[Row<'_>],
    policy: &Policy,
    place: Place,
    nonce: i64,
    words: &mut Words,
) -> Result<Chunk, Error> {
    let head = first(rows, 20, nonce)?;
    let mut keys: Vec<(Digest, Standing)> = Vec::new();
    for of_one in rows.chunk_by(|one, other| digest(one) == digest(other)) {
        let (Some(digest), Ok(Some(mut key))) = (digest(&of_one[0]), standing(&of_one[0], words)) else { continue };
        let places = of_one.iter().map(|row| membership(row, policy, words)).collect::<Result<Vec<_>, _>>();
        let Ok(places) = places else { continue };
        key.memberships.extend(places.into_iter().flatten());
        key.licensed = is_licensed(policy, &key);
        keys.push((digest, key));
    }
    let next = head.optional_int(23)?.map(|below| Place { below, ..place });
    Ok(Chunk { as_of: head.position(22)?, keys, next })
}

fn digest(row: &Row<'_>) -> Option<Digest> {
    row.array(0).ok().map(Digest::from_bytes)
}
