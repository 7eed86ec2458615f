//! Who serves from the store, and how far each has come: one statement each.
//!
//! What others rely on outlives the server, whatever its own setting is: a registration that a crash forgot, or a longer fence,
//! would let a change be complete too soon. What can only save time waits for no disk. Both are said in the statement itself,
//! so that a pooler of transactions may stand between.

use std::time::Duration;

use super::{PLACE, load};
use crate::store::replica::{Incarnation, Instance, Renewal, Replica, ReplicaId, ReplicaState, Replicas, Revision};
use crate::store::sql::{Error, Row};

/// Registers, or registers anew. Answered only when it is committed for good: from then on changes wait for this replica.
pub(super) const REGISTER: &str = "
    INSERT INTO keyward.replica (id, incarnation, state, node, version)
    SELECT $1, $2, 'live', $3, $4 FROM (SELECT set_config('synchronous_commit', 'on', true)) AS lasting
    ON CONFLICT (id) DO UPDATE
      SET incarnation = excluded.incarnation, state = 'live', applied = NULL, node = excluded.node,
          version = excluded.version, joined = excluded.joined, heard = excluded.heard";
/// Acknowledges a position. That it may be lost costs nothing but time, so it waits for no disk.
pub(super) const ACKNOWLEDGE: &str = "
    UPDATE keyward.replica SET applied = greatest(applied, $3), heard = (extract(epoch FROM clock_timestamp()) * 1000)::bigint
      FROM (SELECT set_config('synchronous_commit', 'off', true)) AS fleeting
     WHERE id = $1 AND incarnation = $2 AND state = 'live'";
/// Takes a replica for worse, if it is still what it was taken for.
pub(super) const DOUBT: &str = "
    UPDATE keyward.replica SET state = $4 WHERE id = $1 AND incarnation = $2 AND state = $3";
/// Says that a registration has ended.
pub(super) const LEAVE: &str = "UPDATE keyward.replica SET state = 'dead' WHERE id = $1 AND incarnation = $2";

/// Forgets the dead of more than a day ago.
pub(super) const BURY: &str = "
    DELETE FROM keyward.replica
     WHERE state = 'dead' AND heard < (extract(epoch FROM clock_timestamp()) * 1000)::bigint - 86400000";

/// Whom a change waits for: the live and the suspect ones. `$1` comes back as it was sent.
pub(super) fn all() -> String {
    format!(
        "SELECT h.seq, pg_is_in_recovery(), $1, greatest(h.fence + h.stale, h.fence_before), h.cluster || '/' || {PLACE},
                r.id, r.incarnation, r.state, r.applied, r.node, r.version, r.joined, r.heard
           FROM keyward.head h LEFT JOIN keyward.replica r ON r.state <> 'dead'
          WHERE h.one = 1 ORDER BY r.id"
    )
}
/// What is remembered of a position. `$2` comes back as it was sent.
pub(super) const REVISION: &str = "
    SELECT h.seq, pg_is_in_recovery(), $2, l.at, l.narrowing, c.seq
      FROM keyward.head h CROSS JOIN keyward.complete c LEFT JOIN keyward.log l ON l.seq = $1
     WHERE h.one = 1 AND c.one = 1";
/// Has what is read count for so long from now on, and lets replicas serve for so much longer. What is shorter than that leaves
/// what was before to be waited for, both together, until [`SHORTENED`].
pub(super) const SET_FENCE: &str = "
    UPDATE keyward.head
       SET fence_before = CASE WHEN fence + stale > $1 + $2 THEN greatest(fence + stale, fence_before) ELSE fence_before END,
           fence = $1, stale = $2, fence_changes = fence_changes + 1
     WHERE (fence <> $1 OR stale <> $2 OR fence_before IS NOT NULL)
       AND set_config('synchronous_commit', 'on', true) = 'on'
    RETURNING fence_before, fence_changes";

/// Nothing counts any more that was read under the longer fence before. Nothing happens if it was changed again.
pub(super) const SHORTENED: &str = "UPDATE keyward.head SET fence_before = NULL WHERE fence_changes = $1";

/// Notes up to where changes are complete, if this is the database `$2` that has them: one that took its place says of its own
/// positions nothing yet.
pub(super) fn complete() -> String {
    format!(
        "UPDATE keyward.complete c SET seq = $1
           FROM keyward.head h, (SELECT set_config('synchronous_commit', 'off', true)) AS fleeting
          WHERE h.one = 1 AND c.seq < $1 AND $1 <= h.seq AND h.cluster || '/' || {PLACE} = $2"
    )
}

/// Has whoever listens look at the log.
pub(super) const NOTIFY: &str = "SELECT set_config('synchronous_commit', 'off', true), pg_notify('keyward', '')";
/// The answer to a replica that asked what is new after a position.
pub(super) fn renewal(rows: &[Row<'_>], after: u64, nonce: i64) -> Result<Renewal, Error> {
    let first = load::first(rows, 4, nonce)?;
    Ok(Renewal {
        tail: load::tail(rows, first, after)?,
        live: first.flag(8)?,
        fence: millis(first.int(6)?),
        stale: millis(first.int(10)?),
        instance: Instance(first.text(9)?.into()),
        time: Some(first.moment(7)?),
    })
}

/// Whom a change waits for.
pub(super) fn replicas(rows: &[Row<'_>], nonce: i64) -> Result<Replicas, Error> {
    let first = load::first(rows, 1, nonce)?;
    let some = rows.iter().filter(|row| !matches!(row.optional_text(5), Ok(None)));
    Ok(Replicas {
        head: first.position(0)?,
        fence: millis(first.int(3)?),
        instance: Instance(first.text(4)?.into()),
        replicas: some.map(replica).collect::<Result<_, _>>()?,
    })
}

fn replica(row: &Row<'_>) -> Result<Replica, Error> {
    Ok(Replica {
        id: ReplicaId::known(row.text(5)?),
        incarnation: Incarnation(row.int(6)?),
        state: if row.text(7)? == "live" { ReplicaState::Live } else { ReplicaState::Suspect },
        applied: row.optional_int(8)?.map(i64::cast_unsigned),
        node: row.text(9)?.to_owned(),
        version: row.text(10)?.to_owned(),
        joined: row.moment(11)?,
        heard: row.moment(12)?,
    })
}

/// What is remembered of a position.
pub(super) fn revision(rows: &[Row<'_>], position: u64, nonce: i64) -> Result<Option<Revision>, Error> {
    let first = load::first(rows, 1, nonce)?;
    let Some(at) = first.optional_moment(3)? else { return Ok(None) };
    let complete = first.position(5)? >= position;
    Ok(Some(Revision { at, narrowing: first.int(4)? != 0, complete }))
}

/// The words of the states.
pub(super) const fn word(state: ReplicaState) -> &'static str {
    match state {
        ReplicaState::Live => "live",
        ReplicaState::Suspect => "suspect",
        ReplicaState::Dead => "dead",
    }
}

fn millis(millis: i64) -> Duration {
    Duration::from_millis(millis.try_into().unwrap_or(0))
}
