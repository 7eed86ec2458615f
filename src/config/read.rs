//! Reads the layers into [`Settings`], and goes on after every mistake.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

use figment::Figment;
use figment::error::Kind;
use figment::value::{Dict, Tag, Value};

use super::Settings;
use super::explain::{explain, nearest};
use super::layer::{Flag, Key, Layer};
use super::problem::{Place, Problem};
use super::redact::redact;
use crate::flaw::Flaw;
use crate::gateway::config::{AccountPlace, RouteConfig};

/// What was said, before anything is read.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// The settings file that was named; it must be there.
    pub file: Option<PathBuf>,
    /// The file that is read where none was named, if it is there.
    pub usual_file: Option<PathBuf>,
    /// The environment; only `KEYWARD__…` is looked at.
    pub environment: Vec<(OsString, OsString)>,
    /// Flags that stand for settings.
    pub flags: Vec<Flag>,
}

/// Settings as far as they could be read.
#[derive(Debug)]
pub struct Read {
    /// The settings, with the default in place of what is wrong.
    pub settings: Settings,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// A file could not be read at all.
    unread: bool,
    layers: Vec<Layer>,
    /// Keys that a problem was told of, so that what follows from it is not told as well.
    told: BTreeSet<String>,
}

/// Reads every layer.
///
/// # Errors
/// The problems, where not even the defaults could be read: a fault in keyward itself.
pub fn read(said: Said) -> Result<Read, Vec<Problem>> {
    let usual = || said.usual_file.filter(|path| path.exists());
    let file = said.file.or_else(usual).map(Layer::file);
    layered(file, &said.environment, &said.flags)
}

/// Reads a file, if there is one, between the defaults and what is said beside it.
pub(super) fn layered(
    file: Option<Result<Layer, Problem>>,
    environment: &[(OsString, OsString)],
    flags: &[Flag],
) -> Result<Read, Vec<Problem>> {
    let broken = |error: Box<figment::Error>| {
        vec![Problem { place: Place::Default, key: error.path.join("."), message: error.kind.to_string() }]
    };
    let default = Layer::default(DEFAULT).map_err(broken)?;
    let (environment, mut problems) = Layer::environment(environment, &default);
    let flags = Layer::flags(flags, &default);
    let (mut layers, mut unread) = (vec![default], false);
    match file {
        None => {}
        Some(Ok(file)) => layers.push(file),
        Some(Err(problem)) => {
            problems.push(problem);
            unread = true;
        }
    }
    layers.extend([environment, flags]);
    if let Some(service) = sole_service(&layers) {
        layers.insert(1, Layer::implied(&default_route(&service)).map_err(broken)?);
    }
    extract(layers, problems).map(|read| Read { unread, ..read })
}

impl Read {
    /// Whether a file could not be read at all, so that the settings are not what somebody meant.
    #[must_use]
    pub fn unread(&self) -> bool {
        self.unread
    }

    /// The problem of a flaw: with the place where its key, or what that is missing from, was said.
    pub(super) fn locate(&self, flaw: Flaw) -> Option<Problem> {
        if self.told.contains(&flaw.key) {
            return None;
        }
        let (place, key) = self.place(&flaw.key);
        // Parts quote what was said, and a URL may have been said with a password in it.
        Some(Problem { place, key, message: redact(&flaw.message).into_owned() })
    }

    /// Where the setting at a dotted key was said, and its key there.
    pub(super) fn place(&self, key: &str) -> (Place, String) {
        let key: Key = key.split('.').map(str::to_owned).collect();
        for length in (1..=key.len()).rev() {
            let holder = self.layers.iter().rev().find(|layer| layer.get(&key[..length]).is_some());
            if let Some(layer) = holder {
                let original = layer.original(&key);
                return (layer.place(&original), original.join("."));
            }
        }
        (Place::Default, key.join("."))
    }

    /// Every file that a setting names: those whose name ends so.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        fn collect(value: &Value, files: &mut Vec<PathBuf>) {
            match value {
                Value::Dict(_, table) => {
                    for (key, value) in table {
                        match value.as_str() {
                            Some(path) if key.ends_with("_file") => files.push(path.into()),
                            _ => collect(value, files),
                        }
                    }
                }
                Value::Array(_, members) => members.iter().for_each(|member| collect(member, files)),
                _ => {}
            }
        }
        let mut files = Vec::new();
        self.merged().values().for_each(|value| collect(value, &mut files));
        files
    }

    /// All values, merged but not interpreted.
    pub(super) fn merged(&self) -> Dict {
        merge(&self.layers).extract().unwrap_or_default()
    }
}

