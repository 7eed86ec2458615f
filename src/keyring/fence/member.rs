//! A replica's own membership: what it asks the store next, and what an answer lets it believe.
//!
//! ```text
//!  next -> Register ----> registered            a new incarnation; only then is there anything to renew        (I4)
//!       -> Renew -------> renewed -> News  .apply(fence) -> Applied  .extend(fence) -> Extended -> took        (I2)
//!       |                         -> Turned     another history: register anew
//!       |                         -> Unlisted   not live: register anew, and no more time
//!       -> Acknowledge -> acknowledged          up to what the fence has applied                               (I3)
//!       -> Leave
//! ```
//!
//! Every question is a token that only [`Member::next`] makes. It carries the moment *before* it was sent and the incarnation
//! that it was asked in, so a lease can be measured from nothing else, and what an earlier incarnation asked is worth nothing.
//! Whoever asks answers with the token; where no answer comes the token is dropped, and that is all there is to tell.
//!
//! I2, I3 and I4 are REVOCATION's invariants: a lease is extended after everything in its answer is applied, what is
//! acknowledged is applied, and what grants a lease is read after the registration was committed.

use std::mem;
use std::time::Duration;

use super::span::lease;
use super::{Fence, Point};
use crate::clock::BootTime;
use crate::store::log::{News as Entries, Tail};
use crate::store::replica::{Incarnation, Instance, Renewal};

/// One process among those that serve from a store.
#[derive(Debug)]
pub(in crate::keyring) struct Member {
    place: Place,
    /// Who answered last.
    instance: Option<Instance>,
    /// Another history has begun, and no news since have said so.
    turned: bool,
    /// As the last answer had it.
    fence: Option<Duration>,
    /// For how long beyond a lease this process may serve, if those who wait for changes know of it.
    stale: Duration,
    /// The last registration, and the last renewal since.
    registered: Option<Asked>,
    renewed: Option<Asked>,
    /// The store has said that something is new.
    woken: bool,
    /// The last acknowledgement of this incarnation that the store has taken: of what, and when it was sent.
    acknowledged: Option<(u64, BootTime)>,
    /// Something was learned since an acknowledgement was last tried.
    learned: bool,
    /// On which connection it last heard.
    connection: usize,
}

/// A question, and after how many percent of a tick the next of its kind may be asked.
#[derive(Clone, Copy, Debug)]
struct Asked {
    at: BootTime,
    percent: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Not registered, as far as is known.
    Outside,
    Listed(Incarnation),
    /// It is to leave, and has not said so.
    Leaving(Incarnation),
    Left,
}

/// What to do next.
#[derive(Debug)]
pub(in crate::keyring) enum Next {
    /// Ask the store to register this incarnation, and tell [`Member::registered`].
    Register(Register),
    /// Ask the store what is new, and tell [`Member::renewed`].
    Renew(Renew),
    /// Tell the store what is applied, and its answer to [`Member::acknowledged`].
    Acknowledge(Acknowledge),
    /// Tell the store that this incarnation is gone.
    Leave(Incarnation),
    /// Nothing before this moment, unless it is woken.
    Rest(BootTime),
    /// Nothing any more.
    Left,
}

/// A registration being asked for.
#[derive(Debug)]
#[must_use = "its answer is for Member::registered"]
pub(in crate::keyring) struct Register {
    incarnation: Incarnation,
    timeout: Duration,
}

impl Register {
    pub(in crate::keyring) const fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// How long to wait for the answer.
    pub(in crate::keyring) const fn timeout(&self) -> Duration {
        self.timeout
    }
}

/// A renewal being asked for.
#[derive(Debug)]
#[must_use = "its answer is for Member::renewed"]
pub(in crate::keyring) struct Renew {
    incarnation: Incarnation,
    after: Point,
    sent: BootTime,
    timeout: Duration,
}

impl Renew {
    pub(in crate::keyring) const fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The position after which everything is new.
    pub(in crate::keyring) const fn after(&self) -> u64 {
        self.after.position()
    }

    /// How long to wait for the answer; then the connection is not to be trusted any more.
    pub(in crate::keyring) const fn timeout(&self) -> Duration {
        self.timeout
    }
}

/// An acknowledgement on its way.
#[derive(Debug)]
#[must_use = "its answer is for Member::acknowledged"]
pub(in crate::keyring) struct Acknowledge {
    incarnation: Incarnation,
    applied: u64,
    sent: BootTime,
}

impl Acknowledge {
    pub(in crate::keyring) const fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// The position up to which the log is applied.
    pub(in crate::keyring) const fn applied(&self) -> u64 {
        self.applied
    }
}

