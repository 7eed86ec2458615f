//! Columns to types. A value that does not parse was edited by hand: it is an error, never a default.

use std::str::FromStr;

use ipnet::IpNet;
use rusqlite::types::{FromSqlError, ValueRef};
use tokio_postgres::types::FromSql;

use super::Error;
use crate::clock::Timestamp;
use crate::key::{Permission, Permissions};

/// A row, of which columns are read by their places, from 0 on.
pub(in crate::store) enum Row<'r> {
    /// Of a file.
    Sqlite(&'r rusqlite::Row<'r>),
    /// Of a server.
    Postgres(&'r tokio_postgres::Row),
}

impl<'r> Row<'r> {
    /// A number.
    pub(in crate::store) fn int(&self, at: usize) -> Result<i64, Error> {
        match self {
            Self::Sqlite(row) => Ok(row.get(at)?),
            Self::Postgres(row) => column(row, at),
        }
    }

    /// A number that may be null.
    pub(in crate::store) fn optional_int(&self, at: usize) -> Result<Option<i64>, Error> {
        match self {
            Self::Sqlite(row) => Ok(row.get(at)?),
            Self::Postgres(row) => column(row, at),
        }
    }

    /// What a condition comes to: SQLite has 0 and 1 for it.
    pub(in crate::store) fn flag(&self, at: usize) -> Result<bool, Error> {
        match self {
            Self::Sqlite(row) => Ok(row.get(at)?),
            Self::Postgres(row) => column::<bool>(row, at).or_else(|_| Ok(column::<i64>(row, at)? != 0)),
        }
    }

    /// A text.
    pub(in crate::store) fn text(&self, at: usize) -> Result<&'r str, Error> {
        match self {
            Self::Sqlite(row) => read(row, at, ValueRef::as_str),
            Self::Postgres(row) => column(row, at),
        }
    }

    /// A text that may be null.
    pub(in crate::store) fn optional_text(&self, at: usize) -> Result<Option<&'r str>, Error> {
        match self {
            Self::Sqlite(row) => read(row, at, ValueRef::as_str_or_null),
            Self::Postgres(row) => column(row, at),
        }
    }

    /// Bytes.
    pub(in crate::store) fn bytes(&self, at: usize) -> Result<&'r [u8], Error> {
        match self {
            Self::Sqlite(row) => read(row, at, ValueRef::as_blob),
            Self::Postgres(row) => column(row, at),
        }
    }

    /// So many bytes.
    pub(in crate::store) fn array<const N: usize>(&self, at: usize) -> Result<[u8; N], Error> {
        self.bytes(at)?.try_into().map_err(|bad: std::array::TryFromSliceError| Error::value(at, &bad))
    }

    /// A text that stands for something else.
    pub(in crate::store) fn parsed<T>(&self, at: usize) -> Result<T, Error>
    where
        T: FromStr<Err: std::error::Error>,
    {
        parse(self.text(at)?, at)
    }

    /// The same, where it may be null.
    pub(in crate::store) fn optional<T>(&self, at: usize) -> Result<Option<T>, Error>
    where
        T: FromStr<Err: std::error::Error>,
    {
        self.optional_text(at)?.map(|text| parse(text, at)).transpose()
    }

    /// Comma-separated permissions.
    pub(in crate::store) fn permissions(&self, at: usize) -> Result<Permissions, Error> {
        let all: Vec<Permission> = self.list(at)?;
        Ok(all.into())
    }

    /// Comma-separated networks.
    pub(in crate::store) fn networks(&self, at: usize) -> Result<Vec<IpNet>, Error> {
        self.list(at)
    }

    /// A moment.
    pub(in crate::store) fn moment(&self, at: usize) -> Result<Timestamp, Error> {
        self.int(at).map(Timestamp::from_millis)
    }

    /// A moment that may be null.
    pub(in crate::store) fn optional_moment(&self, at: usize) -> Result<Option<Timestamp>, Error> {
        Ok(self.optional_int(at)?.map(Timestamp::from_millis))
    }

    /// A position of the log.
    pub(in crate::store) fn position(&self, at: usize) -> Result<u64, Error> {
        self.int(at).map(i64::cast_unsigned)
    }

    /// A JSON object.
    pub(in crate::store) fn json(&self, at: usize) -> Result<serde_json::Map<String, serde_json::Value>, Error> {
        serde_json::from_str(self.text(at)?).map_err(|bad| Error::value(at, &bad))
    }

    fn list<T>(&self, at: usize) -> Result<Vec<T>, Error>
    where
        T: FromStr<Err: std::error::Error>,
    {
        self.text(at)?.split(',').filter(|member| !member.is_empty()).map(|member| parse(member, at)).collect()
    }
}

fn read<'r, T>(
    row: &'r rusqlite::Row<'r>,
    at: usize,
    read: impl FnOnce(&ValueRef<'r>) -> Result<T, FromSqlError>,
) -> Result<T, Error> {
    read(&row.get_ref(at)?).map_err(|bad| Error::value(at, &bad))
}

/// The driver names what it expected and what is there, not the value.
fn column<'r, T: FromSql<'r>>(row: &'r tokio_postgres::Row, at: usize) -> Result<T, Error> {
    row.try_get(at).map_err(|bad| match std::error::Error::source(&bad) {
        Some(why) => Error::value(at, why),
        None => Error::value(at, &bad),
    })
}

fn parse<T>(text: &str, at: usize) -> Result<T, Error>
where
    T: FromStr<Err: std::error::Error>,
{
    text.parse().map_err(|bad: T::Err| Error::value(at, &bad))
}
