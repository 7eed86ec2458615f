//! A body on its way through: held to a pace and a length, counted, and freed of its trailers.
//!
//! One wrapper serves both directions. Length and end pass through untouched, because hyper's framing follows from them.
//! Trailers are dropped: they may carry names that were removed from the head (RFC 9110 6.5.1).

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use super::BoxError;
use crate::clock::{BootTime, Clock};

/// `body`, ended with an error where nothing comes for `idle`, more than `limit` bytes do, or they come too slowly.
#[derive(Debug)]
pub struct Paced<B> {
    body: B,
    idle: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    /// The last poll found nothing, and the timer runs since then.
    waiting: bool,
    /// The timer runs to the moment at which somebody wants to look, and then for so long.
    beyond: Option<Duration>,
    /// That moment came.
    glanced: bool,
    limit: u64,
    passed: u64,
    state: State,
    /// Boxed, for it is rare.
    rate: Option<Box<Rate>>,
}

/// How fast a body must come, and how long it kept us waiting so far. A byte now and then is progress, so without this
/// a client could hold a request open for as long as it likes.
#[derive(Debug)]
struct Rate {
    bytes_per_second: u64,
    clock: Clock,
    since: BootTime,
    waited: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Flowing,
    Ended,
    Failed,
}

impl<B: Body<Data = Bytes>> Paced<B> {
    /// Holds `body` to a pace and a length; `u64::MAX` for any length.
    pub fn new(body: B, idle: Duration, limit: u64) -> Self {
        let (timer, waiting, beyond, glanced) = (None, false, None, false);
        Self { body, idle, timer, waiting, beyond, glanced, limit, passed: 0, state: State::Flowing, rate: None }
    }

    /// Holds `body` to bring so many bytes a second on average too, once it kept us waiting for `idle` in all; 0 for any.
    /// The time in which nobody asks for more is not the sender's.
    #[must_use]
    pub fn at_least(mut self, bytes_per_second: u64, clock: &Clock) -> Self {
        let since = BootTime::from_nanos(0);
        let rate = || Box::new(Rate { bytes_per_second, clock: clock.clone(), since, waited: Duration::ZERO });
        self.rate = (bytes_per_second > 0).then(rate);
        self
    }

    /// Whether, in a wait of [`Self::poll_watched`], the moment came at which somebody wants to look; asked once.
    pub fn glanced(&mut self) -> bool {
        std::mem::take(&mut self.glanced)
    }

    /// How many bytes have passed.
    pub fn passed(&self) -> u64 {
        self.passed
    }

    /// Whether the whole body has passed.
    pub fn finished(&self) -> bool {
        match self.state {
            State::Flowing => self.body.is_end_stream(),
            State::Ended => true,
            State::Failed => false,
        }
    }

    /// The body inside, to be read in another manner.
    pub fn into_inner(self) -> B {
        self.body
    }

    /// The body inside, for what only its own type can tell.
    pub fn get_ref(&self) -> &B {
        &self.body
    }
}

/// Whether `body` may be within `limit`, as far as it tells beforehand: a Content-Length does.
pub fn fits(body: &impl Body, limit: u64) -> bool {
    body.size_hint().lower() <= limit
}

/// Why a body did not reach its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Nothing came for too long.
    #[error("the body made no progress for {}", humantime::format_duration(*.0))]
    Stalled(Duration),
    /// More came than is allowed.
    #[error("the body is longer than {0} bytes")]
    TooLarge(u64),
    /// It came, but too slowly.
    #[error("the body came slower than {0} bytes a second")]
    TooSlow(u64),
    /// Its sender left, or did not keep to its framing.
    #[error("the body broke off")]
    Broken(#[source] BoxError),
}

