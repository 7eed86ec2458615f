//! Logs and metrics.

pub mod config;
