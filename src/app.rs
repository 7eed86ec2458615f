//! Builds every part from its settings, runs both faces, and drains them in order.
//!
//! ```text
//!  control runtime: the keyring's upkeep, the command socket, signals
//!  a thread a worker: the gateway, with listeners and origin connections of its own
//!  one thread: the management face        one thread: the built-in origin, where a service wants it
//! ```
//!
//! On the way down the data plane ends first, then what it needs (log, keyring, store), and the management face last, so
//! that probes are answered to the end.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::clock::Clock;
use crate::config::Settings;
use crate::flaw::Flaw;
use crate::gateway::echo::Echo;
use crate::gateway::plan::Plan;
use crate::gateway::{self, Gateway, Generation, InFlight};
use crate::key::{Digester, Imprint, Kind};
use crate::keyring::Keyring;
use crate::keyring::command::{Command, NewKey, Outcome, Problem};
use crate::manage::health::Health;
use crate::manage::{self, Admin, socket};
use crate::measure::Span;
use crate::net::config::{CertificateFiles, Timeouts};
use crate::net::drain::{Drain, Stage};
use crate::net::listen::{Bound, ListenError, Listeners, Protocol, Wanted};
use crate::net::newest::Newest;
use crate::net::tls::ServerTls;
use crate::net::worker::{Setup, WorkerFailed, Workers, count};
use crate::secret::Secret;
use crate::store::{Access, Store, StoreError};
use crate::telemetry::access::{AccessLog, Sink};
use crate::telemetry::metrics::{Metrics, Names};

/// A running keyward.
pub struct App {
    keyring: Arc<Keyring>,
    clients: Workers,
    admin: Workers,
    echo: Option<Workers>,
    access: AccessLog,
    socket: JoinHandle<()>,
    /// Ends the socket's listener.
    socket_end: DropGuard,
    bound: Vec<Bound>,
    admin_bound: Bound,
    timeouts: Timeouts,
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
        let mut plan = Plan::new(&settings.gateway, &settings.origin, &settings.services, &settings.routes)
            .map_err(AppError::Settings)?;
        let (tls, admin_tls) = (server_tls(settings)?, admin_tls(settings)?);
        // Sockets before the store: an address in use is the commonest mistake, and leaves nothing behind.
        let stall = settings.server.timeouts.write_stall.0;
        let listeners = Listeners::bind(&wanted(settings), workers, stall)?;
        let bound = listeners.bound().to_vec();
        let protocol = if admin_tls.is_some() { Protocol::Tls } else { Protocol::Http1 };
        let admin_wanted = Wanted { address: settings.admin.listen, protocol, setting: "admin.listen".into() };
        let admin_listeners = Listeners::bind(&[admin_wanted], 1, stall)?;
        let admin_bound = admin_listeners.bound()[0];
        let keyring = open_keyring(settings, workers, &clock).await?;
        let commands = socket::Listener::bind(&socket::path_beside(keyring.store().path()))
            .map_err(|error| AppError::System("the command socket beside the store cannot be made", error))?;

