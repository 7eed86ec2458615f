//! What stands around every answer. The order of the members is that of the recorded ones.

use std::borrow::Cow;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::{Serialize, Serializer};

use super::json;
use super::number::Number;
use crate::clock::Timestamp;

#[derive(Debug, Serialize)]
pub(super) struct Status<'a> {
    code: u16,
    is_success: bool,
    user_message: Cow<'a, str>,
    developer_message: Option<&'a str>,
}

impl<'a> Status<'a> {
    const SUCCESS: Self =
        Self { code: 200, is_success: true, user_message: Cow::Borrowed("Success!"), developer_message: Some("") };

    pub(super) fn refused(
        code: StatusCode,
        user_message: impl Into<Cow<'a, str>>,
        developer_message: Option<&'a str>,
    ) -> Self {
        Self { code: code.as_u16(), is_success: false, user_message: user_message.into(), developer_message }
    }
}

/// One object, or none.
#[derive(Debug, Serialize)]
pub(super) struct One<'a, T> {
    pub(super) status: Status<'a>,
    pub(super) data: T,
}

/// Some of a list.
#[derive(Debug, Serialize)]
pub(super) struct List<'a, T> {
    status: Status<'a>,
    data: Vec<T>,
    extra: Extra<'a>,
}

#[derive(Debug, Serialize)]
struct Extra<'a> {
    filters: Filters,
    order_by: Option<&'a str>,
    pagination: Pagination,
}

/// What was asked for.
#[derive(Debug, Serialize)]
pub(super) struct Filters {
    pub(super) limit: usize,
    pub(super) offset: usize,
    #[serde(rename = "pk__in", skip_serializing_if = "Option::is_none")]
    pub(super) ids: Option<Vec<Number>>,
}

#[derive(Debug, Serialize)]
struct Pagination {
    count: usize,
    total_count: usize,
}

impl<'a, T> List<'a, T> {
    /// `data` of `total` in all.
    pub(super) fn of(data: Vec<T>, filters: Filters, order_by: Option<&'a str>, total: usize) -> Self {
        let pagination = Pagination { count: data.len(), total_count: total };
        Self { status: Status::SUCCESS, data, extra: Extra { filters, order_by, pagination } }
    }
}

/// An answer about one object.
pub(super) fn one(data: impl Serialize) -> Response<Full<Bytes>> {
    json(StatusCode::OK, &One { status: Status::SUCCESS, data })
}

/// A moment, in the form of the recorded ones: microseconds, and the offset in digits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment(pub(super) Timestamp);

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.0.to_string();
        match text.strip_suffix('Z') {
            Some(text) => serializer.collect_str(&format_args!("{text}000+00:00")),
            None => serializer.serialize_str(&text),
        }
    }
}
