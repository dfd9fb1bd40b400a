//! Signing what others ask for.

use super::{Pki, PkiError};
use rcgen::{
    CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
    date_time_ymd,
};
use std::time::Duration;

/// By how much certificates begin early, for clocks that are behind: five minutes, as upstream's.
const BACKDATE: Duration = Duration::from_secs(300);

impl Pki {
    /// A certificate (PEM) for what `request` asks for, in at most two `organizations`, good for a
    /// server if `serves`, else for a client. It begins at `begins` after 1970, less five minutes
    /// for clocks that differ, and ends `lifetime` later.
    ///
    /// # Errors
    /// [`PkiError::Unusable`], also for more organisations.
    pub(crate) fn sign_request(
        &self,
        mut request: CertificateSigningRequestParams,
        organizations: &[String],
        serves: bool,
        (begins, lifetime): (Duration, Duration),
    ) -> Result<String, PkiError> {
        let what = "the certificate request";
        let params = &mut request.params;
        // rcgen keeps one value per attribute type, and this type has two spellings.
        let spellings = [
            DnType::OrganizationName,
            DnType::CustomDnType(vec![2, 5, 4, 10]),
        ];
        if organizations.len() > spellings.len() {
            return Err(PkiError::unusable(
                what,
                "it names more than two organizations",
            ));
        }
        for spelling in &spellings {
            params.distinguished_name.remove(spelling.clone());
        }
        for (spelling, organization) in spellings.into_iter().zip(organizations) {
            params.distinguished_name.push(spelling, organization);
        }
        let epoch = date_time_ymd(1970, 1, 1);
        params.not_before = epoch + begins.saturating_sub(BACKDATE);
        params.not_after = (epoch + begins + lifetime).min(date_time_ymd(2049, 12, 31));
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        params.extended_key_usages = vec![if serves {
            ExtendedKeyUsagePurpose::ServerAuth
        } else {
            ExtendedKeyUsagePurpose::ClientAuth
        }];
        params.use_authority_key_identifier_extension = true;
        let signed = request.signed_by(&self.parts.issuer);
        let signed = signed.map_err(|why| PkiError::unusable(what, why))?;
        Ok(signed.pem())
    }
}
