//! One source of settings: a tree of values, and where in the source each of them stands.
//!
//! figment merges the layers. It knows which of them a value came from but neither line nor variable, and stops at the
//! first mistake; so a layer can be asked for the place of a key, and can have a wrong value taken out.

use std::ffi::OsString;
use std::path::PathBuf;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};
use toml_edit::ImDocument;

use super::problem::{Place, Problem};
use super::spans::{line_and_column, offset};

/// A key, part by part; a member of a list by its number.
pub(super) type Key = Vec<String>;

/// A flag of the command line that stands for a setting.
#[derive(Clone, Debug)]
pub struct Flag {
    /// As it is written, such as `--listen`.
    pub name: &'static str,
    /// The setting's dotted key.
    pub key: &'static str,
    /// What was given, once or more often.
    pub values: Vec<String>,
}

/// One source of settings.
#[derive(Debug)]
pub(super) struct Layer {
    origin: Origin,
    dict: Dict,
    /// Members taken out of lists, by the key they had in the source.
    removed: Vec<Key>,
}

#[derive(Debug)]
enum Origin {
    Default,
    Implied,
    File(PathBuf, Box<ImDocument<String>>),
    Environment(Vec<(Key, String)>),
    Flags(Vec<(Key, String)>),
}

impl Layer {
    /// What keyward does by itself.
    pub(super) fn default(text: &str) -> Result<Self, Box<figment::Error>> {
        Ok(Self::new(Origin::Default, parse(text)?))
    }

    /// What follows from other settings.
    pub(super) fn implied(text: &str) -> Result<Self, Box<figment::Error>> {
        Ok(Self::new(Origin::Implied, parse(text)?))
    }

