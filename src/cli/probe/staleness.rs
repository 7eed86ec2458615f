//! One run: a key is made, used everywhere, revoked, and used on.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::ask::{Asking, Replica};
use super::tally::Verdict;
use super::told::{Revoked, Row, Run};
use crate::cli::access::Access;
use crate::cli::key::bare_key;
use crate::cli::output::say;
use crate::cli::sentence;
use crate::cli::settings::Site;
use crate::clock::{BootTime, Clock};
use crate::key::{AccountId, KeyId, KeyState, Kind, Permissions};
use crate::keyring::command::{Command, NewKey};
use crate::secret::Secret;
use crate::store;

/// What is measured, and how.
pub(super) struct Probe {
    pub(super) site: Site,
    pub(super) replicas: Vec<Arc<Replica>>,
    pub(super) account: Option<AccountId>,
    pub(super) permissions: Permissions,
    pub(super) rate: u32,
    pub(super) settle: Duration,
    pub(super) at_most: Duration,
}

/// Somebody wanted it to end before it was done.
#[derive(Debug, thiserror::Error)]
#[error("stopped before it was done")]
pub(super) struct Stopped;

/// A replica in one run.
enum Watched {
    /// It is not asked, and why.
    Unfit(String),
    /// It is.
    Asked(Asking),
    /// It is too, and did not accept the key before it was revoked.
    Cold(Asking, String),
}

impl Probe {
    /// Measures once. The key is revoked whatever comes between, but for a process that is killed: then it expires.
    pub(super) async fn measure(&self, stop: &mut mpsc::Receiver<()>) -> anyhow::Result<Run> {
        let fit = tokio::select! {
            fit = self.fit() => fit,
            _ = stop.recv() => return Err(Stopped.into()),
        };
        if let (Some(Err(why)), true) = (fit.first(), fit.iter().all(Result::is_err)) {
            bail!("{}: {why}", self.replicas[0].url);
        }
        let mut access = Access::open(&self.site, store::Access::Existing).await?;
        let (key, secret) = self.mint(&mut access).await?;
        let asked = |(replica, fit): (_, Result<(), String>)| match fit {
            Ok(()) => Watched::Asked(Asking::begin(replica, &secret, self.rate)),
            Err(why) => Watched::Unfit(why),
        };
        let mut watched: Vec<Watched> = self.replicas.iter().zip(fit).map(asked).collect();
        let revoked = match warm(&mut watched, stop).await {
            Ok(()) => revoke(&mut access, &key).await,
            Err(error) => Err(error),
        };
        access.close().await;
        if revoked.is_err() {
            self.clean_up(&key, stop).await;
        }
        let revoked = revoked?;
        self.settled(&watched, revoked.answered, stop).await?;
        let mut rows = Vec::with_capacity(watched.len());
        for (replica, watched) in self.replicas.iter().zip(watched) {
            rows.push(self.row(replica, watched).await);
        }
        Ok(Run { key, revoked, rows })
    }

    /// Which replicas can be told from.
    async fn fit(&self) -> Vec<Result<(), String>> {
        let asked: Vec<_> = self
            .replicas
            .iter()
            .cloned()
            .map(|one| tokio::spawn(async move { one.refuses_strangers().await }))
            .collect();
        let mut fit = Vec::with_capacity(asked.len());
        for one in asked {
            fit.push(one.await.unwrap_or_else(|ended| Err(ended.to_string())));
        }
        fit
    }

    async fn mint(&self, access: &mut Access) -> anyhow::Result<(KeyId, Secret)> {
        let account = match &self.account {
            Some(account) => account.clone(),
            None => {
                let own: AccountId = OWN_ACCOUNT.parse()?;
                if access.run(Command::ShowAccount(own.clone())).await.is_err() {
                    access.run(Command::CreateAccount(own.clone(), "keyward probe".parse().ok())).await?;
                }
                own
            }
        };
        let now = Clock::System.now();
        let (bare, secret) = bare_key(&self.site.keys.prefix, Kind::Service)?;
        let id = bare.id.clone();
        let key = NewKey {
            account: Some(account),
            name: format!("probe {now}"),
            permissions: self.permissions.clone(),
            expires_at: Some(now.plus((WARM + MARGIN).saturating_add(self.at_most))),
            ..bare
        };
        if let Err(error) = access.run(Command::MintKey(Box::new(key))).await {
            // It may have been made all the same.
            let _ = access.run(Command::SetKeyState(id, KeyState::Revoked, None)).await;
            return Err(error.context("the probe's key could not be made"));
        }
        Ok((id, secret))
    }

