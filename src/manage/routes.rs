//! What the management face answers, as data: read by the router, by the 405 answer and by the tests.

use http::Method;

use super::problem::Problem;

/// What a row tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Row {
    /// That the process answers.
    Live,
    /// Whether it should be sent requests.
    Ready,
    /// Its numbers.
    Metrics,
}

/// Path, methods, and what is told.
pub(super) const ROUTES: [(&str, &[Method], Row); 3] = [
    ("/livez", &[Method::GET, Method::HEAD], Row::Live),
    ("/readyz", &[Method::GET, Method::HEAD], Row::Ready),
    ("/metrics", &[Method::GET, Method::HEAD], Row::Metrics),
];

/// The row for a request.
pub(super) fn find(path: &str, method: &Method) -> Result<Row, Problem> {
    let row = ROUTES.iter().find(|(known, ..)| *known == path);
    let (_, methods, row) = row.ok_or_else(Problem::not_found)?;
    if methods.contains(method) { Ok(*row) } else { Err(Problem::method_not_allowed(methods)) }
}