        let metrics = Metrics::new(Names { reasons: gateway::REASONS.to_vec() });
        tell(&metrics, &keyring);
        let in_flight = Arc::<InFlight>::default();
        let counted = Arc::clone(&in_flight);
        metrics.gauge("keyward_requests_in_flight", "Requests whose answers have not ended", move || {
            counted.count() as f64
        });
        let access = AccessLog::start(settings.access_log.enabled, Sink::Stdout, &metrics)
            .map_err(|error| AppError::System("the access log cannot start", error))?;
        // The numbers are about clients; the sockets of the other faces count in a book that nobody reads.
        let unread = Metrics::new(Names::default());
        let setup = |name, tls, metrics: &Arc<Metrics>| Setup {
            name,
            exempt: not_counted(&settings.server.trusted_proxies),
            limits: settings.server.limits.clone(),
            timeouts: settings.server.timeouts.clone(),
            tls,
            metrics: Arc::clone(metrics),
            clock: clock.clone(),
            drain: Drain::new(),
        };
        let echo = match plan.needs_echo() {
            false => None,
            true => Some(start_echo(setup("keyward-echo", None, &unread), &mut plan)?),
        };
        let parts = gateway::Parts {
            newest: Newest::new(generation(settings, plan, &metrics)),
            keyring: Arc::clone(&keyring),
            in_flight: Arc::clone(&in_flight),
            clock: clock.clone(),
            metrics: Arc::clone(&metrics),
        };
        let serving = setup("keyward-worker", tls, &metrics);
        let clients = start_clients(&serving, listeners, parts, &access)?;
        let ended = CancellationToken::new();
        let socket = Handle::current().spawn(carry_out(commands, Arc::clone(&keyring), ended.clone()));
        let (limits, timeouts) = manage::limits(&settings.server.limits, &settings.server.timeouts);
        let admin_setup = Setup { limits, timeouts, ..setup("keyward-admin", admin_tls, &unread) };
        let face = Admin::new(Arc::new(health(&keyring, &serving.drain)), metrics);
        let admin = Workers::start(&admin_setup, admin_listeners, move |_| face.clone())?;
        let (socket_end, timeouts) = (ended.drop_guard(), settings.server.timeouts.clone());
        Ok(Self { keyring, clients, admin, echo, access, socket, socket_end, bound, admin_bound, timeouts })
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
        if !self.keyring.is_new().await? {
            return Ok(None);
        }
        let entropy = |error: getrandom::Error| AppError::System("the system gives no random bytes", error.into());
        let (secret, imprint) = crate::key::token::mint(&settings.keys.prefix, getrandom::fill).map_err(entropy)?;
        let id = crate::key::token::random_id("key_", 16, getrandom::fill).map_err(entropy)?;
        let made = self.keyring.operate(Command::MintKey(Box::new(operator(&id, imprint)?))).await?;
        debug_assert!(matches!(made, Outcome::Key(_)), "a minted key is answered with itself");
        Ok(Some(secret))
    }

    /// Runs until `stop` or until a part fails, then ends everything in order. A second `stop` hastens nothing: what is in
    /// flight has `drain_max`.
    ///
    /// # Errors
    /// [`AppError::Worker`] where a part failed.
    pub async fn run_until(mut self, stop: impl Future<Output = ()>) -> Result<(), AppError> {
        let failed = tokio::select! {
            () = stop => None,
            failed = self.clients.failed() => Some(failed),
            failed = self.admin.failed() => Some(failed),
        };
        let Timeouts { drain_min, drain_max, .. } = self.timeouts;
        let (min, max) = if failed.is_some() { (Duration::ZERO, Duration::ZERO) } else { (drain_min.0, drain_max.0) };
        tracing::info!(accepting_for = %Span(min), finishing_for = %Span(max), "stopping");
        let drained = self.clients.drain(min, max).await;
        self.access.finish();
        drop(self.socket_end);
        // Commands in hand finish by themselves, within seconds.
        let _ = self.socket.await;
        self.keyring.shutdown().await;
        drop(self.keyring);
        if let Some(echo) = self.echo {
            echo.drain(Duration::ZERO, Duration::ZERO).await;
        }
        self.admin.drain(Duration::ZERO, ADMIN_FINISHES).await;
        tracing::info!(connections.cut = drained.cut, "stopped");
        failed.map_or(Ok(()), |failed| Err(failed.into()))
    }
}

/// How long probes and scrapes in flight may still take.
const ADMIN_FINISHES: Duration = Duration::from_secs(1);

async fn open_keyring(settings: &Settings, workers: usize, clock: &Clock) -> Result<Arc<Keyring>, AppError> {
    let pepper = crate::config::pepper(&settings.keys).map_err(|flaw| AppError::Settings(vec![flaw]))?;
    let digester = Digester::new(pepper);
    let store = open_store(settings, &digester).await?;
    let control = Handle::current();
    Ok(Arc::new(Keyring::open(&settings.keyring, workers, store, digester, clock.clone(), control).await?))
}

/// A command holds the store's lock for a moment, another server for good.
async fn open_store(settings: &Settings, digester: &Digester) -> Result<Store, StoreError> {
    for _ in 0..20 {
        match Store::open(&settings.store, digester.mark(), Access::Create) {
            Err(StoreError::Locked { .. }) => tokio::time::sleep(Duration::from_millis(100)).await,
            opened => return opened,
        }
    }
    Store::open(&settings.store, digester.mark(), Access::Create)
}

