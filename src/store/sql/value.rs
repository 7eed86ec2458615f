//! What goes into a statement. PostgreSQL is told the type of every value, also of none: `INT8`, `TEXT` or `BYTEA`.

use std::borrow::Cow;

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};

use crate::clock::Timestamp;
use crate::key::Digest;

/// A value, or none. What is yes or no is 1 or 0 on both.
pub(in crate::store) enum Value<'a> {
    /// `INT8`.
    Int(Option<i64>),
    /// `TEXT`.
    Text(Option<Cow<'a, str>>),
    /// `BYTEA`.
    Bytes(Option<Cow<'a, [u8]>>),
}

/// The values of a statement, from `?1` on.
macro_rules! values {
    ($($value:expr),* $(,)?) => { &[$($crate::store::sql::Value::from($value)),*] };
}
pub(in crate::store) use values;

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Int(Some(number)) => ValueRef::Integer(*number),
            Self::Text(Some(text)) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(Some(bytes)) => ValueRef::Blob(bytes),
            Self::Int(None) | Self::Text(None) | Self::Bytes(None) => ValueRef::Null,
        }))
    }
}

/// How a type becomes a value, and so also how an option of it does.
macro_rules! from {
    ($($variant:ident of $type:ty: |$it:ident| $value:expr;)+) => { $(
        impl<'a> From<$type> for Value<'a> {
            fn from($it: $type) -> Self {
                Self::$variant(Some($value))
            }
        }

        impl<'a> From<Option<$type>> for Value<'a> {
            fn from(it: Option<$type>) -> Self {
                Self::$variant(it.map(|$it: $type| $value))
            }
        }
    )+ };
}

from! {
    Int of i64: |number| number;
    Int of u32: |number| number.into();
    Int of bool: |flag| flag.into();
    Int of Timestamp: |moment| moment.as_millis();
    Text of &'a str: |text| Cow::Borrowed(text);
    Text of &'a String: |text| Cow::Borrowed(text.as_str());
    Text of String: |text| Cow::Owned(text);
    Bytes of &'a [u8]: |bytes| Cow::Borrowed(bytes);
    Bytes of &'a Vec<u8>: |bytes| Cow::Borrowed(bytes.as_slice());
    Bytes of Vec<u8>: |bytes| Cow::Owned(bytes);
    Bytes of &'a Digest: |digest| Cow::Borrowed(digest.as_bytes().as_slice());
}

impl<'a, const N: usize> From<&'a [u8; N]> for Value<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::Bytes(Some(Cow::Borrowed(bytes)))
    }
}
