//! Addresses for the PROXY protocol.

use std::net::IpAddr;

use super::*;

fn from(networks: &[&str]) -> Case {
    let proxies: Vec<ipnet::IpNet> = networks.iter().map(|net| net.parse().unwrap()).collect();
    Case { exempt: proxies.clone(), proxies, ..Case::default() }
}

fn proxied() -> Case {
    from(&["127.0.0.1/32"])
}

/// A connection that begins so.
fn begun(face: &Face, header: impl AsRef<[u8]>) -> TcpStream {
    let mut stream = face.connect();
    stream.set_nodelay(true).unwrap();
    stream.write_all(header.as_ref()).unwrap();
    stream
}

/// A connection of a client, by v1.
fn of(face: &Face, client: &str) -> TcpStream {
    let family = if client.parse::<IpAddr>().unwrap().is_ipv4() { "TCP4" } else { "TCP6" };
    let to = if family == "TCP4" { "192.0.2.1" } else { "2001:db8::1" };
    begun(face, format!("PROXY {family} {client} {to} 4711 80\r\n"))
}

#[test]
fn a_peer_that_is_no_proxy_of_ours_is_closed_before_it_is_heard() {
    let face = from(&["192.0.2.0/24"]).start();
    assert!(read_to_close(&mut face.connect()).is_empty());
    face.wait_for_closed("untrusted");
    assert!(read_to_close(&mut of(&face, "192.0.2.7")).is_empty());
    face.wait_for_line(r#"keyward_client_connections_closed_total{reason="untrusted"} 2"#);
    face.wait_for_line(r#"keyward_parse_errors_total{reason="proxy_header"} 0"#);
}

#[test]
fn a_proxy_without_a_header_is_freed() {
    let mut case = proxied();
    case.timeouts.first_byte = SHORT;
    let face = case.start();
    assert!(read_to_close(&mut face.connect()).is_empty());
    face.wait_for_closed("first_byte_timeout");
}

#[test]
fn half_a_header_is_freed_however_often_a_byte_comes() {
    let mut case = proxied();
    case.timeouts.header = SHORT;
    let face = case.start();
    let longest = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11"[..], &2048_u16.to_be_bytes()].concat();
    let mut client = begun(&face, longest);
    let mut drip = client.try_clone().unwrap();
    let dripping = thread::spawn(move || {
        while drip.write_all(b"\0").is_ok() {
            thread::sleep(PAUSE);
        }
    });
    read_to_close(&mut client);
    face.wait_for_closed("header_timeout");
    dripping.join().unwrap();
}

#[test]
fn what_follows_the_header_is_under_limits_of_its_own() {
    let mut case = proxied();
    case.timeouts.first_byte = SHORT;
    let face = case.start();
    assert!(read_to_close(&mut of(&face, "192.0.2.7")).is_empty());
    face.wait_for_closed("first_byte_timeout");
}

#[test]
fn a_client_is_counted_by_the_address_that_is_told_and_its_proxy_by_none() {
    let mut case = proxied();
    (case.limits.connections_per_address, case.workers) = (2, 2);
    let face = case.start();
    let mut held: Vec<_> = (0..2).map(|_| of(&face, "192.0.2.7")).collect();
    held.iter_mut().for_each(|client| assert!(ask(client, "/").starts_with("HTTP/1.1 200 ")));
    assert!(read_to_close(&mut of(&face, "192.0.2.7")).is_empty());
    face.wait_for_line(r#"keyward_client_connections_closed_total{reason="connections_per_address"} 1"#);
    face.wait_for_line(r#"keyward_client_connections_limited_total{limit="connections_per_address"} 1"#);
    // Others by the same proxy are served, and so is the proxy itself.
    let mut others: Vec<_> = (1..20).map(|host| of(&face, &format!("198.51.100.{host}"))).collect();
    others.extend((0..5).map(|_| begun(&face, "PROXY UNKNOWN\r\n")));
    others.iter_mut().for_each(|client| assert!(ask(client, "/").starts_with("HTTP/1.1 200 ")));
    // Once one is gone there is room for one.
    held.pop();
    wait_until("the place is free", || {
        let mut client = of(&face, "192.0.2.7");
        write!(client, "GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").unwrap();
        read_to_close(&mut client).starts_with(b"HTTP/1.1 200 ")
    });
}

#[test]
fn a_proxy_that_tells_of_nobody_is_the_client_and_tells_of_nobody_in_its_requests_either() {
    let face = proxied().start();
    assert!(ask(&mut of(&face, "192.0.2.7"), "/address").contains("192.0.2.7:4711 true"));
    let mut unknown = begun(&face, "PROXY UNKNOWN\r\n");
    let own = format!("{} false", unknown.local_addr().unwrap());
    assert!(ask(&mut unknown, "/address").contains(&own));
    let mut local = begun(&face, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
    let own = format!("{} false", local.local_addr().unwrap());
    assert!(ask(&mut local, "/address").contains(&own));
}

#[test]
fn who_only_looks_whether_anybody_listens_breaks_nothing_off() {
    let face = proxied().start();
    drop(face.connect());
    face.wait_for_closed("done");
    drop(begun(&face, "PROXY TCP4 "));
    face.wait_for_line(r#"keyward_client_connections_closed_total{reason="broken"} 1"#);
}

#[test]
fn a_header_that_does_not_come_makes_way_where_there_is_no_room_for_another_handshake() {
    let pki = super::tls::pki();
    let mut case = Case { proxies: vec!["127.0.0.1/32".parse().unwrap()], ..pki.case() };
    case.limits.handshakes = 1;
    let face = case.start();
    let mut silent = face.connect();
    face.wait_for_line("keyward_client_connections 1");
    let mut next = of(&face, "192.0.2.7");
    assert!(read_to_close(&mut silent).is_empty());
    face.wait_for_line(r#"keyward_client_connections_closed_total{reason="handshake_timeout"} 1"#);
    // It is this one's turn.
    next.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    read_to_close(&mut next);
    face.wait_for_line(r#"keyward_tls_handshake_failures_total{reason="not_tls"} 1"#);
}

#[test]
fn a_proxy_without_a_header_is_waited_for_at_no_end() {
    let face = proxied().start();
    let mut silent = face.connect();
    face.wait_for_line("keyward_client_connections 1");
    assert_eq!(face.drain(BOUND).cut, 0);
    assert!(read_to_close(&mut silent).is_empty());
}
