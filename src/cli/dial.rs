//! Connections to servers that the command line is told of, by a URL each: with TLS or in the clear, HTTP/1.1.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::header::HOST;
use http::uri::Scheme;
use http::{HeaderValue, Uri, request};
use http_body::Body;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::net::BoxError;

/// Where a server is, and what stands before its paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    is_https: bool,
    host: String,
    port: u16,
    /// As `Host` says it.
    authority: HeaderValue,
    /// Without a slash at its end.
    base: String,
}

impl Url {
    /// A request for what is at `path` there.
    pub(super) fn request(&self, path: &str) -> request::Builder {
        request::Builder::new().uri(format!("{}{path}", self.base)).header(HOST, self.authority.clone())
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority.to_str().unwrap_or_default(), self.base)
    }
}

/// The text names no server. It may hold a password, so it is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write it as https://host:port or http://127.0.0.1:port, without a user, a query or a fragment")]
pub(super) struct BadUrl;

impl FromStr for Url {
    type Err = BadUrl;

    fn from_str(text: &str) -> Result<Self, BadUrl> {
        // `Uri` drops a fragment, and what is used would be less than what was said.
        let uri: Uri =
            Some(text).filter(|text| !text.contains('#')).and_then(|text| text.parse().ok()).ok_or(BadUrl)?;
        let is_https = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            _ => return Err(BadUrl),
        };
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or(BadUrl)?;
        if uri.query().is_some() || authority.host().is_empty() {
            return Err(BadUrl);
        }
        Ok(Self {
            is_https,
            host: authority.host().trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: authority.port_u16().unwrap_or(if is_https { 443 } else { 80 }),
            authority: HeaderValue::try_from(authority.as_str()).map_err(|_| BadUrl)?,
            base: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

/// How connections are made.
#[derive(Clone)]
pub(super) struct Dialer {
    tls: Arc<ClientConfig>,
    /// What a certificate must be for, where that is not the host in the URL.
    name: Option<ServerName<'static>>,
    /// Whether a server on another machine may be spoken to without TLS.
    in_clear: bool,
}

impl Dialer {
    /// Trusts the certificates in the file `ca`, or those that the system trusts. Speaks to other machines in the clear where
    /// `in_clear` says so.
    pub(super) fn new(ca: Option<&Path>, in_clear: bool) -> anyhow::Result<Self> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut tls = builder.with_root_certificates(roots(ca)?).with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { tls: Arc::new(tls), name: None, in_clear })
    }

    /// The same, which wants certificates for this name, whatever the URL says.
    pub(super) fn expecting(self, name: ServerName<'static>) -> Self {
        Self { name: Some(name), ..self }
    }

    /// A connection to the server at `url`, with its TLS and before its first request.
    pub(super) async fn dial<B>(&self, url: &Url) -> anyhow::Result<SendRequest<B>>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        match timeout(PATIENCE, self.connected(url)).await {
            Ok(connected) => connected,
            Err(_) => bail!("it does not answer within {PATIENCE:?}"),
        }
    }

    async fn connected<B>(&self, url: &Url) -> anyhow::Result<SendRequest<B>>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let stream = self.stream(url).await?;
        if !url.is_https {
            return speaking(stream).await;
        }
        let of_url = || ServerName::try_from(url.host.clone()).context("no certificate can be for that host");
        let name = self.name.clone().map_or_else(of_url, Ok)?;
        speaking(TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await.context("no TLS there")?).await
    }

    async fn stream(&self, url: &Url) -> anyhow::Result<TcpStream> {
        let found = tokio::net::lookup_host((url.host.as_str(), url.port)).await;
        let addresses: Vec<SocketAddr> = found.context("its host is not found")?.collect();
        if !url.is_https && !self.in_clear && !addresses.iter().all(|address| is_this_machine(address.ip())) {
            return Err(InClear.into());
        }
        let mut failed = None;
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.map_or_else(|| anyhow::anyhow!("its host has no address"), Into::into))
    }
}

/// A key would be read by whoever listens on the way.
#[derive(Debug, thiserror::Error)]
#[error(
    "over http the operator key would go to another machine in the clear; use https, or say --admin-in-clear where nobody can \
     listen on the way"
)]
pub(super) struct InClear;

const fn is_this_machine(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

async fn speaking<B>(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> anyhow::Result<SendRequest<B>>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // It ends when the sender is dropped; what goes wrong, the sender tells.
    tokio::spawn(connection);
    Ok(sender)
}

fn roots(ca: Option<&Path>) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let Some(file) = ca else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            // A system without any, such as an image from scratch.
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        return Ok(roots);
    };
    let unreadable = || format!("{}: no certificates can be read from it", file.display());
    for certificate in CertificateDer::pem_file_iter(file).with_context(unreadable)? {
        roots.add(certificate.with_context(unreadable)?).with_context(unreadable)?;
    }
    if roots.is_empty() {
        bail!("{}: there is no certificate in it", file.display());
    }
    Ok(roots)
}

/// How long a connection may take to be made.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_server_and_what_stands_before_its_paths() {
        for (text, shown, host, port) in [
            ("https://keyward.internal", "https://keyward.internal", "keyward.internal", 443),
            ("http://127.0.0.1:9090/", "http://127.0.0.1:9090", "127.0.0.1", 9090),
            ("http://[::1]", "http://[::1]", "::1", 80),
            ("https://a.example/keyward/", "https://a.example/keyward", "a.example", 443),
        ] {
            let url: Url = text.parse().unwrap();
            assert_eq!((url.to_string().as_str(), url.host.as_str(), url.port), (shown, host, port));
        }
        let request = "https://a.example/keyward/".parse::<Url>().unwrap().request("/v1/x").body(()).unwrap();
        assert_eq!(
            (request.uri().to_string().as_str(), &request.headers()[HOST]),
            ("/keyward/v1/x", &"a.example".parse::<HeaderValue>().unwrap())
        );
        for text in ["", "127.0.0.1:9090", "ftp://a", "https://u:p@a", "https://a?b", "https://a#b", "https://", "/a"] {
            assert_eq!(text.parse::<Url>(), Err(BadUrl), "{text}");
        }
    }

    #[tokio::test]
    async fn another_machine_is_not_spoken_to_in_the_clear_before_somebody_says_so() {
        let url: Url = "http://192.0.2.1:9".parse().unwrap();
        let refused = Dialer::new(None, false).unwrap().stream(&url).await.unwrap_err();
        assert!(refused.is::<InClear>(), "{refused}");
        for here in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(is_this_machine(here.parse().unwrap()), "{here}");
        }
        assert!(!is_this_machine([10, 0, 0, 1].into()));
    }
}
