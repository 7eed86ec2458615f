//! What keyward tells about itself: logs for people ([`logs`]), one line a request for machines ([`access`]), numbers for
//! a scraper ([`metrics`]).
//!
//! Lowest floor: it knows no key, no request and no socket. Nothing here may hold a worker up: a full log queue drops and
//! counts, and a counter is a plain add in memory that only one thread writes.

pub mod access;
pub mod config;
pub mod exposition;
pub mod label;
pub mod line;
pub mod logs;
pub mod metrics;
pub mod stamp;

mod row;
mod scrape;

/// An error and what is behind it, in one line for a log.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut behind = error.source();
    while let Some(source) = behind {
        line.push_str(": ");
        line.push_str(&source.to_string());
        behind = source.source();
    }
    line
}
