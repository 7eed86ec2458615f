//! Commands over HTTP, on the admin listener, from who has proven an operator key.
//!
//! The answer's head leaves before the command is done, so that its client hears while it waits that it is being worked on;
//! what came of it is told in the last line, and not in the status. A client that leaves ends what answers it, not what it
//! began.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Sleep, sleep, timeout};

use super::{Answer, BEAT, Greeting, LONGEST, VERSION, carry_out};
use crate::keyring::command::By;
use crate::manage::body::{media_type, too_large};
use crate::manage::caller::Operator;
use crate::manage::desk::Hand;
use crate::manage::dialect::native::json;
use crate::manage::problem::{Code, Problem};
use crate::manage::{JSON, answer};
use crate::net::body::fits;

/// How this keyward is spoken to.
pub(in crate::manage) fn greeting() -> Response<Full<Bytes>> {
    json(StatusCode::OK, &Greeting { v: VERSION, keyward: env!("CARGO_PKG_VERSION").to_owned() })
}

/// Carries out the command in `body` for an operator.
///
/// # Errors
/// It is no JSON by its type, too large, or does not come; and of nothing else: the answer tells what came of the command.
pub(in crate::manage) async fn reply<B>(
    hand: &Hand,
    operator: &Operator,
    by: By,
    headers: &HeaderMap,
    body: B,
) -> Result<Response<Reply>, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    if !media_type(headers).eq_ignore_ascii_case(JSON) {
        return Err(Problem::detailed(Code::UnsupportedMediaType, "Send it as application/json."));
    }
    if !fits(&body, LONGEST as u64) {
        return Err(too_large(LONGEST as u64));
    }
    let is_short = body.size_hint().upper().is_some_and(|bytes| bytes <= SHORT);
    let place = if is_short { None } else { hand.long_command().await };
    let Ok(line) = timeout(LONGEST_UPLOAD, gather(body)).await else { return Err(Problem::new(Code::RequestTimeout)) };
    let (line, operator, keyring) = (line?, operator.key().clone(), hand.keyring.clone());
    // Also what is long to read and to write is done where nobody else waits for it.
    let work = hand.control.spawn(async move {
        let _place = place;
        let answer =
            carry_out(&line, async |command, patience| keyring.operate_within(&by, command, patience).await).await;
        let outcome = match &answer {
            Answer::Ok(_) => "done",
            Answer::Problem(_) => "not done",
            Answer::Refused(_) | Answer::Working => "refused",
        };
        let request = by.request_id.as_deref();
        tracing::info!(operator.key = %operator, request.id = request, outcome, "an operator gave a command");
        Bytes::from(answer.line())
    });
    Ok(answer(StatusCode::OK, LINES, Bytes::new()).map(|_| Reply::Awaited { work, beat: Box::pin(sleep(BEAT)) }))
}

/// All of a body that has at most [`LONGEST`] bytes, however long that takes, as long as it goes on.
async fn gather<B: Body<Data = Bytes> + Unpin>(mut body: B) -> Result<Vec<u8>, Problem> {
    let told = body.size_hint().upper().unwrap_or(SHORT);
    let mut text = Vec::with_capacity(usize::try_from(told).unwrap_or_default());
    while let Some(frame) = timeout(PATIENCE, body.frame()).await.map_err(|_| Problem::new(Code::RequestTimeout))? {
        let Ok(frame) = frame else { return Err(Problem::detailed(Code::Unparsable, "It broke off.")) };
        let Ok(data) = frame.into_data() else { continue };
        if text.len() + data.len() > LONGEST {
            return Err(too_large(LONGEST as u64));
        }
        text.extend_from_slice(&data);
    }
    Ok(text)
}

/// What the management face answers with.
#[derive(Debug)]
pub enum Reply {
    /// What is there.
    Whole(Full<Bytes>),
    /// What comes of a command.
    Awaited {
        /// Makes the last line.
        work: JoinHandle<Bytes>,
        /// When to say next that it is being worked on.
        beat: Pin<Box<Sleep>>,
    },
}

impl Body for Reply {
    type Data = Bytes;
    type Error = JoinError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, JoinError>>> {
        if let Self::Awaited { work, beat } = &mut *self {
            match Pin::new(work).poll(cx) {
                Poll::Ready(done) => {
                    *self = Self::Whole(Full::default());
                    return Poll::Ready(Some(done.map(Frame::data)));
                }
                Poll::Pending => {
                    std::task::ready!(beat.as_mut().poll(cx));
                    let next = beat.deadline() + BEAT;
                    beat.as_mut().reset(next);
                    // It is asked for the next frame once this one is taken, and the timer is looked at then.
                    return Poll::Ready(Some(Ok(Frame::data(Answer::Working.line().into()))));
                }
            }
        }
        match &mut *self {
            Self::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Awaited { .. } => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Awaited { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Awaited { .. } => SizeHint::default(),
        }
    }
}

/// A line of JSON each.
const LINES: &str = "application/jsonl";
/// A command that is no longer takes no place of the long ones: it is as long as any other request may be.
const SHORT: u64 = 64 << 10;
/// How long nothing may come of a command that has begun to come.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it may come in all.
const LONGEST_UPLOAD: Duration = Duration::from_secs(600);
