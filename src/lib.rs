//! keyward: a reverse-proxy authentication gateway.

pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod flaw;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod gateway;
pub mod key;
pub mod keyring;
pub mod manage;
pub mod measure;
pub mod net;
pub mod secret;
pub mod store;
pub mod telemetry;