/// Networks where many clients share an address: the proxies that were named, and this machine itself.
fn not_counted(trusted: &[IpNet]) -> Arc<[IpNet]> {
    let own =
        [IpNet::new_assert(Ipv4Addr::new(127, 0, 0, 0).into(), 8), IpNet::new_assert(Ipv6Addr::LOCALHOST.into(), 128)];
    trusted.iter().copied().chain(own).collect()
}

fn wanted(settings: &Settings) -> Vec<Wanted> {
    let server = &settings.server;
    let lists = [
        ("listen", &server.listen, Protocol::Http1),
        ("http2_listen", &server.http2_listen, Protocol::Http2),
        ("tls_listen", &server.tls_listen, Protocol::Tls),
    ];
    let of = |(list, addresses, protocol): (&'static str, &Vec<SocketAddr>, Protocol)| {
        let named = move |(at, address)| Wanted { address, protocol, setting: format!("server.{list}.{at}") };
        addresses.clone().into_iter().enumerate().map(named)
    };
    lists.into_iter().flat_map(of).collect()
}

fn server_tls(settings: &Settings) -> Result<Option<ServerTls>, AppError> {
    if settings.server.certificates.is_empty() {
        return Ok(None);
    }
    ServerTls::load(&settings.server.certificates, "server.certificates").map(Some).map_err(AppError::Settings)
}

fn admin_tls(settings: &Settings) -> Result<Option<ServerTls>, AppError> {
    let admin = &settings.admin;
    if admin.chain_file.is_none() && admin.key_file.is_none() {
        return Ok(None);
    }
    let files = CertificateFiles { chain_file: admin.chain_file.clone(), key_file: admin.key_file.clone() };
    ServerTls::load_one(&files, "admin").map(Some).map_err(AppError::Settings)
}

fn generation(settings: &Settings, plan: Plan, metrics: &Metrics) -> Generation {
    Generation {
        routes: metrics.routes(&plan.route_names()),
        services: metrics.services(&plan.service_names()),
        plan,
        trusted: settings.server.trusted_proxies.clone(),
        client_header: settings.server.client_header,
        header_bytes: settings.server.limits.header_bytes.as_usize(),
        body_idle: settings.server.timeouts.body_idle.0,
        body_rate: settings.server.limits.body_rate.0,
        requests: settings.server.limits.requests,
        log_query: settings.access_log.query,
    }
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
    let operate = move |command| {
        let keyring = Arc::clone(&keyring);
        async move { keyring.operate(command).await }
    };
    commands.serve(operate, async move { ended.cancelled().await }).await;
}

/// It is ours and meets nobody but us, so what ends clients' connections early is not for it.
fn start_echo(mut setup: Setup, plan: &mut Plan) -> Result<Workers, AppError> {
    (setup.limits.connection_requests, setup.timeouts.connection_age) = (0, Span(Duration::ZERO));
    let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    let wanted = Wanted { address, protocol: Protocol::Http1, setting: "services".into() };
    let listeners = Listeners::bind(&[wanted], 1, setup.timeouts.write_stall.0)?;
    plan.echo_at(listeners.bound()[0].address);
    Ok(Workers::start(&setup, listeners, |_| Echo)?)
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
    let counter = |name, help, read: fn(&crate::keyring::Stats) -> u64| {
        let keyring = Arc::clone(keyring);
        metrics.counter(name, help, move || read(&keyring.stats()));
    };
    counter("keyward_store_loads", "Look-ups of a key in the store", |stats| stats.loads);
    counter("keyward_store_load_failures", "Look-ups of a key in the store that failed", |stats| stats.failures);
    counter("keyward_key_uses_dropped", "Uses of a key not noted for want of room", |stats| stats.uses_dropped);
    let gauge = |name, help, read: fn(&crate::keyring::Stats) -> u64| {
        let keyring = Arc::clone(keyring);
        metrics.gauge(name, help, move || read(&keyring.stats()) as f64);
    };
    gauge("keyward_key_cache_live_entries", "Remembered living keys, about", |stats| stats.live_entries);
    gauge("keyward_key_cache_refused_entries", "Remembered keys that are refused, about", |stats| {
        stats.refused_entries
    });
    gauge("keyward_key_cache_unknown_entries", "Remembered unknown secrets, about", |stats| stats.unknown_entries);
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