impl<B> Body for Paced<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.poll_watched(cx, || None)
    }

    fn is_end_stream(&self) -> bool {
        self.state != State::Flowing || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Paced<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    /// As `poll_frame`; where a wait begins, whoever reads says by `glance` after how long of it they want to be woken to look.
    pub fn poll_watched(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        glance: impl FnOnce() -> Option<Duration>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut glance = Some(glance);
        let this = self.get_mut();
        if this.state != State::Flowing {
            return Poll::Ready(None);
        }
        let frame = loop {
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Pending => {
                    ready!(this.poll_timer(cx, || glance.take().and_then(|glance| glance())));
                    break Err(BodyError::Stalled(this.idle));
                }
                Poll::Ready(None) => {
                    this.state = State::Ended;
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Err(error))) => break Err(BodyError::Broken(error.into())),
                Poll::Ready(Some(Ok(frame))) => {
                    this.stop_waiting();
                    let Ok(data) = frame.into_data() else { continue };
                    this.passed = this.passed.saturating_add(data.len() as u64);
                    break this.judged().map(|()| data);
                }
            }
        };
        if frame.is_err() {
            this.state = State::Failed;
        }
        Poll::Ready(Some(frame.map(Frame::data)))
    }
}

impl<B> Paced<B> {
    /// Most bodies are here when they are asked for, so a timer is made only once one is not; after that it is set anew
    /// in its place, without an allocation.
    fn poll_timer(&mut self, cx: &mut Context<'_>, glance: impl FnOnce() -> Option<Duration>) -> Poll<()> {
        if !std::mem::replace(&mut self.waiting, true) {
            if let Some(rate) = &mut self.rate {
                rate.since = rate.clock.boot();
            }
            let glance = glance().filter(|glance| *glance < self.idle);
            self.beyond = glance.map(|glance| self.idle - glance);
            let wait = sleep(glance.unwrap_or(self.idle));
            match &mut self.timer {
                Some(timer) => timer.set(wait),
                None => self.timer = Some(Box::pin(wait)),
            }
        }
        let Some(timer) = &mut self.timer else { return Poll::Pending };
        loop {
            ready!(timer.as_mut().poll(cx));
            let Some(rest) = self.beyond.take() else { return Poll::Ready(()) };
            self.glanced = true;
            timer.set(sleep(rest));
        }
    }

    fn stop_waiting(&mut self) {
        if let (true, Some(rate)) = (std::mem::take(&mut self.waiting), &mut self.rate) {
            rate.waited = rate.waited.saturating_add(rate.clock.boot().since(rate.since));
        }
    }

