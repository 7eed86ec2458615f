//! What must hold between settings, as far as no other part knows better: listeners, the admin's bind, store and pepper.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::Settings;
use crate::flaw::Flaw;
use crate::keyring::config::KeysConfig;
use crate::net;
use crate::secret::Secret;
use crate::store::config::Outage;

/// Every flaw that can be seen without a socket.
pub(super) fn check(settings: &Settings) -> Vec<Flaw> {
    let mut flaws = store(settings);
    flaws.extend(listeners(settings));
    flaws.extend(open_admin(settings));
    flaws.extend(numbers(settings));
    if settings.services.is_empty() && settings.routes.is_empty() {
        flaws.push(Flaw::new(
            "services",
            "there is no server to forward to: write [services.NAME] with a `url`, or give --upstream URL",
        ));
    }
    flaws
}

/// The flaws that matter to whoever only opens the store.
pub(super) fn store(settings: &Settings) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    let store = &settings.store;
    if !store.is_postgres() && store.path().is_err() {
        let shown = super::redact(&store.url);
        flaws.push(Flaw::new(
            "store.url",
            format!(
                "{shown:?} is no store: write \"sqlite:///absolute/path.db\", \"sqlite://relative/path.db\" or \
                 \"postgres://host:5432/database\""
            ),
        ));
    }
    if store.is_postgres() {
        flaws.extend(store.check_address().err().map(|(setting, what)| Flaw::new(setting, what)));
        if !(SHORTEST_FENCE..=LONGEST_FENCE).contains(&store.fence()) {
            let setting = if matches!(store.outage, Outage::Bridge(_)) { "store.outage" } else { "store.fence" };
            flaws.push(Flaw::new(
                setting,
                "what a replica has read counts for one second at least, and an hour at most",
            ));
        }
        if store.stale() > LONGEST_FENCE {
            let why = "a replica serves for an hour beyond the fence at most: a revocation may have to wait for that";
            flaws.push(Flaw::new("store.outage", why));
        }
    }
    flaws.extend(pepper(&settings.keys).err());
    flaws
}

/// Replicas ask four times in it; and whoever revokes a key may have to wait for it.
const SHORTEST_FENCE: Duration = Duration::from_secs(1);
const LONGEST_FENCE: Duration = Duration::from_secs(60 * 60);

/// The pepper that digests are made under, where one is set: the file's bytes, all of them.
///
/// # Errors
/// The flaw of a file that cannot be read or holds too little.
pub fn pepper(keys: &KeysConfig) -> Result<Option<Secret>, Flaw> {
    let Some(path) = &keys.pepper_file else { return Ok(None) };
    let flaw = |message: String| Flaw::new("keys.pepper_file", format!("{}: {message}", path.display()));
    Secret::from_file(path, PEPPER).map(Some).map_err(|bad| flaw(bad.to_string()))
}

fn listeners(settings: &Settings) -> Vec<Flaw> {
    let list = |key: &'static str, addresses: &[SocketAddr]| {
        addresses.iter().enumerate().map(|(at, address)| (format!("{key}.{at}"), *address)).collect::<Vec<_>>()
    };
    let mut all = list("server.listen", &settings.server.listen);
    all.extend(list("server.http2_listen", &settings.server.http2_listen));
    all.extend(list("server.tls_listen", &settings.server.tls_listen));
    all.push(("admin.listen".to_owned(), settings.admin.listen));

    let mut flaws = Vec::new();
    for (at, (key, address)) in all.iter().enumerate() {
        if let Some((other, first)) = all[..at].iter().find(|(_, first)| collide(*first, *address)) {
            flaws.push(Flaw::new(key, format!("{address} is used twice: {other} listens on {first} already")));
        }
    }
    let server = &settings.server;
    if server.listen.is_empty() && server.http2_listen.is_empty() && server.tls_listen.is_empty() {
        flaws.push(Flaw::new("server.listen", "nothing would listen: give an address here or in `tls_listen`"));
    }
    if let (Some(first), true) = (settings.server.tls_listen.first(), settings.server.certificates.is_empty()) {
        let message = format!("{first} needs a certificate: add [[server.certificates]] with chain_file and key_file");
        flaws.push(Flaw::new("server.tls_listen", message));
    }
    flaws.extend(proxy_protocol(server));
    flaws
}

