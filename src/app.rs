//! Builds every part from its settings, runs both faces, and drains them in order.
//!
//! ```text
//!  control runtime: the keyring's upkeep, the command socket, signals
//!  a thread a worker: the gateway, with listeners and origin connections of its own
//!  one thread: the management face        one thread: the built-in origin, where a service wants it
//! ```
//!
//! `reload` has a running keyward take new settings over. On the way down the data plane ends first, then what it needs
//! (log, keyring, store), and the management face last, so that probes are answered to the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::opening::open_keyring;
pub use self::reload::Reload;
use self::reload::Tally;
use self::running::{Built, BuiltIn, Running, generation, manner, terms, watched};
use crate::clock::Clock;
use crate::config::Settings;
use crate::flaw::Flaw;
use crate::gateway::{self, Gateway, InFlight, Tunnels};
use crate::key::{Imprint, Kind};
use crate::keyring::Keyring;
use crate::keyring::command::{NewKey, Problem};
use crate::manage::health::Health;
use crate::manage::{self, Admin, Hand, LeakTally, socket};
use crate::measure::Span;
use crate::net::config::Timeouts;
use crate::net::drain::{Drain, Stage};
use crate::net::listen::{Bound, ListenError, Listeners, Protocol, Wanted};
use crate::net::newest::Newest;
use crate::net::worker::{Setup, WorkerFailed, Workers, count};
use crate::secret::Secret;
use crate::store::StoreError;
use crate::telemetry::access::{AccessLog, Sink};
use crate::telemetry::metrics::{Metrics, Names};

mod counter;
mod opening;
mod reload;
mod running;
mod watch;

/// A running keyward.
pub struct App {
    keyring: Arc<Keyring>,
    clients: Workers,
    admin: Workers,
    /// Ends the clients' workers.
    drain: Drain,
    running: Running,
    access: AccessLog,
    socket: Option<JoinHandle<()>>,
    /// Ends the socket's listener.
    socket_end: DropGuard,
    bound: Vec<Bound>,
    admin_bound: Bound,
}

