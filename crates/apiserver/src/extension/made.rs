//! Certificates made here: an authority that lasts, and a serving certificate that is renewed.

use crate::pki::{KeyedCert, PkiError};
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use std::collections::BTreeSet;
use std::net::IpAddr;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

const DAY: SignedDuration = SignedDuration::from_hours(24);
/// How long an authority lasts, in days. Clients learn it from the APIServices.
const AUTHORITY_DAYS: i32 = 3650;
/// How long a serving certificate lasts, in days.
const SERVING_DAYS: i32 = 365;
/// What has fewer days left is renewed.
const RENEW_DAYS: i32 = 120;
/// The authority's common name.
const AUTHORITY: &str = "plimsoll-extension-ca";

/// An authority and the serving certificate it signed.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) authority: KeyedCert,
    pub(super) serving: KeyedCert,
}

impl Made {
    /// Both, new at `now`.
    pub(super) fn new(names: &[String], now: Timestamp) -> Result<Self, PkiError> {
        let key = new_key()?;
        let mut params = params(AUTHORITY, now, AUTHORITY_DAYS);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyCertSign,
        ];
        let cert = params.self_signed(&key).map_err(|why| bad(&why))?;
        let authority = KeyedCert {
            cert: cert.pem(),
            key: key.serialize_pem(),
        };
        let serving = sign(&authority, names, now)?;
        Ok(Self { authority, serving })
    }

    /// The same while it is good for `names` at `now`; else with a new serving certificate, and a
    /// new authority if that one ends soon or is not usable.
    pub(super) fn current(self, names: &[String], now: Timestamp) -> Result<Self, PkiError> {
        if !lasts(&self.authority.cert, now) {
            return Self::new(names, now);
        }
        if lasts(&self.serving.cert, now) && covers(&self.serving.cert, names) {
            return Ok(self);
        }
        match sign(&self.authority, names, now) {
            Ok(serving) => Ok(Self { serving, ..self }),
            Err(_) => Self::new(names, now),
        }
    }
}

fn new_key() -> Result<KeyPair, PkiError> {
    KeyPair::generate().map_err(|why| bad(&why))
}

fn bad(why: &dyn std::fmt::Display) -> PkiError {
    PkiError::unusable("the extension server's certificate", why)
}

fn params(name: &str, now: Timestamp, days: i32) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    // From yesterday: clocks differ.
    let (year, month, day) = date(now, -1);
    params.not_before = date_time_ymd(year, month, day);
    let (year, month, day) = date(now, days);
    params.not_after = date_time_ymd(year, month, day);
    params
}

/// The date so many days from now, by UTC.
fn date(now: Timestamp, days: i32) -> (i32, u8, u8) {
    let day = now.checked_add(DAY * days).unwrap_or(now);
    let date = day.to_zoned(jiff::tz::TimeZone::UTC).date();
    let (month, day) = (date.month().unsigned_abs(), date.day().unsigned_abs());
    (date.year().into(), month, day)
}

fn sign(authority: &KeyedCert, names: &[String], now: Timestamp) -> Result<KeyedCert, PkiError> {
    let key = KeyPair::from_pem(&authority.key).map_err(|why| bad(&why))?;
    let issuer = Issuer::from_ca_cert_pem(&authority.cert, key).map_err(|why| bad(&why))?;
    let first = names.first().map_or("plimsoll", String::as_str);
    let mut params = params(first, now, SERVING_DAYS);
    let alternatives = CertificateParams::new(names).map_err(|why| bad(&why))?;
    params.subject_alt_names = alternatives.subject_alt_names;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let key = new_key()?;
    let cert = params.signed_by(&key, &issuer).map_err(|why| bad(&why))?;
    Ok(KeyedCert {
        cert: cert.pem(),
        key: key.serialize_pem(),
    })
}

/// Whether a certificate can be read and lasts long enough.
fn lasts(pem: &str, now: Timestamp) -> bool {
    let soon = now.checked_add(DAY * RENEW_DAYS).unwrap_or(now);
    inspect(pem, |certificate| {
        certificate.validity().not_after.timestamp() > soon.as_second()
    })
}

/// Whether a certificate is for all these names.
fn covers(pem: &str, names: &[String]) -> bool {
    inspect(pem, |certificate| {
        let alternatives = certificate.subject_alternative_name().ok().flatten();
        let has: BTreeSet<String> = alternatives
            .iter()
            .flat_map(|extension| &extension.value.general_names)
            .filter_map(text)
            .collect();
        names.iter().all(|name| has.contains(name))
    })
}

fn text(name: &GeneralName<'_>) -> Option<String> {
    if let GeneralName::IPAddress(bytes) = name {
        let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
        let address = four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
        return address.ok().map(|address| address.to_string());
    }
    if let GeneralName::DNSName(name) = name {
        return Some((*name).to_owned());
    }
    None
}

fn inspect(pem: &str, look: impl FnOnce(&X509Certificate<'_>) -> bool) -> bool {
    let Ok(der) = CertificateDer::from_pem_slice(pem.as_bytes()) else {
        return false;
    };
    X509Certificate::from_der(&der).is_ok_and(|(_, certificate)| look(&certificate))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn at(date: &str) -> Timestamp {
        format!("{date}T12:00:00Z").parse().unwrap()
    }

    /// When it is looked at, for which names; whether serving certificate and authority stay.
    #[rstest]
    #[case::next_day("2026-01-02", &["a.b.svc", "10.0.0.1"], (true, true))]
    #[case::fewer_names("2026-01-02", &["a.b.svc"], (true, true))]
    #[case::near_its_end("2026-12-01", &["a.b.svc"], (false, true))]
    #[case::another_name("2026-01-02", &["c.d.svc"], (false, true))]
    #[case::the_authority_ends("2035-12-01", &["a.b.svc"], (false, false))]
    fn what_is_made_is_renewed_in_time(
        #[case] date: &str,
        #[case] wanted: &[&str],
        #[case] stay: (bool, bool),
    ) {
        let made = Made::new(&names(&["a.b.svc", "10.0.0.1"]), at("2026-01-01")).unwrap();
        let now = made.clone().current(&names(wanted), at(date)).unwrap();
        let same = |old: &KeyedCert, new: &KeyedCert| old.cert == new.cert;
        let got = (
            same(&made.serving, &now.serving),
            same(&made.authority, &now.authority),
        );
        assert_eq!(got, stay);
        assert!(covers(&now.serving.cert, &names(wanted)));
    }

    #[test]
    fn what_is_damaged_is_made_anew() {
        let names = names(&["a.b.svc"]);
        let mut made = Made::new(&names, at("2026-01-01")).unwrap();
        made.authority.key = "no key".to_owned();
        made.serving.cert = "no certificate".to_owned();
        let now = made.current(&names, at("2026-01-01")).unwrap();
        assert!(covers(&now.serving.cert, &names) && now.authority.key != "no key");
    }
}
