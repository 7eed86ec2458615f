//! Wire forms of the management face: serde types and pure conversions. What happens to a key happens in the keyring.

pub(super) mod dbt;
pub(super) mod native;
pub(super) mod userplane;
pub(super) mod vultr;
