//! `keyward import`: adopt the keys an API has already, wherever they are kept now.
//!
//! ```text
//!  CSV, JSON lines --> row --.
//!                            +--> entries: a key each, or why not --> Command::Import         all or none
//!  Kong, APISIX --> document '                              '-------> Command::TryImport --dry-run
//! ```
//!
//! Of a plain key only the imprint leaves this folder. The file's bytes and the texts that are taken from them are wiped; what a
//! parser unescapes on its way is in its own hands.

mod apisix;
mod csv;
mod document;
mod entry;
mod format;
mod jsonl;
mod kong;
mod row;
#[cfg(test)]
mod tests;
mod trial;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::error::ErrorKind;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use self::entry::{Entry, all_or_none, refuse_repeats};
use self::format::{AccountFrom, Format};
use super::access::{carry_out, unexpected};
use super::output::{print, print_json};
use super::settings::StoreArguments;
use crate::clock::{Clock, Timestamp};
use crate::keyring::command::{Command, Outcome};

#[derive(Debug, clap::Args)]
#[command(after_help = FORMATS)]
pub(super) struct Arguments {
    /// The files, all of one format; - for standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What they are written in; known from the names *.csv, *.jsonl, *.ndjson, kong.yaml, kong.json, apisix.yaml, apisix.json.
    #[arg(long)]
    format: Option<Format>,
    /// What of a consumer of Kong or APISIX becomes the account of its keys: username, custom_id, id or tag:NAME.
    #[arg(long, value_name = "WHAT", default_value = "username")]
    account_from: AccountFrom,
    /// Say what would become of every entry, and change nothing; exit code 1 where one would be refused.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    store: StoreArguments,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let format = arguments.format.or_else(|| known(&arguments.files)).unwrap_or_else(|| {
        let said = "the files' names do not tell what they are written in: give --format csv, jsonl, kong or apisix\n";
        clap::Error::raw(ErrorKind::MissingRequiredArgument, said).exit()
    });
    let settings = arguments.store.settings()?;
    let mut entries = entries(&arguments.files, format, &arguments.account_from, Clock::System.now())?;
    refuse_repeats(&mut entries);
    if arguments.dry_run {
        return trial::run(&settings, entries, arguments.json).await;
    }

    let names = arguments.files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
    let (places, keys) = all_or_none(entries).with_context(|| format!("{names}: nothing was imported"))?;
    let outcome = carry_out(&settings, Command::Import(keys)).await.map_err(|error| {
        // A row is refused only where nothing was imported; of any other trouble the files know nothing.
        match refused(&error.to_string(), &places) {
            Some(told) => anyhow::anyhow!("{names}: nothing was imported: {told}"),
            None => error,
        }
    });
    match outcome? {
        Outcome::Imported(made) if arguments.json => print_json(&made)?,
        Outcome::Imported(made) => print(&format!(
            "{} keys adopted, {} were there already; {} accounts and {} users made\n",
            made.keys, made.already, made.accounts, made.users
        ))?,
        other => return Err(unexpected(&other)),
    }
    Ok(ExitCode::SUCCESS)
}

/// The format that all the names agree on.
fn known(files: &[PathBuf]) -> Option<Format> {
    let mut formats = files.iter().map(|file| Format::of(file));
    let first = formats.next()??;
    formats.all(|format| format == Some(first)).then_some(first)
}

/// Every entry of every file.
fn entries(files: &[PathBuf], format: Format, from: &AccountFrom, now: Timestamp) -> anyhow::Result<Vec<Entry>> {
    if !format.has_consumers() && *from != AccountFrom::Username {
        let said = "--account-from is for kong and apisix: a row of CSV or JSON lines names its account itself\n";
        clap::Error::raw(ErrorKind::ArgumentConflict, said).exit()
    }
    let entries = match format {
        Format::Csv => rows(files, csv::entries),
        Format::Jsonl => rows(files, jsonl::entries),
        Format::Kong => kong::entries(documents(files)?, from, now),
        Format::Apisix => apisix::entries(documents(files)?, from),
    }?;
    // An export of another gateway's may look alike, and would be adopted without a word.
    if format.has_consumers() && entries.is_empty() {
        bail!("there is no key of the plugin key-auth in it: nothing was imported");
    }
    Ok(entries)
}

/// The entries of files that stand each for itself.
fn rows(files: &[PathBuf], read_entries: fn(&[u8]) -> anyhow::Result<Vec<Entry>>) -> anyhow::Result<Vec<Entry>> {
    let mut all = Vec::new();
    for file in files {
        let entries = read_entries(&read(file)?).with_context(|| nothing(file))?;
        all.extend(entries.into_iter().map(|entry| Entry { at: place(files, file) + &entry.at, ..entry }));
    }
    Ok(all)
}

/// The documents of files that may need each other, each with what its places begin with.
fn documents<T: DeserializeOwned>(files: &[PathBuf]) -> anyhow::Result<Vec<(String, T)>> {
    let mut all = Vec::new();
    for file in files {
        let documents = document::documents(&read(file)?).with_context(|| nothing(file))?;
        let several = documents.len() > 1;
        all.extend((1..).zip(documents).map(|(number, document): (u32, _)| {
            let which = if several { format!("document {number}: ") } else { String::new() };
            (place(files, file) + &which, document)
        }));
    }
    Ok(all)
}

/// What the places of a file begin with: where there are several, its name.
fn place(files: &[PathBuf], file: &Path) -> String {
    if files.len() > 1 { format!("{}: ", file.display()) } else { String::new() }
}

fn nothing(file: &Path) -> String {
    format!("{}: nothing was imported", file.display())
}

fn read(file: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let mut text = Zeroizing::new(Vec::new());
    let read = if file == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut text).map(drop)
    } else {
        std::fs::read(file).map(|bytes| *text = bytes)
    };
    read.with_context(|| format!("cannot read {}", file.display()))?;
    Ok(text)
}

/// A row's refusal, told by the row's place in the files.
fn refused(told: &str, places: &[String]) -> Option<String> {
    let (row, why) = told.strip_prefix("row ")?.split_once(": ")?;
    let place = places.get(row.parse::<usize>().ok()?.checked_sub(1)?)?;
    Some(format!("{place}: {why}"))
}

const FORMATS: &str = "\
csv: the first line names the columns, in any order. jsonl: one JSON object a line, with the same members.
  secret       the key as clients send it, 16 to 512 visible ASCII characters; or in its place
  sha256       its SHA-256, 64 hexadecimal digits; with it may come
    prefix       what stands before the last underscore; needed where keys look like keyward's own (docs/tokens.md)
    hint         its last four characters, to be shown in lists
  account      the account it is held to; may be empty for kind user
  kind         service (where empty), personal or user
  user         the user behind it; for kinds personal and user
  name         what its owner calls it
  permissions  what it may do, between commas
  allowed_ips  networks it may be used from, between commas
  licence      of the membership that is made on the way, where none is there
  not_before, expires_at   when it is accepted, such as 2030-01-01T00:00:00Z
The other columns of `keyward export` may stand there; state must be active, the rest is left aside.

kong: `kong config db_export`, a decK file, or the Admin API's lists of /consumers and /key-auths, given together.
apisix: the Admin API's lists of /apisix/admin/consumers and of their credentials, or apisix.yaml.
Each of their keys becomes a service key of the account that --account-from finds: the consumer's username, where nothing else
is said. It has to be an id: 1 to 128 of A-Z a-z 0-9 - . _ ~ @ : +

Accounts and users not met before are made. Either every entry is adopted or none; what is there already stays as it is, so the
same files may be given again. docs/import.md has examples.";
