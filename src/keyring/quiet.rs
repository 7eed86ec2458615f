//! Ends the grace of an old secret before its time, where that is asked for and nobody has used it for long enough.
//!
//! What counts is what is in the store: a use is judged once it is written, so nothing is judged while something could not be.
//! Of what was before this process began, or before a caller found no room, something may be missing; it counts as a use. So
//! after a restart the quiet time begins anew, and a secret whose callers nobody notes ends with its grace and not before.

use std::time::Duration;

use super::Shared;
use crate::telemetry::chain;

/// A request takes less from its verdict to its note.
const MARGIN: Duration = Duration::from_secs(1);

impl Shared {
    /// Writes who was met, and then retires what was quiet. Every replica writes whom it met once in `interval`.
    pub(super) async fn retire_quiet(&self, interval: Duration) {
        let through = self.clock.now().minus(MARGIN.saturating_add(self.unwritten(interval)));
        if !self.write_callers().await {
            return;
        }
        let Some(known) = self.callers.known_since() else { return };
        let retired = match self.store.retire_quiet(known, through).await {
            Ok(None) => return,
            Ok(Some(changed)) => self.settle(Ok(changed), &mut None).await,
            Err(rejected) => self.settle(Err(rejected), &mut None).await,
        };
        match retired {
            Ok(keys) => {
                for key in keys {
                    tracing::info!(key = %key, "nobody used the old secret for as long as was asked for: it is refused from now on");
                }
            }
            Err(problem) => {
                tracing::warn!(error = chain(&problem), "quiet secrets could not be looked for; they stay for now");
            }
        }
    }

    /// Of how long something that others met may not be written yet: one that failed to write tries again after an interval, and
    /// one that cannot reach the store at all stops serving.
    fn unwritten(&self, interval: Duration) -> Duration {
        if self.is_shared() {
            interval.saturating_mul(2).saturating_add(self.completion.bound())
        } else {
            Duration::ZERO
        }
    }
}
