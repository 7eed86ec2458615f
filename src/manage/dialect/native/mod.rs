//! The native API: what an operator asks in its words, carried out by the keyring.
//!
//! ```text
//!  path, query, body --decode--> Command --keyring::operate--> Outcome | Problem --encode--> answer
//! ```
//!
//! The conversions stand in [`key`], [`directory`], [`audit`], [`once`] and [`query`]; here is which call takes which.

mod audit;
mod directory;
mod key;
mod once;
mod query;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ETAG, IF_NONE_MATCH, LOCATION};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use tokio::runtime::Handle;
use zeroize::Zeroizing;

pub(in crate::manage) use self::directory::Directory;
use self::query::Query;
use crate::clock::{Clock, Timestamp};
use crate::key::token::{self, Prefix};
use crate::key::{Imprint, Key, KeyId, KeyState};
use crate::keyring::command::{By, Command, Outcome, Problem as NotDone};
use crate::keyring::once::{Made, Running, Turn};
use crate::keyring::{Denied, Keyring};
use crate::manage::body::Document;
use crate::manage::caller::Operator;
use crate::manage::problem::{Code, Problem};
use crate::manage::{JSON, answer};
use crate::secret::Secret;

/// What can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::manage) enum Call {
    Describe,
    WhoAmI,
    Verify,
    ListKeys,
    MintKey,
    ShowKey,
    ChangeKey,
    RevokeKey,
    RotateKey,
    CompleteRotation,
    CancelRotation,
    ListAudit,
    Directory(Directory),
}

impl Call {
    /// Whether it reads a body.
    pub(in crate::manage) const fn takes_body(self) -> bool {
        match self {
            Self::Verify | Self::MintKey | Self::ChangeKey | Self::RotateKey => true,
            Self::Directory(call) => call.takes_body(),
            Self::Describe
            | Self::WhoAmI
            | Self::ListKeys
            | Self::ShowKey
            | Self::RevokeKey
            | Self::CompleteRotation
            | Self::CancelRotation
            | Self::ListAudit => false,
        }
    }
}

/// One call, its caller proven.
pub(in crate::manage) struct Asked<'a> {
    pub(in crate::manage) caller: &'a Operator,
    /// The caller, as the keyring is told of them.
    pub(in crate::manage) by: By,
    pub(in crate::manage) path: &'a str,
    /// What stands in the path, decoded once.
    pub(in crate::manage) names: Vec<String>,
    pub(in crate::manage) query: Option<&'a str>,
    pub(in crate::manage) headers: &'a HeaderMap,
    pub(in crate::manage) body: Document,
}

impl Asked<'_> {
    /// The key in the path. What cannot be an id is no key's.
    fn key(&self) -> Result<KeyId, Problem> {
        self.name(0, Code::KeyNotFound)
    }

    fn name<T: std::str::FromStr>(&self, at: usize, missing: Code) -> Result<T, Problem> {
        self.names.get(at).and_then(|name| name.parse().ok()).ok_or_else(|| Problem::new(missing))
    }
}

/// What carries calls out.
#[derive(Clone, Debug)]
pub(in crate::manage) struct Native {
    pub(in crate::manage) keyring: Arc<Keyring>,
    pub(in crate::manage) clock: Clock,
    pub(in crate::manage) control: Handle,
}

impl Native {
    /// Carries a call out. `prefix` is what new secrets begin with where nothing else is said.
    pub(in crate::manage) async fn call(
        &self,
        call: Call,
        asked: Asked<'_>,
        prefix: &Prefix,
    ) -> Result<Response<Full<Bytes>>, Problem> {
        if !matches!(call, Call::ListKeys | Call::ListAudit) {
            // No other has parameters.
            Query::read(asked.query)?.end()?;
        }
        match call {
            Call::Describe => Ok(answer(StatusCode::OK, JSON, OPENAPI)),
            Call::WhoAmI => {
                let key = self.show(&asked, asked.caller.key().clone()).await?;
                Ok(self.key(StatusCode::OK, &key))
            }
            Call::Verify => self.verify(&asked).await,
            Call::ListKeys => {
                let (filter, limit) = key::filter(asked.query)?;
                let keys = expect(self.operate(&asked, Command::ListKeys(filter)).await?, |outcome| match outcome {
                    Outcome::Keys(keys) => Some(keys),
                    _ => None,
                })?;
                Ok(json(StatusCode::OK, &key::Page::of(&keys, limit, self.clock.now())))
            }
            Call::MintKey => self.mint(&asked, prefix).await,
            Call::ShowKey => {
                let key = self.show(&asked, asked.key()?).await?;
                let tag = key::tag(&key.seen());
                if asked.headers.get_all(IF_NONE_MATCH).iter().any(|line| key::names(line, &tag)) {
                    let mut response = Response::new(Full::default());
                    *response.status_mut() = StatusCode::NOT_MODIFIED;
                    return Ok(with(response, ETAG, &tag));
                }
                Ok(self.key(StatusCode::OK, &key))
            }
            Call::ChangeKey => {
                let state = asked.body.parse::<key::Change>()?.state();
                self.changed(&asked, Command::SetKeyState(asked.key()?, state, key::seen(asked.headers))).await
            }
            Call::RevokeKey => {
                let seen = key::seen(asked.headers);
                self.changed(&asked, Command::SetKeyState(asked.key()?, KeyState::Revoked, seen)).await
            }
            Call::RotateKey => self.rotate(&asked, prefix).await,
            Call::CompleteRotation => self.changed_once(&asked, Command::CompleteRotation).await,
            Call::CancelRotation => self.changed_once(&asked, Command::CancelRotation).await,
            Call::ListAudit => {
                let (filter, limit) = audit::filter(asked.query)?;
                let entries =
                    expect(
                        self.operate(&asked, Command::ListAudit(Box::new(filter))).await?,
                        |outcome| match outcome {
                            Outcome::Audit(entries) => Some(entries),
                            _ => None,
                        },
                    )?;
                Ok(json(StatusCode::OK, &audit::Page::of(&entries, limit)))
            }
            Call::Directory(call) => {
                let outcome = self.operate(&asked, call.command(&asked)?).await?;
                directory::encode(call, outcome)
            }
        }
    }

