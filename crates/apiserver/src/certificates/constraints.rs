//! What each signer of the cluster signs.

use super::{CLIENT, KUBELET_CLIENT, KUBELET_SERVING};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use plimsoll_api::meta;
use rcgen::{CertificateSigningRequestParams, SanType};
use serde_json::Value;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;

/// Why a request is not signed; the message of its condition `Failed`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    /// It cannot be read, or its signature is not that of its key.
    #[error("the request cannot be used: {0}")]
    Unreadable(String),
    /// The organisations are not what the signer demands.
    #[error("subject organization is not system:nodes")]
    Organization,
    /// The common name is not that of a node.
    #[error("subject common name does not begin with system:node:")]
    CommonName,
    /// Names besides the subject, where none are signed.
    #[error("DNS, IP, email and URI subjectAltNames are not allowed")]
    NamesNotAllowed,
    /// No name to serve as, or one that is neither a host name nor an address.
    #[error("subjectAltNames must be DNS names and IP addresses, and at least one")]
    NoServingName,
    /// The usages are not what the signer signs.
    #[error("usages did not match {0}")]
    Usages(&'static str),
}

/// What a request asks for.
pub(super) struct Wanted {
    /// The request itself, its signature checked.
    pub(super) params: CertificateSigningRequestParams,
    pub(super) common_name: String,
    pub(super) organizations: Vec<String>,
    usages: Vec<String>,
}

impl Wanted {
    /// Reads `spec.request` and `spec.usages`.
    pub(super) fn of(object: &Value) -> Result<Self, Unfit> {
        let unreadable = |why: &dyn std::fmt::Display| Unfit::Unreadable(why.to_string());
        let pem = STANDARD
            .decode(meta::text(object, &["spec", "request"]))
            .map_err(|e| unreadable(&e))?;
        let pem = String::from_utf8(pem).map_err(|e| unreadable(&e))?;
        let (_, block) =
            x509_parser::pem::parse_x509_pem(pem.as_bytes()).map_err(|e| unreadable(&e))?;
        let (_, parsed) =
            X509CertificationRequest::from_der(&block.contents).map_err(|e| unreadable(&e))?;
        let subject = &parsed.certification_request_info.subject;
        let texts = |found: Vec<&str>| found.into_iter().map(str::to_owned).collect();
        let organizations = subject.iter_organization().filter_map(|o| o.as_str().ok());
        let common_name = subject.iter_common_name().find_map(|n| n.as_str().ok());
        let usages = meta::list(object, &["spec", "usages"]).iter();
        Ok(Self {
            organizations: texts(organizations.collect()),
            common_name: common_name.unwrap_or_default().to_owned(),
            usages: texts(usages.filter_map(Value::as_str).collect()),
            params: CertificateSigningRequestParams::from_pem(&pem).map_err(|e| unreadable(&e))?,
        })
    }

    /// Whether `signer` signs it. Signers of others are not asked.
    pub(super) fn fits(&self, signer: &str) -> Result<(), Unfit> {
        let names = &self.params.params.subject_alt_names;
        match signer {
            CLIENT => self.used_for(
                "client auth",
                "[client auth digital signature key encipherment]",
            ),
            KUBELET_CLIENT => {
                self.is_node()?;
                if !names.is_empty() {
                    return Err(Unfit::NamesNotAllowed);
                }
                self.used_for(
                    "client auth",
                    "[client auth digital signature key encipherment]",
                )
            }
            KUBELET_SERVING => {
                self.is_node()?;
                let serves =
                    |name: &SanType| matches!(name, SanType::DnsName(_) | SanType::IpAddress(_));
                if names.is_empty() || !names.iter().all(serves) {
                    return Err(Unfit::NoServingName);
                }
                self.used_for(
                    "server auth",
                    "[server auth digital signature key encipherment]",
                )
            }
            _ => Ok(()),
        }
    }

    fn is_node(&self) -> Result<(), Unfit> {
        if self.organizations != ["system:nodes"] {
            return Err(Unfit::Organization);
        }
        if !self.common_name.starts_with("system:node:") {
            return Err(Unfit::CommonName);
        }
        Ok(())
    }

    /// The usages are `main` and at most signatures and key exchange.
    fn used_for(&self, main: &str, all: &'static str) -> Result<(), Unfit> {
        let allowed = [main, "digital signature", "key encipherment"];
        let fits = self.usages.iter().any(|u| u == main)
            && self.usages.iter().all(|u| allowed.contains(&u.as_str()));
        fits.then_some(()).ok_or(Unfit::Usages(all))
    }
}

impl std::fmt::Debug for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wanted")
            .field("common_name", &self.common_name)
            .field("organizations", &self.organizations)
            .field("usages", &self.usages)
            .finish_non_exhaustive()
    }
}
