//! What is still open when the key that let it pass may have ended: a tunnel, an answer or an upload that takes long.
//!
//! ```text
//!  tunnel, from its start    --.                  .-- news (another thread rings), or once a second: time, silence
//!  answer or upload, LONG old --+--> Open: a vigil --still alive? still permitted?--no--> cut, after the route's grace
//! ```
//!
//! What is whole in one piece pays for none of this. What is not is put on its worker's list, in case it comes to last. A request
//! that only waits for its answer's head is not on it: it is finished, as any that was forwarded. What is cut is cut where the
//! socket is: a slow client cannot keep it open by taking its time.

use std::cell::{Cell, OnceCell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::access::Ledger;
use super::authorize::{self, Permit};
use super::tunnel::Life;
use crate::clock::{BootTime, Clock};
use crate::key::{AccountId, Verified};
use crate::keyring::{Keyring, Vigil};
use crate::net::Exchange;
use crate::telemetry::label::{Cut, StreamReset, TunnelEnd};

/// What is open on one worker.
pub(super) struct Open {
    keyring: Arc<Keyring>,
    clock: Clock,
    /// Rung when a vigil has news.
    bell: Arc<Notify>,
    all: RefCell<Vec<Rc<Entry>>>,
    /// Whether the log was told that things are cut because nothing can be told of their keys.
    told: Cell<bool>,
}

/// Who let a request pass, and as what: enough to ask again.
#[derive(Clone)]
pub(super) struct Held {
    verified: Verified,
    account: Option<AccountId>,
    client: IpAddr,
    route: usize,
    /// How long it may go on when its key has ended.
    grace: Duration,
}

/// A part of an exchange that may come to last.
pub(super) struct Lasting {
    ledger: Rc<Ledger>,
    exchange: Exchange,
    /// None once it is opened.
    held: Option<Held>,
    part: Cut,
    since: BootTime,
    opened: Option<Opened>,
}

/// Something among what is open, as long as this lives.
pub(super) struct Opened {
    open: Rc<Open>,
    entry: Rc<Entry>,
}

struct Entry {
    /// Its place in the list.
    at: Cell<usize>,
    ledger: Rc<Ledger>,
    held: Held,
    part: Cut,
    end: End,
    since: BootTime,
    /// Once it has lasted.
    vigil: OnceCell<Vigil>,
    verified: RefCell<Verified>,
    permitted: Cell<bool>,
    /// When it is cut.
    ends: Cell<Option<BootTime>>,
}

/// How it is cut.
enum End {
    Exchange(Exchange),
    Tunnel(Rc<Life>),
}

impl Open {
    pub(super) fn new(keyring: Arc<Keyring>, clock: Clock) -> Rc<Self> {
        Rc::new(Self { keyring, clock, bell: Arc::default(), all: RefCell::default(), told: Cell::new(false) })
    }

    /// Looks after it all, as long as the worker lives.
    pub(super) async fn look_after(self: Rc<Self>) {
        loop {
            // Whichever comes first.
            let _ = tokio::time::timeout(LOOK, self.bell.notified()).await;
            self.look();
        }
    }

    fn look(&self) {
        let now = self.clock.boot();
        let silent = self.keyring.silent_since();
        for entry in &*self.all.borrow() {
            let lasts = entry.part == Cut::Tunnel || now.since(entry.since) >= LONG;
            if entry.vigil.get().is_none() && !lasts {
                continue;
            }
            let bell = || Arc::clone(&self.bell);
            let vigil = entry.vigil.get_or_init(|| self.keyring.vigil(&entry.verified.borrow(), bell()));
            let untold = vigil.doubted_since().into_iter().chain(silent).min();
            let patience = entry.ledger.generation.plan.stream_grace.max(SETTLES);
            let lost = untold.is_some_and(|since| now.since(since) >= patience);
            if lost && !self.told.replace(true) {
                tracing::warn!(
                    "what is open for long is cut: nothing could be told of its keys for `gateway.stream_grace`"
                );
            }
            if entry.is_permitted(&self.keyring, vigil) && !lost {
                entry.ends.set(None);
                continue;
            }
            let ends =
                entry.ends.get().unwrap_or_else(|| now.plus(if lost { Duration::ZERO } else { entry.held.grace }));
            entry.ends.set(Some(ends));
            if now >= ends {
                entry.cut();
            }
        }
        if silent.is_none() {
            self.told.set(false);
        }
    }

    fn add(self: &Rc<Self>, ledger: &Rc<Ledger>, held: Held, part: Cut, since: BootTime, end: End) -> Opened {
        let (ledger, mut all) = (Rc::clone(ledger), self.all.borrow_mut());
        let (at, vigil, verified) = (Cell::new(all.len()), OnceCell::new(), RefCell::new(held.verified.clone()));
        let (permitted, ends) = (Cell::new(true), Cell::new(None));
        let entry = Rc::new(Entry { at, ledger, held, part, end, since, vigil, verified, permitted, ends });
        all.push(Rc::clone(&entry));
        Opened { open: Rc::clone(self), entry }
    }
}

impl Entry {
    /// Whether it could begin now as it once did.
    fn is_permitted(&self, keyring: &Keyring, vigil: &Vigil) -> bool {
        match vigil.news() {
            Some(Ok(verified)) => {
                self.permitted.set(self.held.is_permitted(&self.ledger, &verified));
                self.verified.replace(verified);
            }
            Some(Err(_)) => self.permitted.set(false),
            None => {}
        }
        let still = || keyring.still(&self.verified.borrow()).ok();
        let user_keys = &self.ledger.generation.plan.user_keys;
        self.permitted.get() && still().is_some_and(|verified| user_keys.judge(&verified).is_ok())
    }

    fn cut(&self) {
        let first = match &self.end {
            End::Tunnel(life) => life.end(TunnelEnd::KeyEnded),
            End::Exchange(exchange) if exchange.is_cut() => false,
            End::Exchange(exchange) => {
                if exchange.cut() {
                    self.ledger.shard.stream_reset(StreamReset::KeyEnded);
                }
                true
            }
        };
        if first {
            self.ledger.shard.cut(self.part);
        }
    }
}

impl Held {
    /// Who a permit was given to, where what they have open ends with their key.
    pub(super) fn by(permit: &Permit<'_>, client: IpAddr) -> Option<Self> {
        let (route, holder) = (permit.route(), permit.holder()?);
        let (verified, account) = (holder.verified.clone(), holder.grant.account.clone());
        Some(Self { verified, account, client, route: route.at, grace: route.on_key_end? })
    }

    fn is_permitted(&self, ledger: &Ledger, verified: &Verified) -> bool {
        let route = &ledger.generation.plan.routes[self.route];
        let account = self.account.as_ref().map(|account| account.as_str().into());
        authorize::permit(route, verified.clone(), self.client, Ok(account)).is_ok()
    }
}

impl Lasting {
    /// Part of an exchange that began at `since`.
    pub(super) fn new(ledger: &Rc<Ledger>, exchange: &Exchange, held: Held, part: Cut, since: BootTime) -> Self {
        let (ledger, exchange, held) = (Rc::clone(ledger), exchange.clone(), Some(held));
        Self { ledger, exchange, held, part, since, opened: None }
    }

    /// The same of another part, before any of it has begun.
    pub(super) fn of(&self, part: Cut) -> Option<Self> {
        Some(Self::new(&self.ledger, &self.exchange, self.held.clone()?, part, self.since))
    }

    /// It was not whole at once.
    pub(super) fn goes_on(&mut self) {
        if let Some(held) = self.held.take() {
            let end = End::Exchange(self.exchange.clone());
            self.opened = Some(self.ledger.open.add(&self.ledger, held, self.part, self.since, end));
        }
    }

    /// It goes on as a tunnel.
    pub(super) fn tunnels(self, life: &Rc<Life>) -> Option<Opened> {
        let opened =
            self.ledger.open.add(&self.ledger, self.held?, Cut::Tunnel, self.since, End::Tunnel(Rc::clone(life)));
        // Which has it on watch at once.
        opened.open.bell.notify_one();
        Some(opened)
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let (mut all, at) = (self.open.all.borrow_mut(), self.entry.at.get());
        drop(all.swap_remove(at));
        if let Some(moved) = all.get(at) {
            moved.at.set(at);
        }
    }
}

/// From then on an answer or an upload is a long one.
const LONG: Duration = Duration::from_secs(5);

/// How often a worker looks, without news.
const LOOK: Duration = Duration::from_secs(1);

/// A store may take a moment to answer.
const SETTLES: Duration = Duration::from_secs(2);
