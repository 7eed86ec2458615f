//! What the holders of keys ask about their keys, on the clients' own listeners: below a path of the settings in the native
//! form, and where a vendor's clients look for it in that vendor's.
//!
//! ```text
//!  the gateway: verdict -> part (by host and path) -> Holder (proof) -> desk -> the part's own form
//! ```
//!
//! The gateway has verified the key by then, so that there is one decision behind every door. A part is wire only; what a
//! holder may stands in `holder`.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, Method, Response, StatusCode, request};
use http_body::Body;
use http_body_util::Full;

use super::body::Document;
use super::caller::{self, Caller};
use super::config::{DialectsConfig, LeaksConfig, SelfServiceConfig};
use super::desk::{Desk, Hand, unexpected};
use super::dialect::native::{self, Asked, THEIRS, once};
use super::dialect::vultr;
use super::holder::Holder;
use super::leaks::Leaks;
use super::problem::{Code, Problem};
use super::routes::{To, find_in};
use super::{Manner, options};
use crate::flaw::Flaw;
use crate::key::token::Prefix;
use crate::key::{Refusal, Verified};
use crate::keyring::Denied;
use crate::keyring::command::{By, Command, Outcome, Problem as NotDone, Who};
use crate::keyring::once::{Made, Once};
use crate::secret::Secret;

/// Answers holders.
#[derive(Debug)]
pub struct SelfService {
    hand: Hand,
    manner: Manner,
    parts: Vec<Part>,
}

/// A wire form, and where it is spoken.
#[derive(Debug)]
struct Part {
    /// At any host where empty.
    hosts: Vec<String>,
    form: Form,
}

#[derive(Debug)]
enum Form {
    /// Everything below this path.
    Native(String),
    /// Reports of found secrets.
    Leaks(Arc<Leaks>),
    /// With secrets that begin so.
    Vultr(Prefix),
}

/// One request of a holder.
#[derive(Debug)]
pub struct Call<'a, B> {
    /// The part that answers it.
    pub part: usize,
    /// Its head, without the credential.
    pub head: request::Parts,
    /// Its body; what is left in place was not read.
    pub body: &'a mut Option<B>,
    /// Where it comes from.
    pub client: IpAddr,
    /// Its id.
    pub request_id: &'a str,
    /// What it presented.
    pub secret: Option<Secret>,
    /// Whose that is, or why it is refused.
    pub verdict: Result<Verified, Denied>,
}

/// A refusal of the gateway's.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    /// The status of the answer.
    pub status: StatusCode,
    /// The code of the catalogue.
    pub code: &'static str,
    /// The caller's matter, where it is that.
    pub refusal: Option<&'a Refusal>,
    /// Where it comes from.
    pub client: IpAddr,
}

impl SelfService {
    /// What these settings switch on; nothing by default.
    ///
    /// # Errors
    /// Every flaw of `self_service`, `dialects` and `leaks`.
    pub fn new(
        hand: Hand,
        manner: Manner,
        said: &SelfServiceConfig,
        dialects: &DialectsConfig,
        leaks: &LeaksConfig,
    ) -> Result<Option<Self>, Vec<Flaw>> {
        let parts = parts(said, dialects, leaks)?;
        Ok((!parts.is_empty()).then_some(Self { hand, manner, parts }))
    }

