//! From a permit to the origin's answer. What the origin is told about the request is set here, last of all.

use std::rc::Rc;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;

use super::asked::{Asked, Kept};
use super::authorize::Permit;
use super::body::{ClientBody, Outgoing, RequestBody, Upload, UploadFailure};
use super::canon::Malformed;
use super::credential::Carrier;
use super::filter::Filter;
use super::headers::{Identity, clean_answer};
use super::open::Lasting;
use super::origin::{Broken, Lease, OriginError, Pool};
use super::refuse::Stop;
use super::request_id::RequestId;
use super::service::Service;
use super::sign::Signer;
use super::upgrade::Switch;
use super::user_keys::UserKeys;
use crate::clock::{BootTime, Clock};
use crate::key::Verified;
use crate::net::body::{Paced, fits};
use crate::telemetry::label::{Cut, OriginEvent};

/// Sends a permitted request and brings the answer back, its body still on the way. Takes the request's `body`; what it
/// leaves of it was not read.
///
/// # Errors
/// [`Stop::Origin`], or what was wrong with the client's body.
pub(super) async fn forward(
    permit: &Permit<'_>,
    mut asked: Box<Asked>,
    body: &mut Option<ClientBody>,
    service: &Service,
    pool: &Rc<Pool>,
    outbound: &Outbound<'_>,
) -> Result<Response<Outgoing>, Stop> {
    let limit = permit.route().body_limit;
    let Some(sent) = body.take_if(|body| fits(body, limit)) else { return Err(Stop::TooLarge) };
    let bodiless = sent.is_end_stream();
    let narrow = permit.route().filter.as_ref().zip(permit.holder());
    let narrow = narrow.map(|(filter, holder)| {
        let method = asked.head.method.clone();
        Filter::ask_plainly(&mut asked.head);
        (filter, holder, method)
    });
    let lasting = || outbound.lasting?.of(Cut::Upload);
    let (sent, upload) = RequestBody::new(sent, asked.http2, lasting, |body| {
        Paced::new(body, outbound.body_idle, limit).at_least(outbound.body_rate, outbound.clock)
    });
    let head = |asked| outbound.request(permit, asked, bodiless, service);
    match exchange(pool, service, asked, head, sent, &upload, outbound.at).await {
        Ok((answer, lease)) => {
            let answered = if answer.status() == StatusCode::SWITCHING_PROTOCOLS { switched } else { answered };
            let mut answer = answered(answer, lease, upload, service, outbound)?;
            if let Some((filter, holder, method)) = narrow {
                answer = Box::pin(filter.narrowed(answer, holder, &method)).await?;
            }
            if let Some(holder) = permit.holder() {
                tell_holder(answer.headers_mut(), &holder.verified, outbound.expiry_notice, outbound.user_keys);
            }
            if let Some(retirement) = &permit.route().retirement {
                retirement.tell(answer.headers_mut(), permit.account());
            }
            Ok(answer)
        }
        Err(error) => {
            *body = upload.rest();
            Err(match upload.failure() {
                Some(UploadFailure::TooLarge) => Stop::TooLarge,
                Some(UploadFailure::Stalled) => Stop::Stalled,
                Some(UploadFailure::TooSlow) => Stop::TooSlow,
                Some(UploadFailure::Broken) => Stop::Malformed(Malformed::Body),
                None => Stop::Origin(error),
            })
        }
    }
}

/// The origin's answer as the client gets it.
fn answered(
    answer: Response<Incoming>,
    lease: Lease,
    upload: Rc<Upload>,
    service: &Service,
    outbound: &Outbound<'_>,
) -> Result<Response<Outgoing>, Stop> {
    let (mut head, body) = answer.into_parts();
    // Whoever reads it by the other length finds another answer behind it (RFC 9112, 6.3).
    if head.headers.contains_key(header::TRANSFER_ENCODING) && head.headers.contains_key(header::CONTENT_LENGTH) {
        return Err(Stop::Origin(OriginError::Ambiguous));
    }
    outbound.tidy(&mut head);
    let body = Paced::new(lease.body(body, Rc::clone(&upload)), service.body_idle, u64::MAX);
    Ok(Response::from_parts(head, Outgoing::origin(body, upload)))
}

