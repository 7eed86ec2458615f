//! What befalls replicas and what they stand on, in an order that a seed draws.

use std::sync::Arc;
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use super::scene::Scene;
use crate::support::Replica;
use crate::support::draw::Draw;
use crate::support::postgres::relay::{Direction, Relay, Traffic};
use crate::support::postgres::{Database, Mode, Server};

/// One thing that goes wrong and is put right again. How long it lasts is what it is, so it may sleep.
pub(super) struct Fault<'a> {
    pub(super) name: String,
    befall: Box<dyn FnOnce(&mut Stage<'_>) + 'a>,
}

/// Where it befalls.
pub(super) struct Stage<'a> {
    pub(super) scene: &'a Scene,
    pub(super) replicas: &'a mut [Replica],
    pub(super) draw: &'a mut Draw,
    /// What lasts on while others befall.
    pub(super) lasting: &'a mut Vec<JoinHandle<()>>,
}

impl<'a> Fault<'a> {
    fn new(name: impl Into<String>, befall: impl FnOnce(&mut Stage<'_>) + 'a) -> Self {
        Self { name: name.into(), befall: Box::new(befall) }
    }

    pub(super) fn befall(self, stage: &mut Stage<'_>) {
        (self.befall)(stage);
    }
}

impl Stage<'_> {
    fn replica(&mut self) -> (usize, &mut Replica) {
        let number = self.draw.below(self.replicas.len() as u64);
        (number, &mut self.replicas[number])
    }
}

/// A replica stands still for so long (SIGSTOP, SIGCONT).
pub(super) fn pause(time: Duration) -> Fault<'static> {
    Fault::new(format!("a replica is paused for {time:?}"), move |stage| {
        let (_, replica) = stage.replica();
        replica.pause();
        sleep(time);
        replica.resume();
    })
}

/// A replica ends without a word (SIGKILL) and comes back after so long.
pub(super) fn kill(away: Duration) -> Fault<'static> {
    Fault::new(format!("a replica is killed and away for {away:?}"), move |stage| {
        let (number, replica) = stage.replica();
        replica.kill();
        sleep(away);
        replica.restart();
        stage.scene.moved(number, &stage.replicas[number]);
    })
}

/// The database ends every session that keyward has.
pub(super) fn terminate<'a>(database: &'a Database<'_>) -> Fault<'a> {
    Fault::new("every session is ended", |_| {
        database.terminate_backends("%");
    })
}

/// The database is stopped, and back after so long.
pub(super) fn restart(server: &Server, mode: Mode, away: Duration) -> Fault<'_> {
    Fault::new(format!("the database is stopped ({mode:?}) and away for {away:?}"), move |_| {
        server.stop(mode);
        sleep(away);
        server.start();
    })
}

/// Connections are reset.
pub(super) fn cut(relay: &Arc<Relay>) -> Fault<'_> {
    Fault::new("a replica's connections are reset", |_| relay.cut())
}

/// For so long nothing arrives in one direction, while other things befall: it is held, or lost.
pub(super) fn silence(relay: &Arc<Relay>, direction: Direction, traffic: Traffic, time: Duration) -> Fault<'static> {
    let relay = Arc::clone(relay);
    Fault::new(format!("{direction:?} from a replica: {traffic:?} for {time:?}"), move |stage| {
        relay.set(direction, traffic);
        stage.lasting.push(std::thread::spawn(move || {
            sleep(time);
            relay.set(direction, Traffic::Pass);
        }));
    })
}

/// All of them, in an order that is drawn.
pub(super) fn shuffled<'a>(mut faults: Vec<Fault<'a>>, draw: &mut Draw) -> Vec<Fault<'a>> {
    for at in (1..faults.len()).rev() {
        faults.swap(at, draw.below(at as u64 + 1));
    }
    faults
}
