//! Secrets that somebody found where they should not be, and what is done about them.
//!
//! ```text
//!  GitHub --signed batch--> github (signature) --.
//!  anybody --a text-------> found (rate) --------+--> whose is it? --policy--> alert | revoke
//! ```
//!
//! Both doors are open to strangers, so neither says whether a key is alive. Who brings a text is always told the same, before
//! anything is looked up; GitHub, which proves who it is, is told which secrets are ours, as it asks to be.

mod github;
pub(super) mod tally;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, request};
use http_body::Body;
use http_body_util::Full;
use zeroize::Zeroizing;

use self::github::{Keys, Matches};
use self::tally::Fate;
use super::body::read_whole;
use super::config::{LeakPolicy, LeaksConfig};
use super::desk::{Hand, unexpected};
use super::dialect::native::json;
use super::problem::{Code, Problem};
use super::routes::{Right, Route, To, find_in};
use crate::flaw::Flaw;
use crate::key::found::secrets;
use crate::key::{Imprint, KeyState};
use crate::keyring::command::{By, Clash, Command, Found, Outcome, Problem as NotDone, Who};
use crate::secret::Secret;

/// What can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    GitHub,
    Found,
}

/// The table, below a path of the settings.
pub(super) const ROUTES: &[Route<Call>] = &[
    Route { path: "/v1/leaks/github", right: Right::Anyone, rows: &[(Method::POST, Call::GitHub)] },
    Route { path: "/v1/leaks/found", right: Right::Anyone, rows: &[(Method::POST, Call::Found)] },
];

/// What the settings say of it.
#[derive(Debug)]
pub(super) struct Leaks {
    /// What stands before the paths of the table.
    base: String,
    github: Option<Keys>,
    policy: LeakPolicy,
    rate: u32,
}

impl Leaks {
    /// None where they switch nothing on.
    ///
    /// # Errors
    /// GitHub's keys cannot be read.
    pub(super) fn new(said: &LeaksConfig) -> Result<Option<Self>, Flaw> {
        let LeaksConfig { path, github_keys_file, policy, reports_per_second } = said;
        if path.is_empty() {
            return Ok(None);
        }
        let github = github_keys_file.as_deref().map(Keys::read).transpose();
        let github = github.map_err(|message| Flaw::new("leaks.github_keys_file", message))?;
        Ok(Some(Self { base: path.clone(), github, policy: *policy, rate: *reports_per_second }))
    }

    /// Whether this path is answered here.
    pub(super) fn has(&self, path: &str) -> bool {
        let rest = path.strip_prefix(self.base.as_str()).and_then(|rest| rest.strip_prefix("/v1/leaks"));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Answers one request, whoever sends it.
    pub(super) async fn answer<B>(
        self: &Arc<Self>,
        hand: &Hand,
        client: IpAddr,
        request_id: &str,
        head: &request::Parts,
        body: &mut Option<B>,
    ) -> Result<Response<Full<Bytes>>, Problem>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let path = head.uri.path().strip_prefix(self.base.as_str()).unwrap_or_default();
        let (_, to) = find_in(ROUTES, path, &head.method).ok_or_else(|| Problem::new(Code::RouteNotFound))?;
        let call = match to? {
            To::Options(methods) => return Ok(super::options(&methods)),
            To::Row { row, .. } => row,
        };
        let by = By { who: Who::Keyward, address: Some(client), request_id: Some(request_id.into()) };
        let desk = Desk { leaks: Arc::clone(self), hand: hand.clone(), by };
        match call {
            Call::GitHub => self.github(desk, &head.headers, body).await,
            Call::Found => self.found(desk, body).await,
        }
    }

