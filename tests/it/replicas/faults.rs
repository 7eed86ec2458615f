//! What befalls replicas and what they stand on, in an order that a seed draws.

use std::thread::sleep;
use std::time::Duration;

use super::scene::Scene;
use crate::support::Replica;
use crate::support::draw::Draw;

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

/// All of them, in an order that is drawn.
pub(super) fn shuffled<'a>(mut faults: Vec<Fault<'a>>, draw: &mut Draw) -> Vec<Fault<'a>> {
    for at in (1..faults.len()).rev() {
        faults.swap(at, draw.below(at as u64 + 1));
    }
    faults
}
