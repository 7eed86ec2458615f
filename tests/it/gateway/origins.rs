//! Connections to origins: kept, bounded, retried once and only where nothing can happen twice.

use crate::support::{Keyward, Minted, Origin, Wire, eventually, keyward};

fn before(origin: &Origin, more: &str) -> (Keyward, Minted) {
    let config = format!(
        "[server]\nworkers = 1\nlisten = [\"127.0.0.1:0\"]\n{more}\n[services.api]\nurl = \"{}\"\n[[routes]]\npath = \"/**\"\nservice = \"api\"\n",
        origin.url()
    );
    let keyward = keyward().config(config).start();
    keyward.account("101");
    let key = keyward.service_key("101", &[]);
    (keyward, key)
}

#[test]
fn one_connection_serves_many_requests_of_every_kind() {
    let origin = Origin::scripted(|line| {
        while let Some((head, _)) = line.request() {
            line.send(match head.split(' ').next().unwrap() {
                "HEAD" => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
                "DELETE" => "HTTP/1.1 204 No Content\r\n\r\n",
                "PUT" => "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n",
                "PATCH" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            });
        }
    });
    let (keyward, key) = before(&origin, "");
    let mut wire = keyward.wire();
    for _ in 0..5 {
        for (method, status, body) in
            [("GET", 200, "hello"), ("HEAD", 200, ""), ("DELETE", 204, ""), ("PUT", 304, ""), ("PATCH", 200, "abc")]
        {
            let answer = wire.ask(method, "/", &[("Authorization", &format!("Token {}", key.secret))]);
            assert_eq!((answer.status, answer.text().as_str()), (status, body), "{method}");
        }
    }
    assert_eq!((origin.seen().heads.len(), origin.seen().connections), (25, 1));
}

#[test]
fn a_kept_connection_that_proved_stale_is_replaced_and_the_request_repeated_once() {
    // Each connection answers one request and reads the next one without an answer.
    let origin = Origin::scripted(|line| {
        line.request();
        line.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        line.request();
    });
    let (keyward, key) = before(&origin, "");
    for _ in 0..4 {
        assert_eq!(keyward.get("/", &key.secret).status, 200);
    }
    assert!(
        keyward.metrics().contains("keyward_origin_connections_total{service=\"api\",result=\"retried\"} 3"),
        "{}",
        keyward.metrics()
    );
}

#[test]
fn what_may_have_had_its_effect_or_had_a_body_is_not_repeated() {
    let origin = Origin::scripted(|line| {
        line.request();
        line.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        line.request();
    });
    let (keyward, key) = before(&origin, "");
    for (method, path, body) in [
        ("POST", "/order", "Content-Length: 1\r\n\r\nx"),
        ("POST", "/bare", "Content-Length: 0\r\n\r\n"),
        ("PUT", "/whole", "Content-Length: 1\r\n\r\nx"),
    ] {
        assert_eq!(keyward.get("/first", &key.secret).status, 200);
        let mut wire = keyward.wire();
        wire.send(format!("{method} {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Token {}\r\n{body}", key.secret));
        let answer = wire.answer(method);
        assert_eq!((answer.status, answer.code().as_str()), (502, "UPSTREAM_BROKEN"));
        let orders = origin.seen().heads.iter().filter(|head| head.starts_with(&format!("{method} {path} "))).count();
        assert_eq!(orders, 1, "{path}");
    }
}

#[test]
fn nothing_is_repeated_where_settings_say_so_nor_on_a_fresh_connection() {
    let stale = Origin::scripted(|line| {
        line.request();
        line.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        line.request();
    });
    let (keyward, key) = before(&stale, "[origin]\nretry = false\n");
    assert_eq!(keyward.get("/", &key.secret).status, 200);
    assert_eq!(keyward.get("/", &key.secret).code(), "UPSTREAM_BROKEN");
    let mute = Origin::scripted(|line| drop(line.request()));
    let (keyward, key) = before(&mute, "");
    assert_eq!(keyward.get("/", &key.secret).code(), "UPSTREAM_BROKEN");
    assert_eq!(mute.seen().heads.len(), 1);
}

#[test]
fn what_went_wrong_behind_has_its_own_answers() {
    let gone = Origin::plain();
    let (keyward, key) = before(&gone, "");
    drop(keyward);
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = Origin::scripted(crate::support::origin::Line::until_ended);
    let broken = Origin::answering("HTTP/1.1 two hundred\r\n\r\n");
    let keyward =
        keyward_of(&[("unused", format!("http://{unused}")), ("silent", silent.url()), ("broken", broken.url())]);
    keyward.account("101");
    let minted = keyward.service_key("101", &[]);
    for (path, status, code) in [
        ("/unused", 502, "UPSTREAM_UNREACHABLE"),
        ("/silent", 504, "UPSTREAM_TIMEOUT"),
        ("/broken", 502, "UPSTREAM_BROKEN"),
    ] {
        let answer = keyward.get(path, &minted.secret);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{path}");
    }
    assert_ne!(key.secret, minted.secret);
}

