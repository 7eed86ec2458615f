//! Small writes in one piece.
//!
//! hyper hands a head and a short body over as two slices. One `send` of a copy costs the kernel less than a `writev` of
//! both, and below a few kilobytes the copy costs next to nothing.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

/// Writes `slices` as [`AsyncWrite::poll_write_vectored`] does, small ones as one.
pub fn poll_write(stream: &mut TcpStream, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
    let stream = Pin::new(stream);
    match slices {
        [one] => stream.poll_write(cx, one),
        several => {
            let mut room = [0; SMALL];
            let mut end = 0;
            for slice in several {
                let Some(place) = room.get_mut(end..end + slice.len()) else {
                    return stream.poll_write_vectored(cx, slices);
                };
                place.copy_from_slice(slice);
                end += slice.len();
            }
            stream.poll_write(cx, &room[..end])
        }
    }
}

const SMALL: usize = 2048;
