//! Opening the keyring: over its store, or, while a shared one is away, by the snapshot in the replica's own folder.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::AppError;
use crate::clock::Clock;
use crate::config::Settings;
use crate::key::Digester;
use crate::keyring::Keyring;
use crate::keyring::snapshot::Folder;
use crate::measure::Span;
use crate::store::{Access, Seat, Store, StoreError};
use crate::telemetry::chain;

/// Opens the store and the keyring over it.
///
/// # Errors
/// The store, or the pepper's file.
pub(super) async fn open_keyring(settings: &Settings, workers: usize, clock: &Clock) -> Result<Arc<Keyring>, AppError> {
    let pepper = crate::config::pepper(&settings.keys).map_err(|flaw| AppError::Settings(vec![flaw]))?;
    let seat = unlocked(|| Seat::take(&settings.store)).await?;
    let name = crate::config::redact(&settings.store.url);
    let mut folder = seat.map(|seat| Folder::of(seat, &settings.store, &name, pepper.as_ref()));
    let digester = Digester::new(pepper);
    let store = match open_store(settings, digester.mark(), folder.as_ref()).await {
        Err(error) if error.is_outage() => {
            let recalled = folder.as_mut().and_then(|folder| folder.recall(clock.boot(), settings.store.stale()));
            let Some(span) = recalled else { return Err(error.into()) };
            tracing::warn!(
                error = chain(&error),
                serves_for = %Span(Duration::from_millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))),
                "the store is away: this replica starts by its snapshot, and joins the others when the store answers"
            );
            Store::unseen(&settings.store, digester.mark())?
        }
        opened => opened?,
    };
    let (store, control) = (store.under(settings.keys.policy()), Handle::current());
    let opened = Keyring::open_in(&settings.keyring, workers, store, digester, clock.clone(), control, folder);
    Ok(Arc::new(opened.await?))
}

/// Opens the store. Where there is something to start by without it, it has a few seconds.
async fn open_store(settings: &Settings, mark: [u8; 8], folder: Option<&Folder>) -> Result<Store, StoreError> {
    if !folder.is_some_and(Folder::has_snapshot) {
        return unlocked(|| Store::open(&settings.store, mark, Access::Create)).await;
    }
    let store = settings.store.clone();
    let opening = tokio::task::spawn_blocking(move || Store::open(&store, mark, Access::Create));
    match tokio::time::timeout(A_FEW_SECONDS, opening).await {
        Ok(opened) => opened.unwrap_or(Err(StoreError::Closed)),
        Err(_) => Err(StoreError::TimedOut),
    }
}

const A_FEW_SECONDS: Duration = Duration::from_secs(5);

/// A command holds the store's lock for a moment, another server for good.
async fn unlocked<T>(take: impl Fn() -> Result<T, StoreError>) -> Result<T, StoreError> {
    for _ in 0..20 {
        match take() {
            Err(StoreError::Locked { .. } | StoreError::Occupied { .. }) => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            taken => return taken,
        }
    }
    take()
}