    async fn mint(&self, asked: &Asked<'_>, usual: &Prefix) -> Result<Response<Full<Bytes>>, Problem> {
        let wanted = asked.body.parse::<key::Mint>()?;
        let turn = match self.turn(asked).await? {
            Begun::Again(made) => return self.made_again(asked, made).await,
            Begun::Anew(turn) => turn,
        };
        let (secret, imprint) = new_secret(wanted.prefix.as_ref().unwrap_or(usual))?;
        let id = token::random_id("key_", 16, getrandom::fill).map_err(|_| no_entropy())?;
        let id: KeyId = id.parse().map_err(|_| no_entropy())?;
        let made = Made { key: id.clone(), secret: Some(secret.clone()) };
        let command = Command::MintKey(Box::new(wanted.draft(id, imprint, self.clock.now())?));
        let outcome = self.carry_out(asked, command, turn.map(|turn| (turn, made))).await;
        let key = expect_key(outcome.map_err(key::not_minted)?)?;
        Ok(with_place(self.shown_once(&key, &secret), &key))
    }

    /// Of two who rotate what both have seen, one is told that it was overtaken.
    async fn rotate(&self, asked: &Asked<'_>, usual: &Prefix) -> Result<Response<Full<Bytes>>, Problem> {
        let wanted = asked.body.parse::<key::Rotate>()?;
        // Before what was seen is looked at: who asks again has seen what was there before.
        let turn = match self.turn(asked).await? {
            Begun::Again(made) => return self.made_again(asked, made).await,
            Begun::Anew(turn) => turn,
        };
        let before = self.show(asked, asked.key()?).await?;
        if key::seen(asked.headers).is_some_and(|seen| !seen.contains(&before.seen())) {
            return Err(Problem::new(Code::PreconditionFailed));
        }
        let rotation = wanted.rotation(before.generation)?;
        let prefix = wanted.prefix.as_ref().or(before.prefix.as_ref()).unwrap_or(usual);
        let (secret, imprint) = new_secret(prefix)?;
        let made = Made { key: before.id.clone(), secret: Some(secret.clone()) };
        let command = Command::RotateKey(before.id, imprint, rotation);
        let key = expect_key(self.carry_out(asked, command, turn.map(|turn| (turn, made))).await?)?;
        Ok(self.shown_once(&key, &secret))
    }

    /// Whether a secret is a living key's. It is an answer either way; only our own trouble is none.
    async fn verify(&self, asked: &Asked<'_>) -> Result<Response<Full<Bytes>>, Problem> {
        let wanted = asked.body.parse::<key::Verify>()?;
        let code = match self.keyring.verify(&wanted.secret).await {
            Ok(_) => None,
            Err(Denied::Refused(refusal)) => Some(Code::of(&refusal)),
            Err(Denied::Failed(_)) => return Err(Problem::new(Code::AuthUnavailable)),
        };
        Ok(json(StatusCode::OK, &key::Verdict::of(code)))
    }

    async fn show(&self, asked: &Asked<'_>, id: KeyId) -> Result<Key, Problem> {
        expect_key(self.operate(asked, Command::ShowKey(id)).await?)
    }

    async fn changed(&self, asked: &Asked<'_>, command: Command) -> Result<Response<Full<Bytes>>, Problem> {
        let key = expect_key(self.operate(asked, command).await?)?;
        Ok(self.key(StatusCode::OK, &key))
    }

    async fn operate(&self, asked: &Asked<'_>, command: Command) -> Result<Outcome, Problem> {
        Ok(self.carry_out(asked, command, None).await?)
    }

