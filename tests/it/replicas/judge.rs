//! What clients did, what the origin got, when each secret ended, and whether all of it is as promised.
//!
//! One clock tells all times: `Instant`, which is CLOCK_MONOTONIC. A request begins when it is noted, before its first byte
//! is sent; a secret is dead when the receipt of its end has been read to the last byte. So whatever is noted as begun
//! after that arrived after that.
//!
//! What only gives may be unknown to a replica for a while, and its secret refused; what a replica has read counts no longer
//! than the fence, so that while ends. It does not begin where a receipt has said that all replicas have the change, nor for a
//! request that names the change's position.

use std::collections::HashSet;
use std::time::Instant;

/// Keeps count, and judges.
#[derive(Default)]
pub(super) struct Judge {
    secrets: Vec<Life>,
    requests: Vec<Request>,
    forwarded: HashSet<usize>,
}

/// Of one secret.
struct Life {
    text: String,
    /// From then on nobody may take it for unknown; none where that is not known yet.
    known: Option<Instant>,
    /// Somebody asked for its end; whether that came is not known yet.
    doomed: Option<Instant>,
    /// Its end was said to be complete.
    dead: Option<Instant>,
}

/// One request with a secret.
struct Request {
    secret: usize,
    replica: usize,
    /// It names the position of the secret's making.
    told: bool,
    begun: Instant,
    /// The status, and when it was read.
    answered: Option<(u16, Instant)>,
}

/// What came of all requests.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) violations: Vec<String>,
    pub(super) requests: usize,
    pub(super) forwarded: usize,
    /// Requests that began with a dead secret.
    pub(super) late: usize,
    /// Answered with 503.
    pub(super) unavailable: usize,
    /// Refused with a secret that the replica need not have known yet.
    pub(super) early: usize,
    /// Without an answer.
    pub(super) lost: usize,
}

impl Judge {
    /// A secret that lives; its number.
    pub(super) fn born(&mut self, text: &str) -> usize {
        self.secrets.push(Life { text: text.into(), known: None, doomed: None, dead: None });
        self.secrets.len() - 1
    }

    /// No replica may take it for unknown from then on.
    pub(super) fn known(&mut self, secret: usize, from: Instant) {
        self.secrets[secret].known.get_or_insert(from);
    }

    pub(super) fn text(&self, secret: usize) -> &str {
        &self.secrets[secret].text
    }

    /// Its end is about to be asked for.
    pub(super) fn doomed(&mut self, secret: usize, now: Instant) {
        self.secrets[secret].doomed.get_or_insert(now);
    }

    /// A receipt said that its end is complete.
    pub(super) fn dead(&mut self, secret: usize, now: Instant) {
        self.secrets[secret].dead.get_or_insert(now);
    }

    /// A request is about to be sent; its number. `told` where it names the position of the secret's making.
    pub(super) fn begun(&mut self, secret: usize, replica: usize, told: bool, now: Instant) -> usize {
        self.requests.push(Request { secret, replica, told, begun: now, answered: None });
        self.requests.len() - 1
    }

    pub(super) fn answered(&mut self, request: usize, status: u16, now: Instant) {
        self.requests[request].answered = Some((status, now));
    }

    /// The origin was sent this one.
    pub(super) fn forwarded(&mut self, request: usize) {
        self.forwarded.insert(request);
    }

    /// What came of everything so far.
    pub(super) fn verdict(&self) -> Verdict {
        let mut verdict =
            Verdict { requests: self.requests.len(), forwarded: self.forwarded.len(), ..Verdict::default() };
        for (number, request) in self.requests.iter().enumerate() {
            let life = &self.secrets[request.secret];
            verdict.late += usize::from(life.dead.is_some_and(|dead| request.begun > dead));
            verdict.unavailable += usize::from(request.answered.is_some_and(|(status, _)| status == 503));
            verdict.lost += usize::from(request.answered.is_none());
            verdict.early += usize::from(request.answered.is_some_and(|(status, at)| status == 401 && life.lived(at)));
            verdict.violations.extend(self.violation(number, request, life));
        }
        verdict
    }

