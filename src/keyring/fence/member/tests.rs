use super::*;
use crate::store::log::{Entry, Subject};

const FENCE: Duration = Duration::from_secs(4);

fn at(millis: u64) -> BootTime {
    BootTime::from_nanos(millis * 1_000_000)
}

fn answer(after: u64, head: u64) -> Renewal {
    let entries = (after + 1..=head).map(|seq| Entry { seq, subject: Subject::Everything }).collect();
    let tail = Tail { head, news: Entries::Entries(entries) };
    let instance = Instance("one".into());
    Renewal { tail, live: true, fence: FENCE, stale: Duration::ZERO, instance, time: None }
}

/// A member and its fence; the middle of the jitter, so that a tick is a tick.
struct Process(Member, Fence);

const MIDDLE: u64 = 20;

impl Process {
    fn new() -> Self {
        Self(Member::new(), Fence::new())
    }

    fn listed(millis: u64) -> Self {
        let mut process = Self::new();
        process.register(millis);
        process
    }

    fn next(&mut self, millis: u64) -> Next {
        self.0.next(&self.1, at(millis), MIDDLE)
    }

    fn register(&mut self, millis: u64) {
        let Next::Register(asked) = self.next(millis) else { panic!("it registers") };
        self.0.registered(asked);
    }

    fn renew(&mut self, millis: u64) -> Renew {
        match self.next(millis) {
            Next::Renew(asked) => asked,
            other => panic!("it renews: {other:?}"),
        }
    }

    fn take(&mut self, asked: Renew, answer: Renewal) {
        let Renewed::News(news) = self.0.renewed(&self.1, asked, answer) else { panic!("it is news") };
        self.0.took(news.apply(&self.1).extend(&self.1));
    }

    fn acknowledge(&mut self, millis: u64) -> Option<Acknowledge> {
        match self.next(millis) {
            Next::Acknowledge(asked) => Some(asked),
            _ => None,
        }
    }

    fn deadline(&self) -> BootTime {
        self.1.deadline()
    }
}

#[test]
fn it_registers_then_renews_then_acknowledges_then_rests() {
    let mut process = Process::new();
    process.register(100);
    let asked = process.renew(110);
    assert_eq!((asked.incarnation(), asked.after(), asked.timeout()), (Incarnation(20), 0, Duration::from_secs(2)));
    process.take(asked, answer(0, 5));
    assert_eq!(process.deadline(), at(110 + 3920), "a lease is counted from before the question left");
    let asked = process.acknowledge(140).unwrap();
    assert_eq!((asked.incarnation(), asked.applied()), (Incarnation(20), 5));
    process.0.acknowledged(asked, true);
    assert!(matches!(process.next(150), Next::Rest(until) if until == at(610)));
    let asked = process.renew(610);
    assert_eq!((asked.after(), asked.timeout()), (5, Duration::from_secs(1)), "a quarter of the fence");
}

#[test]
fn a_lease_is_outlasted_by_what_both_the_store_and_the_process_reckon_with() {
    let until = |own: u64, told: u64| {
        let mut process = Process::listed(0);
        process.0.outlast(Duration::from_secs(own));
        let asked = process.renew(0);
        process.take(asked, Renewal { stale: Duration::from_secs(told), ..answer(0, 1) });
        let Process(_, fence) = process;
        assert!(fence.holds(at(3919)) && !fence.holds(at(3920)), "the lease is what it is");
        (3920..20_000).find(|millis| !fence.serves(at(*millis))).unwrap()
    };
    assert_eq!(until(6, 6), 9800, "on a slow clock it still ends before who waits on a fast one has waited");
    assert_eq!(until(4, 6), 7840, "no longer than it was told to");
    assert_eq!(until(6, 4), 7840, "no longer than others wait for");
    assert_eq!((until(6, 0), until(0, 6)), (3920, 3920));
}

#[test]
fn a_log_that_is_empty_is_acknowledged_too() {
    let mut process = Process::listed(0);
    let asked = process.renew(0);
    process.take(asked, answer(0, 0));
    assert_eq!(process.acknowledge(1).map(|asked| asked.applied()), Some(0));
}

#[test]
fn a_registration_that_was_not_answered_is_tried_again_under_another_name_after_a_tick() {
    let mut process = Process::new();
    let Next::Register(first) = process.next(100) else { panic!("it registers") };
    assert!(matches!(process.next(101), Next::Rest(until) if until == at(600)));
    let Next::Register(second) = process.0.next(&process.1, at(600), 7) else { panic!("it registers again") };
    assert_ne!(first.incarnation(), second.incarnation());
}