    /// As [`Self::changed`], for what may come again.
    async fn changed_once(
        &self,
        asked: &Asked<'_>,
        command: impl FnOnce(KeyId) -> Command,
    ) -> Result<Response<Full<Bytes>>, Problem> {
        let id = asked.key()?;
        let turn = match self.turn(asked).await? {
            Begun::Again(made) => return self.made_again(asked, made).await,
            Begun::Anew(turn) => turn,
        };
        let made = Made { key: id.clone(), secret: None };
        let key = expect_key(self.carry_out(asked, command(id), turn.map(|turn| (turn, made))).await?)?;
        Ok(self.key(StatusCode::OK, &key))
    }

    /// Whether the request was carried out before.
    async fn turn(&self, asked: &Asked<'_>) -> Result<Begun, Problem> {
        let Some(once) = once::of(asked)? else { return Ok(Begun::Anew(None)) };
        Ok(match self.keyring.begin(once).await? {
            Turn::First(running) => Begun::Anew(Some(running)),
            Turn::Again(made) => Begun::Again(made),
        })
    }

    /// The answer once more: the same secret, and the key as it is now.
    async fn made_again(&self, asked: &Asked<'_>, made: Made) -> Result<Response<Full<Bytes>>, Problem> {
        let key = self.show(asked, made.key).await?;
        Ok(match made.secret {
            Some(secret) if asked.names.is_empty() => with_place(self.shown_once(&key, &secret), &key),
            Some(secret) => self.shown_once(&key, &secret),
            None => self.key(StatusCode::OK, &key),
        })
    }

    /// In a task of its own, for a client that leaves ends what answers it, and not what it began.
    async fn carry_out(
        &self,
        asked: &Asked<'_>,
        command: Command,
        turn: Option<(Running, Made)>,
    ) -> Result<Outcome, NotDone> {
        let (keyring, by) = (Arc::clone(&self.keyring), asked.by.clone());
        let task = self.control.spawn(async move {
            match turn {
                Some((running, made)) => keyring.operate_once(&by, command, running, &made).await,
                None => keyring.operate(&by, command).await,
            }
        });
        task.await.unwrap_or_else(|_| Err(NotDone::Unavailable("keyward is stopping".to_owned())))
    }

    fn key(&self, status: StatusCode, key: &Key) -> Response<Full<Bytes>> {
        let body = key::Shown { key: key::Body::of(key, self.clock.now()) };
        with(json(status, &body), ETAG, &key::tag(&key.seen()))
    }

    fn shown_once(&self, key: &Key, secret: &Secret) -> Response<Full<Bytes>> {
        let now: Timestamp = self.clock.now();
        let body = key::Made { key: key::Body::of(key, now), secret: secret.expose_str().unwrap_or_default() };
        with(json(StatusCode::CREATED, &body), ETAG, &key::tag(&key.seen()))
    }
}

/// Whether a request comes for the first time, and under a name.
enum Begun {
    Anew(Option<Running>),
    Again(Made),
}

/// The description, by hand; a test holds it to the routes and the catalogue.
const OPENAPI: &str = include_str!("openapi.json");

fn new_secret(prefix: &Prefix) -> Result<(Secret, Imprint), Problem> {
    token::mint(prefix, getrandom::fill).map_err(|_| no_entropy())
}

fn no_entropy() -> Problem {
    tracing::error!("the system gives no random bytes");
    Problem::new(Code::StoreUnavailable)
}

fn expect_key(outcome: Outcome) -> Result<Key, Problem> {
    expect(outcome, |outcome| match outcome {
        Outcome::Key(key) => Some(*key),
        _ => None,
    })
}

/// The one kind of outcome that a command has.
fn expect<T>(outcome: Outcome, wanted: impl FnOnce(Outcome) -> Option<T>) -> Result<T, Problem> {
    wanted(outcome).ok_or_else(|| Problem::new(Code::StoreUnavailable))
}

/// Wiped once it is sent, as far as it is ours: some hold a secret. The room is taken at once, since a buffer that grows
/// leaves copies behind; an answer with a secret is smaller.
fn json(status: StatusCode, body: &impl Serialize) -> Response<Full<Bytes>> {
    let mut text = Zeroizing::new(Vec::with_capacity(16 * 1024));
    // What is written is ours, and a vector takes all of it.
    let _ = serde_json::to_writer(&mut *text, body);
    answer(status, JSON, Bytes::from_owner(text))
}

/// Where a key that was made is.
fn with_place(response: Response<Full<Bytes>>, key: &Key) -> Response<Full<Bytes>> {
    with(response, LOCATION, &format!("/v1/keys/{}", key.id))
}

fn with(mut response: Response<Full<Bytes>>, name: http::HeaderName, value: &str) -> Response<Full<Bytes>> {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}
