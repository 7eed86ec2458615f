//! The built-in origin, `--upstream echo`: it answers the request it received, so that a person or a load test needs no
//! other. `?size=` asks for so many bytes instead, `?delay=` to wait, `?status=` for a status.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Map, Value, json};

use crate::measure::{Size, Span};
use crate::net::{BoxError, Handler, Peer};

/// The built-in origin.
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo;

impl Handler for Echo {
    type Body = Filled;

    async fn handle(self: Rc<Self>, _peer: Rc<Peer>, request: Request<Incoming>) -> Response<Filled> {
        let wish = match Wish::read(request.uri().query().unwrap_or_default()) {
            Ok(wish) => wish,
            Err(sentence) => return answer(StatusCode::BAD_REQUEST, "text/plain", Filled::with(sentence + "\n")),
        };
        let (head, mut body) = request.into_parts();
        let mut received = 0;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                return answer(StatusCode::BAD_REQUEST, "text/plain", Filled::with("broken body\n"));
            };
            received += frame.data_ref().map_or(0, Bytes::len);
        }
        if !wish.delay.is_zero() {
            tokio::time::sleep(wish.delay).await;
        }
        if let Some(size) = wish.size {
            return answer(wish.status, "application/octet-stream", Filled::zeros(size));
        }
        let path = head.uri.path();
        let text = json!({
            "method": head.method.as_str(),
            "path": path,
            "query": head.uri.query(),
            "headers": headers(&head.headers),
            "body_bytes": received,
        });
        answer(wish.status, "application/json", Filled::with(format!("{text}\n")))
    }
}

/// What a request asks of its answer.
#[derive(Debug, PartialEq, Eq)]
struct Wish {
    size: Option<u64>,
    delay: Duration,
    status: StatusCode,
}

impl Wish {
    fn read(query: &str) -> Result<Self, String> {
        let mut wish = Self { size: None, delay: Duration::ZERO, status: StatusCode::OK };
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let bad = |why: &dyn std::fmt::Display| format!("{name}={value}: {why}");
            match name {
                "size" => wish.size = Some(value.parse::<Size>().map_err(|why| bad(&why))?.0),
                // A plain number is milliseconds, as load tests are used to.
                "delay" => {
                    let span = value.parse().map(Duration::from_millis);
                    wish.delay = span.or_else(|_| value.parse::<Span>().map(|span| span.0)).map_err(|why| bad(&why))?;
                }
                "status" => {
                    let status = value.parse().ok().filter(|status: &StatusCode| status.as_u16() >= 200);
                    wish.status = status.ok_or_else(|| bad(&"not a status from 200 to 999"))?;
                }
                _ => {}
            }
        }
        Ok(wish)
    }
}

/// Header names in lower case; one that came on several lines has a list.
fn headers(headers: &HeaderMap) -> Value {
    let text = |value: &HeaderValue| Value::from(String::from_utf8_lossy(value.as_bytes()));
    let member = |name: &header::HeaderName| {
        let mut values: Vec<Value> = headers.get_all(name).iter().map(text).collect();
        let value = if values.len() == 1 { values.remove(0) } else { Value::from(values) };
        (name.as_str().to_owned(), value)
    };
    Value::Object(headers.keys().map(member).collect::<Map<_, _>>())
}

fn answer(status: StatusCode, content_type: &'static str, body: Filled) -> Response<Filled> {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// A text, or any number of bytes without the memory for them.
pub struct Filled {
    chunk: Bytes,
    left: u64,
}

impl Filled {
    fn with(text: impl Into<Bytes>) -> Self {
        let chunk = text.into();
        Self { left: chunk.len() as u64, chunk }
    }

    fn zeros(size: u64) -> Self {
        static ZEROS: [u8; 64 * 1024] = [b'0'; 64 * 1024];
        Self { chunk: Bytes::from_static(&ZEROS), left: size }
    }
}

impl Body for Filled {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(self.chunk.len());
        self.left -= length as u64;
        Poll::Ready(Some(Ok(Frame::data(self.chunk.slice(..length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_read_from_the_query() {
        let wish = Wish::read("size=1MiB&delay=250&status=503&other=x").unwrap();
        assert_eq!(
            wish,
            Wish { size: Some(1 << 20), delay: Duration::from_millis(250), status: StatusCode::SERVICE_UNAVAILABLE }
        );
        assert_eq!(Wish::read("delay=2s").unwrap().delay, Duration::from_secs(2));
        for query in ["size=x", "delay=soon", "status=99", "status=101"] {
            assert!(Wish::read(query).is_err(), "{query}");
        }
    }
}
