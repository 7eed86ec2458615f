//! A time-out that is nearly always set and hardly ever met.
//!
//! A timer made anew for each exchange is put into the runtime's wheel and taken out again, for nothing. So a connection
//! keeps one timer, which each exchange leaves where the one before set it: it goes off too early, once in a while, and is
//! then set to what is left.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::task::unconstrained;
use tokio::time::{Sleep, sleep};

use crate::clock::{BootTime, Clock};

/// One connection's timer. It is polled by one waker only, the connection's own.
#[derive(Debug)]
pub(super) struct Alarm {
    clock: Clock,
    timer: Option<Pin<Box<Sleep>>>,
    due: BootTime,
}

impl Alarm {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, timer: None, due: BootTime::from_nanos(0) }
    }

    /// Goes off at `due`, and not before.
    pub(super) fn set(&mut self, due: BootTime) {
        self.due = due;
    }

    /// Goes off in `span`, and not before.
    pub(super) fn set_in(&mut self, span: Duration) {
        self.set(self.clock.boot().plus(span));
    }

    /// Ready once it is due.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let timer = match &mut self.timer {
                // It was polled when it was set, and the waker is the same.
                Some(timer) if !timer.is_elapsed() => return Poll::Pending,
                Some(timer) => timer,
                empty => empty.insert(Box::pin(sleep(Duration::ZERO))),
            };
            let left = self.due.since(self.clock.boot());
            if left.is_zero() {
                return Poll::Ready(());
            }
            timer.set(sleep(left));
            // A task that had its share would be told to wait without the timer being set.
            ready!(pin!(unconstrained(timer.as_mut())).poll(cx));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn it_goes_off_when_it_is_due_also_where_it_was_set_for_sooner_before() {
        let mut alarm = Alarm::new(Clock::System);
        let (soon, late) = (Duration::from_millis(10), Duration::from_millis(60));
        alarm.set_in(soon);
        assert!(alarm.poll(&mut Context::from_waker(std::task::Waker::noop())).is_pending());
        // The timer knows only the first waker, so it is polled anew from here on.
        alarm.timer = None;
        for span in [soon, late, soon] {
            let begun = Clock::System.boot();
            alarm.set_in(span);
            poll_fn(|cx| alarm.poll(cx)).await;
            assert!(Clock::System.boot().since(begun) >= span);
        }
    }
}
