//! Who the client is, where proxies of ours stand in front.
//!
//! Nobody's word is taken by default. From a listed network the chain that [`forwarded`](super::forwarded) reads is walked
//! from its right end, where the hops we trust wrote, to the first address that is none of them.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;

use super::forwarded::hops;
use crate::net::Peer;
use crate::net::config::ClientHeader;

/// The client, and what the origin is told about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Client {
    /// The client's own address.
    pub(super) address: IpAddr,
    /// `X-Forwarded-For`: the client, then every trusted hop.
    pub(super) chain: HeaderValue,
    /// Whether the client's own connection was TLS.
    pub(super) secure: bool,
    /// The request id a trusted proxy gave.
    pub(super) request_id: Option<HeaderValue>,
}

impl Client {
    /// Reads what there is to know, before the headers are cleaned. `said` is where a trusted proxy tells of its client.
    pub(super) fn of(peer: &Peer, headers: &HeaderMap, trusted: &[IpNet], said: ClientHeader) -> Self {
        let (address, secure) = (peer.ip(), peer.secure());
        let believed = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
        if !peer.may_tell || !believed(&address) {
            return Self { address, chain: peer.ip_line().clone(), secure, request_id: None };
        }
        let (mut chain, mut told) = (vec![address], None);
        for hop in hops(headers, said) {
            // A hop that tells nothing ends what can be believed.
            let Some(hop) = hop else { break };
            chain.push(hop.address);
            told = hop.secure;
            if !believed(&hop.address) {
                break;
            }
        }
        chain.reverse();
        let told = match said {
            ClientHeader::Forwarded => told,
            ClientHeader::XForwardedFor => scheme(headers),
        };
        let secure = told.unwrap_or(secure);
        let request_id = headers.get("x-request-id").filter(|id| is_plain_id(id)).cloned();
        Self { address: chain[0], chain: value(&chain), secure, request_id }
    }
}

fn scheme(headers: &HeaderMap) -> Option<bool> {
    match headers.get("x-forwarded-proto").map(HeaderValue::as_bytes) {
        Some(b"https") => Some(true),
        Some(b"http") => Some(false),
        _ => None,
    }
}

fn value(chain: &[IpAddr]) -> HeaderValue {
    let text: Vec<String> = chain.iter().map(IpAddr::to_string).collect();
    HeaderValue::try_from(text.join(", ")).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

fn is_plain_id(id: &HeaderValue) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
    (1..=128).contains(&id.len()) && id.as_bytes().iter().all(plain)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn client(peer: &str, chain: &[&str]) -> (String, String) {
        let headers = chain.iter().map(|line| ("x-forwarded-for".parse().unwrap(), line.parse().unwrap())).collect();
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let address = SocketAddr::new(peer.parse().unwrap(), 1);
        let peer = Peer::detached(address, address);
        let client = Client::of(&peer, &headers, &trusted, ClientHeader::XForwardedFor);
        (client.address.to_string(), client.chain.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_stranger_is_who_connects_whatever_it_says() {
        assert_eq!(client("192.0.2.1", &["10.0.0.9"]), ("192.0.2.1".into(), "192.0.2.1".into()));
    }

    #[test]
    fn a_trusted_chain_is_walked_from_the_right() {
        for (lines, address, chain) in [
            (&["198.51.100.1"][..], "198.51.100.1", "198.51.100.1, 10.0.0.1"),
            (&["203.0.113.9, 198.51.100.1"], "198.51.100.1", "198.51.100.1, 10.0.0.1"),
            (&["198.51.100.1, 10.0.0.2"], "198.51.100.1", "198.51.100.1, 10.0.0.2, 10.0.0.1"),
            (&["203.0.113.9", "198.51.100.1"], "198.51.100.1", "198.51.100.1, 10.0.0.1"),
            (&["10.0.0.3"], "10.0.0.3", "10.0.0.3, 10.0.0.1"),
            (&["198.51.100.1, nonsense"], "10.0.0.1", "10.0.0.1"),
            (&["198.51.100.1:4711"], "198.51.100.1", "198.51.100.1, 10.0.0.1"),
            (&[], "10.0.0.1", "10.0.0.1"),
        ] {
            assert_eq!(client("10.0.0.1", lines), (address.into(), chain.into()), "{lines:?}");
        }
        assert_eq!(client("::ffff:10.0.0.1", &["198.51.100.1"]).0, "198.51.100.1");
    }

    #[test]
    fn one_header_is_believed_and_the_other_never() {
        let lines = [
            ("forwarded", "for=192.0.2.7;proto=http, for=198.51.100.1;proto=https, for=10.0.0.2;proto=http"),
            ("x-forwarded-for", "203.0.113.9"),
            ("x-forwarded-proto", "http"),
        ];
        let headers = lines.iter().map(|(name, line)| (name.parse().unwrap(), line.parse().unwrap())).collect();
        let of = |said| {
            let trusted = ["10.0.0.0/8".parse().unwrap()];
            let address: SocketAddr = "10.0.0.1:1".parse().unwrap();
            let client = Client::of(&Peer::detached(address, address), &headers, &trusted, said);
            (client.address.to_string(), client.chain.to_str().unwrap().to_owned(), client.secure)
        };
        // What the client's own connection was is told by whoever it was connected to.
        let chain = "198.51.100.1, 10.0.0.2, 10.0.0.1";
        assert_eq!(of(ClientHeader::Forwarded), ("198.51.100.1".into(), chain.into(), true));
        let chain = "203.0.113.9, 10.0.0.1";
        assert_eq!(of(ClientHeader::XForwardedFor), ("203.0.113.9".into(), chain.into(), false));
    }
}
