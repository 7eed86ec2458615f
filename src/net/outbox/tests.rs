//! Over real sockets with small buffers: whatever the kernel takes and when, the other side reads what was written.

use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use socket2::SockRef;
use tokio::task::{LocalSet, yield_now};

use super::*;

/// A line and its other side.
pub(in crate::net) struct Ends {
    pub(in crate::net) near: TcpStream,
    pub(in crate::net) far: std::net::TcpStream,
}

impl Ends {
    /// Connected, with little room in the kernel; with less, it throws away what comes and waits for that to be sent again.
    pub(in crate::net) async fn new() -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        SockRef::from(&listener).set_recv_buffer_size(ROOM).unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        SockRef::from(&near).set_send_buffer_size(ROOM).unwrap();
        near.writable().await.unwrap();
        let (far, _) = listener.accept().unwrap();
        far.set_read_timeout(Some(BOUND)).unwrap();
        Self { near, far }
    }

    async fn line() -> (Rc<Line>, Bell, std::net::TcpStream) {
        let (Self { near, far }, bell) = (Self::new().await, Bell::new());
        (Line::new(near, bell.clone()), bell, far)
    }
}

/// Asks once where the line's bell is attended, and waits for nothing.
async fn once<T>(line: &Rc<Line>, mut ask: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    poll_fn(|cx| Poll::Ready(line.bell.attend(cx, 1, &mut ask))).await
}

async fn write(line: &Rc<Line>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    once(line, |cx| line.poll_write(cx, &[IoSlice::new(bytes)])).await
}

/// Writes small pieces of dots until the kernel takes no more, and returns how many dots were written.
async fn overfill(line: &Rc<Line>) -> usize {
    let mut written = 0;
    while line.left.borrow().is_empty() {
        assert!(matches!(write(line, &[b'.'; 100]).await, Poll::Ready(Ok(100))));
        written += 100;
        yield_now().await;
    }
    written
}

async fn as_worker(work: impl Future<Output = ()>) {
    let local = LocalSet::new();
    local.spawn_local(run());
    local
        .run_until(async {
            yield_now().await;
            work.await;
        })
        .await;
}

