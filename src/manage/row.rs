//! From a request to the row of a dialect's table that it asks for, with its body where the row reads one.

use bytes::Bytes;
use http::{Response, request};
use http_body::Body;
use http_body_util::Full;

use super::body::Document;
use super::options;
use super::problem::{Code, Problem};
use super::routes::{Route, To, find_in};

/// What a request comes to.
pub(super) enum Asked<C> {
    /// What may be asked of its path.
    Options(Response<Full<Bytes>>),
    /// A row.
    Row {
        call: C,
        /// The path, as the table has it.
        path: &'static str,
        /// What stands in the path, decoded once.
        names: Vec<String>,
        body: Document,
    },
}

/// The row of `table` at `path`, which is the request's as the table would write it.
///
/// # Errors
/// There is none, the path takes other methods, or the body is no JSON that came whole.
pub(super) async fn asked<C, B>(
    table: &'static [Route<C>],
    path: &str,
    head: &request::Parts,
    body: &mut Option<B>,
    takes_body: impl FnOnce(C) -> bool,
) -> Result<Asked<C>, Problem>
where
    C: Copy,
    B: Body<Data = Bytes> + Unpin,
{
    let (_, to) = find_in(table, path, &head.method).ok_or_else(|| Problem::new(Code::RouteNotFound))?;
    let (path, call, names) = match to? {
        To::Options(methods) => return Ok(Asked::Options(options(&methods))),
        To::Row { path, row, names } => (path, row, names),
    };
    let takes_body = takes_body(call);
    let body = match body.take_if(|_| takes_body) {
        Some(body) => Document::read(&head.headers, body).await?,
        None => Document::default(),
    };
    Ok(Asked::Row { call, path, names, body })
}
