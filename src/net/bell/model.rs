//! The bell under a model checker: another thread rings while it is attended, before or after, and whoever attended is
//! woken or has seen what the ring was about.

use std::sync::Mutex as Notes;
use std::sync::atomic::AtomicUsize as Count;

use loom::sync::atomic::AtomicBool;
use loom::thread;

use super::*;

/// A task that counts how often it is woken; of no concern to the checker.
#[derive(Default)]
struct Task(Count);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// How often who attended saw it, was woken for it, and neither.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    seen: usize,
    woken: usize,
    lost: usize,
}

#[test]
fn a_ring_of_another_thread_is_never_lost() {
    for rounds in [1, 2] {
        let notes = Arc::new(Notes::new(Seen::default()));
        let told = Arc::clone(&notes);
        loom::model(move || {
            let (bell, done, task) = (Bell::new(), Arc::new(AtomicBool::new(false)), Arc::new(Task::default()));
            let waker = Waker::from(Arc::clone(&task));
            let woken = || task.0.load(Ordering::Relaxed);
            let attend = || {
                bell.attend(&Context::from_waker(&waker), rounds, |_| match done.load(Ordering::Relaxed) {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                })
            };
            // From here on it listens.
            assert!(attend().is_pending());
            let other = thread::spawn({
                let (bell, done) = (bell.clone(), Arc::clone(&done));
                move || {
                    // Orders nothing: the bell has to.
                    done.store(true, Ordering::Relaxed);
                    bell.ring();
                }
            });
            // As a task runs: once more for each time it was woken.
            let (mut before, mut seen);
            while {
                before = woken();
                seen = attend().is_ready();
                !seen && woken() > before
            } {}
            other.join().unwrap();
            let woken = woken() > before;
            let mut notes = told.lock().unwrap();
            match (seen, woken) {
                (true, _) => notes.seen += 1,
                (false, true) => notes.woken += 1,
                (false, false) => notes.lost += 1,
            }
        });
        let seen = *notes.lock().unwrap();
        println!("rung by another thread, {rounds} rounds: {seen:?}");
        assert!(seen.lost == 0 && seen.seen > 0 && seen.woken > 0, "{seen:?}");
    }
}
