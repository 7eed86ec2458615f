//! How long a tunnel lives: a worker's tunnels are looked at once a second, as its connections are.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use crate::clock::{BootTime, Clock};
use crate::gateway::config::TunnelsConfig;
use crate::telemetry::label::TunnelEnd;

/// A worker's living tunnels.
pub(in crate::gateway) struct Lives {
    clock: Clock,
    /// As of the last look.
    time: Cell<BootTime>,
    all: RefCell<Vec<Rc<Life>>>,
    begun: Cell<u32>,
}

/// One tunnel's life.
pub(in crate::gateway) struct Life {
    lives: Rc<Lives>,
    limits: TunnelsConfig,
    number: u32,
    began: BootTime,
    moved: Cell<BootTime>,
    /// When it ends because keyward stops.
    leaves: Cell<Option<BootTime>>,
    ending: Cell<Option<TunnelEnd>>,
    waker: RefCell<Option<Waker>>,
}

impl Lives {
    pub(in crate::gateway) fn new(clock: Clock) -> Rc<Self> {
        let time = Cell::new(clock.boot());
        Rc::new(Self { clock, time, all: RefCell::default(), begun: Cell::new(0) })
    }

    /// A tunnel begins.
    pub(in crate::gateway) fn begin(self: &Rc<Self>, limits: &TunnelsConfig) -> Rc<Life> {
        let now = self.clock.boot();
        let number = self.begun.replace(self.begun.get().wrapping_add(1));
        let life = Rc::new(Life {
            lives: Rc::clone(self),
            limits: limits.clone(),
            number,
            began: now,
            moved: Cell::new(now),
            leaves: Cell::new(None),
            ending: Cell::new(None),
            waker: RefCell::default(),
        });
        self.all.borrow_mut().push(Rc::clone(&life));
        life
    }

    /// Sweeps for as long as the worker lives.
    pub(in crate::gateway) async fn look_after(self: Rc<Self>) {
        loop {
            tokio::time::sleep(LOOK).await;
            self.sweep();
        }
    }

    /// Ends what is overdue, and forgets what has ended.
    fn sweep(&self) {
        let now = self.clock.boot();
        self.time.set(now);
        // Only the list holds it: its tunnel is gone.
        self.all.borrow_mut().retain(|life| Rc::strong_count(life) > 1);
        for life in &*self.all.borrow() {
            if let Some(why) = life.overdue(now) {
                life.end(why);
            }
        }
    }
}

impl Life {
    /// Something went through.
    pub(super) fn moved(&self) {
        self.moved.set(self.lives.time.get());
    }

    /// Who is woken when it is to end.
    pub(super) fn listen(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }

    /// Why it is to end, if it is.
    pub(super) fn ending(&self) -> Option<TunnelEnd> {
        self.ending.get()
    }

    /// Has it end; whether this is the first that it hears of it.
    pub(in crate::gateway) fn end(&self, why: TunnelEnd) -> bool {
        let first = self.ending.get().is_none();
        if first {
            self.ending.set(Some(why));
            if let Some(waker) = &*self.waker.borrow() {
                waker.wake_by_ref();
            }
        }
        first
    }

    /// keyward stops. Tunnels end one after the other, over the time they are given, so that their clients do not all come back
    /// at one moment.
    pub(super) fn departs(&self) {
        if self.leaves.get().is_none() {
            let wait = self.limits.drain.0.mul_f64(spread(self.number));
            self.leaves.set(Some(self.lives.clock.boot().plus(wait)));
            if wait.is_zero() {
                self.end(TunnelEnd::Drained);
            }
        }
    }

    fn overdue(&self, now: BootTime) -> Option<TunnelEnd> {
        let TunnelsConfig { idle, age, .. } = &self.limits;
        let is_over = |since: BootTime, limit: Duration| !limit.is_zero() && now.since(since) >= limit;
        if self.leaves.get().is_some_and(|at| now >= at) {
            Some(TunnelEnd::Drained)
        } else if is_over(self.began, age.0) {
            Some(TunnelEnd::Age)
        } else {
            // The last look, of which a movement has its time, may have been a second before it.
            is_over(self.moved.get(), idle.0.saturating_add(LOOK))
                .then_some(TunnelEnd::Idle)
                .filter(|_| !idle.0.is_zero())
        }
    }
}

/// Between 0 and 1, and far from that of the numbers around it: the golden ratio's fractions.
fn spread(number: u32) -> f64 {
    f64::from(number.wrapping_mul(0x9e37_79b9)) / f64::from(u32::MAX)
}

/// How often a worker looks.
const LOOK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, Timestamp};
    use crate::measure::Span;

    fn limits(idle: u64, age: u64, drain: u64) -> TunnelsConfig {
        let span = |seconds| Span(Duration::from_secs(seconds));
        TunnelsConfig { limit: 9, per_key: 9, idle: span(idle), age: span(age), drain: span(drain) }
    }

    /// The ends that come within so many seconds, with their seconds.
    fn ends(limits: &TunnelsConfig, seconds: u64, each: impl Fn(u64, &Life)) -> Vec<(u64, TunnelEnd)> {
        let clock = ManualClock::at(Timestamp::from_millis(0));
        let lives = Lives::new(Clock::Manual(clock.clone()));
        let life = lives.begin(limits);
        let mut ends = Vec::new();
        for second in 0..seconds {
            each(second, &life);
            clock.advance(LOOK);
            lives.sweep();
            ends.extend(life.ending.take().map(|why| (second + 1, why)));
            if !ends.is_empty() {
                break;
            }
        }
        drop(life);
        lives.sweep();
        assert!(lives.all.borrow().is_empty());
        ends
    }

    #[test]
    fn a_tunnel_ends_when_nothing_moved_for_long_or_when_it_is_old() {
        assert_eq!(ends(&limits(5, 60, 0), 99, |_, _| {}), [(6, TunnelEnd::Idle)]);
        assert_eq!(ends(&limits(5, 60, 0), 99, |_, life| life.moved()), [(60, TunnelEnd::Age)]);
        assert_eq!(ends(&limits(0, 0, 0), 99, |_, _| {}), []);
    }

    #[test]
    fn tunnels_end_one_after_the_other_when_keyward_stops() {
        let departs = |second, life: &Life| {
            if second == 3 {
                life.departs();
            }
        };
        assert_eq!(ends(&limits(0, 0, 0), 99, departs), [(4, TunnelEnd::Drained)]);
        let mut parts: Vec<_> = (0..100).map(|number| (spread(number) * 10.0) as u32).collect();
        parts.sort_unstable();
        parts.dedup();
        assert_eq!(parts, (0..10).collect::<Vec<_>>());
    }
}