    /// Waits until each replica has refused for a while, or for as long as is waited at most.
    async fn settled(
        &self,
        watched: &[Watched],
        answered: BootTime,
        stop: &mut mpsc::Receiver<()>,
    ) -> Result<(), Stopped> {
        let asked =
            || watched.iter().filter_map(|one| if let Watched::Asked(asking) = one { Some(asking) } else { None });
        asked().for_each(|asking| asking.tally().answered(answered));
        loop {
            pause(stop).await?;
            let now = Clock::System.boot();
            if now.since(answered) >= self.at_most || asked().all(|asking| asking.tally().is_settled(now, self.settle))
            {
                return Ok(());
            }
        }
    }

    async fn row(&self, replica: &Replica, watched: Watched) -> Row {
        let url = replica.url.to_string();
        match watched {
            Watched::Unfit(why) => {
                Row { url, tally: Default::default(), verdict: Verdict::Unknown(why), is_over: true }
            }
            Watched::Cold(asking, why) => {
                let verdict = Verdict::Unknown(format!("it did not accept the key in {WARM:?}: {why}"));
                Row { url, tally: asking.ended().await, verdict, is_over: true }
            }
            Watched::Asked(asking) => {
                let is_over = asking.tally().is_settled(Clock::System.boot(), self.settle);
                let tally = asking.ended().await;
                Row { url, verdict: tally.verdict(), tally, is_over }
            }
        }
    }

    /// Revokes the key, over a way of its own: the other may have ended in the middle of something.
    async fn clean_up(&self, key: &KeyId, stop: &mut mpsc::Receiver<()>) {
        let again = async {
            let mut access = Access::open(&self.site, store::Access::Existing).await?;
            let revoked = access.run(Command::SetKeyState(key.clone(), KeyState::Revoked, None)).await;
            access.close().await;
            revoked
        };
        let told = tokio::select! {
            revoked = again => revoked.err().map(|error| sentence(&error)),
            _ = stop.recv() => Some(Stopped.to_string()),
        };
        if let Some(why) = told {
            say(&format!("The probe's key, {key}, was not revoked; it expires within minutes: {why}"));
        }
    }
}

/// Waits until every replica that is asked has accepted the key over every connection; those that do not are cold.
async fn warm(watched: &mut [Watched], stop: &mut mpsc::Receiver<()>) -> anyhow::Result<()> {
    let began = Clock::System.boot();
    let is_warm = |one: &Watched| !matches!(one, Watched::Asked(asking) if !asking.is_warm());
    while !watched.iter().all(is_warm) && Clock::System.boot().since(began) < WARM {
        pause(stop).await?;
    }
    for one in watched.iter_mut() {
        let unfit = Watched::Unfit(String::new());
        *one = match std::mem::replace(one, unfit) {
            Watched::Asked(asking) if !asking.is_warm() => {
                let why = asking.tally().reason("it did not answer");
                Watched::Cold(asking, why)
            }
            other => other,
        };
    }
    let cold = watched.iter().find_map(|one| if let Watched::Cold(_, why) = one { Some(why) } else { None });
    match cold {
        Some(why) if !watched.iter().any(|one| matches!(one, Watched::Asked(_))) => {
            bail!("no replica accepted the key in {WARM:?}: {why}")
        }
        _ => Ok(()),
    }
}

/// Revokes the key, and waits until that is answered.
async fn revoke(access: &mut Access, key: &KeyId) -> anyhow::Result<Revoked> {
    let clock = Clock::System;
    let sent = clock.boot();
    let revoked = access.change(Command::SetKeyState(key.clone(), KeyState::Revoked, None), Duration::MAX).await;
    let (_, receipt) = revoked.context("the probe's key could not be revoked")?;
    Ok(Revoked { sent, answered: clock.boot(), receipt })
}

async fn pause(stop: &mut mpsc::Receiver<()>) -> Result<(), Stopped> {
    tokio::select! {
        () = sleep(PAUSE) => Ok(()),
        _ = stop.recv() => Err(Stopped),
    }
}

/// The account whose key is made where none is named.
const OWN_ACCOUNT: &str = "keyward-probe";
/// How long replicas may take to accept a new key.
const WARM: Duration = Duration::from_secs(10);
/// For how much longer than a run may take its key lives.
const MARGIN: Duration = Duration::from_secs(180);
/// How often is looked how far things are.
const PAUSE: Duration = Duration::from_millis(20);
