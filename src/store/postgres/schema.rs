//! Opening a database: whose schema it holds, and how it grows from version to version.
//!
//! keyward has a schema of its own, `keyward`, so that it shares a database with anybody. Several replicas may start at once, and
//! older ones run while a newer one starts: each step of the schema is made under a lock, and only adds.

use super::link::{Committed, Link, NotCommitted};
use super::trouble::Trouble;
use super::{MIGRATING, Manner};
use crate::store::replica::Instance;
use crate::store::{Access, StoreError};

/// One step of the schema. Written so that the previous keyward still runs on the result: it adds, with defaults; what is
/// to go is first left unused for one version.
struct Migration {
    sql: &'static str,
    /// The oldest schema whose keyward can run on this one.
    oldest: i64,
}

/// In order; the first leads from nothing to version 1.
const MIGRATIONS: &[Migration] = &[Migration { sql: include_str!("migrations/0001_keys.sql"), oldest: 1 }];

/// Brings the schema up to date and checks the pepper's mark; which database it is.
pub(super) fn prepare(link: &Link, manner: &Manner, mark: [u8; 8], access: Access) -> Result<Instance, StoreError> {
    let failed = |trouble: Trouble| trouble.of(&manner.path);
    let path = || manner.path.clone();
    let found = link.roll(&manner.reading, state).map_err(failed)?;
    let ours = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    match found {
        State::Others => return Err(StoreError::NotOurs { path: path() }),
        State::Nothing if access == Access::Existing => return Err(StoreError::Missing { path: path() }),
        State::Ours { version, oldest } if version > ours && oldest > ours => {
            return Err(StoreError::Newer { path: path() });
        }
        State::Ours { version, .. } if version >= ours => {}
        State::Nothing | State::Ours { .. } => {
            let begin = manner.begin(MIGRATING);
            let grown = link.commit(&begin, |link| grow(link, manner)).map_err(|why| failed(trouble(why)))?;
            if grown.warned {
                tracing::warn!(store = %manner.name, "the database warned while the schema was made");
            }
        }
    }
    let marked = link.commit(&manner.begin(MIGRATING), |link| keep_mark(link, mark));
    let Committed { made: ours, at: (_, instance), .. } = marked.map_err(|why| failed(trouble(why)))?;
    if ours { Ok(instance) } else { Err(StoreError::Pepper { path: path() }) }
}

enum State {
    Nothing,
    Others,
    Ours { version: i64, oldest: i64 },
}

fn state(link: &Link) -> Result<State, Trouble> {
    let sql = "SELECT CASE WHEN to_regclass('keyward.meta') IS NOT NULL AND to_regclass('keyward.head') IS NOT NULL THEN 'ours'
                           WHEN EXISTS (SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                                         WHERE n.nspname = 'keyward') THEN 'others' ELSE 'nothing' END";
    match link.script(sql)?.as_deref() {
        Some("ours") => {
            let said = |name| {
                let said = link.script(&format!("SELECT value FROM keyward.meta WHERE name = '{name}'"))?;
                Ok::<_, Trouble>(said.and_then(|said| said.parse().ok()))
            };
            let version = said("version")?.unwrap_or(0);
            Ok(State::Ours { version, oldest: said("oldest")?.unwrap_or(version) })
        }
        Some("others") => Ok(State::Others),
        _ => Ok(State::Nothing),
    }
}

/// Makes the steps that are missing. Another replica may have made them while this one waited for the lock.
fn grow(link: &Link, manner: &Manner) -> Result<(), Trouble> {
    let version = match state(link)? {
        State::Ours { version, .. } => version,
        State::Nothing | State::Others => {
            link.script("CREATE SCHEMA IF NOT EXISTS keyward")?;
            0
        }
    };
    for (step, migration) in (1_i64..).zip(MIGRATIONS).filter(|(step, _)| *step > version) {
        link.script(migration.sql)?;
        link.script(&format!(
            "INSERT INTO keyward.meta (name, value) VALUES ('version', '{step}'), ('oldest', '{}')
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            migration.oldest
        ))?;
    }
    if version == 0 {
        link.script(&format!("UPDATE keyward.head SET fence = {}", manner.fence.as_millis()))?;
    }
    Ok(())
}

/// The pepper's mark is kept with the first open. While no secret is stored it may still change.
fn keep_mark(link: &Link, mark: [u8; 8]) -> Result<bool, Trouble> {
    let mark = format!("{:016x}", u64::from_be_bytes(mark));
    let kept = link.script("SELECT value FROM keyward.meta WHERE name = 'pepper'")?;
    if kept.as_deref() == Some(&mark) {
        return Ok(true);
    }
    if link.script("SELECT 1 FROM keyward.secret LIMIT 1")?.is_some() {
        return Ok(false);
    }
    link.script(&format!(
        "INSERT INTO keyward.meta (name, value) VALUES ('pepper', '{mark}')
         ON CONFLICT (name) DO UPDATE SET value = excluded.value"
    ))?;
    Ok(true)
}

fn trouble<T>(why: NotCommitted<T, Trouble>) -> Trouble {
    match why {
        NotCommitted::Work(trouble) | NotCommitted::Nothing(trouble) | NotCommitted::Unsure { trouble, .. } => trouble,
    }
}
