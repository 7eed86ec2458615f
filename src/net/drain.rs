//! Ending in order: stop being ready, go on accepting until balancers have noticed, stop accepting, finish, cut.
//!
//! A socket that shares its port loses the connections waiting in its queue when it closes (nginx commit 337afd5f), hence
//! the time between no longer being ready and no longer accepting.

use std::sync::Arc;

use tokio::sync::watch;

/// How far the ending is; only ever goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Not ending.
    Serving,
    /// No longer ready, but accepting.
    Leaving,
    /// Not accepting; what is in flight may finish.
    Closing,
    /// What is still in flight is ended.
    Cut,
}

/// The signal that all workers of one face follow; clones share it.
#[derive(Clone, Debug)]
pub struct Drain {
    stage: Arc<watch::Sender<Stage>>,
}

impl Drain {
    /// A signal that says to serve.
    #[must_use]
    pub fn new() -> Self {
        Self { stage: Arc::new(watch::Sender::new(Stage::Serving)) }
    }

    /// How far the ending is.
    #[must_use]
    pub fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// Whether the ending has begun, which readiness must tell.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.stage() != Stage::Serving
    }

    /// Goes on to `stage`; never back.
    pub fn advance(&self, stage: Stage) {
        self.stage.send_if_modified(|now| {
            let later = stage > *now;
            *now = stage.max(*now);
            later
        });
    }

    /// Waits until the ending is as far as `stage`.
    pub async fn reached(&self, stage: Stage) {
        // Fails only without a sender, and `self` is one.
        let _ = self.stage.subscribe().wait_for(|now| *now >= stage).await;
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_never_goes_back() {
        let drain = Drain::new();
        assert!(!drain.is_leaving());
        drain.advance(Stage::Closing);
        drain.clone().advance(Stage::Leaving);
        assert_eq!(drain.stage(), Stage::Closing);
        assert!(drain.is_leaving());
    }
}