/// A header is expected on addresses that are listened on, and from somebody.
fn proxy_protocol(server: &net::config::Config) -> Vec<Flaw> {
    let key = "server.proxy_protocol";
    let net::config::Config { listen, http2_listen, tls_listen, proxy_protocol, .. } = server;
    let listened = |address| [listen, http2_listen, tls_listen].iter().any(|list| list.contains(address));
    let elsewhere = proxy_protocol.iter().enumerate().filter(|(_, address)| !listened(address));
    let mut flaws: Vec<_> = elsewhere
        .map(|(at, address)| {
            let message =
                format!("{address} is none of `listen`, `http2_listen` and `tls_listen`: write it as it is there");
            Flaw::new(format!("{key}.{at}"), message)
        })
        .collect();
    if !proxy_protocol.is_empty() && server.trusted_proxies.is_empty() {
        flaws.push(Flaw::new(key, "nobody may send the header: name the proxies' networks in `trusted_proxies`"));
    }
    flaws
}

/// Whether two listeners cannot have their address both. Port 0 is another port every time.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let every = |of: IpAddr, also: IpAddr| of.is_unspecified() && (of.is_ipv6() || also.is_ipv4());
    let (a, b) = (one.ip(), other.ip());
    one.port() == other.port() && one.port() != 0 && (a == b || every(a, b) || every(b, a))
}

fn open_admin(settings: &Settings) -> Option<Flaw> {
    let admin = &settings.admin;
    if admin.listen.ip().is_loopback() || admin.has_tls() || admin.open_bind_without_tls {
        return None;
    }
    let message = format!(
        "{} is open to the network without TLS: give admin.chain_file and admin.key_file, listen on 127.0.0.1, or set \
         admin.open_bind_without_tls = true",
        admin.listen
    );
    Some(Flaw::new("admin.listen", message))
}

/// Numbers of which zero would mean that nothing works.
fn numbers(settings: &Settings) -> Vec<Flaw> {
    let must_be_positive = [
        ("server.limits.connections", settings.server.limits.connections),
        ("server.limits.handshakes", settings.server.limits.handshakes),
        ("server.limits.requests", settings.server.limits.requests),
        ("server.limits.streams", settings.server.limits.streams as usize),
        ("server.limits.pending_resets", settings.server.limits.pending_resets),
        ("server.limits.error_resets", settings.server.limits.error_resets),
        ("server.limits.stream_resets", settings.server.limits.stream_resets as usize),
        ("server.limits.control_frames", settings.server.limits.control_frames as usize),
        ("server.limits.header_bytes", settings.server.limits.header_bytes.as_usize()),
        ("store.readers", settings.store.readers),
        ("keyring.loads", settings.keyring.loads),
        ("keyring.waiting", settings.keyring.waiting),
        ("origin.connections", settings.origin.connections),
        ("origin.response_header_bytes", settings.origin.response_header_bytes.as_usize()),
    ];
    let zero = must_be_positive.into_iter().filter(|(_, number)| *number == 0);
    zero.map(|(key, _)| Flaw::new(key, "0 would let nothing through: give at least 1")).collect()
}

/// Fewest bytes of a pepper: as many as the digest has.
const PEPPER: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_collide_where_one_covers_the_other() {
        for (one, other, same) in [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("0.0.0.0:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "0.0.0.0:1", true),
            ("[::]:1", "127.0.0.1:1", true),
            ("0.0.0.0:1", "[::1]:1", false),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ] {
            assert_eq!(collide(one.parse().unwrap(), other.parse().unwrap()), same, "{one} {other}");
        }
    }
}
