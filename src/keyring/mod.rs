//! The live view of keys that answers quickly. Knows no http.

pub mod command;
pub mod config;
