//! A replica that is asked, over a few connections of its own, at a bounded rate.

use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1::SendRequest;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::said::Said;
use super::tally::Tally;
use crate::cli::dial::{Dialer, Url};
use crate::clock::{BootTime, Clock};
use crate::secret::Secret;

/// How a key is carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    Bearer,
    Token,
    Header(HeaderName),
}

impl FromStr for Carrier {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "bearer" => Ok(Self::Bearer),
            "token" => Ok(Self::Token),
            _ => {
                let name = text.strip_prefix("header:").and_then(|name| name.parse().ok());
                name.map(Self::Header).ok_or_else(|| "give bearer, token or header:NAME".to_owned())
            }
        }
    }
}

impl Carrier {
    fn line(&self, secret: &Secret) -> anyhow::Result<(HeaderName, HeaderValue)> {
        let (name, scheme) = match self {
            Self::Bearer => (AUTHORIZATION, "Bearer "),
            Self::Token => (AUTHORIZATION, "Token "),
            Self::Header(name) => (name.clone(), ""),
        };
        let mut line = Zeroizing::new(scheme.as_bytes().to_vec());
        line.extend_from_slice(secret.expose());
        let mut line = HeaderValue::from_bytes(&line)?;
        line.set_sensitive(true);
        Ok((name, line))
    }
}

/// What every replica is asked, but for the key.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) path: PathAndQuery,
    pub(super) headers: HeaderMap,
    pub(super) carrier: Carrier,
}

/// One replica.
pub(super) struct Replica {
    pub(super) url: Url,
    pub(super) dialer: Dialer,
    pub(super) question: Arc<Question>,
}

/// A connection to it; none before the first request, and after one that failed.
type Lane = Option<SendRequest<Empty<Bytes>>>;

impl Replica {
    /// Whether it refuses who has no key. Where it does not, what it answers says nothing of a key.
    pub(super) async fn refuses_strangers(&self) -> Result<(), String> {
        match self.ask(&mut None, None).await.1 {
            Said::Refused(_) => Ok(()),
            Said::Accepted => Err("who has no key is not refused there: give another --path".to_owned()),
            Said::Unclear(why) => Err(why),
        }
    }

    /// Asks once; when the request began, before its first byte left, and what came of it.
    async fn ask(&self, lane: &mut Lane, secret: Option<&Secret>) -> (BootTime, Said) {
        let clock = Clock::System;
        let free = lane.take().filter(|sender| !sender.is_closed() && sender.is_ready());
        let mut sender = match free {
            Some(sender) => sender,
            None => match self.dialer.dial(&self.url).await {
                Ok(sender) => sender,
                Err(error) => return (clock.boot(), Said::Unclear(format!("{error:#}"))),
            },
        };
        let start = clock.boot();
        match timeout(PATIENCE, self.answer(&mut sender, secret)).await {
            Ok(Ok(said)) => {
                *lane = Some(sender);
                (start, said)
            }
            Ok(Err(error)) => (start, Said::Unclear(format!("{error:#}"))),
            Err(_) => (start, Said::Unclear(format!("no answer within {PATIENCE:?}"))),
        }
    }

    async fn answer(&self, sender: &mut SendRequest<Empty<Bytes>>, secret: Option<&Secret>) -> anyhow::Result<Said> {
        let Question { path, headers, carrier } = &*self.question;
        let mut request = self.url.request(path.as_str()).body(Empty::new())?;
        for (name, value) in headers {
            request.headers_mut().insert(name.clone(), value.clone());
        }
        if let Some((name, line)) = secret.map(|secret| carrier.line(secret)).transpose()? {
            request.headers_mut().insert(name, line);
        }
        let response = sender.send_request(request).await.context("no HTTP answer")?;
        let status = response.status();
        // All of it, so that the connection can be used again; what is longer ends it.
        let body = Limited::new(response.into_body(), LONGEST).collect().await;
        Ok(Said::of(status, &body.map(|body| body.to_bytes()).unwrap_or_default()))
    }
}

/// A replica that is being asked, until this is dropped or ended.
pub(super) struct Asking {
    tally: Arc<Mutex<Tally>>,
    end: CancellationToken,
    lanes: JoinSet<()>,
}

impl Asking {
    /// Asks so often in a second, with this key.
    pub(super) fn begin(replica: &Arc<Replica>, secret: &Secret, rate: u32) -> Self {
        let (tally, end, mut lanes) = (Arc::new(Mutex::default()), CancellationToken::new(), JoinSet::new());
        let period = Duration::from_secs(1) * LANES / rate;
        for at in 0..LANES {
            let (replica, secret, tally, end) = (Arc::clone(replica), secret.clone(), Arc::clone(&tally), end.clone());
            lanes.spawn(async move {
                // They take turns.
                sleep(period * at / LANES).await;
                let mut turns = interval(period);
                turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
                let (mut lane, mut good) = (None, 0);
                loop {
                    tokio::select! {
                        () = end.cancelled() => return,
                        _ = turns.tick() => {}
                    }
                    let (start, said) = replica.ask(&mut lane, Some(&secret)).await;
                    let mut tally = lock(&tally);
                    good += u32::from(said == Said::Accepted);
                    if said == Said::Accepted && good == WARM {
                        tally.warm += 1;
                    }
                    tally.note(start, said);
                }
            });
        }
        Self { tally, end, lanes }
    }

    pub(super) fn tally(&self) -> MutexGuard<'_, Tally> {
        lock(&self.tally)
    }

    /// Whether every connection has had the key accepted.
    pub(super) fn is_warm(&self) -> bool {
        self.tally().warm >= LANES as usize
    }

    /// Ends it; what is still on its way is waited for, and counts.
    pub(super) async fn ended(mut self) -> Tally {
        self.end.cancel();
        while self.lanes.join_next().await.is_some() {}
        self.tally().clone()
    }
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Connections to a replica: a slow answer over one leaves the others, and each of its threads may have one.
const LANES: u32 = 4;
/// So often a key is accepted over a connection before it counts as remembered.
const WARM: u32 = 2;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest answer that is read to its end.
const LONGEST: usize = 1 << 20;
