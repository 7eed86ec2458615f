//! A tunnel: what the client and the origin agreed to speak after a 101, byte for byte, in both directions.
//!
//! ```text
//!  client --up--> origin        `up` takes nothing any more once the tunnel is ending
//!  client <-down- origin        `frames` follows a WebSocket's, so that a close frame of ours can come between two
//!     life: looked at once a second (idle, age, keyward stops), and told from `open` (its key ended)
//! ```
//!
//! It lives inside its client's connection, which the reaper goes on watching, and has the origin's for itself: that one never
//! serves another request.

mod count;
mod frames;
mod life;
mod pump;

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::time::{Sleep, sleep};

pub use self::count::Tunnels;
pub(super) use self::count::{Crowded, Place};
use self::frames::{Frames, close};
pub(super) use self::life::{Life, Lives};
use self::pump::{Failed, Pump};
use super::access::Record;
use super::open::Opened;
use super::origin::Switched;
use super::upgrade::Agreed;
use crate::net::bell::Bell;
use crate::net::tunnel::{self, Client};
use crate::telemetry::label::{Closed, TunnelEnd};

/// One tunnel.
pub(super) struct Tunnel {
    origin: Switched,
    up: Pump,
    down: Pump,
    /// Of a WebSocket.
    frames: Option<Frames>,
    life: Rc<Life>,
    /// Which side was first to end.
    first: Option<TunnelEnd>,
    ending: Option<Ending>,
    end: Option<TunnelEnd>,
    record: Box<Record>,
    /// Among what ends with its key.
    _opened: Option<Opened>,
    place: Place,
}

/// A tunnel that is ended by us.
struct Ending {
    stage: Stage,
    /// Whatever is not done by then is left.
    until: Pin<Box<Sleep>>,
}

/// How far it is.
enum Stage {
    /// The frame on its way to the client has to come to its end.
    Finishing,
    /// Our close frame goes.
    Saying(Bytes),
    /// The client is told that nothing more comes.
    Shutting,
    /// It takes its leave.
    Leaving,
}

impl Tunnel {
    /// A tunnel to an origin that agreed.
    pub(super) fn new(agreed: Agreed, life: Rc<Life>, mut record: Box<Record>) -> Self {
        let Agreed { mut origin, protocol, mut place } = agreed;
        let opened = record.tunnel_begins(&protocol, &life);
        place.begun();
        let frames = protocol.is_websocket().then(Frames::default);
        let down = Pump::new(std::mem::take(&mut origin.ahead));
        let up = Pump::new(Bytes::new());
        Self { origin, up, down, frames, life, first: None, ending: None, end: None, record, _opened: opened, place }
    }

    /// Moves what there is to move; ready when both sides have ended, or one is gone.
    fn poll_moving(&mut self, client: &mut Client<'_>, cx: &mut Context<'_>) -> Poll<TunnelEnd> {
        let Self { origin: Switched { stream, bell, .. }, up, down, frames, first, .. } = self;
        attended(bell, cx, |stream_cx, cx| {
            let up_over = match up.poll((client, cx), (stream, stream_cx), |_| {}) {
                Poll::Ready(Err(Failed::Reading)) => return Poll::Ready(TunnelEnd::Client),
                Poll::Ready(Err(Failed::Writing)) => return Poll::Ready(TunnelEnd::Origin),
                polled => polled.is_ready(),
            };
            let followed = |bytes: &[u8]| frames.iter_mut().for_each(|frames| frames.passed(bytes));
            let down_over = match down.poll((stream, stream_cx), (client, cx), followed) {
                Poll::Ready(Err(Failed::Reading)) => return Poll::Ready(TunnelEnd::Origin),
                Poll::Ready(Err(Failed::Writing)) => return Poll::Ready(TunnelEnd::Client),
                polled => polled.is_ready(),
            };
            if first.is_none() {
                let sides = [(up.is_over(), TunnelEnd::Client), (down.is_over(), TunnelEnd::Origin)];
                *first = sides.into_iter().find_map(|(over, side)| over.then_some(side));
            }
            match first {
                Some(first) if up_over && down_over => Poll::Ready(*first),
                _ => Poll::Pending,
            }
        })
    }