    async fn github<B>(
        &self,
        desk: Desk,
        headers: &HeaderMap,
        body: &mut Option<B>,
    ) -> Result<Response<Full<Bytes>>, Problem>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let tally = Arc::clone(&desk.hand.leaks);
        let keys = self.github.as_ref().ok_or_else(|| Problem::new(Code::RouteNotFound))?;
        let unsigned = || {
            tally.unsigned();
            Problem::new(Code::SignatureInvalid)
        };
        // Before its body takes up room: a signature by nobody we know needs none.
        let signed = keys.signature(headers).ok_or_else(unsigned)?;
        let _room = tally.room().ok_or_else(limited)?;
        let text = whole(body, LONGEST_BATCH).await?;
        if !signed.covers(&text) {
            return Err(unsigned());
        }
        let matches = Matches::parse(&text)?;
        // In a task of its own: a client that leaves ends what answers it, and not what it began.
        let task = desk.hand.control.clone().spawn(async move { desk.judge(&matches).await });
        match task.await {
            Ok(labels) => Ok(json(StatusCode::OK, &labels?)),
            Err(_) => Err(Problem::new(Code::StoreUnavailable)),
        }
    }

    async fn found<B>(&self, desk: Desk, body: &mut Option<B>) -> Result<Response<Full<Bytes>>, Problem>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let tally = Arc::clone(&desk.hand.leaks);
        let room = tally.room().filter(|_| tally.takes(desk.hand.clock.boot(), self.rate)).ok_or_else(limited)?;
        let text = whole(body, LONGEST_TEXT).await?;
        // The answer waits for none of it: neither its words nor its time shall tell what a secret is worth.
        desk.hand.control.clone().spawn(async move {
            let _room = room;
            for secret in secrets(&text).iter().take(MOST_SECRETS) {
                if let Err(problem) = desk.report(secret, "finder", None).await {
                    tracing::error!(error = %problem, "a secret was reported as found, and nothing was done about it");
                }
            }
        });
        let mut taken = Response::new(Full::default());
        *taken.status_mut() = StatusCode::ACCEPTED;
        Ok(taken)
    }
}

/// One report at it.
struct Desk {
    leaks: Arc<Leaks>,
    hand: Hand,
    by: By,
}

impl Desk {
    async fn judge(&self, matches: &Matches) -> Result<Vec<github::Label>, Problem> {
        let mut labels = Vec::with_capacity(matches.0.len());
        for one in &matches.0 {
            let fate = self.report(&one.token, "github", Some(&one.url)).await?;
            labels.push(one.label(fate != Fate::Unknown));
        }
        Ok(labels)
    }

    /// Does with a found secret what the policy says.
    async fn report(&self, secret: &Secret, source: &str, place: Option<&str>) -> Result<Fate, NotDone> {
        let fate = self.carry_out(secret, source, place).await;
        self.hand.leaks.count(fate.as_ref().ok().copied());
        fate
    }

    async fn carry_out(&self, secret: &Secret, source: &str, place: Option<&str>) -> Result<Fate, NotDone> {
        let keyring = &self.hand.keyring;
        let found = match keyring.operate(&self.by, Command::FindSecret(Imprint::of(secret))).await? {
            Outcome::Found(Some(found)) => found,
            Outcome::Found(None) => return Ok(Fate::Unknown),
            _ => return Err(NotDone::Unavailable("an answer that was not asked for".to_owned())),
        };
        if !found.is_good() {
            return Ok(Fate::Dead);
        }
        let Found { key, secret } = *found;
        keyring.note_leak(&self.by, &key.id, source).await;
        let fate = match self.leaks.policy {
            LeakPolicy::Alert => Fate::Alerted,
            LeakPolicy::Revoke => {
                // Nobody is told when that is true everywhere, and the next one that was found is not to wait for it.
                match keyring.commit(&self.by, Command::SetKeyState(key.id.clone(), KeyState::Revoked, None)).await {
                    Ok(_) => Fate::Revoked,
                    // Somebody was quicker.
                    Err(NotDone::Conflict(Clash::State, _)) => Fate::Dead,
                    Err(problem) => return Err(problem),
                }
            }
        };
        tracing::warn!(
            key = %key.id,
            kid = key.kid,
            kind = %key.kind,
            account = key.account.as_ref().map(ToString::to_string),
            user = key.user.as_ref().map(ToString::to_string),
            secret.state = %secret,
            source,
            place,
            client.address = self.by.address.map(|address| address.to_string()),
            request.id = self.by.request_id.as_deref(),
            fate = fate.as_str(),
            "a secret was found in the open"
        );
        Ok(fate)
    }
}

async fn whole<B>(body: &mut Option<B>, longest: u64) -> Result<Zeroizing<Vec<u8>>, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    match body.take() {
        Some(body) => read_whole(body, longest).await,
        None => Err(unexpected()),
    }
}

fn limited() -> Problem {
    Problem::new(Code::RateLimited)
}

const LONGEST_TEXT: u64 = 64 * 1024;
const LONGEST_BATCH: u64 = 1024 * 1024;
/// Of one text. Each costs a look-up, and strangers bring them.
const MOST_SECRETS: usize = 20;