/// What a renewal's answer is worth.
#[derive(Debug)]
#[must_use = "news must be applied before they are of any use"]
pub(in crate::keyring) enum Renewed {
    /// What is new.
    News(News),
    /// Another database answered, or one that was set back: the log has another history. Whatever was read is void, and it is
    /// registered anew; what else follows the log must be told that it went back.
    Turned,
    /// The registration it asked for is not live, or not this one any more. It is registered anew, and nothing is learned.
    Unlisted,
}

/// An answer, before it is applied.
#[derive(Debug)]
#[must_use = "apply it"]
pub(in crate::keyring) struct News {
    after: Point,
    tail: Tail,
    lease: Lease,
}

impl News {
    /// For whatever else follows the log. It must have heard before the fence counts this as applied. The first of a
    /// database says that anything may have changed.
    pub(in crate::keyring) const fn tail(&self) -> &Tail {
        &self.tail
    }

    /// Takes in what changed.
    pub(in crate::keyring) fn apply(self, fence: &Fence) -> Applied {
        fence.apply(self.after, &self.tail);
        Applied(self.lease)
    }
}

/// An answer that is applied, and whose lease may begin.
#[derive(Debug)]
#[must_use = "extend the lease"]
pub(in crate::keyring) struct Applied(Lease);

impl Applied {
    /// Lets what is remembered count for a lease from when the question was sent.
    pub(in crate::keyring) fn extend(self, fence: &Fence) -> Extended {
        let Self(granted) = self;
        fence.extend(granted.sent.plus(lease(granted.fence)));
        if !granted.stale.is_zero() {
            fence.extend_stale(granted.sent.plus(lease(granted.fence.saturating_add(granted.stale))));
        }
        Extended(granted)
    }
}

/// An answer that is wholly taken in.
#[derive(Debug)]
#[must_use = "tell Member::took"]
pub(in crate::keyring) struct Extended(Lease);

#[derive(Debug)]
struct Lease {
    incarnation: Incarnation,
    sent: BootTime,
    fence: Duration,
    /// Both this process and whoever waits for changes reckon with so much more.
    stale: Duration,
}

impl Member {
    pub(in crate::keyring) const fn new() -> Self {
        Self {
            place: Place::Outside,
            instance: None,
            turned: false,
            fence: None,
            stale: Duration::ZERO,
            registered: None,
            renewed: None,
            woken: false,
            acknowledged: None,
            learned: false,
            connection: 0,
        }
    }

    /// What to do now. `now` must be read before this is called, and the question sent after; `random` is new in every call.
    pub(in crate::keyring) fn next(&mut self, fence: &Fence, now: BootTime, random: u64) -> Next {
        match self.place {
            Place::Left => Next::Left,
            Place::Leaving(incarnation) => {
                self.place = Place::Left;
                Next::Leave(incarnation)
            }
            Place::Outside => match self.after(self.registered) {
                Some(due) if now < due => Next::Rest(due),
                _ => {
                    self.registered = Some(Asked::new(now, random));
                    // Half of the numbers are negative; a registration's may be any.
                    Next::Register(Register { incarnation: Incarnation(random.cast_signed()), timeout: self.timeout() })
                }
            },
            Place::Listed(incarnation) => {
                let after = fence.point();
                if mem::take(&mut self.learned) && self.owes(after.position(), now) {
                    return Next::Acknowledge(Acknowledge { incarnation, applied: after.position(), sent: now });
                }
                match self.after(self.renewed) {
                    Some(due) if now < due && !self.woken => Next::Rest(due),
                    _ => {
                        self.renewed = Some(Asked::new(now, random));
                        self.woken = false;
                        Next::Renew(Renew { incarnation, after, sent: now, timeout: self.timeout() })
                    }
                }
            }
        }
    }

    /// Something is new: the next renewal is due at once. Where one is on its way another follows it.
    pub(in crate::keyring) const fn wake(&mut self) {
        self.woken = true;
    }

    /// The store has committed a registration.
    pub(in crate::keyring) fn registered(&mut self, asked: Register) {
        if self.place == Place::Outside {
            self.place = Place::Listed(asked.incarnation);
            self.acknowledged = None;
            // The first renewal is due at once: until it is answered nothing counts.
            self.renewed = None;
        }
    }

