//! What keyward tells about itself: logs for people ([`logs`]), one line a request for machines ([`access`]), numbers for
//! a scraper ([`metrics`]).
//!
//! Lowest floor: it knows no key, no request and no socket. Nothing here may hold a worker up: a full log queue drops and
//! counts, and a counter is a plain add in memory that only one thread writes.

pub mod access;
pub mod config;
pub mod exposition;
pub mod label;
pub mod logs;
pub mod metrics;

mod scrape;
