//! Whom the judge is put in front of: a real keyward process, and [`super::naive`].

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::case::Keys;
use super::client::Door;
use super::judge::Suspect;
use super::naive;
use super::recorder::Recorder;
use crate::support::pki::Root;
use crate::support::{Keyward, PATIENCE, keyward};

/// keyward in front of an origin of its own. It runs until the first of the two is dropped.
pub(super) fn the_gateway() -> (Keyward, Suspect) {
    let origin = Recorder::start();
    let setup = keyward();
    let root = Root::new(setup.folder());
    let files = root.certificate(setup.folder(), &["api.test"]);
    let config = format!(
        "[server]\nworkers = 1\nlisten = [\"127.0.0.1:0\"]\n\
         tls_listen = [\"127.0.0.1:0\"]\nhttp2_listen = [\"127.0.0.1:0\"]\n\
         [server.timeouts]\nheader = \"60s\"\n\
         [[server.certificates]]\nchain_file = {:?}\nkey_file = {:?}\n\
         [services.api]\nurl = \"http://{}\"\n{ROUTES}",
        files.chain, files.key, origin.address
    );
    let keyward = setup.config(config).start();
    let key = |account| {
        keyward.account(account);
        keyward.service_key(account, &[]).secret
    };
    let keys = Keys { secret: key("101"), other: key("202") };
    let doors = vec![
        (Door::Plain, keyward.address()),
        (Door::Dripping, keyward.address()),
        (Door::Tls, keyward.tls_address()),
        (Door::Http2, keyward.tls_address()),
        (Door::ClearHttp2, keyward.http2_address()),
    ];
    let tls = trusting(RootCertStore::from_iter([rustls::pki_types::TrustAnchor::to_owned(
        &webpki::anchor_from_trusted_cert(&CertificateDer::from_pem_file(&root.file).unwrap()).unwrap(),
    )]));
    let suspect = Suspect { doors, tls, origin, keys, patience: PATIENCE, innocents: AtomicUsize::new(0) };
    (keyward, suspect)
}

/// The naive proxy. It may well answer nothing, so silence is not waited for long.
pub(super) fn the_naive() -> Suspect {
    let origin = Recorder::start();
    let keys = Keys { secret: "kw_live_naive_one".into(), other: "kw_live_naive_other".into() };
    let (http1, http2) = naive::start(origin.address, &keys);
    let doors = vec![(Door::Plain, http1), (Door::ClearHttp2, http2)];
    let tls = trusting(RootCertStore::empty());
    Suspect { doors, tls, origin, keys, patience: Duration::from_secs(2), innocents: AtomicUsize::new(0) }
}

fn trusting(roots: RootCertStore) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}

/// One route for each place an account or a key may stand in.
const ROUTES: &str = r#"
[[routes]]
path = "/open/**"
service = "api"
open = true
[[routes]]
path = "/small"
service = "api"
body_limit = "16B"
[[routes]]
path = "/socket/**"
service = "api"
upgrade = ["websocket"]
[[routes]]
path = "/own/**"
service = "api"
carriers = ["token", "bearer", "header:X-API-Key"]
[[routes]]
path = "/header/**"
service = "api"
account = { header = "X-Tenant" }
[[routes]]
path = "/query/**"
service = "api"
account = { query = "account" }
[[routes]]
path = "/**"
service = "api"
account = { after = "accounts" }
"#;
