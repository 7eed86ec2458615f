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
use std::time::Duration;

use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, Method, Response, StatusCode, request};
use http_body::Body;
use http_body_util::Full;

use super::Manner;
use super::body::Document;
use super::caller::{self, Caller};
use super::config::{DialectsConfig, LeaksConfig, SelfServiceConfig};
use super::desk::{Desk, Hand, Told, unexpected};
use super::dialect::dbt::{self, Dbt};
use super::dialect::native::{self, once};
use super::dialect::{userplane, vultr};
use super::holder::Holder;
use super::leaks::Leaks;
use super::pace::WINDOW;
use super::problem::{Code, Problem};
use crate::flaw::Flaw;
use crate::key::token::Prefix;
use crate::key::{Refusal, Standing, Verified};
use crate::keyring::Denied;
use crate::keyring::command::{By, Command, Outcome, Problem as NotDone, Who};
use crate::keyring::once::{Made, Once};
use crate::keyring::receipt::Progress;
use crate::secret::Secret;

/// Answers holders.
#[derive(Debug)]
pub struct SelfService {
    hand: Hand,
    manner: Manner,
    parts: Vec<Part>,
    /// How many of them a holder may ask for in a minute.
    changes: u32,
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
    /// Everything below this path, and the description of it.
    Native(String, Bytes),
    /// Reports of found secrets.
    Leaks(Arc<Leaks>),
    /// What dbt Cloud answers about tokens.
    Dbt(Dbt),
    /// With secrets that begin so.
    Vultr(Prefix),
    /// With secrets that begin so.
    Userplane(Prefix),
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
    /// Whose that is, also where it is refused.
    pub whose: Option<Verified>,
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
    /// Whose key it is, where that was found out.
    pub whose: Option<&'a Standing>,
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
        Ok((!parts.is_empty()).then_some(Self { hand, manner, parts, changes: said.changes_per_minute }))
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
        let (method, whose) = (call.head.method.clone(), call.whose.clone());
        let answer = self.judged(form, call).await;
        let realm = &self.manner.realm;
        unstored(answer.unwrap_or_else(|problem| match form {
            Form::Native(..) | Form::Leaks(_) => problem.into_response(realm, request_id),
            Form::Dbt(_) => dbt::refusal(problem, whose.as_ref().map(Verified::standing), &method, realm),
            Form::Vultr(_) => {
                let status = problem.code.status();
                vultr::refusal(problem, status, client, realm, request_id)
            }
            Form::Userplane(_) => userplane::refusal(problem, realm),
        }))
    }

    /// How a refusal reads to clients that expect the words of a part at this path; none where the gateway's own will do.
    #[must_use]
    pub fn word(&self, host: &str, path: &str, refused: &Refused<'_>) -> Option<Response<Full<Bytes>>> {
        let part = self.parts.iter().find(|part| part.form.words(path) && part.is_at(host))?;
        let code = refused.refusal.map_or(Code::AuthUnavailable, Code::of);
        let realm = &self.manner.realm;
        let answer = match &part.form {
            Form::Native(..) | Form::Leaks(_) => None,
            Form::Dbt(_) => Some(dbt::word(refused, realm)),
            Form::Vultr(_) => Some(vultr::refusal(Problem::new(code), refused.status, refused.client, realm, "")),
            Form::Userplane(_) => userplane::word(refused, realm),
        };
        answer.map(unstored)
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
                let _room = self.hand.room().await;
                caller::reused(&self.hand.keyring, secret, client, request_id).await;
            }
        }
        let verified = match verdict {
            Ok(verified) => verified,
            Err(Denied::Refused(refusal)) => return Err(Problem::new(Code::of(&refusal))),
            Err(Denied::Failed(_)) => return Err(Problem::new(Code::AuthUnavailable)),
        };
        let holder = if form.tells_no_keys(&head) {
            Holder::who_only_reads(verified, client)
        } else {
            Holder::new(verified, client)?
        };
        let changes = !matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
        if changes && !self.hand.pace.takes(&holder, self.changes) {
            return Err(Problem::limited(WINDOW));
        }
        let who = Who::Holder { key: holder.key().clone() };
        let by = By { who, address: Some(client), request_id: Some(request_id.into()) };
        let caller = Caller::Holder(holder);
        let desk = Desk::new(&self.hand, &caller, by, secret);
        match form {
            Form::Native(base, description) => {
                native::answer_holder(base, description, &desk, &head, body, &self.manner.prefix).await
            }
            Form::Dbt(dbt) => dbt.answer(&desk, &head, body).await,
            Form::Vultr(prefix) => vultr::answer(prefix, &desk, &head, body).await,
            Form::Userplane(prefix) => userplane::answer(prefix, &desk.making_alike(), &head, body).await,
            Form::Leaks(_) => Err(Problem::new(Code::RouteNotFound)),
        }
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
        let path = match form {
            _ if head.method != Method::POST => None,
            Form::Native(base, _) => native::rotates_self(base, head),
            Form::Userplane(_) => userplane::rotates(head),
            // Their clients do not ask again.
            Form::Leaks(_) | Form::Dbt(_) | Form::Vultr(_) => None,
        };
        let Some(path) = path else { return Ok(None) };
        let Ok(Some(name)) = once::named(&head.headers) else { return Ok(None) };
        let keyring = &self.hand.keyring;
        // A vendor's clients know no answer that says that it is not true everywhere yet.
        let patience = match form {
            Form::Native(..) => match native::wait(head.uri.query(), keyring.longest_wait()) {
                Ok(patience) => Some(patience),
                Err(_) => return Ok(None),
            },
            Form::Leaks(_) | Form::Dbt(_) | Form::Vultr(_) | Form::Userplane(_) => None,
        };
        let body = match body.take() {
            Some(body) => match Document::read(&head.headers, body).await {
                Ok(body) => body,
                // It is no retry, and a dead secret is told nothing else.
                Err(_) => return Ok(None),
            },
            None => Document::default(),
        };
        let once = Once::of(secret, &name, &[path.as_bytes(), body.bytes()]);
        let room = self.hand.room().await;
        let made = match keyring.rotated_by(secret, &once, client).await {
            Ok(made) => made,
            // To a dead secret it is not told either that there was another request.
            Err(NotDone::Conflict(..)) => None,
            Err(problem) => return Err(problem.into()),
        };
        let Some(Made { key, secret: Some(new), revision: Some(revision), .. }) = made else { return Ok(None) };
        let Outcome::Key(key) = keyring.operate(&By::KEYWARD, Command::ShowKey(key)).await? else {
            return Err(unexpected());
        };
        drop(room);
        let receipt = keyring.came_to(revision, patience.unwrap_or(Duration::MAX)).await;
        match patience {
            _ if receipt.progress == Progress::Lost => Err(NotDone::lost().into()),
            None if !receipt.is_complete() => Err(NotDone::not_in_force().into()),
            None => Ok(Some(userplane::rotated(&key, &new))),
            Some(_) => {
                let told = Told { revision, receipt: Some(receipt) };
                Ok(Some(native::rotated_again(&key, &new, &told, self.hand.clock.now())))
            }
        }
    }
}