/// The origin's 101. It may switch protocols only where that was asked for, and only to that.
fn switched(
    answer: Response<Incoming>,
    lease: Lease,
    _: Rc<Upload>,
    _: &Service,
    outbound: &Outbound<'_>,
) -> Result<Response<Outgoing>, Stop> {
    let (mut head, _) = answer.into_parts();
    let unasked = Stop::Origin(OriginError::Unasked);
    let Some(switch) = outbound.switch.filter(|switch| switch.is_answered(&head.headers)) else { return Err(unasked) };
    let Some(origin) = lease.switched() else { return Err(unasked) };
    outbound.tidy(&mut head);
    // It has no body (RFC 9110, 15.2), whatever it says.
    head.headers.remove(header::CONTENT_LENGTH);
    switch.protocol().say(&mut head.headers);
    let Some(agreed) = switch.agreed(origin) else { return Err(unasked) };
    Ok(Response::from_parts(head, Outgoing::agreed(agreed)))
}

/// What the origin is told beyond the request itself.
pub(super) struct Outbound<'a> {
    pub(super) identity: &'a Identity,
    /// Who signs it; nobody by default.
    pub(super) signer: Option<&'a Signer>,
    pub(super) request_id: &'a RequestId,
    /// Where the key rode.
    pub(super) carrier: Option<&'a Carrier>,
    pub(super) body_idle: Duration,
    pub(super) body_rate: u64,
    pub(super) clock: &'a Clock,
    /// When it goes on.
    pub(super) at: BootTime,
    /// How long before its key expires a holder is told so.
    pub(super) expiry_notice: Duration,
    /// What holders of legacy keys are told.
    pub(super) user_keys: &'a UserKeys,
    /// What it is asked to go on as.
    pub(super) switch: Option<&'a Switch>,
    /// What ends with its key.
    pub(super) lasting: Option<&'a Lasting>,
}

impl Outbound<'_> {
    /// The request as the origin gets it: HTTP/1.1, origin form, one Host, our words about who asks.
    fn request(&self, permit: &Permit<'_>, asked: Box<Asked>, bodiless: bool, service: &Service) -> Parts {
        let Asked { mut head, host, client, .. } = *asked;
        let headers = &mut head.headers;
        headers.reserve(OURS);
        if !bodiless && !headers.contains_key(header::CONTENT_LENGTH) {
            // Without either, hyper's client drops the body of a GET.
            headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        headers.insert(X_FORWARDED_HOST, host.clone());
        headers.insert(header::HOST, if service.preserve_host { host } else { service.authority.clone() });
        headers.insert(X_FORWARDED_FOR, client.chain);
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(if client.secure { "https" } else { "http" }));
        headers.insert(X_REQUEST_ID, self.request_id.value().clone());
        headers.append(header::VIA, HeaderValue::from_static("1.1 keyward"));
        if let Some(switch) = self.switch {
            switch.protocol().say(headers);
        }
        if let Some(holder) = permit.holder() {
            let key = holder.verified.standing();
            // Ids and permissions are visible ASCII by construction.
            let visible = |text: &str| HeaderValue::from_str(text).ok();
            let mut say = |name: &HeaderName, value: Option<HeaderValue>| {
                if let Some(value) = value {
                    headers.insert(name, value);
                }
            };
            say(&self.identity.key, visible(key.id.as_str()));
            say(&self.identity.kind, Some(HeaderValue::from_static(key.kind.as_str())));
            if let Some(account) = &holder.grant.account {
                say(&self.identity.account, visible(account.as_str()));
            }
            if let Some(user) = &key.user {
                say(&self.identity.user, visible(user.as_str()));
            }
            if !holder.grant.permissions.is_empty() {
                say(&self.identity.permissions, visible(&holder.grant.permissions.to_string()));
            }
        }
        if let Some(signer) = self.signer {
            signer.sign(&mut head, self.identity, self.clock.now());
        }
        head
    }

    /// The head of the origin's answer without what was its connection's, and with what is ours.
    fn tidy(&self, head: &mut http::response::Parts) {
        head.version = Version::HTTP_11;
        head.extensions.clear();
        clean_answer(&mut head.headers);
        head.headers.insert(X_REQUEST_ID, self.request_id.value().clone());
        if let Some(Carrier::Header(name)) = self.carrier {
            keep_private(&mut head.headers, name);
        }
    }
}

