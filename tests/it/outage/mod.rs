//! The database goes away: what each `store.outage` means for requests, for revocations, and for who starts meanwhile. What
//! docs/replicas.md says of it in a table is measured here, with real processes.

mod faces;
mod policies;
mod revocations;
mod scene;
mod snapshots;
