//! The data plane: from a request to a permit to the origin, or to a refusal.

pub mod config;
