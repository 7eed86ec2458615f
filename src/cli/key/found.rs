//! `keyward key found`: whose secrets are in a text that somebody found.

use std::io::{IsTerminal, Read};

use anyhow::{Context as _, bail};
use serde_json::json;
use zeroize::Zeroizing;

use crate::cli::access::{Access, unexpected};
use crate::cli::output::{cell, key_json, print_list, say};
use crate::cli::settings::Site;
use crate::clock::Clock;
use crate::key::Imprint;
use crate::key::found::secrets;
use crate::keyring::command::{Command, Found, Outcome};
use crate::store;

/// A secret in the text, and whose it is.
struct Row {
    imprint: Imprint,
    found: Option<Found>,
}

pub(super) async fn run(settings: &Site, json: bool) -> anyhow::Result<()> {
    let input = std::io::stdin();
    if input.is_terminal() {
        say("Give the secret, or the text that holds it, and end it with Ctrl-D.");
    }
    let mut text = Zeroizing::new(Vec::new());
    input.lock().take(LONGEST + 1).read_to_end(&mut text).context("standard input cannot be read")?;
    if text.len() as u64 > LONGEST {
        bail!("more than {} MiB are too much to look through; give it in parts", LONGEST >> 20);
    }
    let secrets = secrets(&text);
    if secrets.is_empty() {
        bail!("there is no key in that text: neither one of keyward's form, nor a single word that may be another's");
    }
    let mut access = Access::open(settings, store::Access::Existing).await?;
    let mut rows = Vec::with_capacity(secrets.len());
    for secret in &secrets {
        let imprint = Imprint::of(secret);
        let found = match access.run(Command::FindSecret(imprint.clone())).await? {
            Outcome::Found(found) => found.map(|found| *found),
            other => return Err(unexpected(&other)),
        };
        rows.push(Row { imprint, found });
    }
    access.close().await;
    print(json, &rows)
}

fn print(json: bool, rows: &[Row]) -> anyhow::Result<()> {
    let now = Clock::System.now();
    let columns = ["found", "its state", "key", "state", "kind", "account", "user", "name"];
    print_list(
        json,
        "found",
        rows,
        |Row { imprint, found }| {
            let key = found.as_ref().map(|found| key_json(&found.key, now));
            let (prefix, kid, hint) = (&imprint.prefix, &imprint.kid, &imprint.hint);
            let state = found.as_ref().map(|found| found.secret);
            json!({"prefix": prefix, "kid": kid, "hint": hint, "secret_state": state, "key": key})
        },
        &columns,
        |Row { imprint, found }| {
            let prefix = imprint.prefix.as_ref().map_or_else(String::new, |prefix| format!("{prefix}_"));
            let shown = format!("{prefix}{}…{}", imprint.kid.as_deref().unwrap_or_default(), imprint.hint);
            let Some(Found { key, secret }) = found else { return vec![shown, "unknown".to_owned()] };
            vec![
                shown,
                secret.to_string(),
                key.id.to_string(),
                key.state_at(now).to_owned(),
                key.kind.to_string(),
                cell(key.account.as_ref()),
                cell(key.user.as_ref()),
                key.name.clone(),
            ]
        },
    )
}

const LONGEST: u64 = 16 << 20;
