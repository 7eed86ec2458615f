//! Settings: what was said, what is used, and every problem at once.
//!
//! ```text
//!  default.toml -> file -> environment -> flags      layers, the later over the earlier
//!        '--read--> Read { settings, problems }      every mistake of form, each with its place
//!             '--resolve--> Settings | [Problem]     every mistake of sense as well
//! ```
//!
//! Each part owns its own `Config`; this one only composes them under named tables. What is wrong is never told one
//! mistake at a time: a wrong value is noted and taken out, so that the default shows through and reading goes on.

mod change;
mod check;
mod explain;
mod layer;
mod problem;
#[cfg(any(test, fuzzing))]
pub mod properties;
mod read;
mod redact;
mod resolve;
mod show;
mod source;
mod spans;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::change::Changes;
pub use self::check::pepper;
pub use self::layer::Flag;
pub use self::problem::{Place, Problem, Problems};
pub use self::read::{Read, Said, read};
pub use self::redact::redact;
pub use self::source::{Prints, ReloadConfig, Source, Taken};
use crate::gateway::config::{OriginConfig, RouteConfig, ServiceConfig};
use crate::keyring::NamedRoute;
use crate::keyring::config::{AuditConfig, KeysConfig};
use crate::telemetry::config::{AccessLogConfig, LogConfig};
use crate::{gateway, keyring, manage, net, store};

/// All settings, as `config/default.toml` lists them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The listeners clients connect to.
    pub server: net::config::Config,
    /// The listener operators connect to.
    pub admin: manage::config::Config,
    /// What holders of keys are answered about what is theirs.
    pub self_service: manage::config::SelfServiceConfig,
    /// The same in the forms of vendors.
    pub dialects: manage::config::DialectsConfig,
    /// Where secrets that somebody found are reported.
    pub leaks: manage::config::LeaksConfig,
    /// Where keys are kept.
    pub store: store::config::Config,
    /// The live view of keys.
    pub keyring: keyring::config::Config,
    /// The keys that are made.
    pub keys: KeysConfig,
    /// Who did what.
    pub audit: AuditConfig,
    /// How requests are judged and forwarded.
    pub gateway: gateway::config::Config,
    /// What holds for every service that does not say otherwise.
    pub origin: OriginConfig,
    /// The servers behind, by name.
    #[serde(default)]
    pub services: BTreeMap<String, ServiceConfig>,
    /// Which requests go where, and what they need.
    #[serde(default)]
    pub routes: Vec<RouteConfig>,
    /// When settings are read again.
    pub reload: ReloadConfig,
    /// A line a request.
    pub access_log: AccessLogConfig,
    /// What keyward tells about itself.
    pub log: LogConfig,
}

impl Settings {
    /// The routes that somebody wrote, by the names they have in logs; the one that is implied where there is none is not among them.
    #[must_use]
    pub fn named_routes(&self) -> Vec<NamedRoute> {
        let written = self.routes.iter().filter(|route| !read::is_implied(route));
        let named = |route: &RouteConfig| {
            let name = route.name.clone().or_else(|| route.path.clone())?;
            Some(NamedRoute { name, permission: route.permission.clone() })
        };
        written.filter_map(named).collect()
    }
}
