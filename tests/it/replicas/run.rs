//! One run: replicas, load on all of them, operators at work, faults meanwhile, and the verdict.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::changes::Desk;
use super::faults::{Fault, Stage, shuffled};
use super::judge::Verdict;
use super::scene::{Scene, now};
use crate::support::draw::Draw;
use crate::support::keyward::Setup;
use crate::support::{Replica, eventually};

/// What is at work.
pub(super) struct Run {
    replicas: Vec<Replica>,
    scene: Arc<Scene>,
    desk: Arc<Desk>,
    worker: JoinHandle<()>,
    runtime: Runtime,
    draw: Draw,
    seed: u64,
}

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Requests a second at each replica.
    pub(super) per_second: u32,
    /// Operators.
    pub(super) operators: usize,
    /// From one change of an operator to the next.
    pub(super) pause: Duration,
    /// What a replica has read counts no longer than this.
    pub(super) lapse: Duration,
}

impl Run {
    /// So many replicas of one store, each as `setup` says of its number, at this pace.
    pub(super) fn start(
        count: usize,
        pace: Pace,
        setup: impl Fn(usize, Setup) -> Setup + Clone + Send + 'static,
    ) -> Self {
        let mut draw = Draw::new();
        let seed = draw.seed();
        println!("replicas: seed {seed}");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let replicas = Replica::start(count, move |number, plain| setup(number, plain.upstream(&origin)));
        let said = replicas.iter().flat_map(|replica| replica.now().stderr.all());
        let operators: Vec<_> =
            said.map(|line| line.trim().to_owned()).filter(|line| line.starts_with("kw_live_")).collect();
        let scene = Arc::new(Scene::of(&replicas));
        let [operator] = &operators[..] else {
            panic!("one start is the first, and prints an operator's key: {operators:?}")
        };
        let desk = Arc::new(Desk::new(&scene, operator, pace.lapse));
        let mut drawn = || Draw::seeded(draw.below(u64::MAX) as u64);
        let operators: Vec<Draw> = (0..pace.operators).map(|_| drawn()).collect();
        let clients: Vec<Draw> = (0..count).map(|_| drawn()).collect();
        let (ours, theirs) = (Arc::clone(&scene), Arc::clone(&desk));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let worker = runtime.spawn(async move {
            tokio::spawn(Arc::clone(&ours).origin(tokio::net::TcpListener::from_std(listener).unwrap()));
            theirs.account().await;
            let mut all = tokio::task::JoinSet::new();
            for (replica, draw) in clients.into_iter().enumerate() {
                all.spawn(Arc::clone(&ours).load(replica, pace.per_second, draw));
            }
            for draw in operators {
                all.spawn(Arc::clone(&theirs).work(pace.pause, draw));
            }
            all.join_all().await;
            ours.tasks.close();
            ours.tasks.wait().await;
        });
        Self { replicas, scene, desk, worker, runtime, draw, seed }
    }

    /// Has these faults befall them, one after the other, each after some changes went well.
    pub(super) fn befall(&mut self, faults: Vec<Fault<'_>>) {
        let (begun, mut lasting) = (now(), Vec::new());
        for fault in shuffled(faults, &mut self.draw) {
            self.expect_changes(self.desk.complete() + BETWEEN);
            println!("replicas: at {:.1} s {}", begun.elapsed().as_secs_f64(), fault.name);
            let (scene, replicas, draw) = (&*self.scene, &mut self.replicas[..], &mut self.draw);
            fault.befall(&mut Stage { scene, replicas, draw, lasting: &mut lasting });
        }
        lasting.into_iter().for_each(|fault| fault.join().unwrap());
    }

    /// Waits for so many complete changes in all.
    pub(super) fn expect_changes(&self, count: usize) {
        eventually(&format!("{count} changes, seed {}", self.seed), || {
            self.desk.complete() >= count || self.worker.is_finished() || !self.desk.failures().is_empty()
        });
        assert_eq!(self.desk.failures(), [""; 0], "seed {}", self.seed);
        assert!(!self.worker.is_finished(), "clients and operators go on, seed {}", self.seed);
    }

    /// Complete changes that every replica acknowledged.
    pub(super) fn acknowledged(&self) -> usize {
        self.desk.acknowledged()
    }

    /// Forgets how long receipts took until after this time.
    pub(super) fn forget_receipts_of(&self, time: Duration) {
        std::thread::sleep(time);
        self.desk.forget();
    }

    /// Ends the run, and panics where anything was not as promised.
    pub(super) fn finish(self, name: &str) -> Verdict {
        let seed = self.seed;
        let verdict = self.end(name);
        let some: Vec<&String> = verdict.violations.iter().take(20).collect();
        assert!(some.is_empty(), "seed {seed}: {} violations: {some:#?}", verdict.violations.len());
        verdict
    }

    /// Ends the run, and prints what it came to.
    pub(super) fn end(self, name: &str) -> Verdict {
        self.scene.ended.store(true, Ordering::SeqCst);
        self.runtime.block_on(self.worker).unwrap();
        let verdict = self.scene.judge.lock().unwrap().verdict();
        println!("{name}: {}", self.desk);
        println!(
            "{name}: {} requests, {} forwarded, {} began with a dead secret, {} with one not known yet, {} were answered 503, \
             {} not at all",
            verdict.requests, verdict.forwarded, verdict.late, verdict.early, verdict.unavailable, verdict.lost
        );
        assert_eq!(self.desk.failures(), [""; 0], "seed {}", self.seed);
        verdict
    }

    /// Lets the judge believe that a secret has ended which has not, as a receipt would that is not true.
    pub(super) fn forge_a_receipt(&self) {
        let key = self.replicas[0].now().service_key("101", &[]);
        let _clients = self.runtime.enter();
        let secret = self.scene.born(&key.secret, None);
        self.scene.dead(secret, now());
    }
}

/// Changes that are complete between two faults.
const BETWEEN: usize = 4;
