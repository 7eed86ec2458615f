//! Why the answer is no. Always the caller's matter; trouble of our own is a failure and lives elsewhere.

use super::id::Permission;

/// Why a request is refused, in the order the checks are made (first failure wins).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Two credentials, or one that can be read in two ways.
    CredentialAmbiguous,
    /// No credential.
    KeyRequired,
    /// Unknown, malformed, revoked or rotated away: one public answer, whichever it is.
    KeyInvalid(Invalid),
    /// Its time has not come.
    KeyNotYetValid,
    /// Its time is over.
    KeyExpired,
    /// Switched off.
    KeyDisabled,
    /// Its account is blocked.
    AccountSuspended,
    /// The client's address is not among those the key may be used from.
    IpNotAllowed,
    /// The request names an account that is not the key's.
    AccountMismatch,
    /// The route needs a permission that the key does not have; an operator key has none for any route.
    ScopeInsufficient {
        /// The missing permission, where the route names one.
        needed: Option<Permission>,
    },
    /// No route, told only to a valid key.
    RouteNotFound,
}

/// Which of the ways to be invalid: for our log, never for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// Our shape with a wrong checksum, or too short or long to be a key.
    Malformed,
    /// No such key.
    Unknown,
    /// The secret was rotated away.
    Rotated,
    /// The key was revoked.
    Revoked,
    /// The user behind a personal key is no longer a member of its account.
    NotAMember,
    /// Legacy keys of users are no longer accepted.
    Sunset,
    /// They are refused for a while, so that their holders notice.
    Brownout,
}

impl Refusal {
    /// The word the log and the metrics use; a closed set, so it may be a label.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::CredentialAmbiguous => "credential_ambiguous",
            Self::KeyRequired => "key_required",
            Self::KeyInvalid(Invalid::Malformed) => "key_malformed",
            Self::KeyInvalid(Invalid::Unknown) => "key_unknown",
            Self::KeyInvalid(Invalid::Rotated) => "key_rotated",
            Self::KeyInvalid(Invalid::Revoked) => "key_revoked",
            Self::KeyInvalid(Invalid::NotAMember) => "not_a_member",
            Self::KeyInvalid(Invalid::Sunset) => "key_sunset",
            Self::KeyInvalid(Invalid::Brownout) => "key_brownout",
            Self::KeyNotYetValid => "key_not_yet_valid",
            Self::KeyExpired => "key_expired",
            Self::KeyDisabled => "key_disabled",
            Self::AccountSuspended => "account_suspended",
            Self::IpNotAllowed => "ip_not_allowed",
            Self::AccountMismatch => "account_mismatch",
            Self::ScopeInsufficient { .. } => "scope_insufficient",
            Self::RouteNotFound => "route_not_found",
        }
    }
}