    /// The store has answered a renewal.
    pub(in crate::keyring) fn renewed(&mut self, fence: &Fence, asked: Renew, answer: Renewal) -> Renewed {
        if self.place != Place::Listed(asked.incarnation) {
            return Renewed::Unlisted;
        }
        let before = self.instance.replace(answer.instance);
        let back = matches!(answer.tail.news, Entries::WentBack);
        if before != self.instance || back {
            // Before the first answer nobody knows which database answered the look-ups: they may show another history too.
            fence.turn(asked.after, answer.tail.head);
            self.turned = true;
        }
        if before.is_some() && before != self.instance || back {
            // What this incarnation acknowledged may be positions that are given out again: it must not count for them.
            self.place = Place::Outside;
            return Renewed::Turned;
        }
        if !answer.live {
            self.place = Place::Outside;
            return Renewed::Unlisted;
        }
        self.fence = Some(answer.fence);
        let stale = self.stale.min(answer.stale);
        let lease = Lease { incarnation: asked.incarnation, sent: asked.sent, fence: answer.fence, stale };
        let (mut after, mut tail) = (asked.after, answer.tail);
        if mem::take(&mut self.turned) {
            (after, tail.news) = (fence.point(), Entries::Gone);
        }
        Renewed::News(News { after, tail, lease })
    }

    /// An answer was taken in, and may be acknowledged.
    pub(in crate::keyring) fn took(&mut self, extended: Extended) {
        let Extended(lease) = extended;
        self.learned |= self.place == Place::Listed(lease.incarnation);
    }

    /// The store has answered an acknowledgement: whether that registration is live.
    pub(in crate::keyring) fn acknowledged(&mut self, asked: Acknowledge, live: bool) {
        if self.place != Place::Listed(asked.incarnation) {
            return;
        }
        if live {
            self.acknowledged = Some((asked.applied, asked.sent));
        } else {
            self.place = Place::Outside;
        }
    }

    /// A renewal was answered on the connection of this number. On another one than before the store may have crashed, and lost
    /// acknowledgements: it does not wait for them to last.
    pub(in crate::keyring) const fn connected(&mut self, number: usize) {
        if self.connection != number {
            self.connection = number;
            self.acknowledged = None;
        }
    }

    /// Has leases that come from now on be outlasted by so much, or by what the store knows of, where that is less: it tells those
    /// who wait for changes, and a lease that was granted before it knew is none of which they do.
    pub(in crate::keyring) const fn outlast(&mut self, stale: Duration) {
        self.stale = stale;
    }

    /// Who answered last, and the fence it told.
    pub(in crate::keyring) fn told(&self) -> Option<(Instance, Duration)> {
        self.instance.clone().zip(self.fence)
    }

    /// Goes on from what a process before was told, which left what it had read: another database since then has another history.
    pub(in crate::keyring) fn resume(&mut self, instance: Instance, fence: Duration) {
        (self.instance, self.fence) = (Some(instance), Some(fence));
    }

    /// For how long beyond a lease this process may serve.
    pub(in crate::keyring) const fn stale(&self) -> Duration {
        self.stale
    }

    /// Says goodbye. Only once no request is taken in any more: nobody waits for this process afterwards.
    pub(in crate::keyring) const fn leave(&mut self) {
        self.place = match self.place {
            Place::Listed(incarnation) | Place::Leaving(incarnation) => Place::Leaving(incarnation),
            Place::Outside | Place::Left => Place::Left,
        };
    }

    /// Whether the store should hear of what is applied: it does not know, or has heard nothing for long.
    fn owes(&self, applied: u64, now: BootTime) -> bool {
        self.acknowledged.is_none_or(|(last, sent)| last < applied || now.since(sent) >= HEARTBEAT)
    }

    /// A tick after a question. The fence may have become shorter since it was asked.
    fn after(&self, asked: Option<Asked>) -> Option<BootTime> {
        asked.map(|asked| asked.at.plus(self.quarter(TICK) / 100 * asked.percent))
    }

    fn timeout(&self) -> Duration {
        self.quarter(TIMEOUT)
    }

    /// A quarter of the fence: three renewals may fail before a lease ends.
    fn quarter(&self, most: Duration) -> Duration {
        self.fence.map_or(most, |fence| (fence / 4).clamp(LEAST, most))
    }
}

/// Between renewals, at the most. It is also how often a log is looked at of which no notice comes.
const TICK: Duration = Duration::from_millis(500);
/// For an answer, at the most.
const TIMEOUT: Duration = Duration::from_secs(2);
/// A fence so short that it holds nothing still must not keep the store busy.
const LEAST: Duration = Duration::from_millis(10);
/// An acknowledgement goes out so often though nothing is new, so that silence can be seen.
const HEARTBEAT: Duration = Duration::from_secs(15);

impl Asked {
    /// Replicas that began together must not go on together.
    const fn new(at: BootTime, random: u64) -> Self {
        Self { at, percent: 80 + (random % 41) as u32 }
    }
}

#[cfg(test)]
mod tests;
