//! The cases, by theme. The shapes are those of RFC 9112 and RFC 9113, of published advisories, and of what the HTTP Garden
//! and PortSwigger found.

mod chunks;
mod credentials;
mod framing;
mod hops;
mod hosts;
mod http2;
mod identity;
mod lies;
mod lines;
mod paths;
mod pipeline;
mod upgrades;

use super::case::Case;

/// Every theme and its cases.
pub(super) const THEMES: &[(&str, &[Case])] = &[
    ("framing", framing::CASES),
    ("chunks", chunks::CASES),
    ("lines", lines::CASES),
    ("hosts", hosts::CASES),
    ("hops", hops::CASES),
    ("pipeline", pipeline::CASES),
    ("paths", paths::CASES),
    ("credentials", credentials::CASES),
    ("identity", identity::CASES),
    ("lies", lies::CASES),
    ("upgrades", upgrades::CASES),
    ("fields", http2::fields::CASES),
    ("frames", http2::frames::CASES),
];
