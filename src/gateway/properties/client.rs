//! Who the client is: the peer, or an address that a peer we trust told of.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;

use super::{head, lines, text};
use crate::gateway::client::Client;
use crate::gateway::forwarded::{Hop, hops};
use crate::net::Peer;
use crate::net::config::ClientHeader;

/// Nobody else's word is taken, and nothing a client sends changes how what a proxy puts behind it is read.
///
/// Lines: the peer, the trusted networks between blanks, the headers.
pub fn client(input: &[u8]) {
    let mut lines = lines(input);
    let (Ok(peer), networks) = (text(lines.next().unwrap_or_default()).parse::<IpAddr>(), lines.next()) else { return };
    let trusted: Vec<IpNet> =
        text(networks.unwrap_or_default()).split(' ').filter_map(|net| net.parse().ok()).collect();
    let headers = head(input.split(|byte| *byte == b'\n').skip(2));
    for said in [ClientHeader::XForwardedFor, ClientHeader::Forwarded] {
        known(peer, &trusted, &headers, said);
        appended(peer, &trusted, &headers, said);
    }
    well_formed(&headers);
}

fn of(peer: IpAddr, trusted: &[IpNet], headers: &HeaderMap, said: ClientHeader) -> Client {
    let address = SocketAddr::new(peer, 1);
    Client::of(&Peer::detached(address, address), headers, trusted, said)
}

fn known(peer: IpAddr, trusted: &[IpNet], headers: &HeaderMap, said: ClientHeader) {
    let believed = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    let client = of(peer, trusted, headers, said);
    let peer = peer.to_canonical();
    let chain: Vec<IpAddr> = text(client.chain.as_bytes()).split(", ").filter_map(|hop| hop.parse().ok()).collect();
    assert_eq!((chain.first(), chain.last()), (Some(&client.address), Some(&peer)));
    if !believed(&peer) {
        let stranger = Client { address: peer, chain: client.chain.clone(), secure: false, request_id: None };
        assert_eq!((client, chain.len()), (stranger, 1));
        return;
    }
    assert!(chain[1..].iter().all(believed), "{chain:?} goes past somebody who is not trusted");
    let (name, other) = match said {
        ClientHeader::XForwardedFor => ("x-forwarded-for", "forwarded"),
        ClientHeader::Forwarded => ("forwarded", "x-forwarded-for"),
    };
    let told: Vec<IpAddr> = headers.get_all(name).iter().flat_map(|line| addresses(line.as_bytes())).collect();
    assert!(chain[..chain.len() - 1].iter().all(|hop| told.contains(hop)), "{chain:?} has an address nobody told");
    let mut without = headers.clone();
    without.remove(other);
    if said == ClientHeader::Forwarded {
        without.remove("x-forwarded-proto");
    }
    assert_eq!(of(peer, trusted, &without, said), client, "both headers were read");

    // What we write is what the next one reads.
    let mut next = HeaderMap::new();
    for hop in &chain[..chain.len() - 1] {
        next.extend(HeaderValue::try_from(hop.to_string()).ok().map(|hop| (X_FORWARDED_FOR, hop)));
    }
    let again = of(peer, trusted, &next, ClientHeader::XForwardedFor);
    assert_eq!((again.address, again.chain), (client.address, client.chain));
}

/// A trusted proxy puts whom it forwards for behind what it received, on the same line or on one of its own.
fn appended(peer: IpAddr, trusted: &[IpNet], headers: &HeaderMap, said: ClientHeader) {
    let stranger: IpAddr = IpAddr::from([198, 51, 100, 77]);
    let believed = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    if !believed(&peer.to_canonical()) || believed(&stranger) {
        return;
    }
    let (name, element) = match said {
        ClientHeader::XForwardedFor => (X_FORWARDED_FOR, stranger.to_string()),
        ClientHeader::Forwarded => (http::header::FORWARDED, format!("for=\"{stranger}:1\";proto=https")),
    };
    let mut lines: Vec<Vec<u8>> = headers.get_all(&name).iter().map(|line| line.as_bytes().to_vec()).collect();
    for same_line in [false, true] {
        match lines.last_mut().filter(|_| same_line) {
            Some(line) => line.extend_from_slice(format!(", {element}").as_bytes()),
            None => lines.push(element.clone().into_bytes()),
        }
        let mut headers = headers.clone();
        headers.remove(&name);
        headers.extend(lines.iter().filter_map(|line| Some((name.clone(), HeaderValue::from_bytes(line).ok()?))));
        let client = of(peer, trusted, &headers, said);
        assert_eq!(client.address, stranger, "the client spoke over its proxy");
        assert!(client.secure || said == ClientHeader::XForwardedFor);
        lines.pop();
    }
}

/// Where a `Forwarded` line keeps RFC 7239's grammar, reading it from the left finds the same.
fn well_formed(headers: &HeaderMap) {
    for line in headers.get_all(http::header::FORWARDED) {
        let Some(read) = str::from_utf8(line.as_bytes()).ok().and_then(from_the_left) else { continue };
        let alone = HeaderMap::from_iter([(http::header::FORWARDED, line.clone())]);
        let mut found: Vec<Option<Hop>> = hops(&alone, ClientHeader::Forwarded).collect();
        found.reverse();
        assert_eq!(found, read, "{line:?}");
    }
}

