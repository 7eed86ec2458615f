//! Events for people: tracing to standard error, as text or as a JSON line each.
//!
//! Only keyward's own events follow `log.level`. What the libraries say is kept at warnings: hyper, h2 and rustls write
//! a line a frame at debug, header values included.

use std::fmt;
use std::io;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, Registry, reload};

use super::config::{Format, Level, LogConfig};

/// Starts writing events, for the whole process. Fails where that was done before.
pub fn start(config: &LogConfig) -> Result<Threshold, TryInitError> {
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let layer = match config.format {
        // Colour is for a terminal; a file or a collector gets plain text.
        Format::Text => layer.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).with_target(false).boxed(),
        Format::Json => layer.json().flatten_event(true).boxed(),
    };
    let (filter, handle) = reload::Layer::new(filter(config.level));
    tracing_subscriber::registry().with(layer.with_filter(filter)).try_init()?;
    Ok(Threshold { handle })
}

/// Which events are written, while they are.
#[derive(Clone)]
pub struct Threshold {
    handle: reload::Handle<Targets, Registry>,
}

impl Threshold {
    /// Writes events of this level and above from now on.
    pub fn set(&self, level: Level) {
        // Fails only where nobody writes events any more.
        let _ = self.handle.reload(filter(level));
    }
}

impl fmt::Debug for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threshold").finish_non_exhaustive()
    }
}

fn filter(level: Level) -> Targets {
    let ours = match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    };
    Targets::new().with_default(ours.min(LevelFilter::WARN)).with_target("keyward", ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_is_for_our_own_events_only() {
        let filter = filter(Level::Debug);
        assert!(filter.would_enable("keyward::gateway", &tracing::Level::DEBUG));
        assert!(!filter.would_enable("h2", &tracing::Level::INFO));
        assert!(filter.would_enable("rustls", &tracing::Level::WARN));
    }
}
