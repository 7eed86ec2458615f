//! Reads the settings anew while keyward runs, and has them taken over where nothing is wrong with them.
//!
//! ```text
//!  SIGHUP, a changed file -> Source::take_again -> Settings -> Running::renew -> "settings were reloaded"
//!                                   '--------- any flaw ---------'-> every reason is told, and nothing changes
//! ```

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::mpsc;

use super::running::Running;
use super::watch::Watch;
use crate::clock::Clock;
use crate::config::{Changes, Place, Prints, Problem, Settings, Source};
use crate::flaw::Flaw;
use crate::telemetry::logs::Threshold;
use crate::telemetry::metrics::Metrics;

/// What a running keyward's settings can be read from again, and who asks for it.
pub struct Reload {
    source: Arc<Source>,
    /// Of the files behind the settings in use, and of those behind former ones.
    prints: Prints,
    asked: mpsc::Receiver<()>,
    threshold: Threshold,
}

/// How a reload went.
enum Outcome {
    Applied { changed: Vec<String>, at_restart: Vec<String> },
    Unchanged { at_restart: Vec<String> },
    Refused(Vec<Problem>),
}

impl Reload {
    /// From `source`, which held `prints` when the settings in use were read, whenever `asked` says so or a file changes.
    /// `threshold` is the log's.
    #[must_use]
    pub fn new(source: Source, prints: Prints, asked: mpsc::Receiver<()>, threshold: Threshold) -> Self {
        Self { source: Arc::new(source), prints, asked, threshold }
    }

    /// Reloads `running` for as long as it runs.
    pub(super) async fn keep(mut self, running: &mut Running) {
        let mut watch = Watch::new(running.settings.reload.clone(), self.prints.clone());
        loop {
            tokio::select! {
                Some(()) = self.asked.recv() => tracing::info!("SIGHUP: reading the settings again"),
                () = watch.changed() => tracing::info!("a file has changed: reading the settings again"),
            }
            let source = Arc::clone(&self.source);
            let Ok(taken) = tokio::task::spawn_blocking(move || source.take_again()).await else { continue };
            let (outcome, prints) = match taken.settings {
                Err(problems) => (Outcome::Refused(problems.0), taken.prints.and(&self.prints)),
                Ok(settings) => {
                    let changed = taken.prints.changed(&self.prints);
                    let outcome = self.take_over(running, settings, &changed).await;
                    if !matches!(outcome, Outcome::Refused(_)) {
                        // What nothing names now may be named again, as what is waiting for a restart is.
                        self.prints = taken.prints.clone().and(&self.prints);
                    }
                    (outcome, taken.prints)
                }
            };
            running.tally.count(&outcome);
            tell(outcome);
            // What was refused is tried again once it has changed again.
            watch.follow(&running.settings.reload, prints);
        }
    }

    /// Has `settings` taken over, of which the contents of `files` have changed.
    async fn take_over(&self, running: &mut Running, settings: Settings, files: &[&Path]) -> Outcome {
        let admin = settings.admin.clone();
        let (used, Changes { mut at_once, mut at_restart }) = running.settings.renewed(settings);
        for file in files {
            // The settings file is no news by itself; a pepper cannot change under the digests that were made with it.
            if used.keys.pepper_file.as_deref() == Some(file) {
                at_restart.push("keys.pepper_file".to_owned());
            } else if !self.source.is_file(file) {
                at_once.push(file.display().to_string());
            }
        }
        if at_once.is_empty() {
            return Outcome::Unchanged { at_restart };
        }
        let level = used.log.level;
        match running.renew(used, admin).await {
            Ok(()) => {
                self.threshold.set(level);
                Outcome::Applied { changed: at_once, at_restart }
            }
            Err(flaws) => Outcome::Refused(flaws.into_iter().map(unplaced).collect()),
        }
    }
}

/// What was right a moment ago and no longer is.
fn unplaced(Flaw { key, message }: Flaw) -> Problem {
    Problem { place: Place::Default, key, message }
}

fn tell(outcome: Outcome) {
    let at_restart = match outcome {
        Outcome::Applied { changed, at_restart } => {
            tracing::info!(changed = changed.join(", "), "the settings were reloaded");
            at_restart
        }
        Outcome::Unchanged { at_restart } => {
            tracing::info!("nothing changed");
            at_restart
        }
        Outcome::Refused(problems) => {
            for problem in &problems {
                tracing::error!(
                    place = %problem.place, key = problem.key, reason = problem.message,
                    "the new settings are refused"
                );
            }
            tracing::warn!(reasons = problems.len(), "nothing was changed; the settings in use stay");
            return;
        }
    };
    for key in at_restart {
        tracing::warn!(key, "this setting waits for a restart");
    }
}

/// How the reloads have gone, for metrics.
#[derive(Debug)]
pub(super) struct Tally {
    clock: Clock,
    applied: AtomicU64,
    unchanged: AtomicU64,
    refused: AtomicU64,
    /// Whether the last one was none that was refused.
    good: AtomicBool,
    /// Seconds of the wall clock when settings were last read without a flaw.
    read_at: AtomicU64,
}

impl Tally {
    /// Begins with the settings of the start.
    pub(super) fn new(clock: Clock, metrics: &Metrics) -> Arc<Self> {
        let read_at = AtomicU64::new(seconds(&clock));
        let [applied, unchanged, refused] = [(); 3].map(|()| AtomicU64::new(0));
        let tally = Arc::new(Self { clock, applied, unchanged, refused, good: AtomicBool::new(true), read_at });
        let counted = Arc::clone(&tally);
        metrics.counters("keyward_config_reloads", "Times the settings were read again", "result", move || {
            let Self { applied, unchanged, refused, .. } = &*counted;
            let all = [("applied", applied), ("unchanged", unchanged), ("refused", refused)];
            all.into_iter().map(|(result, count)| (result, count.load(Ordering::Relaxed))).collect()
        });
        let last = Arc::clone(&tally);
        let help = "Whether the settings as they stand now were right when they were last read";
        metrics.gauge("keyward_config_last_reload_successful", help, move || {
            f64::from(u8::from(last.good.load(Ordering::Relaxed)))
        });
        let last = Arc::clone(&tally);
        let help = "When settings were last read without a flaw, in seconds since 1970";
        metrics.gauge("keyward_config_last_reload_success_timestamp_seconds", help, move || {
            last.read_at.load(Ordering::Relaxed) as f64
        });
        tally
    }

    fn count(&self, outcome: &Outcome) {
        let count = match outcome {
            Outcome::Applied { .. } => &self.applied,
            Outcome::Unchanged { .. } => &self.unchanged,
            Outcome::Refused(_) => &self.refused,
        };
        count.fetch_add(1, Ordering::Relaxed);
        let good = !matches!(outcome, Outcome::Refused(_));
        self.good.store(good, Ordering::Relaxed);
        if good {
            self.read_at.store(seconds(&self.clock), Ordering::Relaxed);
        }
    }
}

fn seconds(clock: &Clock) -> u64 {
    u64::try_from(clock.now().as_millis() / 1000).unwrap_or(0)
}
