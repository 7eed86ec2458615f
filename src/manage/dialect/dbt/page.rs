//! Which part of a list is asked for. What else stands in a query orders and filters in ways that are the origin's; it changes
//! nothing here.

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

use super::envelope::{Filters, List};
use super::json;
use crate::manage::problem::{Fault, Part, Problem};

/// `limit` and `offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    limit: usize,
    offset: usize,
}

impl Page {
    /// Reads a query. More than a page may have is that much, and the answer tells it.
    pub(super) fn of(query: Option<&str>) -> Result<Self, Problem> {
        let mut page = Self { limit: MOST, offset: 0 };
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let number = || value.parse::<usize>().map_err(|_| fault(&name, "give a number"));
            match name.as_ref() {
                "limit" => page.limit = number()?.min(MOST),
                "offset" => page.offset = number()?,
                _ => {}
            }
        }
        if page.limit == 0 { Err(fault("limit", "give a number from 1 to 100")) } else { Ok(page) }
    }

    /// This part of them all.
    pub(super) fn shown<T: Serialize>(self, all: Vec<T>) -> Response<Full<Bytes>> {
        let total = all.len();
        let data = all.into_iter().skip(self.offset).take(self.limit).collect();
        let filters = Filters { limit: self.limit, offset: self.offset, ids: None };
        json(StatusCode::OK, &List::of(data, filters, Some("id"), total))
    }
}

/// The most that a page has, and what it has where nothing is said.
pub(super) const MOST: usize = 100;

fn fault(name: &str, detail: &str) -> Problem {
    Problem::faults(vec![Fault { part: Part::Parameter(name.to_owned()), detail: detail.to_owned() }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_at_most_a_hundred() {
        let read = |query| Page::of(Some(query)).ok().map(|page| (page.limit, page.offset));
        assert_eq!(read(""), Some((100, 0)));
        assert_eq!(read("limit=2&offset=10&order_by=-id"), Some((2, 10)));
        assert_eq!(read("limit=1000"), Some((100, 0)));
        for bad in ["limit=0", "limit=-1", "limit=", "offset=x", "limit=1&limit=x"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
