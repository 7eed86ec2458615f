//! A proxy as it is written in an afternoon: hyper as it comes, the key compared, the account's prefix compared, the
//! headers copied, our own set. It is the proof that the cases bite; nothing here is an example.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::uri::{PathAndQuery, Uri};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::case::Keys;

type Body = BoxBody<Bytes, hyper::Error>;

/// Connections to the origin that wait for their next request.
type Kept = Arc<Mutex<Vec<SendRequest<Incoming>>>>;

/// Starts it, and gives its addresses for HTTP/1.1 and for HTTP/2, both without TLS.
pub(super) fn start(origin: SocketAddr, keys: &Keys) -> (SocketAddr, SocketAddr) {
    let bind = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        (listener.local_addr().unwrap(), listener)
    };
    let ((first, http1), (second, http2)) = (bind(), bind());
    let keys = keys.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            tokio::join!(serve(http1, false, origin, keys.clone()), serve(http2, true, origin, keys));
        });
    });
    (first, second)
}

async fn serve(listener: TcpListener, two: bool, origin: SocketAddr, keys: Keys) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let kept = Kept::default();
    while let Ok((stream, _)) = listener.accept().await {
        let (kept, keys) = (Arc::clone(&kept), keys.clone());
        let service = service_fn(move |request| {
            let (kept, keys) = (Arc::clone(&kept), keys.clone());
            async move { Ok::<_, Infallible>(answer(request, origin, &kept, &keys).await) }
        });
        let io = TokioIo::new(stream);
        if two {
            tokio::spawn(http2::Builder::new(TokioExecutor::new()).serve_connection(io, service));
        } else {
            tokio::spawn(http1::Builder::new().serve_connection(io, service));
        }
    }
}

async fn answer(mut request: Request<Incoming>, origin: SocketAddr, kept: &Kept, keys: &Keys) -> Response<Body> {
    let path = request.uri().path().to_owned();
    if !path.starts_with("/open/") {
        let said = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or("");
        let account = match said.strip_prefix("Token ").or_else(|| said.strip_prefix("Bearer ")) {
            Some(secret) if secret == keys.secret => "101",
            Some(secret) if secret == keys.other => "202",
            Some(_) => return problem(StatusCode::UNAUTHORIZED, "API_KEY_INVALID"),
            None => return problem(StatusCode::UNAUTHORIZED, "API_KEY_REQUIRED"),
        };
        if path.starts_with("/accounts/") && !path.starts_with(&format!("/accounts/{account}")) {
            return problem(StatusCode::NOT_FOUND, "ACCOUNT_NOT_FOUND");
        }
        request.headers_mut().remove(header::AUTHORIZATION);
        request.headers_mut().insert("x-keyward-account", HeaderValue::from_static(account));
    }
    let authority = request.uri().authority().and_then(|authority| HeaderValue::try_from(authority.as_str()).ok());
    if let Some(authority) = authority {
        request.headers_mut().insert(header::HOST, authority);
    }
    let target = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(target);
    *request.version_mut() = http::Version::HTTP_11;
    let known = kept.lock().unwrap().pop().filter(SendRequest::is_ready);
    let sender = match known {
        Some(sender) => Ok(sender),
        None => open(origin).await,
    };
    let Ok(mut sender) = sender else { return problem(StatusCode::BAD_GATEWAY, "UPSTREAM_BROKEN") };
    let Ok(response) = sender.send_request(request).await else {
        return problem(StatusCode::BAD_GATEWAY, "UPSTREAM_BROKEN");
    };
    let (head, body) = response.into_parts();
    let Ok(body) = body.collect().await else { return problem(StatusCode::BAD_GATEWAY, "UPSTREAM_BROKEN") };
    kept.lock().unwrap().push(sender);
    Response::from_parts(head, whole(body.to_bytes()))
}

async fn open(origin: SocketAddr) -> Result<SendRequest<Incoming>, Box<dyn std::error::Error + Send + Sync>> {
    let (sender, connection) = handshake(TokioIo::new(TcpStream::connect(origin).await?)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

fn problem(status: StatusCode, code: &str) -> Response<Body> {
    let mut response = Response::new(whole(format!("{{\"code\":\"{code}\"}}").into()));
    *response.status_mut() = status;
    response
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed()
}