    /// What a file says.
    pub(super) fn file(path: PathBuf) -> Result<Self, Problem> {
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::text(path, text),
            Err(error) => {
                let message = format!("cannot be read: {error}");
                Err(Problem { place: Place::File(path), key: String::new(), message })
            }
        }
    }

    /// What the file at `path` says, which is `text`.
    pub(super) fn text(path: PathBuf, text: String) -> Result<Self, Problem> {
        let whole = |message| Problem { place: Place::File(path.clone()), key: String::new(), message };
        let document = ImDocument::parse(text.clone()).map_err(|error| {
            // The parser's own display shows the line itself, which may hold what nobody else should read.
            let (line, column) = line_and_column(&text, error.span().map_or(0, |span| span.start));
            let message = error.message().replace('\n', ", ");
            Problem { place: Place::Line(path.clone(), line, column), ..whole(format!("not TOML: {message}")) }
        })?;
        let dict = parse(&text).map_err(|error| whole(format!("not TOML: {error}")))?;
        Ok(Self::new(Origin::File(path, Box::new(document)), dict))
    }

    /// What the variables `KEYWARD__SECTION__NAME` say; `default` tells which settings are lists and which are text.
    pub(super) fn environment(vars: &[(OsString, OsString)], default: &Self) -> (Self, Vec<Problem>) {
        let (mut dict, mut names, mut problems) = (Dict::new(), Vec::new(), Vec::new());
        for (name, value) in vars {
            let Some(name) = name.to_str() else { continue };
            let Some(path) = name.strip_prefix("KEYWARD__") else { continue };
            let key: Key = path.split("__").map(str::to_ascii_lowercase).collect();
            match value.to_str() {
                Some(text) => {
                    put(&mut dict, &key, default.typed(&key, text));
                    names.push((key, name.to_owned()));
                }
                None => problems.push(Problem {
                    place: Place::Variable(name.to_owned()),
                    key: key.join("."),
                    message: "not UTF-8".to_owned(),
                }),
            }
        }
        (Self::new(Origin::Environment(names), dict), problems)
    }

    /// What flags say.
    pub(super) fn flags(flags: &[Flag], default: &Self) -> Self {
        let (mut dict, mut names) = (Dict::new(), Vec::new());
        for flag in flags {
            let key: Key = flag.key.split('.').map(str::to_owned).collect();
            let value = match flag.values.as_slice() {
                [one] => default.typed(&key, one),
                many => many.iter().map(|text| Value::from(text.as_str())).collect::<Vec<_>>().into(),
            };
            put(&mut dict, &key, value);
            names.push((key, flag.name.to_owned()));
        }
        Self::new(Origin::Flags(names), dict)
    }

    fn new(origin: Origin, dict: Dict) -> Self {
        Self { origin, dict, removed: Vec::new() }
    }

    /// A variable's or flag's text as the value it stands for. Lists and tables are written as in TOML; a setting that
    /// is text stays text whatever it looks like; and a list may be given bare, its members between commas.
    fn typed(&self, key: &[String], text: &str) -> Value {
        let value: Value = text.parse().unwrap_or_else(|never| match never {});
        match (self.get(key), &value) {
            (Some(Value::String(..)), Value::Num(..) | Value::Bool(..)) => Value::from(text),
            (Some(Value::Array(..)), Value::String(..)) => {
                text.split(',').map(|member| Value::from(member.trim())).collect::<Vec<_>>().into()
            }
            _ => value,
        }
    }

    /// Whether this is what keyward does by itself.
    pub(super) fn is_default(&self) -> bool {
        matches!(self.origin, Origin::Default)
    }

    /// The tree of values.
    pub(super) fn dict(&self) -> &Dict {
        &self.dict
    }

    /// The value at `key`.
    pub(super) fn get(&self, key: &[String]) -> Option<&Value> {
        let (first, rest) = key.split_first()?;
        rest.iter().try_fold(self.dict.get(first)?, |value, part| match value {
            Value::Dict(_, dict) => dict.get(part),
            Value::Array(_, list) => list.get(part.parse::<usize>().ok()?),
            _ => None,
        })
    }

    /// Takes the value at `key` out.
    pub(super) fn remove(&mut self, key: &[String]) {
        let original = self.original(key);
        let Some((last, parents)) = key.split_last() else { return };
        let Some((first, rest)) = parents.split_first() else {
            self.dict.remove(last);
            return;
        };
        let parent = self.dict.get_mut(first).and_then(|first| {
            rest.iter().try_fold(first, |value, part| match value {
                Value::Dict(_, dict) => dict.get_mut(part),
                Value::Array(_, list) => list.get_mut(part.parse::<usize>().ok()?),
                _ => None,
            })
        });
        match (parent, last.parse::<usize>()) {
            (Some(Value::Dict(_, dict)), _) => drop(dict.remove(last)),
            (Some(Value::Array(_, list)), Ok(at)) if at < list.len() => {
                list.remove(at);
                self.removed.push(original);
            }
            _ => {}
        }
    }

    /// The key that what now stands at `key` has in the source: members taken out count there.
    pub(super) fn original(&self, key: &[String]) -> Key {
        let mut original = Key::new();
        for part in key {
            let mut gone: Vec<usize> = self.removed.iter().filter_map(|key| member_of(&original, key)).collect();
            gone.sort_unstable();
            let part = match part.parse::<usize>() {
                Ok(at) if !gone.is_empty() => {
                    gone.iter().fold(at, |at, gone| if at >= *gone { at + 1 } else { at }).to_string()
                }
                _ => part.clone(),
            };
            original.push(part);
        }
        original
    }

    /// Where `key`, as it is written in the source, stands; or what it would have to stand in.
    pub(super) fn place(&self, key: &[String]) -> Place {
        let named = |names: &[(Key, String)]| {
            let exact = names.iter().find(|(named, _)| key.starts_with(named));
            exact.or_else(|| names.iter().find(|(named, _)| named.starts_with(key))).map(|(_, name)| name.clone())
        };
        match &self.origin {
            Origin::Default => Place::Default,
            Origin::Implied => Place::Implied,
            Origin::File(path, document) => {
                let (line, column) = line_and_column(document.raw(), offset(document, key));
                Place::Line(path.clone(), line, column)
            }
            Origin::Environment(names) => Place::Variable(named(names).unwrap_or_default()),
            Origin::Flags(names) => Place::Flag(named(names).unwrap_or_default()),
        }
    }
}

impl Provider for &Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named("settings")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.dict.clone()))
    }
}

fn parse(text: &str) -> Result<Dict, Box<figment::Error>> {
    let mut data = Toml::string(text).data().map_err(Box::new)?;
    Ok(data.remove(&Profile::Default).unwrap_or_default())
}

fn put(dict: &mut Dict, key: &[String], value: Value) {
    let Some((first, rest)) = key.split_first() else { return };
    if rest.is_empty() {
        dict.insert(first.clone(), value);
        return;
    }
    let slot = dict.entry(first.clone()).or_insert_with(|| Dict::new().into());
    if !matches!(slot, Value::Dict(..)) {
        *slot = Dict::new().into();
    }
    if let Value::Dict(_, inner) = slot {
        put(inner, rest, value);
    }
}

/// The number `key` has in the list at `list`.
fn member_of(list: &[String], key: &[String]) -> Option<usize> {
    let (last, parents) = key.split_last()?;
    (parents == list).then(|| last.parse().ok())?
}
