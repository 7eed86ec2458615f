//! From what was said to what is used: every part looks at its own settings, and all flaws become problems with a place.

use super::problem::{Problem, Problems};
use super::read::Read;
use super::{Settings, check};
use crate::flaw::Flaw;
use crate::net::config::CertificateFiles;
use crate::net::tls::ServerTls;

/// Settings a server can be started with, and what was made of them on the way.
#[derive(Debug)]
pub struct Resolved {
    /// All settings.
    pub settings: Settings,
    /// What TLS clients are shown; none without certificates.
    pub tls: Option<ServerTls>,
    /// What the admin listener shows; none where it speaks plainly.
    pub admin_tls: Option<ServerTls>,
}

impl Read {
    /// The settings, if a server can be started with them.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn resolve(self) -> Result<Resolved, Problems> {
        let mut flaws = check::check(&self.settings);
        let tls = certificates(&self.settings, &mut flaws);
        let admin_tls = admin_certificate(&self.settings, &mut flaws);
        let settings = self.finish(flaws)?;
        Ok(Resolved { settings, tls, admin_tls })
    }

    /// The settings, if the store can be opened with them; a mistake elsewhere is no reason to refuse `key list`.
    ///
    /// # Errors
    /// What is wrong with the form of any setting, or with those of the store and the keys.
    pub fn resolve_store(self) -> Result<Settings, Problems> {
        let flaws = check::store(&self.settings);
        self.finish(flaws)
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

fn certificates(settings: &Settings, flaws: &mut Vec<Flaw>) -> Option<ServerTls> {
    let files = &settings.server.certificates;
    if files.is_empty() {
        return None;
    }
    keep(ServerTls::load(files, "server.certificates"), flaws)
}

fn admin_certificate(settings: &Settings, flaws: &mut Vec<Flaw>) -> Option<ServerTls> {
    let files =
        CertificateFiles { chain_file: settings.admin.chain_file.clone(), key_file: settings.admin.key_file.clone() };
    if files.chain_file.is_none() && files.key_file.is_none() {
        return None;
    }
    keep(ServerTls::load_one(&files, "admin"), flaws)
}

/// What a part made of its settings; its flaws go to the others.
fn keep<T>(made: Result<T, Vec<Flaw>>, flaws: &mut Vec<Flaw>) -> Option<T> {
    made.map_err(|more| flaws.extend(more)).ok()
}
