//! Services: the origins behind, and how each is spoken to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use http::uri::{Scheme, Uri};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor};
use rustls::{ClientConfig, RootCertStore};

use super::config::{OriginConfig, ServiceConfig};
use crate::flaw::Flaw;

/// One origin. Two are equal where a connection made for the one serves the other just as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) target: Target,
    /// Whom TLS must prove to be there; plain where none.
    pub(super) tls: Option<Tls>,
    /// Sent as `Host` where the client's own is not.
    pub(super) authority: HeaderValue,
    pub(super) preserve_host: bool,
    pub(super) connect: Duration,
    pub(super) response_header: Duration,
    pub(super) body_idle: Duration,
    pub(super) keepalive_idle: Duration,
    pub(super) connections: usize,
    pub(super) waiting: usize,
    pub(super) response_header_bytes: usize,
    pub(super) buffer_bytes: usize,
    pub(super) retry: bool,
}

/// Where a service is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A name or an address, resolved for every new connection.
    Named(String, u16),
    /// An address known from the start.
    At(SocketAddr),
    /// The built-in origin, before it runs.
    Echo,
}

#[derive(Clone, Debug)]
pub(super) struct Tls {
    pub(super) config: Arc<ClientConfig>,
    pub(super) name: ServerName<'static>,
    /// The roots that were read from a file.
    roots: Vec<TrustAnchor<'static>>,
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        // The configuration follows from the roots.
        let Self { config: _, name, roots } = self;
        *name == other.name && *roots == other.roots
    }
}

impl Eq for Tls {}

impl Service {
    /// Reads one of `[services]`; what it does not say holds as `common` says.
    pub(super) fn new(name: &str, said: &ServiceConfig, common: &OriginConfig) -> Result<Self, Vec<Flaw>> {
        let flaw = |field: &str, message: String| vec![Flaw::new(format!("services.{name}.{field}"), message)];
        let Some(url) = said.url.as_deref() else {
            return Err(flaw("url", "a service needs a url, such as \"http://127.0.0.1:3000\"".into()));
        };
        let (target, secure, authority) = if url == "echo" {
            (Target::Echo, false, HeaderValue::from_static("echo"))
        } else {
            read_url(url).map_err(|message| flaw("url", message))?
        };
        let tls = match (&target, secure) {
            (Target::Named(host, _), true) => Some(tls(host, said).map_err(|(field, message)| flaw(field, message))?),
            _ => None,
        };
        Ok(Self {
            name: name.to_owned(),
            target,
            tls,
            authority,
            preserve_host: said.preserve_host.unwrap_or(common.preserve_host),
            connect: said.connect.unwrap_or(common.connect).0,
            response_header: said.response_header.unwrap_or(common.response_header).0,
            body_idle: said.body_idle.unwrap_or(common.body_idle).0,
            keepalive_idle: said.keepalive_idle.unwrap_or(common.keepalive_idle).0,
            connections: said.connections.unwrap_or(common.connections).max(1),
            waiting: said.waiting.unwrap_or(common.waiting),
            buffer_bytes: said.buffer_bytes.unwrap_or(common.buffer_bytes).as_usize(),
            response_header_bytes: said.response_header_bytes.unwrap_or(common.response_header_bytes).as_usize(),
            retry: said.retry.unwrap_or(common.retry),
        })
    }

    pub(super) fn is_echo(&self) -> bool {
        self.target == Target::Echo
    }

    /// The same, where the built-in origin runs here.
    pub(super) fn at(&self, address: SocketAddr) -> Self {
        Self { target: Target::At(address), ..self.clone() }
    }
}

fn read_url(url: &str) -> Result<(Target, bool, HeaderValue), String> {
    // What was written may hold a password, so it is not repeated.
    let form = || "this is no origin: write http://host:port or https://host, without a path or user".to_owned();
    // `Uri` drops a fragment, and what is used would be less than what was said.
    let uri: Uri = Some(url).filter(|url| !url.contains('#')).and_then(|url| url.parse().ok()).ok_or_else(form)?;
    let secure = match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTP => false,
        Some(scheme) if *scheme == Scheme::HTTPS => true,
        _ => return Err(form()),
    };
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(form)?;
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() || authority.host().is_empty() {
        return Err(form());
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let implied = if secure { 443 } else { 80 };
    let port = authority.port_u16().unwrap_or(implied);
    // In the one spelling that signatures are made and checked of: lower case, and no port that the scheme implies.
    let line = if port == implied { authority.host().to_owned() } else { format!("{}:{port}", authority.host()) };
    let line = HeaderValue::try_from(line.to_ascii_lowercase()).map_err(|_| form())?;
    let target = match host.parse() {
        Ok(ip) if !secure => Target::At(SocketAddr::new(ip, port)),
        _ => Target::Named(host, port),
    };
    Ok((target, secure, line))
}

fn tls(host: &str, said: &ServiceConfig) -> Result<Tls, (&'static str, String)> {
    let (mut roots, mut own) = (RootCertStore::empty(), Vec::new());
    if let Some(file) = &said.ca_file {
        let unreadable = |error: &dyn std::fmt::Display| ("ca_file", format!("{}: {error}", file.display()));
        for certificate in CertificateDer::pem_file_iter(file).map_err(|error| unreadable(&error))? {
            let certificate = certificate.map_err(|error| unreadable(&error))?;
            roots.add(certificate).map_err(|error| unreadable(&error))?;
        }
        if roots.is_empty() {
            return Err(unreadable(&"there is no certificate in it"));
        }
        own.clone_from(&roots.roots);
    } else {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let name =
        ServerName::try_from(host.to_owned()).map_err(|_| ("url", format!("{host:?} cannot be proven by TLS")))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ("url", error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Tls { config: Arc::new(config), name, roots: own })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_an_origin_and_nothing_inside_it() {
        let read =
            |url: &str| read_url(url).map(|(target, secure, host)| (target, secure, host.to_str().unwrap().to_owned()));
        assert_eq!(
            read("http://127.0.0.1:3000"),
            Ok((Target::At("127.0.0.1:3000".parse().unwrap()), false, "127.0.0.1:3000".into()))
        );
        assert_eq!(
            read("https://api.example.com/"),
            Ok((Target::Named("api.example.com".into(), 443), true, "api.example.com".into()))
        );
        for (url, host) in [
            ("http://API.Example.com:80", "api.example.com"),
            ("https://api.example.com:443", "api.example.com"),
            ("https://api.example.com:80", "api.example.com:80"),
            ("http://[::1]:3000", "[::1]:3000"),
        ] {
            assert_eq!(read(url).unwrap().2, host);
        }
        assert_eq!(read("http://[::1]:80").unwrap().0, Target::At("[::1]:80".parse().unwrap()));
        for url in [
            "",
            "127.0.0.1:3000",
            "ftp://a",
            "http://a/b",
            "http://a?b",
            "http://u:p@a",
            "http://a#u:p@b",
            "http://",
            "unix:/a",
        ] {
            assert!(read(url).is_err(), "{url}");
        }
    }
}
