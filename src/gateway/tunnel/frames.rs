//! Where a WebSocket's frames begin and end (RFC 6455, 5.2), as far as it takes to put one of our own between two.

/// Follows what goes to the client, byte by byte, and reads nothing of it but each frame's head.
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: [u8; LONGEST_HEAD],
    /// So many bytes of the head have passed.
    have: usize,
    /// So many bytes of the payload have not.
    payload: u64,
    closed: bool,
}

impl Frames {
    /// These bytes went to the client.
    pub(super) fn passed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let now = usize::try_from(self.payload).unwrap_or(usize::MAX).min(bytes.len());
                self.payload -= now as u64;
                bytes = &bytes[now..];
                continue;
            }
            self.head[self.have] = bytes[0];
            self.have += 1;
            bytes = &bytes[1..];
            if self.have >= 2 && self.have == self.head_length() {
                self.closed |= self.head[0] & 0x0f == CLOSE;
                self.payload = self.payload_length();
                self.have = 0;
            }
        }
    }

    /// How many bytes of the frame that has begun are certainly still to come; none between two frames.
    pub(super) fn rest(&self) -> u64 {
        match self.have {
            0 => self.payload,
            1 => 1,
            have => (self.head_length() - have) as u64,
        }
    }

    /// Whether a close frame has passed, behind which no other may come.
    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    fn head_length(&self) -> usize {
        let length = match self.head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if self.head[1] & 0x80 == 0 { 0 } else { 4 };
        2 + length + mask
    }

    fn payload_length(&self) -> u64 {
        let wide = |bytes: &[u8]| bytes.iter().fold(0, |all, byte| all << 8 | u64::from(*byte));
        match self.head[1] & 0x7f {
            126 => wide(&self.head[2..4]),
            127 => wide(&self.head[2..10]),
            short => short.into(),
        }
    }
}

/// A close frame from a server: not masked, of at most 125 bytes.
pub(super) fn close(code: u16, reason: &str) -> Vec<u8> {
    let mut frame = vec![0x80 | CLOSE, 0];
    frame.extend(code.to_be_bytes());
    frame.extend(reason.bytes().take(123));
    frame[1] = (frame.len() - 2) as u8;
    frame
}

const CLOSE: u8 = 0x8;

/// Two bytes, eight of length, four of mask.
const LONGEST_HEAD: usize = 14;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(opcode: u8, length: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut frame = vec![0x80 | opcode];
        match length {
            0..126 => frame.push(mask | length as u8),
            126..65536 => {
                frame.push(mask | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(std::iter::repeat_n(0x88, length + if masked { 4 } else { 0 }));
        frame
    }

    proptest! {
        /// However the bytes are cut, it is between two frames exactly at their ends, and never promises a byte too many.
        #[test]
        fn a_frame_ends_where_it_ends(
            frames in proptest::collection::vec((0_u8..3, prop_oneof![0_usize..130, 65530_usize..65540], any::<bool>()), 1..5),
            cut in 1_usize..200,
        ) {
            let frames: Vec<_> = frames.into_iter().map(|(opcode, length, masked)| frame(opcode, length, masked)).collect();
            let ends: Vec<usize> = frames.iter().scan(0, |at, frame| { *at += frame.len(); Some(*at) }).collect();
            let bytes = frames.concat();
            let (mut seen, mut at) = (Frames::default(), 0);
            for piece in bytes.chunks(cut) {
                seen.passed(piece);
                at += piece.len();
                let next = ends.iter().find(|end| **end >= at).unwrap();
                prop_assert_eq!(seen.rest() == 0, ends.contains(&at));
                prop_assert!(seen.rest() <= (next - at) as u64);
            }
            prop_assert!(!seen.is_closed());
        }
    }

    #[test]
    fn a_close_frame_is_known_and_written_so_that_it_is() {
        let mut seen = Frames::default();
        let frame = close(1008, "over");
        assert_eq!(frame, [0x88, 6, 0x03, 0xf0, b'o', b'v', b'e', b'r']);
        seen.passed(&frame);
        assert_eq!((seen.rest(), seen.is_closed()), (0, true));
        assert_eq!(close(1001, &"x".repeat(300)).len(), 127);
    }

    #[test]
    fn a_length_beyond_all_measure_overflows_nothing() {
        let mut seen = Frames::default();
        seen.passed(&[0x82, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]);
        assert_eq!(seen.rest(), u64::MAX - 3);
    }
}