    fn violation(&self, number: usize, request: &Request, life: &Life) -> Option<String> {
        let was_forwarded = self.forwarded.contains(&number);
        let place = format!("request {number} with secret {} at replica {}", request.secret, request.replica);
        if let Some(dead) = life.dead.filter(|dead| was_forwarded && request.begun > *dead) {
            let late = request.begun.duration_since(dead);
            return Some(format!("{place} began {late:?} after the receipt of the secret's end, and was forwarded"));
        }
        let (status, answered) = request.answered?;
        let known = request.told || life.known.is_some_and(|known| request.begun > known);
        match status {
            200 if !was_forwarded => Some(format!("{place} was answered 200, and the origin was not asked")),
            401 if known && life.lived(answered) => Some(format!("{place} was refused, and the secret lived")),
            200 | 401 | 503 => None,
            other => Some(format!("{place} was answered {other}")),
        }
    }
}

impl Life {
    /// Whether nobody had asked for its end.
    fn lived(&self, at: Instant) -> bool {
        self.doomed.is_none_or(|doomed| at < doomed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A judge who saw one secret born at 0, doomed at 10 and dead at 20, and the clock of that.
    fn judge() -> (Judge, usize, impl Fn(u64) -> Instant) {
        #[allow(clippy::disallowed_methods, reason = "a beginning; what counts is made of it")]
        let zero = Instant::now();
        let at = move |millis| zero + Duration::from_millis(millis);
        let mut judge = Judge::default();
        let secret = judge.born("kw_live_1");
        judge.known(secret, at(4));
        judge.doomed(secret, at(10));
        judge.dead(secret, at(20));
        (judge, secret, at)
    }

    #[test]
    fn a_request_that_began_after_the_receipt_and_was_forwarded_is_a_violation() {
        let (mut judge, secret, at) = judge();
        let request = judge.begun(secret, 3, false, at(21));
        judge.forwarded(request);
        // Even where its client never saw the answer.
        for answered in [false, true] {
            if answered {
                judge.answered(request, 200, at(22));
            }
            let told = "request 0 with secret 0 at replica 3 began 1ms after the receipt of the secret's end, \
                        and was forwarded";
            assert_eq!(judge.verdict().violations, [told]);
        }
    }

    #[test]
    fn what_began_before_the_receipt_or_was_refused_after_it_is_none() {
        let (mut judge, secret, at) = judge();
        for begun in [5, 15, 20] {
            let request = judge.begun(secret, 0, false, at(begun));
            judge.forwarded(request);
            judge.answered(request, 200, at(30));
        }
        for (begun, status) in [(15, 401), (21, 401), (22, 503)] {
            let request = judge.begun(secret, 0, false, at(begun));
            judge.answered(request, status, at(30));
        }
        judge.begun(secret, 0, false, at(23));
        let verdict = judge.verdict();
        assert_eq!(verdict.violations, [""; 0]);
        assert_eq!((verdict.requests, verdict.forwarded, verdict.late), (7, 3, 3));
        assert_eq!((verdict.unavailable, verdict.lost, verdict.early), (1, 1, 0));
    }

    #[test]
    fn a_secret_that_need_not_be_known_yet_may_be_refused_unless_the_request_was_told_of_it() {
        let (mut judge, secret, at) = judge();
        for told in [false, true] {
            let request = judge.begun(secret, 0, told, at(3));
            judge.answered(request, 401, at(9));
        }
        let verdict = judge.verdict();
        assert_eq!(verdict.violations, ["request 1 with secret 0 at replica 0 was refused, and the secret lived"]);
        assert_eq!(verdict.early, 2);
    }

    #[test]
    fn a_living_secret_that_is_refused_and_an_answer_of_nobody_are_violations() {
        let (mut judge, secret, at) = judge();
        for (status, answered) in [(401, 9), (401, 11), (200, 9), (404, 9)] {
            let request = judge.begun(secret, 0, false, at(5));
            judge.answered(request, status, at(answered));
        }
        let told = judge.verdict().violations;
        let expected = ["was refused, and the secret lived", "and the origin was not asked", "was answered 404"];
        assert_eq!(told.len(), expected.len(), "{told:#?}");
        assert!(told.iter().zip(expected).all(|(told, expected)| told.ends_with(expected)), "{told:#?}");
    }
}