    /// Ends it from our side: a WebSocket is told, anything else just ends.
    fn poll_ending(&mut self, why: TunnelEnd, client: &mut Client<'_>, cx: &mut Context<'_>) -> Poll<TunnelEnd> {
        let Self { origin: Switched { stream, bell, .. }, down, frames: Some(frames), ending, .. } = self else {
            return Poll::Ready(why);
        };
        let Ending { stage, until } = ending.get_or_insert_with(Ending::begin);
        if until.as_mut().poll(cx).is_ready() {
            return Poll::Ready(why);
        }
        loop {
            let goes_on = match stage {
                Stage::Finishing => match frames.rest() {
                    0 => {
                        *stage = if frames.is_closed() { Stage::Shutting } else { Stage::Saying(close_frame(why)) };
                        true
                    }
                    rest => {
                        let some = attended(bell, cx, |stream_cx, cx| {
                            down.poll_some((stream, stream_cx), (client, cx), rest, |bytes| frames.passed(bytes))
                        });
                        matches!(ready!(some), Ok(1..))
                    }
                },
                Stage::Saying(frame) if frame.is_empty() => {
                    *stage = Stage::Shutting;
                    true
                }
                Stage::Saying(frame) => {
                    let taken = ready!(Pin::new(&mut *client).poll_write(cx, frame)).unwrap_or(0);
                    frame.advance(taken);
                    taken > 0
                }
                Stage::Shutting => {
                    let shut = ready!(Pin::new(&mut *client).poll_shutdown(cx));
                    *stage = Stage::Leaving;
                    shut.is_ok()
                }
                Stage::Leaving => {
                    let mut scrap = [0; 1024];
                    let mut scrap = ReadBuf::new(&mut scrap);
                    let read = ready!(Pin::new(&mut *client).poll_read(cx, &mut scrap));
                    read.is_ok() && !scrap.filled().is_empty()
                }
            };
            if !goes_on {
                return Poll::Ready(why);
            }
        }
    }
}

impl tunnel::Tunnel for Tunnel {
    fn poll(&mut self, client: &mut Client<'_>, cx: &mut Context<'_>) -> Poll<()> {
        self.life.listen(cx.waker());
        if client.is_departing() {
            self.life.departs();
        }
        let before = self.up.passed() + self.down.passed();
        let polled = match self.life.ending() {
            Some(why) => self.poll_ending(why, client, cx),
            None => self.poll_moving(client, cx),
        };
        if self.up.passed() + self.down.passed() != before {
            self.life.moved();
        }
        polled.map(|end| self.end = Some(end))
    }

    fn cut(&mut self, why: Closed) {
        self.end = Some(match why {
            Closed::Drained => TunnelEnd::Drained,
            Closed::WriteStall => TunnelEnd::WriteStall,
            _ => TunnelEnd::Client,
        });
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        // None where the client left before it began.
        let end = self.end.unwrap_or(TunnelEnd::Client);
        self.place.ended(end);
        self.record.tunnel_ended(end, self.up.passed(), self.down.passed());
    }
}

impl Ending {
    fn begin() -> Self {
        Self { stage: Stage::Finishing, until: Box::pin(sleep(FAREWELL)) }
    }
}

/// What a WebSocket client is told (RFC 6455, 7.4.1).
fn close_frame(why: TunnelEnd) -> Bytes {
    let (code, reason) = match why {
        TunnelEnd::Idle => (GOING_AWAY, "nothing came through for too long"),
        TunnelEnd::Age => (GOING_AWAY, "as old as it may be"),
        TunnelEnd::KeyEnded => (POLICY_VIOLATION, "the API key is no longer accepted"),
        TunnelEnd::Client | TunnelEnd::Origin | TunnelEnd::WriteStall | TunnelEnd::Drained => {
            (GOING_AWAY, "going away")
        }
    };
    close(code, reason).into()
}

/// Polls under the origin's own bell, while the client's side is polled under the one of `cx`.
fn attended<T>(
    bell: &Bell,
    cx: &mut Context<'_>,
    mut poll: impl FnMut(&mut Context<'_>, &mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    let waker = cx.waker().clone();
    bell.attend(cx, ROUNDS, |stream_cx| poll(stream_cx, &mut Context::from_waker(&waker)))
}

/// A round for what the origin's side rang meanwhile.
const ROUNDS: usize = 2;

/// After so long the client is closed on, whatever it makes of the close frame.
const FAREWELL: Duration = Duration::from_secs(1);

const GOING_AWAY: u16 = 1001;
const POLICY_VIOLATION: u16 = 1008;