    /// The parts' names.
    #[must_use]
    pub fn parts(&self) -> Vec<&'static str> {
        self.parts.iter().map(|part| part.form.name()).collect()
    }

    /// The part that answers at this host and path.
    #[must_use]
    pub fn part(&self, host: &str, path: &str) -> Option<usize> {
        self.parts.iter().position(|part| part.form.has(path) && part.is_at(host))
    }

    /// Whether that part answers whoever asks.
    #[must_use]
    pub fn is_open(&self, part: usize) -> bool {
        self.parts.get(part).is_some_and(|part| matches!(part.form, Form::Leaks(_)))
    }

    /// Answers one request.
    pub async fn answer<B>(&self, call: Call<'_, B>) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let Some(Part { form, .. }) = self.parts.get(call.part) else { return Response::default() };
        let (client, request_id) = (call.client, call.request_id);
        let answer = self.judged(form, call).await;
        let mut answer = answer.unwrap_or_else(|problem| match form {
            Form::Native(_) | Form::Leaks(_) => problem.into_response(&self.manner.realm, request_id),
            Form::Vultr(_) => {
                let status = problem.code.status();
                vultr::refusal(problem, status, client, &self.manner.realm, request_id)
            }
        });
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        answer
    }

    /// How a refusal reads to clients that expect the words of a part at this path; none where the gateway's own will do.
    #[must_use]
    pub fn word(&self, host: &str, path: &str, refused: &Refused<'_>) -> Option<Response<Full<Bytes>>> {
        let part = self.parts.iter().find(|part| part.form.words(path) && part.is_at(host))?;
        let code = refused.refusal.map_or(Code::AuthUnavailable, Code::of);
        let mut answer = match &part.form {
            Form::Native(_) | Form::Leaks(_) => return None,
            Form::Vultr(_) => {
                vultr::refusal(Problem::new(code), refused.status, refused.client, &self.manner.realm, "")
            }
        };
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Some(answer)
    }

    async fn judged<B>(&self, form: &Form, call: Call<'_, B>) -> Result<Response<Full<Bytes>>, Problem>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let Call { head, body, client, request_id, secret, verdict, .. } = call;
        if let Form::Leaks(leaks) = form {
            return leaks.answer(&self.hand, client, request_id, &head, body).await;
        }
        let is_old = match &verdict {
            Ok(verified) => verified.superseded_until().is_some(),
            Err(denied) => denied.is_reuse(),
        };
        if let Some(secret) = secret.as_ref().filter(|_| is_old) {
            if let Some(answer) = self.rotated_already(form, secret, client, &head, body).await? {
                return Ok(answer);
            }
            if verdict.is_err() {
                caller::reused(&self.hand.keyring, secret, client, request_id).await;
            }
        }
        let verified = match verdict {
            Ok(verified) => verified,
            Err(Denied::Refused(refusal)) => return Err(Problem::new(Code::of(&refusal))),
            Err(Denied::Failed(_)) => return Err(Problem::new(Code::AuthUnavailable)),
        };
        let holder = Holder::new(verified, client)?;
        let who = Who::Holder { key: holder.key().clone() };
        let by = By { who, address: Some(client), request_id: Some(request_id.into()) };
        let caller = Caller::Holder(holder);
        let desk = Desk::new(&self.hand, &caller, by, secret);
        match form {
            Form::Native(base) => self.native(base, &desk, &head, body).await,
            Form::Vultr(prefix) => vultr(prefix, &desk, &head, body).await,
            Form::Leaks(_) => Err(Problem::new(Code::RouteNotFound)),
        }
    }

    async fn native<B>(
        &self,
        base: &str,
        desk: &Desk<'_>,
        head: &request::Parts,
        body: &mut Option<B>,
    ) -> Result<Response<Full<Bytes>>, Problem>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let path = head.uri.path().strip_prefix(base).unwrap_or_default();
        let (_, to) = find_in(THEIRS, path, &head.method).ok_or_else(|| Problem::new(Code::RouteNotFound))?;
        let (call, names) = match to? {
            To::Options(methods) => return Ok(options(&methods)),
            To::Row { row, names, .. } => (row, names),
        };
        let body = match body.take_if(|_| call.takes_body()) {
            Some(body) => Document::read(&head.headers, body).await?,
            None => Document::default(),
        };
        let asked = Asked { base, path, names, query: head.uri.query(), headers: &head.headers, body };
        native::call(call, desk, &asked, &self.manner.prefix).await
    }

    /// The answer to a rotation that its holder asks for once more, because the first one was lost: with the secret that it
    /// retired, which is good for this and for nothing else (WIRE.md, section 8, rule 8).
    async fn rotated_already<B>(
        &self,
        form: &Form,
        secret: &Secret,
        client: IpAddr,
        head: &request::Parts,
        body: &mut Option<B>,
    ) -> Result<Option<Response<Full<Bytes>>>, Problem>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let Form::Native(base) = form else { return Ok(None) };
        let path = head.uri.path().strip_prefix(base.as_str()).unwrap_or_default();
        if head.method != Method::POST || path != ROTATE_SELF {
            return Ok(None);
        }
        let Ok(Some(name)) = once::named(&head.headers) else { return Ok(None) };
        let body = match body.take() {
            Some(body) => Document::read(&head.headers, body).await?,
            None => Document::default(),
        };
        let keyring = &self.hand.keyring;
        let once = Once::of(secret, &name, &[path.as_bytes(), body.bytes()]);
        let made = match keyring.rotated_by(secret, &once, client).await {
            Ok(made) => made,
            // To a dead secret it is not told either that there was another request.
            Err(NotDone::Conflict(..)) => None,
            Err(problem) => return Err(problem.into()),
        };
        let Some(Made { key, secret: Some(new) }) = made else { return Ok(None) };
        match keyring.operate(&By::KEYWARD, Command::ShowKey(key)).await? {
            Outcome::Key(key) => Ok(Some(native::shown_once(&key, &new, self.hand.clock.now()))),
            _ => Err(unexpected()),
        }
    }
}

