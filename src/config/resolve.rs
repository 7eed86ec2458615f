//! From what was said to what is used: every part looks at its own settings, and all flaws become problems with a place.

use super::problem::{Problem, Problems};
use super::read::Read;
use super::{Settings, check};
use crate::flaw::Flaw;

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

    /// All problems there are, without giving the settings away.
    #[must_use]
    pub fn all_problems(&self) -> Vec<Problem> {
        let mut flaws = check::check(&self.settings);
        flaws.extend(parts(&self.settings));
        self.with(flaws)
    }

    fn finish(self, flaws: Vec<Flaw>) -> Result<Settings, Problems> {
        let problems = self.with(flaws);
        if problems.is_empty() { Ok(self.settings) } else { Err(Problems(problems)) }
    }

    fn with(&self, flaws: Vec<Flaw>) -> Vec<Problem> {
        // Where the file could not be read, the settings are not what somebody meant, and their sense is no news.
        let flaws = if self.unread() { Vec::new() } else { flaws };
        let located = flaws.into_iter().filter_map(|flaw| self.locate(flaw));
        let mut all: Vec<_> = self.problems.iter().cloned().chain(located).collect();
        all.sort_by(|one, other| one.place.cmp(&other.place));
        all
    }
}

/// The flaws that other parts find in their own settings.
fn parts(_settings: &Settings) -> Vec<Flaw> {
    Vec::new()
}
