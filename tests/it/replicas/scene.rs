//! Replicas under load: who asks, where, and the origin that tells what came through.
//!
//! The load is open: a request is sent when its time has come, whatever became of those before, so a replica that stands
//! still is asked all the same. Half of it bears secrets that have ended, because those are what must not pass.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::time::{interval, timeout};
use tokio_util::task::TaskTracker;

use super::judge::Judge;
use super::line::Line;
use crate::support::draw::Draw;
use crate::support::{PATIENCE, Replica};

/// What load, changes and faults share.
pub(super) struct Scene {
    doors: Vec<Mutex<Door>>,
    presented: Mutex<Presented>,
    pub(super) judge: Mutex<Judge>,
    pub(super) ended: AtomicBool,
    /// Requests under way.
    pub(super) tasks: TaskTracker,
}

/// Where a replica is reached now.
struct Door {
    clients: SocketAddr,
    admin: SocketAddr,
    idle: Vec<Line>,
}

/// The secrets that clients use.
#[derive(Default)]
struct Presented {
    living: Vec<usize>,
    ended: VecDeque<usize>,
    /// Of each secret, the position of its making.
    revisions: Vec<Option<u64>>,
}

impl Scene {
    pub(super) fn of(replicas: &[Replica]) -> Self {
        Self {
            doors: replicas.iter().map(|replica| Mutex::new(Door::of(replica))).collect(),
            presented: Mutex::default(),
            judge: Mutex::default(),
            ended: AtomicBool::new(false),
            tasks: TaskTracker::new(),
        }
    }

    pub(super) const fn replicas(&self) -> usize {
        self.doors.len()
    }

    /// A replica was started again, elsewhere.
    pub(super) fn moved(&self, number: usize, replica: &Replica) {
        *self.doors[number].lock().unwrap() = Door::of(replica);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// A connection to where a replica's operators are answered.
    pub(super) async fn admin(&self, replica: usize) -> io::Result<Line> {
        let address = self.doors[replica].lock().unwrap().admin;
        Line::connect(address).await
    }

    /// A secret that lives from now on; its number. It is used at every replica at once, and from time to time. Where the position
    /// of its making is known, some requests name that.
    pub(super) fn born(self: &Arc<Self>, text: &str, revision: Option<u64>) -> usize {
        let secret = self.judge.lock().unwrap().born(text);
        let mut presented = self.presented.lock().unwrap();
        presented.living.push(secret);
        presented.revisions.resize(secret, None);
        presented.revisions.push(revision);
        drop(presented);
        self.everywhere(secret);
        secret
    }

    /// No replica may take it for unknown from then on.
    pub(super) fn known(&self, secret: usize, from: Instant) {
        self.judge.lock().unwrap().known(secret, from);
    }

    /// A secret whose end is complete since `at`. It is tried at every replica at once, and from time to time.
    pub(super) fn dead(self: &Arc<Self>, secret: usize, at: Instant) {
        self.judge.lock().unwrap().dead(secret, at);
        {
            let mut presented = self.presented.lock().unwrap();
            presented.living.retain(|living| *living != secret);
            presented.ended.push_back(secret);
            if presented.ended.len() > ENDED_KEPT {
                presented.ended.pop_front();
            }
        }
        self.everywhere(secret);
    }

    fn everywhere(self: &Arc<Self>, secret: usize) {
        (0..self.replicas()).for_each(|replica| self.ask(replica, secret));
    }

    /// Sends a request and waits for nothing.
    fn ask(self: &Arc<Self>, replica: usize, secret: usize) {
        let scene = Arc::clone(self);
        // Whoever cannot be reached is sent nothing.
        self.tasks.spawn(async move { timeout(PATIENCE, scene.request(replica, secret)).await });
    }

    async fn request(&self, replica: usize, secret: usize) -> io::Result<()> {
        let idle = |scene: &Self| scene.doors[replica].lock().unwrap().idle.pop();
        let mut line = match idle(self) {
            Some(line) => line,
            None => {
                let address = self.doors[replica].lock().unwrap().clients;
                Line::connect(address).await?
            }
        };
        let revision = self.presented.lock().unwrap().revisions[secret].filter(|_| secret.is_multiple_of(2));
        let (number, authorization) = {
            let mut judge = self.judge.lock().unwrap();
            let authorization = format!("Token {}", judge.text(secret));
            (judge.begun(secret, replica, revision.is_some(), now()), authorization)
        };
        let (path, position) = (format!("/{number}"), revision.unwrap_or_default().to_string());
        let headers = [("Authorization", &*authorization), ("Keyward-At-Least", &position)];
        let head = crate::support::http::head("GET", &path, &headers[..1 + usize::from(revision.is_some())]);
        let status = line.ask(&head).await?.status;
        self.judge.lock().unwrap().answered(number, status, now());
        self.doors[replica].lock().unwrap().idle.push(line);
        Ok(())
    }

    /// Asks one replica so many times a second, until the end.
    pub(super) async fn load(self: Arc<Self>, replica: usize, per_second: u32, mut draw: Draw) {
        let mut ticks = interval(Duration::from_secs(1) / per_second);
        while !self.has_ended() {
            ticks.tick().await;
            let secret = self.presented.lock().unwrap().one(&mut draw);
            secret.into_iter().for_each(|secret| self.ask(replica, secret));
        }
    }

    /// Answers every request, once it is noted as forwarded.
    pub(super) async fn origin(self: Arc<Self>, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let (scene, mut line) = (Arc::clone(&self), Line::over(stream));
            tokio::spawn(async move {
                while let Ok(Some(head)) = line.head().await {
                    let path = head.split(' ').nth(1).unwrap_or_default();
                    let number = path.trim_start_matches('/').parse().unwrap_or_else(|_| panic!("not ours: {head}"));
                    scene.judge.lock().unwrap().forwarded(number);
                    if line.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.is_err() {
                        return;
                    }
                }
            });
        }
    }
}

impl Door {
    fn of(replica: &Replica) -> Self {
        Self { clients: replica.now().address(), admin: replica.now().admin(), idle: Vec::new() }
    }
}

impl Presented {
    fn one(&self, draw: &mut Draw) -> Option<usize> {
        let ended: Vec<usize> = self.ended.iter().copied().collect();
        let of = if draw.below(2) == 0 || ended.is_empty() { &self.living } else { &ended };
        (!of.is_empty()).then(|| draw.one(of))
    }
}

#[allow(clippy::disallowed_methods, reason = "clients have real time")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// So many of the last secrets that ended are tried again and again.
const ENDED_KEPT: usize = 16;