fn nothing_came(far: &std::net::TcpStream) -> bool {
    far.set_nonblocking(true).unwrap();
    let nothing = far.peek(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
    far.set_nonblocking(false).unwrap();
    nothing
}

fn read(far: &mut std::net::TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    far.read_exact(&mut bytes).unwrap();
    bytes
}

#[tokio::test]
async fn small_writes_leave_together_at_the_end_of_the_turn() {
    as_worker(async {
        let (line, _, mut far) = Ends::line().await;
        for part in [&b"one "[..], b"two ", b""] {
            assert!(matches!(write(&line, part).await, Poll::Ready(Ok(count)) if count == part.len()));
        }
        let slices = [IoSlice::new(b"th"), IoSlice::new(b"ree")];
        assert!(matches!(once(&line, |cx| line.poll_write(cx, &slices)).await, Poll::Ready(Ok(5))));
        assert!(nothing_came(&far));
        yield_now().await;
        assert_eq!(read(&mut far, 13), b"one two three");
    })
    .await;
}

#[tokio::test]
async fn no_more_than_so_many_wait_for_the_end_of_the_turn() {
    as_worker(async {
        let (line, _, mut far) = Ends::line().await;
        for _ in 0..MANY {
            assert!(nothing_came(&far));
            assert!(write(&line, b"a").await.is_ready());
        }
        assert_eq!(read(&mut far, MANY), [b'a'; MANY]);
    })
    .await;
}

#[tokio::test]
async fn a_large_write_goes_behind_the_small_ones_before_it() {
    as_worker(async {
        let (line, _, mut far) = Ends::line().await;
        assert!(write(&line, b"small").await.is_ready());
        let Poll::Ready(Ok(taken)) = write(&line, &[b'L'; SMALL + 1]).await else { panic!("none of it was taken") };
        assert_eq!(read(&mut far, 5 + taken), [&b"small"[..], &[b'L'].repeat(taken)].concat());
    })
    .await;
}

#[tokio::test]
async fn what_the_kernel_does_not_take_rings_and_goes_out_by_flushes() {
    as_worker(async {
        let (line, bell, mut far) = Ends::line().await;
        let written = overfill(&line).await;
        assert!(bell.has_rung());
        assert!(write(&line, b"behind").await.is_pending());
        let reader = thread::spawn(move || {
            let read = read(&mut far, written);
            (read, far)
        });
        poll_fn(|cx| line.poll_flush(cx)).await.unwrap();
        assert_eq!(line.left.borrow().capacity(), 0, "its memory is given back");
        assert!(write(&line, b"behind").await.is_ready());
        yield_now().await;
        poll_fn(|cx| line.poll_flush(cx)).await.unwrap();
        let (dots, mut far) = reader.join().unwrap();
        assert_eq!(dots, [b'.'].repeat(written));
        assert_eq!(read(&mut far, 6), b"behind");
    })
    .await;
}

/// Of two that wait, the kernel may have room for the second just after it had none for the first.
#[tokio::test]
async fn nothing_overtakes_what_is_left() {
    as_worker(async {
        let (line, _, mut far) = Ends::line().await;
        let written = overfill(&line).await;
        let taken = written - line.left.borrow().len();
        read(&mut far, taken);
        poll_fn(|cx| line.stream.borrow().poll_write_ready(cx)).await.unwrap();
        line.send(b"behind");
        poll_fn(|cx| line.poll_flush(cx)).await.unwrap();
        assert_eq!(read(&mut far, written - taken + 6), [&b".".repeat(written - taken)[..], b"behind"].concat());
    })
    .await;
}

/// Many sockets whose readers are slow, each written to in pieces of all sizes, by itself or by its runtime.
#[tokio::test]
async fn every_byte_arrives_and_in_order_whatever_the_kernel_takes_and_when() {
    const LINES: usize = 16;
    const BYTES: usize = 256 * 1024;
    as_worker(async {
        let (mut writers, mut readers) = (Vec::new(), Vec::new());
        for number in 0..LINES {
            let (line, bell, mut far) = Ends::line().await;
            let mut random = TestRng::from_seed(RngAlgorithm::ChaCha, &[u8::try_from(number).unwrap(); 32]);
            let mut sent = vec![0; BYTES];
            random.fill_bytes(&mut sent);
            let expected = sent.clone();
            readers.push(thread::spawn(move || {
                let mut read = Vec::new();
                far.read_to_end(&mut read).unwrap();
                assert!(read == expected, "line {number}: {} bytes", read.len());
            }));
            writers.push(tokio::task::spawn_local(async move {
                let mut rest = &sent[..];
                poll_fn(|cx| {
                    bell.attend(cx, 4, |cx| {
                        while !rest.is_empty() {
                            let most = [7, 300, SMALL, SMALL + 1, 20_000][random.next_u32() as usize % 5];
                            let now = &rest[..most.min(rest.len())];
                            let (a, b) = now.split_at(random.next_u32() as usize % (now.len() + 1));
                            let slices = [IoSlice::new(a), IoSlice::new(b)];
                            rest = &rest[ready!(line.poll_write(cx, &slices)).unwrap()..];
                            if random.next_u32().is_multiple_of(4) {
                                ready!(line.poll_flush(cx)).unwrap();
                            }
                            if random.next_u32().is_multiple_of(8) {
                                cx.waker().wake_by_ref();
                                return Poll::Pending;
                            }
                        }
                        line.poll_shutdown(cx).map(Result::unwrap)
                    })
                })
                .await;
            }));
        }
        for writer in writers {
            writer.await.unwrap();
        }
        for reader in readers {
            reader.join().unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn what_could_not_be_sent_is_told_by_the_next_flush_and_rings() {
    as_worker(async {
        let (line, bell, far) = Ends::line().await;
        SockRef::from(&far).set_linger(Some(Duration::ZERO)).unwrap();
        drop(far);
        assert!(matches!(write(&line, b"late").await, Poll::Ready(Ok(4))));
        assert!(matches!(once(&line, |cx| line.poll_flush(cx)).await, Poll::Ready(Ok(()))));
        yield_now().await;
        assert!(bell.has_rung());
        assert!(matches!(once(&line, |cx| line.poll_flush(cx)).await, Poll::Ready(Err(_))));
    })
    .await;
}

#[tokio::test]
async fn a_reset_behind_bytes_that_wait_is_told_to_whoever_flushes_or_writes() {
    as_worker(async {
        let (line, _, far) = Ends::line().await;
        overfill(&line).await;
        SockRef::from(&far).set_linger(Some(Duration::ZERO)).unwrap();
        drop(far);
        assert!(poll_fn(|cx| line.poll_flush(cx)).await.is_err());
        assert!(poll_fn(|cx| line.poll_write(cx, &[IoSlice::new(b"more")])).await.is_err());
        assert!(poll_fn(|cx| line.poll_shutdown(cx)).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn a_shutdown_comes_behind_all_that_was_written() {
    as_worker(async {
        let (line, _, mut far) = Ends::line().await;
        assert!(write(&line, b"all").await.is_ready());
        assert!(matches!(once(&line, |cx| line.poll_shutdown(cx)).await, Poll::Ready(Ok(()))));
        let mut read = Vec::new();
        far.read_to_end(&mut read).unwrap();
        assert_eq!(read, b"all");

        let (line, _, mut far) = Ends::line().await;
        let written = overfill(&line).await;
        assert!(once(&line, |cx| line.poll_shutdown(cx)).await.is_pending());
        let reader = thread::spawn(move || {
            let mut read = Vec::new();
            far.read_to_end(&mut read).unwrap();
            read.len()
        });
        poll_fn(|cx| line.poll_shutdown(cx)).await.unwrap();
        assert_eq!(reader.join().unwrap(), written);
    })
    .await;
}

/// A handshake takes turns, and that to an origin has no bell yet: neither would hear that it is to flush.
#[tokio::test]
async fn who_does_not_attend_the_bell_waits_for_the_kernel_itself() {
    as_worker(async {
        let (line, _, mut far) = Ends::line().await;
        let direct = async |bytes: &[u8]| poll_fn(|cx| line.poll_write(cx, &[IoSlice::new(bytes)])).await.unwrap();
        assert_eq!(direct(b"now").await, 3);
        assert_eq!(read(&mut far, 3), b"now");
        let written = overfill(&line).await;
        let reader = thread::spawn(move || read(&mut far, written + 5));
        assert_eq!(direct(b"later").await, 5);
        assert!(reader.join().unwrap().ends_with(b".later"));
    })
    .await;
}

#[tokio::test]
async fn what_a_dropped_socket_wrote_is_sent_before_it_closes() {
    as_worker(async {
        let (line, _, mut far) = Ends::line().await;
        assert!(write(&line, b"last words").await.is_ready());
        drop(line);
        assert!(nothing_came(&far));
        yield_now().await;
        let mut read = Vec::new();
        far.read_to_end(&mut read).unwrap();
        assert_eq!(read, b"last words");
    })
    .await;
}

#[tokio::test]
async fn what_waits_where_a_worker_ends_is_sent() {
    let (line, _, mut far) = Ends::line().await;
    as_worker(async { assert!(write(&line, b"before ").await.is_ready()) }).await;
    assert_eq!(line.waiting.get(), 0);
    // And whoever writes on this thread from here on writes for itself.
    assert!(write(&line, b"after").await.is_ready());
    assert_eq!(read(&mut far, 12), b"before after");
}

#[tokio::test]
async fn without_a_worker_a_line_writes_for_itself() {
    let (line, _, mut far) = Ends::line().await;
    assert!(write(&line, b"now").await.is_ready());
    assert_eq!(read(&mut far, 3), b"now");
    far.write_all(b"x").unwrap();
}

const ROOM: usize = 8 * 1024;

/// No wait of a test takes longer, on however loaded a machine.
const BOUND: Duration = Duration::from_secs(30);
