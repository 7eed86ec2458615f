//! The management face.

pub mod config;
pub mod socket;
