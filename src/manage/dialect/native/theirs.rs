//! What the native API answers the holders of keys, on the clients' listeners below a path of the settings.

use http::Method;

use super::Call;
use crate::manage::routes::{Route, holders};

/// The table. `self` stands for the key that asks.
pub(in crate::manage) const THEIRS: &[Route<Call>] = &[
    holders("/v1/openapi.json", &[(Method::GET, Call::Describe)]),
    holders("/v1/whoami", &[(Method::GET, Call::WhoAmI)]),
    holders("/v1/keys", &[(Method::GET, Call::ListKeys), (Method::POST, Call::MintKey)]),
    holders(
        "/v1/keys/{key}",
        &[(Method::GET, Call::ShowKey), (Method::PATCH, Call::ChangeKey), (Method::DELETE, Call::RevokeKey)],
    ),
    holders("/v1/keys/{key}/callers", &[(Method::GET, Call::ShowCallers)]),
    holders("/v1/keys/{key}/rotate", &[(Method::POST, Call::RotateKey)]),
    holders("/v1/keys/{key}/rotation/complete", &[(Method::POST, Call::CompleteRotation)]),
    holders("/v1/keys/{key}/rotation/cancel", &[(Method::POST, Call::CancelRotation)]),
];
