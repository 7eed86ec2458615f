//! What of a running keyward a reload reaches, and the swap itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::AppError;
use super::counter::Counter;
use super::reload::Tally;
use crate::config::Settings;
use crate::flaw::Flaw;
use crate::gateway::Generation;
use crate::gateway::echo::Echo;
use crate::gateway::plan::Plan;
use crate::gateway::rehearsal;
use crate::keyring::Watch;
use crate::manage::{self, Hand, Manner};
use crate::measure::Span;
use crate::net::config::{CertificateFiles, Terms};
use crate::net::listen::{Listeners, Protocol, Wanted};
use crate::net::newest::Newest;
use crate::net::tls::ServerTls;
use crate::net::worker::{Setup, Workers};
use crate::telemetry::metrics::Metrics;

/// What settings are made into before anything uses it.
pub(super) struct Built {
    pub(super) plan: Plan,
    pub(super) tls: Option<ServerTls>,
    pub(super) admin_tls: Option<ServerTls>,
}

impl Built {
    /// Makes all of it, the management face's TLS of what `admin` says.
    ///
    /// # Errors
    /// Every flaw.
    pub(super) fn of(settings: &Settings, admin: &manage::config::Config) -> Result<Self, Vec<Flaw>> {
        let flaws = manage::self_service::check(&settings.self_service, &settings.dialects, &settings.leaks);
        if !flaws.is_empty() {
            return Err(flaws);
        }
        let plan = Plan::new(&settings.gateway, &settings.origin, &settings.services, &settings.routes);
        match (plan, server_tls(settings).transpose(), admin_tls(admin).transpose()) {
            (Ok(plan), Ok(tls), Ok(admin_tls)) => Ok(Self { plan, tls, admin_tls }),
            (plan, tls, admin_tls) => {
                Err([plan.err(), tls.err(), admin_tls.err()].into_iter().flatten().flatten().collect())
            }
        }
    }
}

fn server_tls(settings: &Settings) -> Option<Result<ServerTls, Vec<Flaw>>> {
    let certificates = &settings.server.certificates;
    (!certificates.is_empty()).then(|| ServerTls::load(certificates, "server.certificates"))
}

fn admin_tls(admin: &manage::config::Config) -> Option<Result<ServerTls, Vec<Flaw>>> {
    let files = CertificateFiles { chain_file: admin.chain_file.clone(), key_file: admin.key_file.clone() };
    admin.has_tls().then(|| ServerTls::load_one(&files, "admin"))
}

/// Has a scrape tell when the certificates expire that are shown then, each by its place in the settings.
pub(super) fn tell_of_certificates(metrics: &Metrics, tls: Option<ServerTls>, admin_tls: Option<ServerTls>) {
    let name = "keyward_certificate_expires_timestamp_seconds";
    let help = "When the certificate that is shown at this place of the settings expires, in seconds since 1970";
    let of = |tls: &Option<ServerTls>| tls.as_ref().map(ServerTls::expire_at).unwrap_or_default();
    metrics.gauges(name, help, "certificate", move || {
        let clients =
            of(&tls).into_iter().enumerate().map(|(at, expires)| (format!("server.certificates.{at}"), expires));
        let admin = of(&admin_tls).into_iter().map(|expires| ("admin".to_owned(), expires));
        clients.chain(admin).map(|(place, expires)| (place, expires as f64)).collect()
    });
}

/// The parts that are reached.
pub(super) struct Running {
    pub(super) settings: Settings,
    pub(super) newest: Newest<Generation>,
    pub(super) terms: Newest<Terms>,
    pub(super) admin_terms: Newest<Terms>,
    pub(super) admin_manner: Newest<Manner>,
    pub(super) tls: Option<ServerTls>,
    pub(super) admin_tls: Option<ServerTls>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) hand: Hand,
    pub(super) tally: Arc<Tally>,
    pub(super) echo: BuiltIn,
}

impl Running {
    /// Has `settings` taken over by all that may change while keyward runs; it does for whatever begins after this has
    /// returned. Where there is a flaw, nothing changes.
    ///
    /// `admin` is what is said of the management face now. It may say nothing of TLS that is spoken until the restart: the files
    /// that this came from may be gone then, and what is shown stays.
    ///
    /// # Errors
    /// Every flaw that was not there when they were checked.
    pub(super) async fn renew(&mut self, settings: Settings, admin: manage::config::Config) -> Result<(), Vec<Flaw>> {
        let broken = |error: String| vec![Flaw::new("", error)];
        let (settings, built) = tokio::task::spawn_blocking(move || {
            let built = Built::of(&settings, &admin);
            (settings, built)
        })
        .await
        .map_err(|error| broken(error.to_string()))?;
        let Built { mut plan, tls, admin_tls } = built?;
        self.echo.serve(&mut plan).map_err(|error| broken(error.to_string()))?;
        // From here on nothing can fail.
        for (shown, new) in [(&self.tls, &tls), (&self.admin_tls, &admin_tls)] {
            if let (Some(shown), Some(new)) = (shown, new) {
                shown.show(new);
            }
        }
        self.terms.offer(terms(&settings)).await;
        self.admin_terms.offer(manage::terms(&terms(&settings))).await;
        self.admin_manner.offer(manner(&settings)).await;
        self.hand.keyring.heed(watched(&settings));
        self.echo.renew(&settings).await;
        self.newest.offer(generation(&settings, plan, &self.metrics, &self.hand)).await;
        self.hand.keyring.name_routes(settings.named_routes());
        self.settings = settings;
        Ok(())
    }
}

