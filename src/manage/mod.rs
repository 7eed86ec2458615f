//! The management face.

pub mod config;
