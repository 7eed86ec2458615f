//! Sockets, TLS, serving; knows no keys.

pub mod config;
