//! Where keys, accounts and users are kept.

pub mod config;
