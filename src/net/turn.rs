//! Handshakes take turns, so that many at once do not keep a worker from its open connections.
//!
//! One step of a handshake (the client's hello, answered) keeps a core busy for as long as tens of requests do. Were all that are
//! ready polled one after another, a request behind a crowd of them would wait for the whole crowd. So one steps at a time,
//! and keeps its turn until everything else that was ready has run.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use super::conn::Conn;

/// The turns of one worker, first come first served.
#[derive(Debug, Default)]
pub(super) struct Turns(tokio::sync::Mutex<()>);

impl Turns {
    /// Does `work`, the handshake of `conn`: each step of it in a turn of its own.
    pub(super) async fn take<F: Future>(&self, conn: &Conn, mut work: Pin<&mut F>) -> F::Output {
        let knock = Arc::new(Knock::default());
        let waker = Waker::from(Arc::clone(&knock));
        loop {
            let turn = self.0.lock().await;
            let step = work.as_mut().poll(&mut Context::from_waker(&waker));
            // Comes back behind all that is ready now.
            tokio::task::yield_now().await;
            drop(turn);
            if let Poll::Ready(output) = step {
                return output;
            }
            conn.await_client(true);
            knock.heard().await;
            conn.await_client(false);
        }
    }
}

/// Remembers that the work can go on, also while its task waits for something else.
#[derive(Debug, Default)]
struct Knock {
    heard: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Knock {
    async fn heard(&self) {
        poll_fn(|cx| {
            // The waker first, or a knock in between would be heard by nobody.
            let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
            *task = Some(cx.waker().clone());
            if !self.heard.swap(false, Ordering::AcqRel) {
                return Poll::Pending;
            }
            // A knock from now on is remembered and wakes nobody: it would cut the turn short.
            *task = None;
            Poll::Ready(())
        })
        .await;
    }
}

impl Wake for Knock {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.heard.store(true, Ordering::Release);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::pin::pin;
    use std::rc::Rc;
    use std::time::Duration;

    use tokio::task::LocalSet;

    use super::*;
    use crate::clock::BootTime;

    fn conn() -> Rc<Conn> {
        Conn::new(Rc::new(Cell::new(BootTime::from_nanos(0))))
    }

    /// Polls once.
    async fn is_pending<F: Future>(mut work: Pin<&mut F>) -> bool {
        poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx).is_pending())).await
    }

    #[tokio::test]
    async fn who_waits_for_a_turn_is_not_silent() {
        let (turns, one) = (Turns::default(), conn());
        let turn = turns.0.lock().await;
        let never = pin!(std::future::pending::<()>());
        let mut handshake = pin!(turns.take(&one, never));
        assert!(is_pending(handshake.as_mut()).await);
        assert_eq!(one.silent_for(), None);
        drop(turn);
        while one.silent_for().is_none() {
            assert!(is_pending(handshake.as_mut()).await);
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_request_waits_for_one_step_and_not_for_a_crowd_of_them() {
        let (turns, steps, most) = (Rc::new(Turns::default()), Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let local = LocalSet::new();
        let crowd: Vec<_> = (0..50)
            .map(|_| {
                let (turns, steps) = (Rc::clone(&turns), Rc::clone(&steps));
                local.spawn_local(async move {
                    let mut left = 3;
                    let work = pin!(poll_fn(|cx| {
                        steps.set(steps.get() + 1);
                        cx.waker().wake_by_ref();
                        left -= 1;
                        if left == 0 { Poll::Ready(()) } else { Poll::Pending }
                    }));
                    turns.take(&conn(), work).await;
                })
            })
            .collect();
        let (seen, between) = (Rc::clone(&steps), Rc::clone(&most));
        let request = local.spawn_local(async move {
            let mut before = seen.get();
            loop {
                tokio::task::yield_now().await;
                between.set(between.get().max(seen.get() - before));
                before = seen.get();
            }
        });
        local
            .run_until(async {
                for one in crowd {
                    one.await.unwrap();
                }
            })
            .await;
        request.abort();
        assert_eq!(steps.get(), 150);
        assert!(most.get() <= 2, "{} steps between two looks", most.get());
    }

    #[tokio::test]
    async fn work_that_waits_lets_others_take_their_turn_and_goes_on_when_it_can() {
        let turns = Turns::default();
        let (tell, told) = tokio::sync::oneshot::channel();
        let slow = async { turns.take(&conn(), pin!(told)).await.unwrap() };
        let quick = async {
            turns.take(&conn(), pin!(tokio::time::sleep(Duration::from_millis(1)))).await;
            tell.send(7).unwrap();
        };
        assert_eq!(tokio::join!(slow, quick).0, 7);
    }

    #[tokio::test]
    async fn who_leaves_while_it_has_the_turn_gives_it_back() {
        let turns = Turns::default();
        {
            let never = pin!(std::future::pending::<()>());
            let conn = conn();
            let mut left = pin!(turns.take(&conn, never));
            assert!(is_pending(left.as_mut()).await);
        }
        assert_eq!(turns.take(&conn(), pin!(std::future::ready(1))).await, 1);
    }
}