#[test]
fn a_renewal_that_was_not_answered_extends_nothing_and_is_asked_again() {
    let mut process = Process::listed(0);
    drop(process.renew(0));
    assert!(matches!(process.next(499), Next::Rest(until) if until == at(500)));
    drop(process.renew(500));
    assert_eq!(process.deadline(), at(0));
}

#[test]
fn who_is_not_live_gets_no_time_and_registers_anew() {
    let mut process = Process::listed(0);
    let asked = process.renew(0);
    let answered = process.0.renewed(&process.1, asked, Renewal { live: false, ..answer(0, 5) });
    assert!(matches!(answered, Renewed::Unlisted));
    assert_eq!(process.deadline(), at(0));
    assert!(
        matches!(process.next(10), Next::Rest(until) if until == at(500)),
        "a store that says so each time is not flooded"
    );
    process.register(500);
    let asked = process.renew(500);
    process.take(asked, answer(5, 5));
    assert_eq!(process.acknowledge(501).map(|asked| asked.applied()), Some(5), "its row has no position yet");
}

#[test]
fn what_an_earlier_incarnation_asked_extends_nothing() {
    let mut process = Process::listed(0);
    let late = process.renew(0);
    let asked = process.renew(500);
    let _ = process.0.renewed(&process.1, asked, Renewal { live: false, ..answer(0, 5) });
    let Next::Register(asked) = process.0.next(&process.1, at(600), 7) else { panic!("it registers again") };
    process.0.registered(asked);
    assert!(matches!(process.0.renewed(&process.1, late, answer(0, 5)), Renewed::Unlisted));
    assert_eq!(process.deadline(), at(0));
}

#[test]
fn an_acknowledgement_that_is_not_taken_means_that_it_is_not_live() {
    let mut process = Process::listed(0);
    let asked = process.renew(0);
    process.take(asked, answer(0, 5));
    let asked = process.acknowledge(1).unwrap();
    process.0.acknowledged(asked, false);
    process.register(600);
}

#[test]
fn an_acknowledgement_that_was_lost_is_tried_again_after_the_next_renewal() {
    let mut process = Process::listed(0);
    let asked = process.renew(0);
    process.take(asked, answer(0, 5));
    assert!(process.acknowledge(1).is_some());
    assert!(process.acknowledge(2).is_none());
    let asked = process.renew(500);
    process.take(asked, answer(5, 5));
    assert_eq!(process.acknowledge(501).map(|asked| asked.applied()), Some(5));
}

#[test]
fn an_acknowledgement_that_a_crash_may_have_lost_is_given_again() {
    let mut process = Process::listed(0);
    let asked = process.renew(0);
    process.take(asked, answer(0, 5));
    let asked = process.acknowledge(1).unwrap();
    process.0.acknowledged(asked, true);
    process.0.connected(1);
    let asked = process.renew(500);
    process.take(asked, answer(5, 5));
    assert_eq!(process.acknowledge(501).map(|asked| asked.applied()), Some(5));
}

#[test]
fn an_idle_log_is_acknowledged_every_fifteen_seconds() {
    let mut process = Process::listed(0);
    let mut acknowledged = Vec::new();
    for millis in (0..40_000).step_by(500) {
        let asked = process.renew(millis);
        process.take(asked, answer(asked_after(&process), 3));
        if let Some(asked) = process.acknowledge(millis) {
            acknowledged.push(millis);
            process.0.acknowledged(asked, true);
        }
    }
    assert_eq!(acknowledged, [0, 15_000, 30_000]);
}

fn asked_after(process: &Process) -> u64 {
    process.1.applied()
}

#[test]
fn what_was_applied_by_another_hand_is_acknowledged_too() {
    let mut process = Process::listed(0);
    let asked = process.renew(0);
    process.take(asked, answer(0, 5));
    let _ = process.acknowledge(1);
    let asked = process.renew(500);
    process.1.apply(process.1.point(), &answer(5, 9).tail);
    process.take(asked, answer(5, 6));
    assert_eq!(process.acknowledge(501).map(|asked| asked.applied()), Some(9));
}

