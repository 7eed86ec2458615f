//! When and where a change became true, on the wire: in its answer, and for who asks later.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde::{Deserialize, Serialize};

use super::query::Query;
use super::{Asked, json};
use crate::clock::Timestamp;
use crate::keyring::command::{Command, Listed, Outcome, Roster};
use crate::keyring::receipt::{How, Progress, Receipt, position};
use crate::manage::caller::Caller;
use crate::manage::desk::{Desk, Told, unexpected};
use crate::manage::problem::{Code, Problem};
use crate::measure::Span;
use crate::store::replica::{ReplicaId, ReplicaState};

/// A receipt. Holders are not told on which machines keyward runs.
#[derive(Debug, Serialize)]
pub(super) struct Body<'a> {
    rev: u64,
    complete: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    complete_within_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed_at: Option<Timestamp>,
    replicas: Vec<One<'a>>,
}

/// Who is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reader {
    Operator,
    Holder,
}

impl Reader {
    const fn of(caller: &Caller) -> Self {
        match caller {
            Caller::Operator(_) => Self::Operator,
            Caller::Holder(_) => Self::Holder,
        }
    }
}

#[derive(Debug, Serialize)]
struct One<'a> {
    id: &'a ReplicaId,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
    state: How,
}

impl<'a> Body<'a> {
    fn of(receipt: &'a Receipt, to: Reader) -> Self {
        let (complete_within_ms, completed_at) = match receipt.progress {
            Progress::Complete { at } => (None, Some(at)),
            Progress::Pending { within } => (Some(whole_millis(within)), None),
            // Told as a problem.
            Progress::Lost => (None, None),
        };
        let replicas = receipt.replicas.iter();
        Self {
            rev: receipt.revision,
            complete: receipt.is_complete(),
            complete_within_ms,
            completed_at,
            replicas: replicas
                .map(|one| One {
                    id: &one.id,
                    node: (to == Reader::Operator).then_some(one.node.as_str()),
                    state: one.how,
                })
                .collect(),
        }
    }
}