fn unstored(mut answer: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
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
            Self::Native(..) => "self-service",
            Self::Leaks(_) => "leaks",
            Self::Dbt(_) => "dbt",
            Self::Vultr(_) => "vultr",
            Self::Userplane(_) => "userplane",
        }
    }

    /// Whether it answers at this path.
    fn has(&self, path: &str) -> bool {
        match self {
            Self::Native(base, _) => is_below(base, path),
            Self::Leaks(leaks) => leaks.has(path),
            Self::Dbt(dbt) => dbt.has(path),
            Self::Vultr(_) => vultr::has(path),
            Self::Userplane(_) => is_below(userplane::KEYS, path),
        }
    }

    /// Whether a request is none about keys: it reads what the directory says, as clients do beside their work.
    fn tells_no_keys(&self, head: &request::Parts) -> bool {
        let reads = matches!(head.method, Method::GET | Method::HEAD);
        reads
            && match self {
                Self::Native(..) | Self::Leaks(_) | Self::Userplane(_) => false,
                Self::Dbt(_) => dbt::tells_no_keys(head.uri.path()),
                Self::Vultr(_) => vultr::tells_no_keys(head.uri.path()),
            }
    }

    /// Whether clients at this path expect its words.
    fn words(&self, path: &str) -> bool {
        match self {
            Self::Native(..) | Self::Leaks(_) => self.has(path),
            Self::Dbt(_) => dbt::words(path),
            Self::Vultr(_) => vultr::words(path),
            Self::Userplane(_) => is_below(userplane::BASE, path),
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
    let DialectsConfig { dbt, vultr, userplane } = dialects;
    let places = [
        ("self_service.hosts", &said.hosts),
        ("dialects.dbt.hosts", &dbt.hosts),
        ("dialects.vultr.hosts", &vultr.hosts),
        ("dialects.userplane.hosts", &userplane.hosts),
    ];
    let flaws: Vec<Flaw> = places.into_iter().flat_map(|(key, hosts)| not_hosts(key, hosts)).collect();
    if !flaws.is_empty() {
        return Err(flaws);
    }
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
        parts.push(Part {
            hosts: said.hosts.clone(),
            form: Form::Native(said.path.clone(), native::described(&said.path)),
        });
    }
    if dbt.enabled {
        parts.push(Part { hosts: dbt.hosts.clone(), form: Form::Dbt(Dbt::new(dbt)) });
    }
    if vultr.enabled {
        parts.push(Part { hosts: vultr.hosts.clone(), form: Form::Vultr(vultr.prefix.clone()) });
    }
    if userplane.enabled {
        parts.push(Part { hosts: userplane.hosts.clone(), form: Form::Userplane(userplane.prefix.clone()) });
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

/// What is wrong with hosts at which something is answered: what no request can be for is a slip.
fn not_hosts(key: &str, hosts: &[String]) -> Vec<Flaw> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let is_host = |host: &str| host.parse::<IpAddr>().is_ok() || (!host.is_empty() && host.chars().all(plain));
    let wrong = hosts.iter().enumerate().filter(|(_, host)| !is_host(host));
    let message = |host: &str| format!("{host:?} is no host: write a name or an address, without a port");
    wrong.map(|(at, host)| Flaw::new(format!("{key}.{at}"), message(host))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_request_can_be_for_is_a_flaw_with_its_place() {
        for path in ["", "/keyward", "/a/b.c~d"] {
            assert_eq!(not_plain("path", path), None, "{path}");
        }
        for path in ["/", "keyward", "/a/", "/a//b", "/..", "/a%20b"] {
            assert!(not_plain("path", path).is_some(), "{path}");
        }
        let good = ["API.example.com", "::1", "127.0.0.1"].map(str::to_owned);
        assert_eq!(not_hosts("hosts", &good), []);
        for host in ["", "*.example.com", "example.com:8080", "[::1]", "https://example.com"] {
            let flaws = not_hosts("hosts", &["example.com".to_owned(), host.to_owned()]);
            assert_eq!(flaws.iter().map(|flaw| flaw.key.as_str()).collect::<Vec<_>>(), ["hosts.1"], "{host}");
        }
    }
}