#[test]
fn a_wake_up_is_a_renewal_at_once_even_where_one_is_on_its_way() {
    let mut process = Process::listed(0);
    let asked = process.renew(0);
    process.0.wake();
    process.take(asked, answer(0, 0));
    let _ = process.acknowledge(1);
    drop(process.renew(2));
    assert!(matches!(process.next(3), Next::Rest(_)));
    process.0.wake();
    drop(process.renew(4));
}

#[test]
fn another_database_means_another_history_and_another_registration() {
    let mut process = Process::listed(0);
    let asked = process.renew(0);
    process.take(asked, answer(0, 40));
    let before = process.1.point();
    let _ = process.acknowledge(1);
    let asked = process.renew(500);
    let other = Renewal { instance: Instance("two".into()), ..answer(40, 45) };
    assert!(matches!(process.0.renewed(&process.1, asked, other), Renewed::Turned));
    assert_eq!(process.deadline(), at(3920), "no more time than it had");
    assert!(process.1.point() > before);
    process.register(600);
    let asked = process.renew(600);
    assert_eq!(asked.after(), 45);
    let other = Renewal { instance: Instance("two".into()), ..answer(45, 46) };
    process.take(asked, other);
    assert_eq!(process.acknowledge(601).map(|asked| asked.applied()), Some(46));
}

#[test]
fn what_was_read_before_the_first_answer_is_void_for_nobody_knows_of_which_database_it_was() {
    let mut process = Process::listed(0);
    let before = process.1.point();
    let asked = process.renew(0);
    let _ = process.0.renewed(&process.1, asked, Renewal { live: false, ..answer(0, 4) });
    process.register(500);
    let asked = process.renew(500);
    let Renewed::News(news) = process.0.renewed(&process.1, asked, answer(4, 5)) else { panic!("it is news") };
    assert!(matches!(news.tail().news, Entries::Gone), "and whatever else follows the log is told");
    process.0.took(news.apply(&process.1).extend(&process.1));
    let floor = process.1.floor.load(std::sync::atomic::Ordering::Relaxed);
    assert!(floor > before.at(u64::MAX) && floor <= process.1.point().at(5));
}

#[test]
fn a_log_that_went_back_is_another_history_too_and_is_followed_from_where_it_stands() {
    let mut process = Process::listed(0);
    let asked = process.renew(0);
    process.take(asked, answer(0, 40));
    let _ = process.acknowledge(1);
    let asked = process.renew(500);
    let back = Renewal { tail: Tail { head: 3, news: Entries::WentBack }, ..answer(0, 0) };
    assert!(matches!(process.0.renewed(&process.1, asked, back), Renewed::Turned));
    process.register(600);
    let asked = process.renew(600);
    assert_eq!(asked.after(), 3);
    process.take(asked, answer(3, 4));
    assert_eq!(process.acknowledge(601).map(|asked| asked.applied()), Some(4));
    assert_eq!(process.deadline(), at(600 + 3920));
}

#[test]
fn the_fence_that_came_last_rules() {
    let mut process = Process::listed(0);
    for (millis, fence, deadline) in [(0, 4, 3920), (1000, 1, 3920), (2000, 1000, 982_000)] {
        let asked = process.renew(millis);
        process.take(asked, Renewal { fence: Duration::from_secs(fence), ..answer(0, 0) });
        let _ = process.acknowledge(millis);
        assert_eq!(process.deadline(), at(deadline));
    }
    let asked = process.renew(3000);
    process.take(asked, Renewal { fence: Duration::MAX, ..answer(0, 0) });
    assert_eq!(process.deadline(), BootTime::from_nanos(u64::MAX), "a store of one process's own: for ever");
}

#[test]
fn who_leaves_says_so_once_and_asks_nothing_more() {
    let mut process = Process::listed(0);
    process.0.leave();
    process.0.leave();
    assert!(matches!(process.next(0), Next::Leave(Incarnation(20))));
    assert!(matches!(process.next(0), Next::Left));
    let mut process = Process::new();
    process.0.leave();
    assert!(matches!(process.next(0), Next::Left), "who never registered has nothing to say");
}

#[test]
fn a_tick_is_spread_by_a_fifth_in_either_direction() {
    let ticks: Vec<_> = (0..1000).map(|random| Asked::new(at(0), random * 7919).percent).collect();
    assert_eq!((ticks.iter().min(), ticks.iter().max()), (Some(&80), Some(&120)));
}
