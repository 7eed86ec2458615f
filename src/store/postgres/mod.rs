//! The store in a PostgreSQL database, for many processes.

pub(super) mod link;
