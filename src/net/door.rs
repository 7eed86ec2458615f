//! Who is let in: so many connections in all, so many of one address, so many TLS handshakes at one time.
//!
//! All of it comes before any work for the client. At the limit of its address a connection is closed at once: to hold it
//! would let one client hold up the rest. At the other two the door is shut, and the kernel's queue holds who comes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use foldhash::quality::RandomState;
use ipnet::IpNet;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::config::Terms;
use super::open::{Fewer, Open};

/// The door of one face, for all its workers.
#[derive(Debug)]
pub(super) struct Door {
    connections: Open,
    handshakes: Open,
    addresses: Arc<Addresses>,
    proxies: Networks,
}

impl Door {
    /// A door with these limits; what comes from the `exempt` networks is not counted by address.
    pub(super) fn new(Terms { limits, exempt, proxies, .. }: &Terms) -> Self {
        Self {
            connections: Open::new(limits.connections),
            handshakes: Open::new(limits.handshakes),
            addresses: Arc::new(Addresses::new(limits.connections_per_address, exempt)),
            proxies: Networks::new(proxies),
        }
    }

    /// Has these limits from now on; every worker may say the same. What this returns has to be waited for, for as many as
    /// are too many now.
    pub(super) fn renew(&self, Terms { limits, exempt, proxies, .. }: &Terms) -> impl Iterator<Item = Fewer> + use<> {
        self.proxies.renew(proxies);
        self.addresses.renew(limits.connections_per_address, exempt);
        [self.connections.allow(limits.connections), self.handshakes.allow(limits.handshakes)].into_iter().flatten()
    }

    /// What is left of the connections in all.
    pub(super) fn connections(&self) -> &Arc<Semaphore> {
        self.connections.left()
    }

    /// What is left of the handshakes at one time.
    pub(super) fn handshakes(&self) -> &Arc<Semaphore> {
        self.handshakes.left()
    }

    /// Whether a PROXY header may come from this address.
    pub(super) fn is_proxy(&self, address: IpAddr) -> bool {
        self.proxies.contain(address.to_canonical())
    }

    /// One more connection of this address; none where it has all it may.
    pub(super) fn address(&self, address: IpAddr) -> Option<FromAddress> {
        self.addresses.enter(address)
    }
}

/// What a connection holds of the door's limits, until it ends.
#[derive(Debug)]
pub(super) struct Entered {
    pub(super) address: FromAddress,
    pub(super) _connection: Option<OwnedSemaphorePermit>,
}

/// How many connections each address has. The lock is taken where a connection begins and where it ends; it is one of
/// several, so that workers seldom meet at it.
#[derive(Debug)]
struct Addresses {
    /// 0 is any number.
    limit: AtomicUsize,
    exempt: Networks,
    hasher: RandomState,
    shelves: [Mutex<HashMap<Client, usize, RandomState>>; SHELVES],
}

/// An address as it is counted. Whoever has one IPv6 address has a whole /64 of them, so that is counted as one.
type Client = (bool, u64);

impl Addresses {
    fn new(limit: usize, exempt: &Arc<[IpNet]>) -> Self {
        let (limit, exempt) = (AtomicUsize::new(limit), Networks::new(exempt));
        Self { limit, exempt, hasher: RandomState::default(), shelves: Default::default() }
    }

    fn renew(&self, limit: usize, exempt: &Arc<[IpNet]>) {
        self.limit.store(limit, Ordering::Relaxed);
        self.exempt.renew(exempt);
    }

    fn enter(self: &Arc<Self>, address: IpAddr) -> Option<FromAddress> {
        let address = address.to_canonical();
        let limit = self.limit.load(Ordering::Relaxed);
        if limit == 0 || self.exempt.contain(address) {
            return Some(FromAddress(None));
        }
        let client = counted_as(address);
        let mut shelf = self.shelf(client).lock().unwrap_or_else(PoisonError::into_inner);
        let open = shelf.entry(client).or_default();
        if *open >= limit {
            return None;
        }
        *open += 1;
        Some(FromAddress(Some((Arc::clone(self), client))))
    }

    fn leave(&self, client: Client) {
        let mut shelf = self.shelf(client).lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut open) = shelf.entry(client) {
            *open.get_mut() -= 1;
            // An address that is gone takes no memory.
            if *open.get() == 0 {
                open.remove();
            }
        }
    }

    fn shelf(&self, client: Client) -> &Mutex<HashMap<Client, usize, RandomState>> {
        // The remainder is below the number of shelves.
        &self.shelves[(self.hasher.hash_one(client) % SHELVES as u64) as usize]
    }
}

fn counted_as(address: IpAddr) -> Client {
    match address {
        IpAddr::V4(address) => (false, u64::from(address.to_bits())),
        IpAddr::V6(address) => (true, (address.to_bits() >> 64) as u64),
    }
}

/// One of an address's connections, until it is dropped; by default of one that is not counted.
#[derive(Debug, Default)]
pub(super) struct FromAddress(Option<(Arc<Addresses>, Client)>);

impl Drop for FromAddress {
    fn drop(&mut self) {
        if let Some((addresses, client)) = &self.0 {
            addresses.leave(*client);
        }
    }
}

/// Networks that a reload may change.
#[derive(Debug)]
struct Networks(RwLock<Arc<[IpNet]>>);

impl Networks {
    fn new(networks: &Arc<[IpNet]>) -> Self {
        Self(RwLock::new(Arc::clone(networks)))
    }

    fn renew(&self, networks: &Arc<[IpNet]>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).clone_from(networks);
    }

    fn contain(&self, address: IpAddr) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).iter().any(|net| net.contains(&address))
    }
}

const SHELVES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(limit: usize, exempt: &[&str]) -> Arc<Addresses> {
        let exempt = exempt.iter().map(|net| net.parse().unwrap()).collect();
        Arc::new(Addresses::new(limit, &exempt))
    }

    fn entered(addresses: &Arc<Addresses>, address: &str) -> Option<FromAddress> {
        addresses.enter(address.parse().unwrap())
    }

    #[test]
    fn an_address_has_its_own_count_and_a_v6_network_has_one() {
        let all = addresses(1, &[]);
        for (one, same, other) in [
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", "2001:db8:0:2::1"),
            ("198.51.100.1", "::ffff:198.51.100.1", "::ffff:198.51.100.2"),
        ] {
            let first = entered(&all, one);
            assert!(first.is_some(), "{one}");
            assert!(entered(&all, same).is_none(), "{same}");
            assert!(entered(&all, other).is_some(), "{other}");
            drop(first);
            assert!(entered(&all, same).is_some(), "{same} after {one} left");
        }
    }

    #[test]
    fn an_exempt_network_and_a_limit_of_zero_know_no_bound() {
        let all = addresses(1, &["10.0.0.0/8"]);
        let held: Vec<_> = (0..100).map(|_| entered(&all, "::ffff:10.1.2.3")).collect();
        assert!(held.iter().all(Option::is_some));
        let all = addresses(0, &[]);
        let held: Vec<_> = (0..100).map(|_| entered(&all, "192.0.2.1")).collect();
        assert!(held.iter().all(Option::is_some));
    }

    #[test]
    fn who_has_left_takes_no_memory() {
        let all = addresses(4, &[]);
        for address in 0..1000_u32 {
            drop(all.enter(IpAddr::from(address.to_be_bytes())));
        }
        assert!(all.shelves.iter().all(|shelf| shelf.lock().unwrap().is_empty()));
    }
}