    fn judged(&self) -> Result<(), BodyError> {
        if self.passed > self.limit {
            return Err(BodyError::TooLarge(self.limit));
        }
        match self.rate.as_deref() {
            Some(Rate { bytes_per_second, waited, .. })
                if *waited > self.idle
                    && u128::from(self.passed) * 1000 < waited.as_millis() * u128::from(*bytes_per_second) =>
            {
                Err(BodyError::TooSlow(*bytes_per_second))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use http::HeaderMap;
    use http_body_util::BodyExt;

    use super::*;
    use crate::clock::{ManualClock, Timestamp};

    /// What a test's body does when polled.
    enum Step {
        Data(&'static str),
        Trailers,
        Pause(Duration),
        Break,
    }

    struct Script {
        steps: VecDeque<Step>,
        pause: Option<Pin<Box<Sleep>>>,
    }

    fn script(steps: impl IntoIterator<Item = Step>) -> Script {
        Script { steps: steps.into_iter().collect(), pause: None }
    }

    impl Body for Script {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
            loop {
                if let Some(pause) = &mut self.pause {
                    ready!(pause.as_mut().poll(cx));
                    self.pause = None;
                }
                return Poll::Ready(match self.steps.pop_front() {
                    Some(Step::Data(text)) => Some(Ok(Frame::data(Bytes::from_static(text.as_bytes())))),
                    Some(Step::Trailers) => Some(Ok(Frame::trailers(HeaderMap::new()))),
                    Some(Step::Break) => Some(Err(std::io::ErrorKind::ConnectionReset.into())),
                    Some(Step::Pause(span)) => {
                        self.pause = Some(Box::pin(sleep(span)));
                        continue;
                    }
                    None => None,
                });
            }
        }
    }

    const IDLE: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn trailers_are_dropped_and_bytes_counted() {
        let mut body = Paced::new(script([Step::Data("abc"), Step::Trailers]), IDLE, 3);
        assert!(!body.finished());
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "abc");
        assert!(body.frame().await.is_none());
        assert!(body.finished());
        assert_eq!(body.passed(), 3);
    }

    #[tokio::test]
    async fn a_body_that_makes_no_progress_is_ended() {
        let mut body = Paced::new(script([Step::Data("a"), Step::Pause(IDLE * 500), Step::Data("b")]), IDLE, 9);
        assert!(body.frame().await.unwrap().is_ok());
        assert!(matches!(body.frame().await, Some(Err(BodyError::Stalled(_)))));
        assert!(body.frame().await.is_none() && !body.finished());
    }

    #[tokio::test]
    async fn who_wants_to_look_is_woken_in_a_wait_which_goes_on_as_long_as_without() {
        let mut body = Paced::new(script([Step::Pause(IDLE * 500)]), IDLE, 9);
        let begun = Clock::System.boot();
        let mut asked = 0;
        let mut poll = |cx: &mut Context<'_>| {
            Pin::new(&mut body).poll_watched(cx, || {
                asked += 1;
                Some(IDLE / 10)
            })
        };
        let mut wakes = 0;
        let ended = std::future::poll_fn(|cx| {
            wakes += 1;
            poll(cx)
        })
        .await;
        assert!(matches!(ended, Some(Err(BodyError::Stalled(_)))));
        // Asked once, when the wait began; then for the look, and at the end.
        assert_eq!((asked, wakes), (1, 3));
        assert!(Clock::System.boot().since(begun) >= IDLE && body.glanced() && !body.glanced());
    }

    #[tokio::test]
    async fn a_slow_body_that_goes_on_is_not_ended() {
        // Together three times the limit. However late this is polled, the body is asked before the timer.
        let steps = (0..6).flat_map(|_| [Step::Data("a"), Step::Pause(IDLE / 2)]);
        let mut body = Paced::new(script(steps), IDLE, 6);
        while let Some(frame) = body.frame().await {
            frame.unwrap();
        }
        assert!(body.finished());
        assert_eq!(body.passed(), 6);
    }

    #[tokio::test]
    async fn a_body_that_comes_too_slowly_is_ended_and_a_quick_one_is_not() {
        let clock = ManualClock::at(Timestamp::from_millis(0));
        for (told, too_slow) in [("a", true), ("abcdefghij", false)] {
            let steps = [Step::Pause(IDLE / 20), Step::Data(told), Step::Pause(IDLE / 20), Step::Data(told)];
            let mut body = Paced::new(script(steps), IDLE, 99).at_least(5, &Clock::Manual(clock.clone()));
            let mut first = std::pin::pin!(body.frame());
            assert!(std::future::poll_fn(|cx| Poll::Ready(first.as_mut().poll(cx).is_pending())).await);
            // The clock is told how long that took; the timer has its own.
            clock.advance(Duration::from_secs(2));
            let first = first.await.unwrap();
            assert_eq!(matches!(first, Err(BodyError::TooSlow(5))), too_slow, "{first:?}");
        }
    }

    #[tokio::test]
    async fn a_body_above_its_limit_is_ended_at_once() {
        let mut body = Paced::new(script([Step::Data("abc"), Step::Data("d")]), IDLE, 3);
        assert!(body.frame().await.unwrap().is_ok());
        assert!(matches!(body.frame().await, Some(Err(BodyError::TooLarge(3)))));
        assert!(!body.finished());
        let told = http_body_util::Full::new(Bytes::from_static(b"abcd"));
        assert!(fits(&told, 4) && !fits(&told, 3));
    }

    #[tokio::test]
    async fn a_broken_body_says_so_and_keeps_its_cause() {
        let mut body = Paced::new(script([Step::Break]), IDLE, 3);
        let Some(Err(error)) = body.frame().await else { panic!("no error") };
        assert!(matches!(error, BodyError::Broken(_)));
        assert!(std::error::Error::source(&error).is_some());
    }
}
