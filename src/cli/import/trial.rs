//! `keyward import --dry-run`: what would become of every entry, and nothing else.
//!
//! The store finds it out by importing and taking it back, beside a running server or without one. Where there is no store yet the
//! import would make one: a store in a folder of its own stands in for it, and goes with it.

use std::process::ExitCode;

use serde::Serialize;

use super::entry::Entry;
use crate::cli::access::{carry_out, unexpected};
use crate::cli::output::{print, print_json};
use crate::cli::settings::Site;
use crate::config::Settings;
use crate::key::{AccountId, Kind, UserId};
use crate::keyring::command::{Command, Fate, NewKey, Outcome, Trial};
use crate::store::StoreError;

/// Shows every entry's fate. Exit code 1: the import would be refused.
pub(super) async fn run(settings: &Site, entries: Vec<Entry>, json: bool) -> anyhow::Result<ExitCode> {
    let (places, keys): (Vec<_>, Vec<_>) = entries.into_iter().map(|entry| (entry.at, entry.key)).unzip();
    let sound: Vec<NewKey> = keys.iter().flatten().cloned().collect();
    let tried = attempt(settings, sound).await?;
    let mut fates = tried.fates.iter();
    let told = places.iter().zip(&keys).map(|(at, key)| match key {
        Ok(key) => Told::of(at, key, fates.next()),
        Err(why) => Told { at, fate: "refused", kind: None, account: None, user: None, why: why.clone() },
    });
    let report = Report::of(told.collect(), &tried);
    if json {
        print_json(&report)?
    } else {
        print(&report.text())?
    }
    Ok(if report.refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn attempt(settings: &Site, keys: Vec<NewKey>) -> anyhow::Result<Trial> {
    let outcome = match carry_out(settings, Command::TryImport(keys.clone())).await {
        Err(error) if matches!(error.downcast_ref(), Some(StoreError::Missing { .. })) => {
            let folder = tempfile::tempdir()?;
            let mut stand_in = Settings::clone(settings);
            stand_in.store.url = format!("sqlite://{}", folder.path().join("keyward.db").display());
            let stand_in = Site::here(stand_in);
            // So that it is there: a trial makes none.
            carry_out(&stand_in, Command::Import(Vec::new())).await?;
            carry_out(&stand_in, Command::TryImport(keys)).await
        }
        told => told,
    };
    match outcome? {
        Outcome::Tried(tried) => Ok(tried),
        other => Err(unexpected(&other)),
    }
}

#[derive(Serialize)]
struct Report<'a> {
    would_adopt: usize,
    already: usize,
    refused: usize,
    accounts: usize,
    users: usize,
    entries: Vec<Told<'a>>,
}

/// What would become of one entry.
#[derive(Serialize)]
struct Told<'a> {
    at: &'a str,
    fate: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<Kind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<&'a AccountId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a UserId>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    why: Vec<String>,
}

impl<'a> Told<'a> {
    fn of(at: &'a str, key: &'a NewKey, fate: Option<&Fate>) -> Self {
        let (fate, why) = match fate {
            Some(Fate::Adopted) => ("adopt", Vec::new()),
            Some(Fate::Already) => ("already", Vec::new()),
            Some(Fate::Refused(why)) => ("refused", vec![why.clone()]),
            None => ("refused", vec!["the server said nothing of it; is it of another version?".to_owned()]),
        };
        Self { at, fate, kind: Some(key.kind), account: key.account.as_ref(), user: key.user.as_ref(), why }
    }

    /// What is said of it in one line.
    fn text(&self) -> String {
        let fate = match self.fate {
            "adopt" => "would be adopted",
            "already" => "is there already",
            _ => return format!("{}: refused: {}\n", self.at, self.why.join("; ")),
        };
        let kind = self.kind.map_or("", Kind::as_str);
        let user = self.user.map(|user| format!(" of {user}")).unwrap_or_default();
        let account = match (self.kind, self.account) {
            // It is held to none; the account is where its user belongs.
            (Some(Kind::User), _) | (_, None) => String::new(),
            (Some(Kind::Personal), Some(account)) => format!(" in account {account}"),
            (_, Some(account)) => format!(" of account {account}"),
        };
        format!("{}: {fate}, {kind} key{user}{account}\n", self.at)
    }
}

impl<'a> Report<'a> {
    fn of(entries: Vec<Told<'a>>, tried: &Trial) -> Self {
        let count = |fate| entries.iter().filter(|told| told.fate == fate).count();
        let (would_adopt, already, refused) = (count("adopt"), count("already"), count("refused"));
        Self { would_adopt, already, refused, accounts: tried.accounts, users: tried.users, entries }
    }

    fn text(&self) -> String {
        let mut text: String = self.entries.iter().map(Told::text).collect();
        let Self { would_adopt, already, refused, accounts, users, .. } = self;
        text.push_str(&match refused {
            0 => format!(
                "{would_adopt} keys would be adopted, {already} are there already; {accounts} accounts and {users} users would \
                 be made\n"
            ),
            _ => format!(
                "Nothing would be imported: {refused} refused, {would_adopt} sound, {already} there already\n"
            ),
        });
        text
    }
}
