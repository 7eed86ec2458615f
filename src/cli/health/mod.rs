//! `keyward health`: ask the admin listener on this machine whether it is ready. Made for images without a shell.
//!
//! With TLS, the listener must show the very certificate the settings name; on a loopback address it may show any, since
//! whoever could listen there instead could as well read our memory.

mod verifier;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::output::print;
use super::settings::{flag, from};
use crate::manage::config::Config;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The admin listener; as in the settings where left out.
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
    /// Settings file.
    #[arg(long, env = "KEYWARD_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let flags = flag("--admin", "admin.listen", arguments.admin);
    let named = flags.is_some();
    let read = from(arguments.config, flags.into_iter().collect())?;
    // A server that runs does so with settings that were right; a mistake made in the file since is not its ill health.
    // Where this command itself was told wrong, or nothing could be read, it has to say so.
    if read.unread() || (named && read.problems.iter().any(|problem| problem.key == "admin.listen")) {
        return Err(crate::config::Problems(read.problems).into());
    }
    match timeout(PATIENCE, ask(&read.settings.admin)).await {
        Ok(Ok(answer)) => {
            print(&format!("{answer}\n"))?;
            Ok(ExitCode::SUCCESS)
        }
        Ok(Err(error)) => Err(error),
        Err(_) => bail!("not ready: {} did not answer within {PATIENCE:?}", read.settings.admin.listen),
    }
}

/// Asks once; what the listener says when it is ready.
async fn ask(admin: &Config) -> anyhow::Result<String> {
    let address = reachable(admin.listen);
    let stream =
        TcpStream::connect(address).await.with_context(|| format!("not ready: nothing answers at {address}"))?;
    match &admin.chain_file {
        None => get(stream, address).await,
        Some(chain) => {
            let pinned = if address.ip().is_loopback() { None } else { Some(verifier::first_certificate(chain)?) };
            let connector = tokio_rustls::TlsConnector::from(verifier::client_config(pinned)?);
            let stream = connector.connect(address.ip().into(), stream).await;
            get(stream.with_context(|| format!("not ready: no TLS at {address}"))?, address).await
        }
    }
}

async fn get(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    address: SocketAddr,
) -> anyhow::Result<String> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = http::Request::get("/readyz").header(http::header::HOST, address.to_string());
    let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await;
    let response = response.with_context(|| {
        format!(
            "not ready: no HTTP answer from {address}; where it speaks TLS, its settings must be given with --config"
        )
    })?;
    let status = response.status();
    let body = Limited::new(response.into_body(), LONGEST).collect().await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    connection.abort();
    let text = String::from_utf8_lossy(&body);
    let first_line = text.lines().next().unwrap_or_default().trim();
    if !status.is_success() {
        bail!("not ready: {address} answers {status} {first_line}");
    }
    Ok(if first_line.is_empty() { "ready".to_owned() } else { first_line.to_owned() })
}

/// An address that reaches a listener bound to `listen`: one for every interface is reached over loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// How long the whole of it may take; health checks are asked every few seconds.
const PATIENCE: Duration = Duration::from_secs(3);
/// Longest answer that is read.
const LONGEST: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// The admin settings of a listener that answers once.
    async fn answering(answer: &'static str) -> Config {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listen = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1024];
            let length = stream.read(&mut request).await.unwrap();
            assert!(request[..length].starts_with(b"GET /readyz HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        Config { listen, open_bind_without_tls: false, chain_file: None, key_file: None }
    }

    #[tokio::test]
    async fn a_ready_listener_is_ready_and_another_is_not() {
        let ready = answering("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nready\n").await;
        assert_eq!(ask(&ready).await.unwrap(), "ready");
        let draining = answering("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 9\r\n\r\ndraining\n").await;
        let error = ask(&draining).await.unwrap_err().to_string();
        assert!(error.starts_with("not ready: ") && error.ends_with("503 Service Unavailable draining"), "{error}");
        let other = answering("\x15\x03\x03\0\x02\x02\x46").await;
        let error = ask(&other).await.unwrap_err().to_string();
        assert!(error.contains("no HTTP answer from 127.0.0.1:") && error.contains("--config"), "{error}");
        let gone = ask(&draining).await.unwrap_err().to_string();
        assert!(gone.contains("nothing answers"), "{gone}");
    }

    #[tokio::test]
    async fn with_tls_a_foreign_certificate_passes_on_loopback_only() {
        let shown = rcgen::generate_simple_self_signed(vec!["admin.example".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(vec!["admin.example".to_owned()]).unwrap();
        let key = rustls_pki_types::PrivateKeyDer::try_from(shown.signing_key.serialize_der()).unwrap();
        let server = rustls::ServerConfig::builder_with_provider(verifier::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![shown.cert.der().clone()], key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(server));
        for (pinned, accepted) in [(None, true), (Some(shown.cert.der()), true), (Some(other.cert.der()), false)] {
            let (client, server) = tokio::io::duplex(64 << 10);
            let acceptor = acceptor.clone();
            let served = tokio::spawn(async move { acceptor.accept(server).await.is_ok() });
            let config = verifier::client_config(pinned.cloned()).unwrap();
            let name = IpAddr::from([127, 0, 0, 1]).into();
            let connected = tokio_rustls::TlsConnector::from(config).connect(name, client).await;
            assert_eq!(connected.is_ok(), accepted);
            drop(connected);
            let _ = served.await;
        }
    }

    #[test]
    fn a_listener_on_every_interface_is_asked_over_loopback() {
        for (listen, asked) in [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("10.0.0.1:1", "10.0.0.1:1")] {
            assert_eq!(reachable(listen.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
