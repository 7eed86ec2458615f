//! Which database, and how it is reached: what `store.url` says, and what is added to it.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::store::{Config, StoreError};

/// A database that connections can be opened to.
#[derive(Clone)]
pub(in crate::store) struct Address {
    pub(super) config: tokio_postgres::Config,
    /// None where what is said to the database goes in the clear.
    pub(super) tls: Option<MakeRustlsConnect>,
    /// What it is called in messages: without user and password.
    pub(super) name: Arc<str>,
    /// Whether it may be talked to: it is known to be ours.
    seen: Arc<AtomicBool>,
}

impl Address {
    /// Reads an address such as `postgres://user@host:5432/database`. TLS is spoken, and the server's certificate checked,
    /// unless the database is on this machine or the address says `sslmode=disable`.
    ///
    /// # Errors
    /// A sentence that says what is wrong with which setting; the address is not shown.
    pub(in crate::store) fn of(url: &str, setting: &'static str, settings: &Config) -> Result<Self, StoreError> {
        let wrong = |what: String| StoreError::Address { setting, what };
        let (plain, mode) = without_mode(url);
        let mut config: tokio_postgres::Config =
            plain.parse().map_err(|error: tokio_postgres::Error| wrong(cause(&error)))?;
        if config.get_hosts().is_empty() {
            return Err(wrong("it names no host".into()));
        }
        let tls = match mode.as_deref() {
            Some("disable") => false,
            Some("require" | "verify-ca" | "verify-full") => true,
            None => !(config.get_hosts().iter().all(is_here) && config.get_hostaddrs().iter().all(IpAddr::is_loopback)),
            Some(other) => {
                return Err(wrong(format!(
                    "sslmode={other} would leave it to the server whether TLS is spoken: say require or disable"
                )));
            }
        };
        if let Some(file) = &settings.password_file {
            config.password(password(file)?);
        }
        config
            .application_name("keyward")
            .connect_timeout(CONNECT)
            .ssl_mode(if tls { SslMode::Require } else { SslMode::Disable })
            .keepalives_idle(Duration::from_secs(15))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(3)
            .tcp_user_timeout(Duration::from_secs(30));
        // Of several servers one is the primary, and that need not be the first that answers.
        if config.get_hosts().len() > 1 && config.get_target_session_attrs() == TargetSessionAttrs::Any {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        let name = name(&config).into();
        let tls = tls.then(|| client(settings.ca_file.as_deref())).transpose()?;
        Ok(Self { config, tls, name, seen: Arc::new(AtomicBool::new(true)) })
    }

    /// The same database for who finds out whether it is ours.
    pub(super) fn to_be_seen(&self) -> Self {
        Self { seen: Arc::new(AtomicBool::new(true)), ..self.clone() }
    }

    #[cfg(test)]
    pub(in crate::store) const fn speaks_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether it may be talked to.
    pub(super) fn is_seen(&self) -> bool {
        self.seen.load(Ordering::Acquire)
    }

    /// It may, from now on.
    pub(super) fn show(&self) {
        self.seen.store(true, Ordering::Release);
    }

    /// It may not, until [`Self::show`].
    pub(super) fn hide(&self) {
        self.seen.store(false, Ordering::Release);
    }
}

/// How long a connection may take to be made.
pub(super) const CONNECT: Duration = Duration::from_secs(3);

/// The address without its `sslmode`, which the driver would take for less than we do, and what that said.
fn without_mode(url: &str) -> (String, Option<String>) {
    let Some((before, query)) = url.split_once('?') else { return (url.to_owned(), None) };
    let (modes, others): (Vec<_>, Vec<_>) = query.split('&').partition(|pair| pair.starts_with("sslmode="));
    let mode = modes.last().and_then(|pair| pair.split_once('=')).map(|(_, mode)| mode.to_owned());
    let plain = if others.is_empty() { before.to_owned() } else { format!("{before}?{}", others.join("&")) };
    (plain, mode)
}

fn is_here(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()),
        Host::Unix(_) => true,
    }
}

fn name(config: &tokio_postgres::Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        Some(Host::Unix(path)) => path.display().to_string(),
        None => String::new(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let database = config.get_dbname().or_else(|| config.get_user()).unwrap_or_default();
    format!("postgres://{host}:{port}/{database}")
}

fn password(file: &Path) -> Result<Vec<u8>, StoreError> {
    let read = std::fs::read(file).map_err(|source| StoreError::Denied { path: file.to_owned(), source })?;
    Ok(read.trim_ascii_end().to_vec())
}

fn client(ca_file: Option<&Path>) -> Result<MakeRustlsConnect, StoreError> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(file) => {
            let wrong = |what: String| StoreError::Address { setting: "store.ca_file", what };
            let unreadable = |error: &dyn std::error::Error| wrong(format!("{}: {error}", file.display()));
            for certificate in CertificateDer::pem_file_iter(file).map_err(|error| unreadable(&error))? {
                let certificate = certificate.map_err(|error| unreadable(&error))?;
                roots.add(certificate).map_err(|error| unreadable(&error))?;
            }
            if roots.is_empty() {
                return Err(wrong(format!("{} holds no certificate", file.display())));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreError::Address { setting: "store.url", what: error.to_string() })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn cause(error: &tokio_postgres::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}