/// Why keyward did not start, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Settings that were right when they were checked no longer are.
    #[error("{}", sentence(.0))]
    Settings(Vec<Flaw>),
    /// The store.
    #[error("the store cannot be opened")]
    Store(#[from] StoreError),
    /// An address.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A thread.
    #[error("a worker failed")]
    Worker(#[from] WorkerFailed),
    /// The first operator key.
    #[error("the first operator key cannot be made")]
    Operator(#[from] Problem),
    /// What the system did not give.
    #[error("{0}")]
    System(&'static str, #[source] std::io::Error),
}

fn sentence(flaws: &[Flaw]) -> String {
    flaws.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// The runtime that [`App::start`] and everything slow or rare runs on.
///
/// # Errors
/// The system gave no threads.
pub fn control_runtime() -> Result<Runtime, AppError> {
    let runtime = Builder::new_multi_thread().worker_threads(2).thread_name("keyward-control").enable_all().build();
    runtime.map_err(|error| AppError::System("the control runtime cannot start", error))
}

impl App {
    /// Starts everything; requests are answered when this returns. Call it on the [`control_runtime`].
    ///
    /// # Errors
    /// The first thing that could not be had. Nothing goes on running then.
    pub async fn start(settings: &Settings) -> Result<Self, AppError> {
        let clock = Clock::System;
        let workers = count(settings.server.workers);
        let Built { mut plan, tls, admin_tls } = Built::of(settings, &settings.admin).map_err(AppError::Settings)?;
        // Sockets before the store: an address in use is the commonest mistake, and leaves nothing behind.
        let stall = settings.server.timeouts.write_stall.0;
        let listeners = Listeners::bind(&wanted(settings), workers, stall)?;
        let bound = listeners.bound().to_vec();
        let protocol = if admin_tls.is_some() { Protocol::Tls } else { Protocol::Http1 };
        let (address, setting) = (settings.admin.listen, "admin.listen".into());
        let admin_wanted = Wanted { address, protocol, proxied: false, setting };
        let admin_listeners = Listeners::bind(&[admin_wanted], 1, stall)?;
        let admin_bound = admin_listeners.bound()[0];
        // When a key expires is for one clock to say, where several processes serve from one store.
        let keys_clock = if settings.store.is_postgres() { clock.clone().told() } else { clock.clone() };
        let keyring = open_keyring(settings, workers, &keys_clock).await?;
        keyring.set_fence(settings.store.fence(), settings.store.stale());
        keyring.name_routes(settings.named_routes());
        keyring.heed(watched(settings));
        let commands = settings.store.place().map(|place| socket::Listener::bind(&socket::path_beside(&place)));
        let commands = commands
            .transpose()
            .map_err(|error| AppError::System("the command socket beside the store cannot be made", error))?;

        let metrics = Metrics::new(Names { reasons: gateway::REASONS.to_vec() });
        tell(&metrics, &keyring);
        running::tell_of_certificates(&metrics, tls.clone(), admin_tls.clone());
        let in_flight = Arc::<InFlight>::default();
        let counted = Arc::clone(&in_flight);
        metrics.gauge("keyward_requests_in_flight", "Requests whose answers have not ended", move || {
            counted.count() as f64
        });
        let tunnels = Arc::<Tunnels>::default();
        tunnels.tell(&metrics);
        let access = AccessLog::start(Sink::Stdout, &metrics)
            .map_err(|error| AppError::System("the access log cannot start", error))?;
        // The numbers are about clients; the sockets of the other faces count in a book that nobody reads.
        let unread = Metrics::new(Names::default());
        let setup = |name, tls, metrics: &Arc<Metrics>| Setup {
            name,
            terms: Newest::new(terms(settings)),
            tls,
            metrics: Arc::clone(metrics),
            clock: clock.clone(),
            drain: Drain::new(),
        };
        let mut echo = BuiltIn::new(setup("keyward-echo", None, &unread));
        echo.renew(settings).await;
        echo.serve(&mut plan)?;
        let leaks = Arc::<LeakTally>::default();
        leaks.tell(&metrics);
        let hand = Hand::new(Arc::clone(&keyring), keys_clock, Handle::current(), leaks);
        let pace = hand.clone();
        let help = "Changes that holders asked for beyond their number in a minute";
        metrics.counter("keyward_self_service_limited", help, move || pace.limited());
        let newest = Newest::new(generation(settings, plan, &metrics, &hand));
        let parts = gateway::Parts {
            newest: newest.clone(),
            keyring: Arc::clone(&keyring),
            in_flight: Arc::clone(&in_flight),
            tunnels,
            clock: clock.clone(),
            metrics: Arc::clone(&metrics),
        };
        let serving = setup("keyward-worker", tls.clone(), &metrics);
        let clients = start_clients(&serving, listeners, parts, &access)?;
        let ended = CancellationToken::new();
        let socket =
            commands.map(|commands| Handle::current().spawn(carry_out(commands, Arc::clone(&keyring), ended.clone())));
        let admin_terms = Newest::new(manage::terms(&terms(settings)));
        let admin_setup = Setup { terms: admin_terms.clone(), ..setup("keyward-admin", admin_tls.clone(), &unread) };
        let admin_manner = Newest::new(manner(settings));
        let face = Admin::new(manage::Parts {
            health: Arc::new(health(&keyring, &serving.drain)),
            metrics: Arc::clone(&metrics),
            manner: admin_manner.clone(),
            hand: hand.clone(),
        });
        let admin = Workers::start(&admin_setup, admin_listeners, move |_| face.clone())?;
        let tally = Tally::new(clock.clone(), &metrics);
        let running = Running {
            settings: settings.clone(),
            newest,
            terms: serving.terms,
            admin_terms,
            admin_manner,
            tls,
            admin_tls,
            metrics,
            hand,
            tally,
            echo,
        };
        let (socket_end, drain) = (ended.drop_guard(), serving.drain);
        Ok(Self { keyring, clients, admin, drain, running, access, socket, socket_end, bound, admin_bound })
    }

    /// Where clients connect.
    #[must_use]
    pub fn bound(&self) -> &[Bound] {
        &self.bound
    }

    /// Where the management face is.
    #[must_use]
    pub fn admin(&self) -> Bound {
        self.admin_bound
    }

    /// What carries commands out.
    #[must_use]
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Makes the first operator key where the store has none. Its secret is for who started keyward, and shown once.
    ///
    /// # Errors
    /// The store.
    pub async fn first_operator(&self, settings: &Settings) -> Result<Option<Secret>, AppError> {
        // One that left a snapshot is not new.
        if self.keyring.awaits_store() || !self.keyring.is_new().await? {
            return Ok(None);
        }
        let entropy = |error: getrandom::Error| AppError::System("the system gives no random bytes", error.into());
        let (secret, imprint) = crate::key::token::mint(&settings.keys.prefix, getrandom::fill).map_err(entropy)?;
        let id = crate::key::token::random_id("key_", 16, getrandom::fill).map_err(entropy)?;
        Ok(self.keyring.make_first_operator(operator(&id, imprint)?).await?.then_some(secret))
    }

    /// Runs until `stop` says so or until a part fails, then ends everything in order. Meanwhile `reload` keeps the settings up
    /// to date, where they can be read again. A second `stop` ends at once what is still in flight.
    ///
    /// # Errors
    /// [`AppError::Worker`] where a part failed.
    pub async fn run_until(mut self, mut stop: mpsc::Receiver<()>, reload: Option<Reload>) -> Result<(), AppError> {
        let failed = tokio::select! {
            _ = stop.recv() => None,
            failed = self.clients.failed() => Some(failed),
            failed = self.admin.failed() => Some(failed),
            () = keep(reload, &mut self.running) => None,
        };
        let Running { settings, echo, .. } = self.running;
        let Timeouts { drain_min, drain_max, .. } = settings.server.timeouts;
        let (min, max) = if failed.is_some() { (Duration::ZERO, Duration::ZERO) } else { (drain_min.0, drain_max.0) };
        tracing::info!(accepting_for = %Span(min), finishing_for = %Span(max), "stopping");
        let drained = tokio::select! {
            drained = self.clients.drain(min, max) => drained,
            drained = hasten(stop, &self.drain) => drained,
        };
        self.access.finish();
        drop(self.socket_end);
        // Commands in hand finish by themselves, within seconds.
        if let Some(socket) = self.socket {
            let _ = socket.await;
        }
        self.keyring.shutdown().await;
        drop(self.keyring);
        echo.end().await;
        self.admin.drain(Duration::ZERO, ADMIN_FINISHES).await;
        tracing::info!(connections.cut = drained.cut, "stopped");
        failed.map_or(Ok(()), |failed| Err(failed.into()))
    }
}

/// Waits for a second word to stop, and has what is in flight end then. One that comes along with the first, because both a
/// terminal and a supervisor sent it, is none.
async fn hasten<T>(mut stop: mpsc::Receiver<()>, drain: &Drain) -> T {
    tokio::time::sleep(ALONG_WITH).await;
    while stop.try_recv().is_ok() {}
    if stop.recv().await.is_some() {
        tracing::warn!("asked to stop again: what is in flight ends now");
        drain.advance(Stage::Cut);
    }
    std::future::pending().await
}

const ALONG_WITH: Duration = Duration::from_secs(1);

async fn keep(reload: Option<Reload>, running: &mut Running) {
    match reload {
        Some(reload) => reload.keep(running).await,
        None => std::future::pending().await,
    }
}

/// How long probes and scrapes in flight may still take.
const ADMIN_FINISHES: Duration = Duration::from_secs(1);

fn wanted(settings: &Settings) -> Vec<Wanted> {
    let server = &settings.server;
    let lists = [
        ("listen", &server.listen, Protocol::Http1),
        ("http2_listen", &server.http2_listen, Protocol::Http2),
        ("tls_listen", &server.tls_listen, Protocol::Tls),
    ];
    let of = |(list, addresses, protocol): (&'static str, &Vec<SocketAddr>, Protocol)| {
        let named = move |(at, address)| {
            let (proxied, setting) = (server.proxy_protocol.contains(&address), format!("server.{list}.{at}"));
            Wanted { address, protocol, proxied, setting }
        };
        addresses.clone().into_iter().enumerate().map(named)
    };
    lists.into_iter().flat_map(of).collect()
}

fn start_clients(
    setup: &Setup,
    listeners: Listeners,
    parts: gateway::Parts,
    access: &AccessLog,
) -> Result<Workers, WorkerFailed> {
    let lines = access.handle();
    Workers::start(setup, listeners, move |_| {
        let mut seed = [0; 16];
        // Without randomness ids could repeat across restarts, which confuses nobody but a reader of old logs.
        let _ = getrandom::fill(&mut seed);
        let lines = lines.worker();
        lines.keep_flushing();
        Gateway::new(parts.clone(), lines, seed)
    })
}

/// Carries out what comes over the command socket, until `ended`.
async fn carry_out(commands: socket::Listener, keyring: Arc<Keyring>, ended: CancellationToken) {
    let operate = move |by, command, patience| {
        let keyring = Arc::clone(&keyring);
        async move { keyring.operate_within(&by, command, patience).await }
    };
    commands.serve(operate, async move { ended.cancelled().await }).await;
}

fn health(keyring: &Arc<Keyring>, drain: &Drain) -> Health {
    let (keyring, drain) = (Arc::clone(keyring), drain.clone());
    Health::default()
        .with("store", move || if keyring.ready() { Ok(()) } else { Err("it could not be read lately".into()) })
        .with("serving", move || match drain.stage() {
            Stage::Serving => Ok(()),
            _ => Err("keyward is stopping".into()),
        })
}

fn tell(metrics: &Metrics, keyring: &Arc<Keyring>) {
    let remembered = Arc::clone(keyring);
    metrics.counters(
        "keyward_key_cache_requests",
        "What the keyring remembered of a presented secret",
        "result",
        move || {
            let stats = remembered.stats();
            vec![("live", stats.hits), ("refused", stats.refused), ("unknown", stats.unknown), ("miss", stats.misses)]
        },
    );
    let changed = Arc::clone(keyring);
    metrics.counters(
        "keyward_store_changes",
        "Changes that the store was asked to commit, those of commands, of last uses and of upkeep",
        "result",
        move || {
            let stats = changed.stats();
            vec![("committed", stats.changes), ("failed", stats.change_failures)]
        },
    );
    let open = Arc::clone(keyring);
    let help = "Tunnels, and answers and uploads under way for 5 s, that end with their keys";
    metrics.gauge("keyward_open_watched", help, move || open.vigils() as f64);
    let readable = Arc::clone(keyring);
    metrics.gauge("keyward_store_readable", "1 where the store could be read lately, else 0", move || {
        f64::from(u8::from(readable.hears()))
    });
    let leased = Arc::clone(keyring);
    let help = "For how long yet what is remembered may be served without an answer of the store, in seconds";
    metrics.gauge("keyward_lease_seconds", help, move || {
        leased.stats().lease.map_or(f64::INFINITY, |left| left.as_secs_f64())
    });
    let waited = Arc::clone(keyring);
    let help = "Changes that were waited for until they were in force on every replica, by what made them so";
    metrics.counters("keyward_changes_in_force", help, "by", move || {
        let stats = waited.stats();
        vec![("acknowledgement", stats.acknowledged), ("time", stats.timed), ("lost", stats.lost)]
    });
    let counter = |name, help, read: fn(&crate::keyring::Stats) -> u64| {
        let keyring = Arc::clone(keyring);
        metrics.counter(name, help, move || read(&keyring.stats()));
    };
    counter("keyward_store_loads", "Look-ups of a key in the store", |stats| stats.loads);
    counter("keyward_store_load_failures", "Look-ups of a key in the store that failed", |stats| stats.failures);
    let help = "Requests let pass by what was remembered when it should not be believed any more (store.outage)";
    counter("keyward_stale", help, |stats| stats.stale);
    counter("keyward_key_uses_dropped", "Uses of a key not noted for want of room", |stats| stats.uses_dropped);
    counter("keyward_key_reuses", "Secrets presented that a rotation has retired", |stats| stats.reuses);
    let help = "Of these, those not noted in the audit log for want of room";
    counter("keyward_key_reuses_dropped", help, |stats| stats.reuses_dropped);
    let help = "Uses of a key whose caller was not noted for want of room";
    counter("keyward_callers_dropped", help, |stats| stats.callers_dropped);
    let help = "Would-be refusals for which the table of whom had no row left";
    counter("keyward_rehearsal_overflow", help, |stats| stats.rehearsal_overflow);
    let gauge = |name, help, read: fn(&crate::keyring::Stats) -> u64| {
        let keyring = Arc::clone(keyring);
        metrics.gauge(name, help, move || read(&keyring.stats()) as f64);
    };
    gauge("keyward_log_position", "The log of changes is applied up to here", |stats| stats.position);
    gauge("keyward_key_uses_waiting", "Keys whose last use is gathered and not written yet", |stats| {
        stats.uses_waiting
    });
    gauge("keyward_key_cache_live_entries", "Remembered living keys, about", |stats| stats.live_entries);
    gauge("keyward_key_cache_refused_entries", "Remembered keys that are refused, about", |stats| {
        stats.refused_entries
    });
    gauge("keyward_key_cache_unknown_entries", "Remembered unknown secrets, about", |stats| stats.unknown_entries);
    gauge("keyward_snapshot_keys", "Keys in the snapshot by which this replica could start, about", |stats| {
        stats.snapshot_keys
    });
    gauge("keyward_known_secrets", "Secrets known to be in the store, of keys alive or not", |stats| stats.known);
    gauge(
        "keyward_known_secrets_whole",
        "1 while these are all, and any other is refused without a look-up",
        |stats| u64::from(stats.known_whole),
    );
}

fn operator(id: &str, imprint: Imprint) -> Result<NewKey, Problem> {
    let id = id.parse().map_err(|bad: crate::key::BadId| Problem::Invalid(bad.to_string()))?;
    Ok(NewKey { name: "first operator".into(), ..NewKey::bare(id, imprint, Kind::Operator) })
}