fn keyward_of(services: &[(&str, String)]) -> Keyward {
    let mut config = "[origin]\nresponse_header = \"300ms\"\n".to_owned();
    for (name, url) in services {
        config.push_str(&format!(
            "[services.{name}]\nurl = \"{url}\"\n[[routes]]\npath = \"/{name}\"\nservice = \"{name}\"\n"
        ));
    }
    keyward().config(config).start()
}

#[test]
fn a_client_that_leaves_cancels_the_origins_request() {
    let origin = Origin::scripted(|line| {
        line.request();
        line.until_ended();
    });
    let (keyward, key) = before(&origin, "");
    let mut wire = keyward.wire();
    wire.send(format!("GET /slow HTTP/1.1\r\nHost: a\r\nAuthorization: Token {}\r\n\r\n", key.secret));
    eventually("the origin is asked", || !origin.seen().heads.is_empty());
    drop(wire);
    origin.expect_ended(1);
    let line = keyward.logged("/slow", 1).remove(0);
    assert_eq!((line["status"].as_u64(), line["reason"].as_str()), (Some(499), Some("client_left")));
}

#[test]
fn connections_to_an_origin_are_bounded_and_requests_wait_for_one() {
    let origin = Origin::scripted(|line| {
        while line.request().is_some() {
            std::thread::sleep(std::time::Duration::from_millis(20));
            line.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let (keyward, key) = before(&origin, "[origin]\nconnections = 2\nconnect = \"30s\"\n");
    let address = keyward.address();
    let asking: Vec<_> = (0..16)
        .map(|_| {
            let secret = key.secret.clone();
            std::thread::spawn(move || Wire::connect(address).get("/", &secret).status)
        })
        .collect();
    assert!(asking.into_iter().all(|asked| asked.join().unwrap() == 200));
    assert_eq!(origin.seen().connections, 2);
}

#[test]
fn an_origin_that_switches_protocols_unasked_is_not_believed() {
    let origin =
        Origin::answering("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    let (keyward, key) = before(&origin, "");
    assert_eq!(keyward.get("/", &key.secret).status, 502);
}

#[test]
fn the_built_in_origin_answers_what_it_received() {
    let keyward = keyward().upstream("echo").start();
    keyward.account("101");
    let key = keyward.service_key("101", &[]);
    let mut wire = keyward.wire();
    wire.send(format!("POST /a/b?c=d HTTP/1.1\r\nHost: api.test\r\nX-Own: 1\r\nAuthorization: Bearer {}\r\nContent-Length: 5\r\n\r\nhello", key.secret));
    let said = wire.answer("POST").json();
    assert_eq!(
        (said["method"].as_str(), said["path"].as_str(), said["body_bytes"].as_u64()),
        (Some("POST"), Some("/a/b"), Some(5))
    );
    assert_eq!(
        (said["headers"]["x-own"].as_str(), said["headers"]["x-keyward-account"].as_str()),
        (Some("1"), Some("101"))
    );
    assert_eq!(keyward.get("/?size=100000&status=418", &key.secret).body.len(), 100_000);
    assert_eq!(keyward.get("/?status=418", &key.secret).status, 418);
    assert_eq!(keyward.get("/?delay=20", &key.secret).status, 200);
}

#[test]
fn a_kept_connection_that_is_reset_is_stale_too() {
    // Each connection answers one request and ends with the next one's bytes unread.
    let origin = Origin::scripted(|line| {
        line.request();
        line.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        line.skip(1);
    });
    let (keyward, key) = before(&origin, "");
    for _ in 0..4 {
        assert_eq!(keyward.get("/", &key.secret).status, 200);
    }
    let retried = "keyward_origin_connections_total{service=\"api\",result=\"retried\"} 3";
    assert!(keyward.metrics().contains(retried), "{}", keyward.metrics());
}

#[test]
fn an_answer_before_the_end_of_an_upload_is_the_answer() {
    let origin = Origin::scripted(|line| {
        line.head();
        line.send("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
    });
    let (keyward, key) = before(&origin, "");
    // The origin's end may be noticed first by what is written or by what is read.
    for _ in 0..20 {
        let mut wire = keyward.wire();
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nAuthorization: Token {}\r\n", key.secret);
        wire.send(head + "Content-Length: 5000000\r\n\r\n");
        wire.send_meanwhile(vec![b'x'; 5_000_000]);
        let answer = wire.answer("POST");
        assert_eq!((answer.status, answer.text().as_str()), (413, "no"));
    }
}

#[test]
fn what_an_origin_sends_unasked_is_nobodys_answer() {
    for (answer, methods) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\noneHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo",
            ["GET", "GET"],
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none", ["HEAD", "GET"]),
    ] {
        let origin = Origin::answering(answer);
        let (keyward, key) = before(&origin, "");
        let mut wire = keyward.wire();
        for method in methods.into_iter().cycle().take(6) {
            let answer = wire.ask(method, "/", &[("Authorization", &format!("Token {}", key.secret))]);
            assert_eq!((answer.status, answer.text().as_str()), (200, if method == "GET" { "one" } else { "" }));
        }
        assert!(origin.seen().connections >= 3);
    }
}

#[test]
fn an_answer_with_two_lengths_is_no_answer() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    );
    let (keyward, key) = before(&origin, "");
    for _ in 0..2 {
        let answer = keyward.get("/", &key.secret);
        assert_eq!((answer.status, answer.code().as_str()), (502, "UPSTREAM_BROKEN"));
    }
    assert_eq!(origin.seen().connections, 2);
}

#[test]
fn who_waits_for_a_connection_is_told_where_none_can_be_opened() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let keyward = keyward()
        .config("[server]\nworkers = 1\nlisten = [\"127.0.0.1:0\"]\n[origin]\nconnections = 1\nconnect = \"60s\"\n")
        .upstream(format!("http://{unused}"))
        .start();
    keyward.account("101");
    let key = keyward.service_key("101", &[]);
    let asked = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..16).map(|_| scope.spawn(|| keyward.get("/", &key.secret).code())).collect();
        asking.into_iter().map(|asked| asked.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(asked.iter().all(|code| code == "UPSTREAM_UNREACHABLE"), "{asked:?}");
}

#[test]
fn an_origin_that_ends_within_an_upload_without_an_answer_gave_none() {
    let origin = Origin::scripted(|line| drop(line.head()));
    let (keyward, key) = before(&origin, "");
    for framing in ["Content-Length: 5000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n4c4b40\r\n"] {
        let mut wire = keyward.wire();
        wire.send(format!("PUT / HTTP/1.1\r\nHost: a\r\nAuthorization: Token {}\r\n{framing}", key.secret));
        wire.send_meanwhile(vec![b'x'; 5_000_000]);
        let answer = wire.answer("PUT");
        assert_eq!((answer.status, answer.code().as_str()), (502, "UPSTREAM_BROKEN"), "{framing}");
    }
    assert_eq!(origin.seen().heads.len(), 2);
}

#[test]
fn an_exchange_left_in_the_middle_leaves_nothing_to_the_next() {
    // An answer too long for every buffer, and one that comes before its upload's end.
    let origin = Origin::scripted(|line| {
        while let Some(head) = line.head() {
            match head.split(' ').nth(1).unwrap() {
                "/long" => {
                    line.send("HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n");
                    for _ in 0..500 {
                        line.send(vec![b'x'; 100_000]);
                    }
                }
                "/early" => line.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly"),
                _ => line.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext"),
            }
        }
    });
    let (keyward, key) = before(&origin, "");
    for round in 1..4 {
        let mut wire = keyward.wire();
        wire.send(format!("GET /long HTTP/1.1\r\nHost: a\r\nAuthorization: Token {}\r\n\r\n", key.secret));
        assert_eq!(wire.head().0, 200);
        drop(wire);
        assert_eq!(keyward.get("/next", &key.secret).text(), "next");
        let mut wire = keyward.wire();
        let head = format!("POST /early HTTP/1.1\r\nHost: a\r\nAuthorization: Token {}\r\n", key.secret);
        wire.send(head + "Content-Length: 100\r\n\r\nGET /smuggled HTTP/1.1\r\n");
        assert_eq!(wire.answer("POST").text(), "early");
        assert_eq!(keyward.get("/next", &key.secret).text(), "next");
        origin.expect_ended(2 * round);
    }
    assert!(origin.seen().heads.iter().all(|head| !head.contains("smuggled")));
}

#[test]
fn a_connection_that_nobody_uses_is_closed_in_time() {
    let origin = Origin::plain();
    let (keyward, key) = before(&origin, "[origin]\nkeepalive_idle = \"100ms\"\n");
    assert_eq!(keyward.get("/", &key.secret).status, 200);
    origin.expect_ended(1);
    assert_eq!(keyward.get("/", &key.secret).status, 200);
    assert_eq!(origin.seen().connections, 2);
}
