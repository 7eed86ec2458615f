//! The settings of the keyring, and of the keys it makes.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::key::Line;
use crate::key::token::Prefix;
use crate::measure::Span;
use crate::store::Policy;

/// `[keyring]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Most entries for keys that were alive when last read.
    pub live: u64,
    /// Most entries for keys that were not.
    pub refused: u64,
    /// Most entries for secrets that no key has.
    pub unknown: u64,
    /// How long an unknown secret is remembered as such.
    pub unknown_for: Span,
    /// Whether living keys are read into memory at start, those first that were used last.
    pub warm: bool,
    /// Most secrets of which all are known, so that any other is refused without a look-up; none where zero.
    pub known: u64,
    /// Look-ups in the store at one time.
    pub loads: usize,
    /// Requests that wait for a look-up.
    pub waiting: usize,
    /// How often last uses are written.
    pub usage_flush: Span,
    /// Most callers of a secret that are told apart; none where zero, and what was kept is forgotten.
    pub callers: usize,
    /// Most rows of whom rules in report mode would have refused.
    pub rehearsal: usize,
}

/// `[keys]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KeysConfig {
    /// Of secrets minted without another.
    pub prefix: Prefix,
    /// A file with the pepper that digests are made under.
    pub pepper_file: Option<PathBuf>,
    /// Licences of which a member has one who may hold keys; where there are none, no licence is asked for.
    pub developer_licences: Vec<Line>,
    /// Most living keys of a holder; any number where zero.
    pub per_holder: u32,
    /// How far ahead a personal or user key may expire; any time, or never, where zero.
    pub expiry_max: Span,
    /// What becomes of it that a dead secret is presented.
    pub on_reuse: OnReuse,
}

impl KeysConfig {
    /// What holders of keys are held to.
    #[must_use]
    pub fn policy(&self) -> Policy {
        let Self { developer_licences, per_holder, expiry_max, .. } = self;
        Policy { licences: developer_licences.clone(), per_holder: *per_holder, expiry_max: expiry_max.0 }
    }
}

/// What becomes of it that a secret is presented that was rotated away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnReuse {
    /// It is counted.
    Ignore,
    /// It is warned of, and noted in the audit log.
    #[default]
    Alert,
    /// That too; and where it was presented to rotate or manage keys, its key is revoked.
    RevokeFamily,
}

/// `[audit]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AuditConfig {
    /// How long entries are kept.
    pub keep: Span,
}

/// What a reload may change of how the keyring watches over keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// What becomes of it that a dead secret is presented.
    pub on_reuse: OnReuse,
    /// How long entries of the audit log are kept.
    pub audit_keep: Span,
}

impl Default for Watch {
    fn default() -> Self {
        Self { on_reuse: OnReuse::Alert, audit_keep: Span(Duration::from_secs(400 * 24 * 60 * 60)) }
    }
}
