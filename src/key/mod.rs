//! What a key is and what it may do: pure, no I/O, no async, no clock, no http.
//!
//! ```text
//!  Secret --token--> shape      does it look like ours, does its checksum hold
//!     '----digest--> Digest     what it is stored and found under
//!  Standing --judge--> Verified     the key behind the digest is alive at this moment
//!  Verified --scope--> Grant        and may ask what this request asks
//! ```
//!
//! A [`Refusal`] is the caller's matter. Trouble of our own never appears on this floor.

mod digest;
pub mod found;
mod id;
mod judge;
mod line;
#[cfg(any(test, fuzzing))]
pub mod properties;
mod record;
mod refusal;
pub mod rotation;
pub mod scheme;
mod scope;
pub mod token;

pub use digest::{Digest, Digester};
pub use id::{AccountId, BadId, KeyId, Permission, Permissions, UserId};
pub use judge::{Verified, is_alive, judge};
pub use line::{BadLine, Edit, Line};
pub(crate) use record::words;
pub use record::{
    Account, AccountState, Imprint, Key, KeyState, Kind, Membership, Presented, Rotating, SecretState, Seen, Standing,
    Status, UnknownWord, User,
};
pub use refusal::{Invalid, Refusal};
pub use scope::{Ask, Grant, bounded, grant};
