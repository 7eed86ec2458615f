//! HTTP/2 in clear text, where an address is for that.

use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

#[tokio::test]
async fn an_address_for_clear_http2_speaks_it_by_prior_knowledge_and_nothing_else() {
    let face = Case { clear_http2: true, ..Case::default() }.start();
    let stream = tokio::net::TcpStream::connect(face.address).await.unwrap();
    let mut builder = http2::Builder::new(TokioExecutor::new());
    let (mut sender, connection) = builder.timer(TokioTimer::new()).handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://one.test/name").body(Full::<Bytes>::default()).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "None false");

    let mut old = tokio::net::TcpStream::connect(face.address).await.unwrap();
    old.write_all(b"GET /name HTTP/1.1\r\nhost: one.test\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // Told in HTTP/2 that this is none, or simply closed; never answered in HTTP/1.1.
    let _ = old.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/"), "{answer:?}");
}
