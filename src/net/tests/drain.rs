//! Ending, and not starting.

use std::cell::RefCell;

use super::*;

#[test]
fn a_request_in_flight_finishes_and_idle_connections_end() {
    let face = Case { workers: 2, ..Case::default() }.start();
    let (mut idle, mut busy) = (face.connect(), face.connect());
    ask(&mut idle, "/");
    busy.write_all(b"GET /wait HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
    face.wait_for_begun(2);
    let (address, drain, gate) = (face.address, face.drain.clone(), Arc::clone(&face.gate));
    let draining = thread::spawn(move || face.drain(BOUND));
    assert!(read_to_close(&mut idle).is_empty());
    assert!(drain.is_leaving());
    wait_until("nothing is accepted", || TcpStream::connect(address).is_err());
    gate.add_permits(1);
    let answer = read_answer(&mut busy);
    assert!(answer.contains("connection: close") && answer.contains("waited"), "{answer}");
    assert!(read_to_close(&mut busy).is_empty());
    assert_eq!(draining.join().unwrap().cut, 0);
}

#[test]
fn accepting_goes_on_for_a_while_after_being_ready_ends_and_who_was_there_before_is_told_to_go() {
    let face = Case::default().start();
    let (idle, used) = (face.connect(), RefCell::new(face.connect()));
    face.wait_for_line("keyward_client_connections 2");
    let (address, drain, metrics) = (face.address, face.drain.clone(), Arc::clone(&face.metrics));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let draining = runtime.spawn(face.workers.drain(Duration::from_secs(3600), BOUND));
    wait_until("leaving", || drain.is_leaving());
    let is_last = |stream: &mut TcpStream| ask(stream, "/").contains("\r\nconnection: close\r\n");
    // An answer or two may go before the worker knows.
    wait_until("the next answer is the last", || is_last(&mut used.borrow_mut()));
    assert!(read_to_close(&mut used.borrow_mut()).is_empty());
    let mut late = TcpStream::connect(address).unwrap();
    assert!(ask(&mut late, "/").starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(!is_last(&mut late));
    // Who has asked nothing stays until it does.
    assert!(metrics.render(Form::Prometheus).lines().any(|line| line == "keyward_client_connections 2"));
    let mut idle = idle;
    assert!(is_last(&mut idle) && read_to_close(&mut idle).is_empty());
    draining.abort();
}

#[test]
fn what_is_still_busy_when_time_is_up_is_cut_and_counted() {
    let face = Case::default().start();
    let metrics = Arc::clone(&face.metrics);
    let mut busy = face.connect();
    busy.write_all(b"GET /wait HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
    face.wait_for_begun(1);
    assert_eq!(face.drain(SHORT.0).cut, 1);
    assert!(read_to_close(&mut busy).is_empty());
    assert!(
        metrics.render(Form::Prometheus).contains(r#"keyward_client_connections_closed_total{reason="drained"} 1"#)
    );
}

#[test]
fn a_handler_that_panics_costs_its_own_connection_only() {
    let face = Case::default().start();
    let mut other = face.connect();
    ask(&mut other, "/");
    let mut client = face.connect();
    client.write_all(b"GET /panic HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
    assert!(read_to_close(&mut client).is_empty());
    assert!(ask(&mut other, "/").starts_with("HTTP/1.1 200 OK\r\n"));
    face.wait_for_line("keyward_client_connections 1");
}

#[test]
fn a_worker_that_cannot_start_is_an_error() {
    let case = Case { workers: 2, ..Case::default() };
    let failed = case.try_start(|handler| {
        assert!(handler.number == 0, "the second worker cannot");
        handler
    });
    let failed = failed.err().unwrap();
    assert_eq!(failed.to_string(), "worker 1 ended");
    assert!(std::error::Error::source(&failed).unwrap().to_string().contains("the second worker cannot"));
}