fn merge(layers: &[Layer]) -> Figment {
    layers.iter().fold(Figment::new(), Figment::merge)
}

fn extract(mut layers: Vec<Layer>, mut problems: Vec<Problem>) -> Result<Read, Vec<Problem>> {
    let mut told: BTreeSet<String> = problems.iter().map(|problem| problem.key.clone()).collect();
    loop {
        let error = match merge(&layers).extract() {
            Ok(settings) => return Ok(Read { settings, problems, unread: false, layers, told }),
            Err(error) => error,
        };
        let culprit = layers.iter().rposition(|layer| layer.get(&error.path).is_some());
        let Some(culprit) = culprit.filter(|at| !layers[*at].is_default()) else {
            problems.push(Problem {
                place: Place::Default,
                key: error.path.join("."),
                message: error.kind.to_string(),
            });
            return Err(problems);
        };
        let default_root = Value::Dict(Tag::Default, layers[0].dict().clone());
        let layer = &layers[culprit];
        let original = layer.original(&error.path);
        problems.push(Problem {
            place: layer.place(&original),
            key: original.join("."),
            message: explain(&error.kind, layer.get(&error.path), layers[0].get(&error.path), &default_root),
        });
        // The member after one taken out of a list has its number from now on, and is not told of yet.
        if error.path.last().is_some_and(|last| last.parse::<usize>().is_err()) {
            told.insert(error.path.join("."));
        }
        told.extend(meant(&error));
        let wrong = wrong_part(&error, layer);
        layers[culprit].remove(wrong);
        // That a list is empty which held nothing but what was wrong is no news either.
        if let Some((_, list)) = error.path.split_last()
            && let Some(Value::Array(_, members)) = layers[culprit].get(list)
            && members.is_empty()
        {
            told.insert(list.join("."));
        }
    }
}

/// The key that a misspelt one was meant to be; its absence is no news.
fn meant(error: &figment::Error) -> Option<String> {
    let Kind::UnknownField(name, words) = &error.kind else { return None };
    let (_, parents) = error.path.split_last()?;
    let near = nearest(name, words)?;
    Some(parents.iter().map(String::as_str).chain([near]).collect::<Vec<_>>().join("."))
}

/// What has to be taken out: the value itself, or for an unknown word in the place of a key (`account = { pth = … }`) the
/// table around it, which would be empty without.
fn wrong_part<'a>(error: &'a figment::Error, layer: &Layer) -> &'a [String] {
    match (&error.kind, error.path.split_last()) {
        (Kind::UnknownVariant(name, _), Some((last, parents)))
            if name == last && layer.get(parents).is_some_and(|value| value.as_dict().is_some()) =>
        {
            parents
        }
        _ => &error.path,
    }
}

/// The only service, where no route is given.
fn sole_service(layers: &[Layer]) -> Option<String> {
    if layers.iter().any(|layer| layer.dict().contains_key("routes")) {
        return None;
    }
    let tables = layers.iter().filter_map(|layer| layer.dict().get("services")?.as_dict());
    let names: BTreeSet<&String> = tables.flat_map(Dict::keys).collect();
    let mut names = names.into_iter();
    names.next().filter(|_| names.next().is_none()).cloned()
}

/// Without routes there is still no way past the key: everything goes to the one service, and nothing goes unasked.
fn default_route(service: &str) -> String {
    format!(
        "[[routes]]\nname = \"default\"\npath = \"/**\"\nservice = {}\naccount = {{ after = \"accounts\" }}\n",
        toml_edit::Value::from(service)
    )
}

/// Whether a route is that one.
pub(super) fn is_implied(route: &RouteConfig) -> bool {
    let implied = RouteConfig {
        name: Some("default".to_owned()),
        path: Some("/**".to_owned()),
        service: route.service.clone(),
        account: Some(AccountPlace::After("accounts".to_owned())),
        ..RouteConfig::default()
    };
    *route == implied
}

/// The reference of all settings.
pub(super) const DEFAULT: &str = include_str!("../../config/default.toml");