/// The grammar, character by character from the left; nothing where it does not hold.
fn from_the_left(text: &str) -> Option<Vec<Option<Hop>>> {
    let (mut hops, mut rest) = (Vec::new(), text);
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Some(hops);
        }
        let mut pairs: Vec<(String, String)> = Vec::new();
        loop {
            let name = rest.split('=').next().filter(|name| is_token(name))?;
            rest = rest[name.len()..].strip_prefix('=')?;
            let (value, after) = value(rest)?;
            if pairs.len() == 4 || pairs.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
                return None;
            }
            pairs.push((name.to_ascii_lowercase(), value));
            rest = after;
            match rest.strip_prefix(';') {
                Some(after) => rest = after,
                None => break,
            }
        }
        rest = rest.trim_start_matches([' ', '\t']);
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
        let of = |name: &str| pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let secure = of("proto").map(str::to_ascii_lowercase);
        let secure = secure.and_then(|proto| ["http", "https"].iter().position(|known| *known == proto));
        hops.push(of("for").and_then(address).map(|address| Hop { address, secure: secure.map(|at| at == 1) }));
    }
}

fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ',', ' ', '\t']).unwrap_or(text.len());
        return is_token(&text[..end]).then(|| (text[..end].to_owned(), &text[end..]));
    };
    let (mut value, mut characters) = (String::new(), quoted.chars());
    loop {
        match characters.next()? {
            '"' => return Some((value, characters.as_str())),
            '\\' => value.push(characters.next()?),
            character => value.push(character),
        }
    }
}

/// The address of a node whose port is digits or a name with an underscore before it.
fn address(node: &str) -> Option<IpAddr> {
    let (address, port) = match node.rfind(']') {
        Some(end) => (IpAddr::V6(node[..end].strip_prefix('[')?.parse().ok()?), &node[end + 1..]),
        None => match node.split_once(':') {
            Some((address, _)) => (IpAddr::V4(address.parse().ok()?), &node[address.len()..]),
            None => (IpAddr::V4(node.parse().ok()?), ""),
        },
    };
    let name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let is_port = match port.strip_prefix(":_") {
        Some(port) => !port.is_empty() && port.chars().all(name),
        None if port.is_empty() => true,
        None => port.starts_with(':') && (2..7).contains(&port.len()) && port[1..].chars().all(|c| c.is_ascii_digit()),
    };
    is_port.then(|| address.to_canonical())
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))
}

/// Every address that stands anywhere in a line, with or without a port, however it is quoted.
fn addresses(line: &[u8]) -> Vec<IpAddr> {
    let plain: Vec<u8> = line.iter().filter(|byte| **byte != b'\\').copied().collect();
    let plain = String::from_utf8_lossy(&plain).into_owned();
    let words = plain.split(|c: char| !(c.is_ascii_hexdigit() || ".:".contains(c)));
    let of = |word: &str| -> Vec<IpAddr> {
        let alone = word.split_once(':').map_or(word, |(address, _)| address);
        [word, alone].iter().filter_map(|word| word.parse::<IpAddr>().ok()).map(|word| word.to_canonical()).collect()
    };
    words.flat_map(of).collect()
}

const X_FORWARDED_FOR: http::HeaderName = http::HeaderName::from_static("x-forwarded-for");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn element() -> impl Strategy<Value = String> {
        let address = "10[.]0[.]0[.][1-3]|192[.]0[.]2[.][1-3]|fd00::[1-3]|2001:db8::1|::ffff:10[.]0[.]0[.]1";
        let node =
            prop_oneof![address, address.prop_map(|a| format!("[{a}]")), Just("unknown".into()), Just("_x".into())];
        let port = "|:[0-9]{1,6}|:_a";
        let chain = (node.clone(), port).prop_map(|(node, port)| format!("{node}{port}"));
        let quoted = (node, port).prop_map(|(node, port)| format!("\"{node}{port}\""));
        let pair = prop_oneof![
            3 => prop_oneof![chain.clone(), quoted].prop_map(|node| format!("for={node}")),
            1 => "proto=(http|https|HTTPS|\"https\")|by=_p|host=\"a,b;c\"|[a-z]{1,3}=[a-z\"\\\\]{0,3}",
        ];
        prop_oneof![chain, proptest::collection::vec(pair, 1..4).prop_map(|pairs| pairs.join(";")), "[ -~]{0,6}"]
    }

    fn request() -> impl Strategy<Value = String> {
        let peer = "10[.]0[.]0[.]1|192[.]0[.]2[.]1|fd00::1|::ffff:10[.]0[.]0[.]1";
        let name = prop_oneof![Just("forwarded"), Just("x-forwarded-for"), Just("x-forwarded-proto")];
        let line = (name, proptest::collection::vec(element(), 0..4), ",|, | ,\t")
            .prop_map(|(name, elements, comma)| format!("{name}: {}", elements.join(&comma)));
        let lines = proptest::collection::vec(line, 0..4).prop_map(|lines| lines.join("\n"));
        (peer, "(10[.]0[.]0[.]0/8)?( fd00::/8)?", lines)
            .prop_map(|(peer, trusted, lines)| format!("{peer}\n{trusted}\n{lines}"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn nobodys_word_is_taken_but_a_trusted_proxys(input in request()) {
            client(input.as_bytes());
        }
    }
}
