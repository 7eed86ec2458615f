//! One transaction of one backend, in which statements are run.

use std::ops::ControlFlow;

use rusqlite::params_from_iter;

use super::{Error, Row, Value};
use crate::store::postgres::link::Link;

/// Where statements run. Whoever has one is inside a transaction that the backend began, and that it ends.
#[derive(Clone, Copy)]
pub(in crate::store) enum Db<'a> {
    /// A connection to a file.
    Sqlite(&'a rusqlite::Connection),
    /// A connection to a server.
    Postgres(&'a Link),
}

impl Db<'_> {
    /// Runs a statement; how many rows it wrote.
    pub(in crate::store) fn execute(&self, sql: &str, values: &[Value<'_>]) -> Result<usize, Error> {
        match self {
            Self::Sqlite(db) => Ok(db.prepare_cached(sql)?.execute(params_from_iter(values))?),
            Self::Postgres(link) => Ok(usize::try_from(link.execute(&numbered(sql), values)?).unwrap_or(usize::MAX)),
        }
    }

    /// Reads row after row, as long as it goes on.
    pub(in crate::store) fn while_each(
        &self,
        sql: &str,
        values: &[Value<'_>],
        mut read: impl FnMut(&Row<'_>) -> Result<ControlFlow<()>, Error>,
    ) -> Result<(), Error> {
        match self {
            Self::Sqlite(db) => {
                let mut find = db.prepare_cached(sql)?;
                let mut rows = find.query(params_from_iter(values))?;
                while let Some(row) = rows.next()?
                    && read(&Row::Sqlite(row))?.is_continue()
                {}
            }
            Self::Postgres(link) => {
                for row in &link.query(&numbered(sql), values)? {
                    if read(&Row::Postgres(row))?.is_break() {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads row after row.
    pub(in crate::store) fn each(
        &self,
        sql: &str,
        values: &[Value<'_>],
        mut read: impl FnMut(&Row<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.while_each(sql, values, |row| read(row).map(ControlFlow::Continue))
    }

    /// Every row.
    pub(in crate::store) fn rows<T>(
        &self,
        sql: &str,
        values: &[Value<'_>],
        mut read: impl FnMut(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let mut all = Vec::new();
        self.each(sql, values, |row| {
            all.push(read(row)?);
            Ok(())
        })?;
        Ok(all)
    }

    /// The first row, where there is one.
    pub(in crate::store) fn first<T>(
        &self,
        sql: &str,
        values: &[Value<'_>],
        read: impl FnOnce(&Row<'_>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        match self {
            Self::Sqlite(db) => {
                let mut find = db.prepare_cached(sql)?;
                let mut rows = find.query(params_from_iter(values))?;
                rows.next()?.map(|row| read(&Row::Sqlite(row))).transpose()
            }
            Self::Postgres(link) => {
                link.query(&numbered(sql), values)?.first().map(|row| read(&Row::Postgres(row))).transpose()
            }
        }
    }

    /// The row that is always there.
    pub(in crate::store) fn one<T>(
        &self,
        sql: &str,
        values: &[Value<'_>],
        read: impl FnOnce(&Row<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.first(sql, values, read)?.ok_or(Error::NoRow)
    }

    /// Whether there is a row.
    pub(in crate::store) fn exists(&self, sql: &str, values: &[Value<'_>]) -> Result<bool, Error> {
        Ok(self.first(sql, values, |_| Ok(()))?.is_some())
    }

    /// Rows that one statement writes best. What it costs on the way to a server many rows share; in a file it costs nothing.
    pub(in crate::store) const fn at_once(&self) -> usize {
        match self {
            Self::Sqlite(_) => 1,
            Self::Postgres(_) => 1000,
        }
    }
}

/// The statement with its values as PostgreSQL numbers them: `$1` for `?1`. What stands in quotes stays as it is.
fn numbered(sql: &str) -> String {
    let mut quote = None;
    let mut rest = sql.chars().peekable();
    let mut numbered = String::with_capacity(sql.len());
    while let Some(at) = rest.next() {
        match (quote, at) {
            (None, '\'' | '"') => quote = Some(at),
            // A quote that is doubled ends one text and begins the next, which comes to the same.
            (Some(open), _) if open == at => quote = None,
            _ => {}
        }
        let is_value = quote.is_none() && at == '?' && rest.peek().is_some_and(char::is_ascii_digit);
        numbered.push(if is_value { '$' } else { at });
    }
    numbered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_numbered_as_postgresql_has_it_and_texts_are_left_alone() {
        for (sql, expected) in [
            ("SELECT 1", "SELECT 1"),
            ("SELECT ?1, ?12 WHERE x=?1", "SELECT $1, $12 WHERE x=$1"),
            ("VALUES ('?1', ?1)", "VALUES ('?1', $1)"),
            ("VALUES ('it''s ?1', ?2, '')", "VALUES ('it''s ?1', $2, '')"),
            ("SELECT \"a?1\" FROM \"user\" WHERE id = ?1", "SELECT \"a?1\" FROM \"user\" WHERE id = $1"),
            ("SELECT '\"?1', ?1", "SELECT '\"?1', $1"),
            ("SELECT ? AND ?x, 'é', ?3", "SELECT ? AND ?x, 'é', $3"),
        ] {
            assert_eq!(numbered(sql), expected);
        }
    }
}
