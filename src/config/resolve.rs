//! From what was said to what is used: every part looks at its own settings, and all flaws become problems with a place.

use super::problem::{Problem, Problems};
use super::read::Read;
use super::{Settings, check};
use crate::flaw::Flaw;
use crate::gateway::plan::Plan;
use crate::gateway::rehearsal;
use crate::manage::self_service;
use crate::net::config::CertificateFiles;
use crate::net::tls::ServerTls;

impl Read {
    /// The settings, if a server can be started with them.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the files.
    pub fn resolve(self) -> Result<Settings, Problems> {
        let mut flaws = check::check(&self.settings);
        flaws.extend(parts(&self.settings));
        self.finish(flaws)
    }

    /// The settings, if the store can be opened with them; a mistake elsewhere is no reason to refuse `key list`.
    ///
    /// # Errors
    /// What is wrong with the form of any setting, or with those of the store and the keys.
    pub fn resolve_store(self) -> Result<Settings, Problems> {
        let flaws = check::store(&self.settings);
        self.finish(flaws)
    }

    /// What is right, and what somebody should know of before it is used.
    #[must_use]
    pub fn warnings(&self) -> Vec<Problem> {
        rehearsal::warnings(&self.settings.routes).into_iter().filter_map(|flaw| self.locate(flaw)).collect()
    }

    fn finish(self, flaws: Vec<Flaw>) -> Result<Settings, Problems> {
        // Where the file could not be read, the settings are not what somebody meant, and their sense is no news.
        let flaws = if self.unread() { Vec::new() } else { flaws };
        let located: Vec<Problem> = flaws.into_iter().filter_map(|flaw| self.locate(flaw)).collect();
        let mut problems = self.problems;
        problems.extend(located);
        problems.sort_by(|one, other| one.place.cmp(&other.place));
        if problems.is_empty() { Ok(self.settings) } else { Err(Problems(problems)) }
    }
}

/// The flaws that other parts find in their own settings.
fn parts(settings: &Settings) -> Vec<Flaw> {
    let Settings { server, admin, self_service, dialects, leaks, gateway, origin, services, routes, .. } = settings;
    let mut flaws = Vec::new();
    if !server.certificates.is_empty() {
        flaws.extend(ServerTls::load(&server.certificates, "server.certificates").err().unwrap_or_default());
    }
    if admin.has_tls() {
        let files = CertificateFiles { chain_file: admin.chain_file.clone(), key_file: admin.key_file.clone() };
        flaws.extend(ServerTls::load_one(&files, "admin").err().unwrap_or_default());
    }
    flaws.extend(self_service::check(self_service, dialects, leaks));
    flaws.extend(Plan::new(gateway, origin, services, routes).err().unwrap_or_default());
    flaws
}
