//! A GiB each way through a keyward that stays under 64 MiB: bodies stream, they are not gathered.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use crate::support::{Origin, keyward};

const GIB: u64 = 1 << 30;
const MIB: usize = 1 << 20;

/// The bytes of a chunked body, its framing checked, from a stream that may hold its beginning in `read`.
fn count_chunked(stream: &mut impl Read, mut read: Vec<u8>) -> u64 {
    let mut total = 0;
    let mut bytes = vec![0; MIB];
    let mut fill = |read: &mut Vec<u8>| {
        let count = stream.read(&mut bytes).unwrap();
        assert!(count > 0, "the body broke off");
        read.extend_from_slice(&bytes[..count]);
    };
    loop {
        let end = loop {
            match read.windows(2).position(|window| window == b"\r\n") {
                Some(end) => break end,
                None => fill(&mut read),
            }
        };
        let size = u64::from_str_radix(std::str::from_utf8(&read[..end]).unwrap(), 16).unwrap();
        read.drain(..end + 2);
        let mut left = usize::try_from(size).unwrap() + 2;
        while left > 0 {
            if read.is_empty() {
                fill(&mut read);
            }
            let taken = left.min(read.len());
            read.drain(..taken);
            left -= taken;
        }
        if size == 0 {
            return total;
        }
        total += size;
    }
}

#[test]
fn a_gib_of_upload_and_of_download_passes_in_64_mib() {
    let keyward = keyward().config("[gateway]\nbody_limit = \"2GiB\"\n").upstream("echo").start();
    keyward.account("101");
    let key = keyward.service_key("101", &[]);

    // The built-in origin counts what it received.
    let mut upload = TcpStream::connect(keyward.address()).unwrap();
    let token = &key.secret;
    write!(upload, "POST /up HTTP/1.1\r\nHost: a\r\nAuthorization: Token {token}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n").unwrap();
    let mut chunk = format!("{MIB:x}\r\n").into_bytes();
    chunk.extend(std::iter::repeat_n(b'x', MIB));
    chunk.extend(b"\r\n");
    for _ in 0..GIB / MIB as u64 {
        upload.write_all(&chunk).unwrap();
    }
    upload.write_all(b"0\r\n\r\n").unwrap();
    let mut said = String::new();
    upload.read_to_string(&mut said).unwrap();
    assert!(said.contains(&format!("\"body_bytes\":{GIB}")), "{said}");
    let after_upload = keyward.peak();

    let mut download = TcpStream::connect(keyward.address()).unwrap();
    write!(
        download,
        "GET /down?size={GIB} HTTP/1.1\r\nHost: a\r\nAuthorization: Token {token}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let (mut total, mut bytes) = (0_u64, vec![0; MIB]);
    loop {
        match download.read(&mut bytes).unwrap() {
            0 => break,
            count => total += count as u64,
        }
    }
    assert!(total > GIB && total < GIB + 4096, "{total}");
    let after_download = keyward.peak();
    assert!(after_upload < 64 << 20 && after_download < 64 << 20, "{after_upload} {after_download}");
}

#[test]
fn a_gib_in_chunks_comes_down_in_64_mib() {
    let origin = Origin::scripted(|line| {
        line.request();
        line.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let mut chunk = format!("{MIB:x}\r\n").into_bytes();
        chunk.extend(std::iter::repeat_n(b'x', MIB));
        chunk.extend(b"\r\n");
        for _ in 0..GIB / MIB as u64 {
            line.send(&chunk);
        }
        line.send("0\r\n\r\n");
        line.until_ended();
    });
    let keyward = keyward().upstream(origin.url()).start();
    keyward.account("101");
    let key = keyward.service_key("101", &[]);
    let mut stream = TcpStream::connect(keyward.address()).unwrap();
    write!(stream, "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Token {}\r\n\r\n", key.secret).unwrap();
    let mut read = vec![0; MIB];
    let mut head = Vec::new();
    let body = loop {
        let count = stream.read(&mut read).unwrap();
        head.extend_from_slice(&read[..count]);
        if let Some(at) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            break head.split_off(at + 4);
        }
    };
    assert!(head.starts_with(b"HTTP/1.1 200 "));
    assert_eq!(count_chunked(&mut stream, body), GIB);
    stream.shutdown(Shutdown::Both).unwrap();
    assert!(keyward.peak() < 64 << 20, "{}", keyward.peak());
}