/// The one path at which a secret may be presented that its own rotation retired.
const ROTATE_SELF: &str = "/v1/keys/self/rotate";
async fn vultr<B>(
    prefix: &Prefix,
    desk: &Desk<'_>,
    head: &request::Parts,
    body: &mut Option<B>,
) -> Result<Response<Full<Bytes>>, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    let path = vultr::bare(head.uri.path());
    let (_, to) = find_in(vultr::ROUTES, path, &head.method).ok_or_else(|| Problem::new(Code::RouteNotFound))?;
    let (path, call, names) = match to? {
        To::Options(methods) => return Ok(options(&methods)),
        To::Row { path, row, names } => (path, row, names),
    };
    let body = match body.take_if(|_| call.takes_body()) {
        Some(body) => Document::read(&head.headers, body).await?,
        None => Document::default(),
    };
    vultr::call(call, path, desk, &vultr::Asked { names, query: head.uri.query(), body }, prefix).await
}

impl Part {
    fn is_at(&self, host: &str) -> bool {
        let host = match host.split_once(']') {
            Some((address, _)) => address.trim_start_matches('['),
            None => host.split(':').next().unwrap_or_default(),
        };
        self.hosts.is_empty() || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
    }
}

impl Form {
    const fn name(&self) -> &'static str {
        match self {
            Self::Native(_) => "self-service",
            Self::Vultr(_) => "vultr",
            Self::Leaks(_) => "leaks",
        }
    }

    /// Whether it answers at this path.
    fn has(&self, path: &str) -> bool {
        match self {
            Self::Native(base) => is_below(base, path),
            Self::Vultr(_) => vultr::has(path),
            Self::Leaks(leaks) => leaks.has(path),
        }
    }

    /// Whether clients at this path expect its words.
    fn words(&self, path: &str) -> bool {
        match self {
            Self::Native(_) | Self::Leaks(_) => self.has(path),
            Self::Vultr(_) => vultr::words(path),
        }
    }
}

fn is_below(base: &str, path: &str) -> bool {
    path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The parts that are switched on.
///
/// # Errors
/// Every flaw.
pub fn check(said: &SelfServiceConfig, dialects: &DialectsConfig, leaks: &LeaksConfig) -> Vec<Flaw> {
    parts(said, dialects, leaks).err().unwrap_or_default()
}

fn parts(said: &SelfServiceConfig, dialects: &DialectsConfig, leaks: &LeaksConfig) -> Result<Vec<Part>, Vec<Flaw>> {
    let mut parts = Vec::new();
    if let Some(flaw) = not_plain("leaks.path", &leaks.path) {
        return Err(vec![flaw]);
    }
    // Before what may have all below the same path.
    if let Some(leaks) = Leaks::new(leaks).map_err(|flaw| vec![flaw])? {
        parts.push(Part { hosts: Vec::new(), form: Form::Leaks(Arc::new(leaks)) });
    }
    if let Some(flaw) = not_plain("self_service.path", &said.path) {
        return Err(vec![flaw]);
    }
    if !said.path.is_empty() {
        parts.push(Part { hosts: said.hosts.clone(), form: Form::Native(said.path.clone()) });
    }
    let DialectsConfig { vultr } = dialects;
    if vultr.enabled {
        parts.push(Part { hosts: vultr.hosts.clone(), form: Form::Vultr(vultr.prefix.clone()) });
    }
    Ok(parts)
}

/// What is wrong with a path below which keyward answers; nothing where it is empty.
fn not_plain(key: &str, path: &str) -> Option<Flaw> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    let segments = path.strip_prefix('/').map(|rest| rest.split('/'));
    let is_path = segments.is_some_and(|mut segments| {
        segments.all(|segment| !matches!(segment, "" | "." | "..") && segment.chars().all(plain))
    });
    let message = || format!("{path:?} is no path of plain segments, such as \"/keyward\"");
    (!path.is_empty() && !is_path).then(|| Flaw::new(key, message()))
}
