//! One keyward of several, which a test pauses, kills and starts again, and whose past lives on in its logs.

use super::keyward::{Setup, keyward};
use super::{Keyward, eventually};

/// A replica. Each life has free ports of its own, and the folder of the life before.
pub(crate) struct Replica {
    number: usize,
    setup: Box<dyn Fn(Setup) -> Setup + Send>,
    running: Keyward,
    /// What its earlier lives said.
    past: Vec<String>,
}

impl Replica {
    /// So many replicas, each as `setup` says of its number. No more than [`AT_ONCE`] start at one time.
    pub(crate) fn start(count: usize, setup: impl Fn(usize, Setup) -> Setup + Clone + Send + 'static) -> Vec<Self> {
        let numbers: Vec<usize> = (0..count).collect();
        let mut replicas = Vec::new();
        for group in numbers.chunks(AT_ONCE) {
            let spawn = |number: &usize| {
                let (number, setup) = (*number, setup.clone());
                let setup: Box<dyn Fn(Setup) -> Setup + Send> = Box::new(move |plain| setup(number, plain));
                let running = setup(keyward()).spawn();
                Self { number, setup, running, past: Vec::new() }
            };
            let started = replicas.len();
            replicas.extend(group.iter().map(spawn));
            for replica in &mut replicas[started..] {
                if !replica.running.comes_to_listen() {
                    replica.remember();
                    replica.restart();
                }
            }
        }
        replicas
    }

    /// The process it is now.
    pub(crate) const fn now(&self) -> &Keyward {
        &self.running
    }

    /// SIGSTOP: it does nothing and knows of nothing until [`Self::resume`]. What comes to its listeners waits.
    pub(crate) fn pause(&self) {
        self.running.signal("STOP");
        // One of its threads may be on another core yet.
        let stopped = |state: String| state.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'));
        let tasks = format!("/proc/{}/task", self.running.pid());
        eventually("every thread has stopped", || {
            let mut tasks = std::fs::read_dir(&tasks).unwrap();
            tasks.all(|task| std::fs::read_to_string(task.unwrap().path().join("stat")).is_ok_and(stopped))
        });
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        self.running.signal("CONT");
    }

    /// SIGKILL, paused or not.
    pub(crate) fn kill(&mut self) {
        self.running.kill();
        self.remember();
    }

    /// Starts it after [`Self::kill`], and waits until it listens. As an orchestrator would, it does so again where it ends at
    /// start, because its store cannot be reached just then.
    pub(crate) fn restart(&mut self) {
        eventually("the replica is back", || {
            self.running = (self.setup)(keyward().over(&self.running)).spawn();
            let listens = self.running.comes_to_listen();
            if !listens {
                self.remember();
            }
            listens
        });
    }

    fn remember(&mut self) {
        self.past.extend(self.running.stderr.all());
        self.past.push("-- ended --".into());
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What it says now is told by the process's own end, which comes next.
            eprintln!("replica {}:\n{}", self.number, self.past.join("\n"));
        }
    }
}

const AT_ONCE: usize = 8;
