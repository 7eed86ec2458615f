//! Paths at which keyward itself answers the holders of keys, beside those that are forwarded. Who answers is handed in by
//! `app`; here is what the gateway has found out by then: whose key it is, whether it lives, and whether it may come from
//! where it comes.

use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;

use bytes::Bytes;
use http::header::USER_AGENT;
use http::{HeaderValue, Response, StatusCode, request};
use http_body_util::Full;

use super::asked::Asked;
pub use super::body::ClientBody;
use super::credential;
use super::forward::tell_holder;
use super::live::Live;
use super::refuse::{self, Ours, Stop};
use super::{Gateway, Record};
use crate::key::{Ask, Refusal, Standing, Verified, grant};
use crate::keyring::{Caller, Denied};
use crate::secret::Secret;

/// Answers holders of keys. Its parts are its wire forms, each under a name for logs and metrics.
pub trait SelfService: fmt::Debug + Send + Sync {
    /// The parts' names.
    fn parts(&self) -> Vec<&'static str>;

    /// The part that answers at this host and path, whatever the method. Asked of every request.
    fn part(&self, host: &str, path: &str) -> Option<usize>;

    /// Whether that part answers whoever asks, so that no key is looked for.
    fn is_open(&self, part: usize) -> bool;

    /// Answers one request.
    fn answer<'a>(&'a self, call: Call<'a>) -> Answering<'a>;

    /// How a refusal reads to clients that expect the words of one of the parts at this host and path, where they do.
    fn word(&self, host: &str, path: &str, refused: &Refused<'_>) -> Option<Response<Full<Bytes>>>;
}

/// An answer on its way.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Response<Full<Bytes>>> + 'a>>;

/// One request of a holder.
pub struct Call<'a> {
    /// The part that answers it.
    pub part: usize,
    /// Its canonical head, without the credential.
    pub head: request::Parts,
    /// Its body; what is not taken is read by the gateway.
    pub body: &'a mut Option<ClientBody>,
    /// Where it comes from.
    pub client: IpAddr,
    /// Its id.
    pub request_id: &'a str,
    /// What it presented.
    pub secret: Option<Secret>,
    /// Whose that is, also where it is refused.
    pub whose: Option<Verified>,
    /// Whose that is, or why it is refused.
    pub verdict: Result<Verified, Denied>,
}

/// A request that the gateway refuses.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    /// The status of the answer.
    pub status: StatusCode,
    /// The code of the catalogue.
    pub code: &'static str,
    /// The caller's matter, where it is that.
    pub refusal: Option<&'a Refusal>,
    /// Whose key it is, where that was found out.
    pub whose: Option<&'a Standing>,
    /// Where it comes from.
    pub client: IpAddr,
}

impl Gateway {
    /// Answers a request at one of these paths; any other is handed back.
    pub(super) async fn served(
        &self,
        live: &Live,
        asked: Box<Asked>,
        body: &mut Option<ClientBody>,
        record: &mut Record,
    ) -> Result<Box<Asked>, Ours> {
        let generation = live.generation();
        let Some(service) = &generation.self_service else { return Ok(asked) };
        let Some(part) = service.part(asked.host(), asked.head.uri.path()) else { return Ok(asked) };
        record.falls_under(generation.plan.routes.len() + part);
        // A rule of the settings that names the path as well may say that its time is over.
        let (host, method, path) = (asked.host(), &asked.head.method, asked.head.uri.path());
        let rule = generation.plan.routes.iter().find(|route| route.matches(host, method, path));
        let retirement = rule.and_then(|rule| rule.retirement.as_deref());
        let Asked { mut head, client, at_least, .. } = *asked;
        let client = client.address;
        let is_open = service.is_open(part);
        let mut whose = None;
        let (secret, verdict) = match credential::take(&mut head.headers, &generation.plan.carriers) {
            _ if is_open => (None, Err(Refusal::KeyRequired.into())),
            Ok(credential) => {
                let agent = head.headers.get(USER_AGENT).map_or(&b""[..], HeaderValue::as_bytes);
                let route = generation.name(generation.plan.routes.len() + part).unwrap_or_default();
                let caller = Caller { address: client, agent, route, account: None };
                let verdict = self.verdict(live, (&credential.secret, at_least), &caller, record, &mut whose).await;
                (Some(credential.secret), verdict)
            }
            Err(refusal) => (None, Err(refusal.into())),
        };
        record.answered_here(verdict.as_ref().err().filter(|_| !is_open));
        let verified = verdict.as_ref().ok().cloned();
        let call = Call { part, head, body, client, request_id: record.id().as_str(), secret, whose, verdict };
        let mut answer = service.answer(call).await;
        if let Some(verified) = verified {
            let headers = answer.headers_mut();
            if let Some(retirement) = retirement {
                let own = verified.standing().account.as_ref();
                retirement.tell(headers, own.map(|(account, _)| account));
            }
            tell_holder(headers, &verified, generation.plan.expiry_notice, &generation.plan.user_keys);
        }
        Err(Ours::Answer(Box::new(answer)))
    }

    /// Whose secret it is, if it lives and may come from there.
    async fn verdict(
        &self,
        live: &Live,
        (secret, at_least): (&Secret, Option<u64>),
        caller: &Caller<'_>,
        record: &mut Record,
        whose: &mut Option<Verified>,
    ) -> Result<Verified, Denied> {
        let verified = self.verified(secret, at_least).await?;
        *whose = Some(verified.clone());
        record.by(&verified);
        live.generation().plan.user_keys.judge(&verified)?;
        grant(&verified, &Ask { client: caller.address, account: None, permission: None })?;
        self.keyring.used(&verified, secret, caller);
        Ok(verified)
    }
}

impl Live {
    /// A refusal in the words that clients at this path expect.
    pub(super) fn worded(&self, asked: &Asked, stop: Stop, whose: Option<&Verified>) -> Ours {
        let generation = self.generation();
        let Some(service) = &generation.self_service else { return Ours::Stop(stop) };
        let (status, code) = refuse::status_and_code(&stop, generation.plan.mismatch);
        let refusal = match &stop {
            Stop::Refused(refusal) => Some(refusal),
            _ => None,
        };
        let refused =
            Refused { status, code, refusal, whose: whose.map(Verified::standing), client: asked.client.address };
        match service.word(asked.host(), asked.head.uri.path(), &refused) {
            Some(mut answer) => {
                if let Stop::Gone(told) = &stop {
                    answer.headers_mut().extend(*told.clone());
                }
                Ours::Worded(stop, Box::new(answer))
            }
            None => Ours::Stop(stop),
        }
    }
}
