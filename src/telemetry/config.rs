//! The settings of logs.

use serde::{Deserialize, Serialize};

/// `[access_log]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AccessLogConfig {
    /// One JSON line a request on stdout.
    pub enabled: bool,
    /// Whether the query string is in it.
    pub query: bool,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// The least severe event that is written.
    pub level: Level,
    /// How it is written.
    pub format: Format,
}

/// Severity of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Something failed that somebody must mend.
    Error,
    /// Something looks wrong but keyward goes on.
    Warn,
    /// What an operator wants to know.
    Info,
    /// What a developer wants to know.
    Debug,
}

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// For people.
    Text,
    /// For machines, a line each.
    Json,
}
