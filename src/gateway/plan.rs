//! What the gateway uses, made from what the settings say: services, routes, names, strictness. Immutable once made.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::canon::Strictness;
use super::config::{Config, Mismatch, OriginConfig, RouteConfig, ServiceConfig, TunnelsConfig, Underscores};
use super::credential::Carrier;
use super::headers::Identity;
use super::route::Route;
use super::service::Service;
use super::sign::Signer;
use super::user_keys::UserKeys;
use crate::flaw::Flaw;

/// Everything one request is handled by.
#[derive(Debug)]
pub struct Plan {
    pub(super) services: Vec<Arc<Service>>,
    /// Of each service, where its settings name a key.
    pub(super) signers: Vec<Option<Signer>>,
    /// In the order written; the first that fits decides.
    pub(super) routes: Vec<Route>,
    /// Every carrier any route names: where no route fits, a key is looked for in all of them.
    pub(super) carriers: Vec<Carrier>,
    pub(super) identity: Identity,
    pub(super) strictness: Strictness,
    pub(super) underscores: Underscores,
    pub(super) mismatch: Mismatch,
    pub(super) realm: String,
    pub(super) verbose_refusals: bool,
    /// How long before its key expires a holder is told so.
    pub(super) expiry_notice: Duration,
    pub(super) user_keys: UserKeys,
    pub(super) tunnels: TunnelsConfig,
    /// For so long what is open goes on when nothing can be told of its key.
    pub(super) stream_grace: Duration,
}

impl Plan {
    /// Makes the plan.
    ///
    /// # Errors
    /// Every flaw of `gateway`, `services` and `routes`, each under its setting's key.
    pub fn new(
        config: &Config,
        origin: &OriginConfig,
        services: &BTreeMap<String, ServiceConfig>,
        routes: &[RouteConfig],
    ) -> Result<Self, Vec<Flaw>> {
        let mut flaws = Vec::new();
        let signers = Signer::of_each(services, origin).map_err(|found| flaws.extend(found)).unwrap_or_default();
        let signed = signers.iter().any(Option::is_some);
        let identity = Identity::new(&config.identity, signed).map_err(|found| flaws.extend(found)).ok();
        if config.realm.bytes().any(|byte| !(byte.is_ascii_graphic() || byte == b' ') || byte == b'"' || byte == b'\\')
        {
            flaws
                .push(Flaw::new("gateway.realm", "only visible characters without \" and \\ can stand in a challenge"));
        }
        let names: Vec<&str> = services.keys().map(String::as_str).collect();
        let services: Vec<Option<Service>> = services
            .iter()
            .map(|(name, said)| Service::new(name, said, origin).map_err(|found| flaws.extend(found)).ok())
            .collect();
        let routes: Vec<Option<Route>> = routes
            .iter()
            .enumerate()
            .map(|(at, said)| Route::new(at, said, &names, config).map_err(|found| flaws.extend(found)).ok())
            .collect();
        // Without services either there is nothing at all, which is told once, and not here.
        if routes.is_empty() && !services.is_empty() {
            flaws.push(Flaw::new(
                "routes",
                "there is no route, and none is implied where there are several services: write [[routes]]",
            ));
        }
        flaws.extend(unreachable(&routes));
        let routes: Vec<Route> = routes.into_iter().flatten().collect();
        let services: Vec<_> = services.into_iter().flatten().map(Arc::new).collect();
        let user_keys = UserKeys::new(&config.user_keys).map_err(|found| flaws.extend(found)).ok();
        let Some((identity, user_keys)) = identity.zip(user_keys).filter(|_| flaws.is_empty()) else {
            return Err(flaws);
        };
        Ok(Self {
            carriers: every_carrier(&routes),
            services,
            signers,
            routes,
            identity,
            strictness: Strictness::new(config),
            underscores: config.underscore_headers,
            mismatch: config.account_mismatch,
            realm: config.realm.clone(),
            verbose_refusals: config.verbose_refusals,
            expiry_notice: config.expiry_notice.0,
            user_keys,
            tunnels: config.tunnels.clone(),
            stream_grace: config.stream_grace.0,
        })
    }

    /// The names of all routes, in order; metrics use them as labels.
    #[must_use]
    pub fn route_names(&self) -> Vec<String> {
        self.routes.iter().map(|route| route.name.to_string()).collect()
    }

    /// The names of all services, in order.
    #[must_use]
    pub fn service_names(&self) -> Vec<String> {
        self.services.iter().map(|service| service.name.clone()).collect()
    }

    /// Whether a service is the built-in origin, which then has to be started.
    #[must_use]
    pub fn needs_echo(&self) -> bool {
        self.services.iter().any(|service| service.is_echo())
    }

    /// Sends what is for the built-in origin to `address`.
    pub fn echo_at(&mut self, address: std::net::SocketAddr) {
        for service in self.services.iter_mut().filter(|service| service.is_echo()) {
            *service = Arc::new(service.at(address));
        }
    }
}

fn unreachable(routes: &[Option<Route>]) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    for (at, later) in routes.iter().enumerate() {
        let Some(later) = later else { continue };
        let earlier = routes[..at].iter().flatten().find(|earlier| earlier.covers(later));
        if let Some(earlier) = earlier {
            let message = format!("this route can never be reached: {:?} before it takes all it would", earlier.name);
            flaws.push(Flaw::new(format!("routes.{at}.path"), message));
        }
    }
    flaws
}

fn every_carrier(routes: &[Route]) -> Vec<Carrier> {
    let mut all = Vec::new();
    for carrier in routes.iter().flat_map(|route| &route.carriers) {
        if !all.contains(carrier) {
            all.push(carrier.clone());
        }
    }
    all
}
