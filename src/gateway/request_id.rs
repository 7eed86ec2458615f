//! What a request is called, in the log, to the origin and to the client.

use std::cell::{Cell, RefCell};

use bytes::BytesMut;
use http::HeaderValue;

/// A request's id: 32 hexadecimal digits of ours, or what a trusted proxy gave.
#[derive(Clone, Debug)]
pub(super) struct RequestId(HeaderValue);

impl RequestId {
    const LENGTH: usize = 32;

    pub(super) fn new(mut id: HeaderValue) -> Self {
        // It never comes again, so HTTP/2 is not to put it into its table of values that do (RFC 7541, 6.2.3).
        id.set_sensitive(true);
        Self(id)
    }

    pub(super) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    pub(super) fn value(&self) -> &HeaderValue {
        &self.0
    }
}

/// Makes request ids: unlike any other worker's or process's, not secret.
pub(super) struct RequestIds {
    seed: u64,
    count: Cell<u64>,
    /// Room for the next ids, which then share one allocation.
    room: RefCell<BytesMut>,
}

impl RequestIds {
    pub(super) fn new(seed: [u8; 16]) -> Self {
        let half = |at: usize| seed[at..at + 8].iter().fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
        Self { seed: half(0), count: Cell::new(half(8)), room: RefCell::default() }
    }

    pub(super) fn next(&self) -> RequestId {
        let count = self.count.get().wrapping_add(1);
        self.count.set(count);
        let mut room = self.room.borrow_mut();
        if room.capacity() < RequestId::LENGTH {
            room.reserve(RequestId::LENGTH * 64);
        }
        for half in [self.seed, scrambled(count)] {
            room.extend_from_slice(&hexadecimal(half));
        }
        let text = room.split().freeze();
        RequestId::new(HeaderValue::from_maybe_shared(text).unwrap_or_else(|_| HeaderValue::from_static("0")))
    }
}

fn hexadecimal(number: u64) -> [u8; 16] {
    let bytes = number.to_be_bytes();
    std::array::from_fn(|at| {
        let byte = bytes[at / 2];
        b"0123456789abcdef"[usize::from(if at % 2 == 0 { byte >> 4 } else { byte & 15 })]
    })
}

/// Splitmix64's finishing step: a bijection, so ids of one worker never repeat.
const fn scrambled(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
