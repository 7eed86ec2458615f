//! Certificates for one test: a root and what it signs, as PEM files.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// A root whose certificates a test trusts.
pub(crate) struct Root {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Its own certificate.
    pub(crate) file: PathBuf,
}

/// A certificate and its key.
pub(crate) struct Files {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
}

impl Root {
    /// A new root, its certificate in `folder`.
    pub(crate) fn new(folder: &Path) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // Unlike its certificates' names, or OpenSSL takes each of those for signed by itself.
        params.distinguished_name.push(DnType::CommonName, "the root of a keyward test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = folder.join("root.pem");
        std::fs::write(&file, issuer.pem()).unwrap();
        Self { issuer, file }
    }

    /// A certificate for these names.
    pub(crate) fn certificate(&self, folder: &Path, names: &[&str]) -> Files {
        self.certificate_until(folder, names, 4096)
    }

    /// One that expires when this year begins.
    pub(crate) fn certificate_until(&self, folder: &Path, names: &[&str], year: i32) -> Files {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let stem = names[0].replace('*', "any");
        let files = Files { chain: folder.join(format!("{stem}.pem")), key: folder.join(format!("{stem}.key")) };
        std::fs::write(&files.chain, certificate.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }
}
