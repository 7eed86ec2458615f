//! Small answers, which leave together at the end of a worker's turn, to clients that take them late, slowly or never.

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::tls::pki;
use super::*;

/// A socket with room for so many bytes, or for as few as the kernel lets it have.
async fn connect(face: &Face, room: u32) -> tokio::net::TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(room).unwrap();
    socket.connect(face.address).await.unwrap()
}

/// The text that request `number` sends and gets back: with its head it is just small.
fn text(number: usize) -> String {
    format!("{number:08}{}", "x".repeat(1700))
}

fn request(number: usize, more: &str) -> String {
    let text = text(number);
    format!("POST / HTTP/1.1\r\nhost: test\r\n{more}content-length: {}\r\n\r\n{text}", text.len())
}

/// Asks on and on and reads nothing, until the server takes no more; returns how many requests were begun, and what is left
/// to send of the last one.
async fn pile_up(stream: &mut (impl AsyncWrite + Unpin)) -> (usize, String) {
    for number in 0.. {
        let mut rest = request(number, "");
        while !rest.is_empty() {
            match tokio::time::timeout(IDLE, stream.write(rest.as_bytes())).await {
                Ok(written) => drop(rest.drain(..written.unwrap())),
                Err(_) => return (number + 1, rest),
            }
        }
    }
    unreachable!()
}

/// Reads the answers to so many requests.
async fn read_answers(stream: &mut (impl AsyncRead + Unpin), count: usize) {
    let mut read = Vec::new();
    for number in 0..count {
        let end = format!("{}\r\n0\r\n\r\n", text(number));
        let mut chunk = [0; 64 * 1024];
        while !read.windows(END.len()).any(|bytes| bytes == END) {
            let more = tokio::time::timeout(BOUND, stream.read(&mut chunk)).await.unwrap().unwrap();
            assert!(more > 0, "closed in answer {number}");
            read.extend_from_slice(&chunk[..more]);
        }
        let at = read.windows(END.len()).position(|bytes| bytes == END).unwrap() + END.len();
        let answer = String::from_utf8(read.drain(..at).collect()).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with(&end), "{number}: {answer}");
    }
    assert!(read.is_empty());
}

const END: &[u8] = b"\r\n0\r\n\r\n";

/// No server that goes on takes nothing for so long; where it does for the machine is busy, fewer answers are piled up.
const IDLE: Duration = Duration::from_millis(300);

/// Reads nothing while answers pile up, and then all of them.
async fn takes_them_late(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let (mut reads, mut writes) = tokio::io::split(stream);
    let (count, rest) = pile_up(&mut writes).await;
    assert!(count > 100, "{count}");
    let write = async {
        writes.write_all((rest + &request(count, "connection: close\r\n")).as_bytes()).await.unwrap();
        writes.flush().await.unwrap();
    };
    tokio::join!(write, read_answers(&mut reads, count + 1));
    assert_eq!(reads.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn answers_that_piled_up_come_whole_and_in_order() {
    let face = Case::default().start();
    takes_them_late(connect(&face, 1).await).await;
    face.wait_for_closed("done");
}

#[tokio::test]
async fn answers_that_piled_up_under_tls_come_whole_and_in_order() {
    let pki = pki();
    let face = pki.case().start();
    takes_them_late(pki.connect(&face, "one.test", &[]).await).await;
    face.wait_for_closed("done");
}

#[tokio::test]
async fn a_client_that_never_takes_its_small_answers_is_freed() {
    let pki = pki();
    for secure in [false, true] {
        let mut case = if secure { pki.case() } else { Case::default() };
        case.timeouts.write_stall = SHORT;
        let face = case.start();
        if secure {
            let mut client = pki.connect(&face, "one.test", &[]).await;
            while client.write_all(request(0, "").as_bytes()).await.is_ok() {}
        } else {
            let mut client = connect(&face, 1).await;
            while client.write_all(request(0, "").as_bytes()).await.is_ok() {}
        }
        face.wait_for_closed("write_stall");
    }
}

/// Clients of all manners on one worker: small answers and large ones, taken slowly, and clients that break off by a reset.
#[tokio::test]
async fn a_crowd_gets_every_byte_whatever_the_others_do() {
    const CROWD: usize = 200;
    let face = Case::default().start();
    let mut crowd = tokio::task::JoinSet::new();
    for number in 0..CROWD {
        let mut client = connect(&face, 32 * 1024).await;
        crowd.spawn(async move {
            for round in 0..4 {
                client.write_all((request(0, "") + &request(1, "") + &request(2, "")).as_bytes()).await.unwrap();
                if number % 10 == 9 && round == 2 {
                    SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
                    return;
                }
                read_answers(&mut client, 3).await;
                client.write_all(b"GET /large HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
                let mut large = Vec::new();
                while !large.ends_with(END) {
                    let mut step = [0; 4096];
                    let read = tokio::time::timeout(BOUND, client.read(&mut step)).await.unwrap().unwrap();
                    assert!(read > 0, "closed");
                    large.extend_from_slice(&step[..read]);
                }
                // One stands in the version.
                assert_eq!(large.iter().filter(|byte| **byte == b'.').count(), 100 * 1024 + 1);
            }
        });
    }
    while let Some(ended) = crowd.join_next().await {
        ended.unwrap();
    }
    face.wait_for_line("keyward_client_connections 0");
}

#[tokio::test]
async fn the_last_of_small_answers_that_nobody_takes_is_waited_for_no_longer_than_the_others() {
    let mut case = Case::default();
    case.timeouts.write_stall = Span(Duration::from_secs(1));
    let face = case.start();
    let mut client = connect(&face, 1).await;
    let (_, rest) = pile_up(&mut client).await;
    let _ = client.write_all((rest + &request(0, "connection: close\r\n")).as_bytes()).await;
    face.wait_for_closed("write_stall");
}
