//! A TLS client that shows which certificate it was shown.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::pki::Root;
use super::{PATIENCE, Wire};

/// What a client trusts. Each connection makes a session of its own: one that is resumed shows no certificate.
pub(crate) struct Tls(pub(crate) Arc<ClientConfig>);

impl Tls {
    pub(crate) fn trusting(root: &Root) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&root.file).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.resumption = rustls::client::Resumption::disabled();
        Self(Arc::new(config))
    }

    /// HTTP/1.1 to `name` at `address`.
    pub(crate) fn connect(
        &self,
        address: SocketAddr,
        name: &'static str,
    ) -> Wire<StreamOwned<ClientConnection, TcpStream>> {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let session = ClientConnection::new(Arc::clone(&self.0), ServerName::try_from(name).unwrap()).unwrap();
        Wire::over(StreamOwned::new(session, stream))
    }
}

impl Wire<StreamOwned<ClientConnection, TcpStream>> {
    /// The certificate it was shown; known after the first answer.
    pub(crate) fn certificate(&self) -> Vec<u8> {
        self.stream().conn.peer_certificates().unwrap()[0].to_vec()
    }
}
