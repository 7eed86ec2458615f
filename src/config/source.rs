//! Where settings come from, to be read at start and again at any time after it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Settings;
use super::problem::{Place, Problem, Problems};
use super::read::{Read, Said, read};
use crate::measure::Span;

/// `[reload]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ReloadConfig {
    /// Whether a changed file is reason enough.
    pub watch: bool,
    /// How often the files are looked at whatever the system tells of them; zero for never.
    pub poll: Span,
}

/// What settings are read from. The environment and the flags stay what they were at start.
#[derive(Debug)]
pub struct Source {
    said: Said,
}

/// The outcome of one reading.
#[derive(Debug)]
pub struct Taken {
    /// The settings, if a server can run with them.
    pub settings: Result<Settings, Problems>,
    /// What was in the files just before they were read.
    pub prints: Prints,
}

impl Source {
    /// From what was said. A file that is read where none was named counts as named once it was there: should it go, that
    /// is a mistake to be told of, and no wish for the defaults.
    #[must_use]
    pub fn new(said: Said) -> Self {
        let Said { file, usual_file, environment, flags } = said;
        let (file, usual_file) = match usual_file {
            Some(usual) if file.is_none() && usual.exists() => (Some(usual), None),
            usual => (file, usual),
        };
        Self { said: Said { file, usual_file, environment, flags } }
    }

    /// Whether this is the settings file itself.
    #[must_use]
    pub fn is_file(&self, file: &Path) -> bool {
        self.said.file.as_deref() == Some(file) || self.said.usual_file.as_deref() == Some(file)
    }

    /// Reads everything, as `keyward validate` does.
    #[must_use]
    pub fn take(&self) -> Taken {
        let mut prints = Prints::default();
        // Before the reading: what changes in between is then seen as a change afterwards, and not missed.
        for file in self.said.file.iter().chain(&self.said.usual_file) {
            prints.add(file);
        }
        let settings = match read(self.said.clone()) {
            Ok(read) => settings(read, &mut prints),
            Err(problems) => Err(Problems(problems)),
        };
        Taken { settings, prints }
    }

    /// Reads everything once more. What can be read only once, such as a pipe, is a problem then: its end is not what
    /// somebody meant.
    #[must_use]
    pub fn take_again(&self) -> Taken {
        let once = self.said.file.as_ref().filter(|file| file.metadata().is_ok_and(|found| !found.is_file()));
        let Some(file) = once else { return self.take() };
        let message = "is no regular file, so it cannot be read again".to_owned();
        let problem = Problem { place: Place::File(file.clone()), key: String::new(), message };
        Taken { settings: Err(Problems(vec![problem])), prints: Prints::default() }
    }
}

fn settings(read: Read, prints: &mut Prints) -> Result<Settings, Problems> {
    for file in read.files() {
        prints.add(&file);
    }
    read.resolve()
}

/// What is in files, as far as one can tell that it is no longer the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prints(BTreeMap<PathBuf, Option<[u8; 32]>>);

impl Prints {
    fn add(&mut self, file: &Path) {
        // Whatever is no regular file may never end.
        let bytes = file.metadata().ok().filter(std::fs::Metadata::is_file).and_then(|_| std::fs::read(file).ok());
        let print = bytes.map(|bytes| Sha256::digest(zeroize::Zeroizing::new(bytes).as_slice()).into());
        self.0.insert(file.to_owned(), print);
    }

    /// The files.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }

    /// Of the same files, as they are now.
    #[must_use]
    pub fn again(&self) -> Self {
        let mut now = Self::default();
        self.files().for_each(|file| now.add(file));
        now
    }

    /// These, and those of the `others` that are about other files.
    #[must_use]
    pub fn and(mut self, others: &Self) -> Self {
        for (file, print) in &others.0 {
            self.0.entry(file.clone()).or_insert(*print);
        }
        self
    }

    /// The files of both that differ.
    #[must_use]
    pub fn changed(&self, before: &Self) -> Vec<&Path> {
        let differs =
            |(file, print): &(&PathBuf, &Option<[u8; 32]>)| before.0.get(*file).is_some_and(|old| old != *print);
        self.0.iter().filter(differs).map(|(file, _)| file.as_path()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_print_tells_what_changed_came_and_went() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|name| folder.path().join(name));
        std::fs::write(&a, "1").unwrap();
        std::fs::write(&b, "1").unwrap();
        let mut prints = Prints::default();
        for file in [&a, &b, &c] {
            prints.add(file);
        }
        assert_eq!(prints.again(), prints);
        std::fs::write(&a, "2").unwrap();
        std::fs::remove_file(&b).unwrap();
        std::fs::write(&c, "").unwrap();
        assert_eq!(prints.again().changed(&prints), [&a, &b, &c]);
    }

    #[test]
    fn every_file_that_a_setting_names_is_looked_at() {
        let said = |text: &str| {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("keyward.toml");
            std::fs::write(&file, text).unwrap();
            let taken = Source::new(Said { file: Some(file), ..Said::default() }).take();
            taken.prints.files().filter_map(|file| file.to_str().map(str::to_owned)).collect::<Vec<_>>()
        };
        let text = "keys.pepper_file = \"/p\"\n[[server.certificates]]\nchain_file = \"/c\"\nkey_file = \"/k\"\n\
                    [admin]\nchain_file = \"/ac\"\n[origin]\nsigning_key_file = \"/s\"\n\
                    [services.a]\nca_file = \"/ca\"\nsigning_key_file = \"/own\"\n";
        let files = said(text);
        for file in ["/p", "/c", "/k", "/ac", "/s", "/ca", "/own"] {
            assert!(files.iter().any(|known| known == file), "{file} is not among {files:?}");
        }
        assert_eq!(files.len(), 8);
    }
}