/// What sockets are served under.
pub(super) fn terms(settings: &Settings) -> Terms {
    let server = &settings.server;
    let exempt = not_counted(&server.trusted_proxies);
    let proxies = server.trusted_proxies.clone().into();
    Terms { limits: server.limits.clone(), timeouts: server.timeouts.clone(), exempt, proxies }
}

/// Networks where many clients share an address: the proxies that were named, and this machine itself.
fn not_counted(trusted: &[IpNet]) -> Arc<[IpNet]> {
    let own =
        [IpNet::new_assert(Ipv4Addr::new(127, 0, 0, 0).into(), 8), IpNet::new_assert(Ipv6Addr::LOCALHOST.into(), 128)];
    trusted.iter().copied().chain(own).collect()
}

/// How the keyring watches over keys.
pub(super) fn watched(settings: &Settings) -> Watch {
    Watch { on_reuse: settings.keys.on_reuse, audit_keep: settings.audit.keep }
}

/// What the management face says as these settings have it.
pub(super) fn manner(settings: &Settings) -> Manner {
    Manner { realm: settings.gateway.realm.clone(), prefix: settings.keys.prefix.clone() }
}

/// What all workers use of these settings. Tells of what protects nothing in them.
pub(super) fn generation(settings: &Settings, plan: Plan, metrics: &Metrics, hand: &Hand) -> Generation {
    for Flaw { key, message } in rehearsal::warnings(&settings.routes) {
        tracing::warn!(key, "{message}");
    }
    let self_service = Counter::open(settings, hand);
    // What keyward answers itself stands after the routes.
    let mut names = plan.route_names();
    names.extend(self_service.iter().flat_map(|counter| counter.parts()).map(str::to_owned));
    Generation {
        routes: metrics.routes(&names),
        services: metrics.services(&plan.service_names()),
        plan,
        trusted: settings.server.trusted_proxies.clone(),
        client_header: settings.server.client_header,
        header_bytes: settings.server.limits.header_bytes.as_usize(),
        body_idle: settings.server.timeouts.body_idle.0,
        body_rate: settings.server.limits.body_rate.0,
        requests: settings.server.limits.requests,
        self_service,
        access_log: settings.access_log.clone(),
    }
}

/// The built-in origin, from the moment a service wants it.
pub(super) struct BuiltIn {
    setup: Setup,
    running: Option<(Workers, SocketAddr)>,
}

impl BuiltIn {
    pub(super) const fn new(setup: Setup) -> Self {
        Self { setup, running: None }
    }

    /// Serves under these. It is ours and meets nobody but us, so what ends clients' connections early is not for it.
    pub(super) async fn renew(&self, settings: &Settings) {
        let mut terms = terms(settings);
        (terms.limits.connection_requests, terms.timeouts.connection_age) = (0, Span(Duration::ZERO));
        self.setup.terms.offer(terms).await;
    }

    /// Starts it where `plan` wants it and it does not run, and tells the plan where it is.
    pub(super) fn serve(&mut self, plan: &mut Plan) -> Result<(), AppError> {
        if !plan.needs_echo() {
            return Ok(());
        }
        let address = match &self.running {
            Some((_, address)) => *address,
            None => self.start()?,
        };
        plan.echo_at(address);
        Ok(())
    }

    fn start(&mut self) -> Result<SocketAddr, AppError> {
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
        let wanted = Wanted { address, protocol: Protocol::Http1, proxied: false, setting: "services".into() };
        let listeners = Listeners::bind(&[wanted], 1, self.setup.terms.get().timeouts.write_stall.0)?;
        let address = listeners.bound()[0].address;
        self.running = Some((Workers::start(&self.setup, listeners, |_| Echo)?, address));
        Ok(address)
    }

    pub(super) async fn end(self) {
        if let Some((workers, _)) = self.running {
            workers.drain(Duration::ZERO, Duration::ZERO).await;
        }
    }
}