/// Rounded up: a bound is a promise.
fn whole_millis(span: Duration) -> u64 {
    u64::try_from(span.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// An answer to a change, and its receipt.
#[derive(Serialize)]
struct With<'a, T> {
    #[serde(flatten)]
    body: &'a T,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<Body<'a>>,
}

/// What came of a change: as `status` says, or accepted and not yet true everywhere.
pub(super) fn changed(desk: &Desk<'_>, status: StatusCode, body: &impl Serialize) -> Response<Full<Bytes>> {
    told(desk.told().as_ref(), Reader::of(desk.caller), status, body)
}

/// The same to the holder of a secret that a rotation retired, which is not anybody's at a desk.
pub(super) fn changed_before(change: &Told, status: StatusCode, body: &impl Serialize) -> Response<Full<Bytes>> {
    told(Some(change), Reader::Holder, status, body)
}

fn told(change: Option<&Told>, to: Reader, status: StatusCode, body: &impl Serialize) -> Response<Full<Bytes>> {
    let receipt = change.and_then(|change| change.receipt.as_ref());
    let body = With { body, receipt: receipt.map(|receipt| Body::of(receipt, to)) };
    with_revision(json(status_of(receipt, status), &body), change.map(|change| change.revision))
}

fn status_of(receipt: Option<&Receipt>, complete: StatusCode) -> StatusCode {
    match receipt.map(|receipt| receipt.progress) {
        None | Some(Progress::Complete { .. }) => complete,
        Some(Progress::Pending { .. }) => StatusCode::ACCEPTED,
        Some(Progress::Lost) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn with_revision(mut response: Response<Full<Bytes>>, revision: Option<u64>) -> Response<Full<Bytes>> {
    response.headers_mut().extend(revision.map(|revision| (KEYWARD_REVISION, HeaderValue::from(revision))));
    response
}

/// How long who asks wants to wait.
pub(in crate::manage) fn wait(query: Option<&str>, longest: Duration) -> Result<Duration, Problem> {
    let mut query = Query::read(query)?;
    let wait = query.value("wait");
    query.end()?;
    let Some(text) = wait else { return Ok(USUAL_WAIT) };
    let said = text.parse().ok().filter(|Span(wait)| *wait <= longest);
    said.map(|Span(wait)| wait).ok_or_else(|| {
        let longest = Span(Duration::from_secs(longest.as_secs()));
        Problem::unread_parameter("wait", format!("give a time such as 2s, 500ms or 0s, at most {longest}"))
    })
}

/// How far a position of the log has come.
pub(super) async fn revision(desk: &Desk<'_>, asked: &Asked<'_>) -> Result<Response<Full<Bytes>>, Problem> {
    let named = asked.names.first().and_then(|name| position(name.as_bytes()));
    let position = named.ok_or_else(|| Problem::detailed(Code::RevisionNotFound, "A revision is a number."))?;
    reached(desk, Some(position)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Barrier {
    #[serde(default)]
    rev: Option<u64>,
}

/// Waits for a position of the log.
pub(super) async fn barrier(desk: &Desk<'_>, asked: &Asked<'_>) -> Result<Response<Full<Bytes>>, Problem> {
    let Barrier { rev } = asked.body.parse()?;
    reached(desk, rev).await
}

async fn reached(desk: &Desk<'_>, position: Option<u64>) -> Result<Response<Full<Bytes>>, Problem> {
    match desk.carry_out(Command::ShowRevision(position)).await? {
        Outcome::Revision(_) => {}
        _ => return Err(unexpected()),
    }
    let told = desk.told();
    let receipt = told.as_ref().and_then(|told| told.receipt.as_ref()).ok_or_else(unexpected)?;
    let body = Body::of(receipt, Reader::of(desk.caller));
    let response = json(status_of(Some(receipt), StatusCode::OK), &body);
    Ok(with_revision(response, Some(receipt.revision)))
}

/// Who serves from the store.
pub(super) async fn replicas(desk: &Desk<'_>) -> Result<Response<Full<Bytes>>, Problem> {
    match desk.carry_out(Command::ShowReplicas).await? {
        Outcome::Replicas(roster) => Ok(json(StatusCode::OK, &All::of(&roster))),
        _ => Err(unexpected()),
    }
}

/// The replicas, and what they follow.
#[derive(Serialize)]
struct All<'a> {
    head: u64,
    fence_ms: Option<u64>,
    replicas: Vec<Replica<'a>>,
}

#[derive(Serialize)]
struct Replica<'a> {
    id: &'a ReplicaId,
    object: &'static str,
    node: &'a str,
    version: &'a str,
    state: ReplicaState,
    position: Option<u64>,
    lag: Option<u64>,
    lease_ms: Option<u64>,
    joined_at: Timestamp,
    heard_at: Timestamp,
    asked: bool,
}

impl<'a> All<'a> {
    fn of(roster: &'a Roster) -> Self {
        let one = |listed: &'a Listed| {
            let Listed { replica, lag, own, lease } = listed;
            Replica {
                id: &replica.id,
                object: "replica",
                node: &replica.node,
                version: &replica.version,
                state: replica.state,
                position: replica.applied,
                lag: *lag,
                lease_ms: lease.map(|lease| u64::try_from(lease.as_millis()).unwrap_or(u64::MAX)),
                joined_at: replica.joined,
                heard_at: replica.heard,
                asked: *own,
            }
        };
        Self {
            head: roster.head,
            fence_ms: roster.fence.map(whole_millis),
            replicas: roster.replicas.iter().map(one).collect(),
        }
    }
}

/// The position of a change.
const KEYWARD_REVISION: HeaderName = HeaderName::from_static("keyward-revision");

/// Where nothing is said: who waits for a person is answered while they still look.
const USUAL_WAIT: Duration = Duration::from_secs(2);