/// One exchange, and one more on a fresh connection where a kept one proved stale and the request cannot have had any
/// effect: it was not sent, or its method is idempotent and it had no body (RFC 9110, 9.2.2; RFC 9112, 9.3.1).
async fn exchange(
    pool: &Rc<Pool>,
    service: &Service,
    asked: Box<Asked>,
    head: impl Fn(Box<Asked>) -> Parts,
    body: RequestBody,
    upload: &Rc<Upload>,
    now: BootTime,
) -> Result<(Response<Incoming>, Lease), OriginError> {
    let plain = asked.upgrade.is_none();
    let repeatable = service.retry && plain && upload.is_finished() && is_idempotent(&asked.head.method);
    let mut lease = pool.take(now, !repeatable).await?;
    let may_retry = service.retry && lease.reused;
    let kept = (repeatable && lease.reused).then(|| Kept::of(&asked));
    let broken = match lease.exchange(Request::from_parts(head(asked), body), upload).await {
        Ok(answer) => return Ok((answer, lease)),
        Err(broken) => broken,
    };
    drop(lease);
    let (error, again) = match (broken, kept.map(Kept::asked)) {
        (Broken::Unsent(error, request), _) if may_retry => (error, *request),
        (Broken::Sent(OriginError::NotAnswered), Some(Ok(asked))) => {
            (OriginError::NotAnswered, Request::from_parts(head(asked), RequestBody::none(upload)))
        }
        (Broken::Sent(error) | Broken::Unsent(error, _), _) => return Err(error),
    };
    Box::pin(repeated(pool, again, upload, error)).await
}

/// The exchange once more, on a connection that nobody has used; where none may be opened, it failed with `error`.
async fn repeated(
    pool: &Rc<Pool>,
    request: Request<RequestBody>,
    upload: &Rc<Upload>,
    error: OriginError,
) -> Result<(Response<Incoming>, Lease), OriginError> {
    let Some(mut lease) = pool.fresh().await? else { return Err(error) };
    pool.count(OriginEvent::Retried);
    match lease.exchange(request, upload).await {
        Ok(answer) => Ok((answer, lease)),
        Err(Broken::Sent(error) | Broken::Unsent(error, _)) => Err(error),
    }
}

fn is_idempotent(method: &Method) -> bool {
    method.is_safe() || *method == Method::PUT || *method == Method::DELETE
}

/// A shared cache knows that an answer to `Authorization` is somebody's own (RFC 9111, 3.5); of a header of our own name
/// it does not.
fn keep_private(headers: &mut HeaderMap, carrier: &HeaderName) {
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private"));
    }
    headers.append(header::VARY, HeaderValue::from(carrier.clone()));
}

/// Tells who holds the key that it, or its secret, is on its way out.
pub(super) fn tell_holder(headers: &mut HeaderMap, verified: &Verified, ahead: Duration, user_keys: &UserKeys) {
    if let Some(until) = verified.superseded_until()
        && let Ok(status) = HeaderValue::try_from(format!("superseded; valid_until=\"{until}\""))
    {
        headers.append(KEY_STATUS, status);
    }
    if let Some(end) = verified.standing().expires_at
        && end <= verified.at().plus(ahead)
        && let Ok(status) = HeaderValue::try_from(format!("expiring; expires_at=\"{end}\""))
    {
        headers.append(KEY_STATUS, status);
    }
    for (name, value) in user_keys.notices(verified) {
        headers.append(name, value.clone());
    }
}

pub(super) const KEY_STATUS: HeaderName = HeaderName::from_static("keyward-key-status");

/// How many headers we add at most, less those that are rare.
const OURS: usize = 12;
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
