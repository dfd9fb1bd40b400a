//! The one read of EKS: what nodes of a managed node group will have, from before there are any.
//!
//! Facts: EKS's API (version 2017-11-01), `GET /clusters/NAME/node-groups/NAME`.

use super::config::CloudConfig;
use super::eks_answer as answer;
use super::error::refused;
use super::model::Managed;
use super::signed::{Answer, Question, Service, Signed, encoded};
use aws_config::SdkConfig;
use plimsoll_api::nodegroup::{ErrorClass, ProviderError};
use plimsoll_clock::Clock;

const SERVICE: Service = Service {
    name: "eks",
    id: "EKS",
};

/// A client for the read of EKS.
#[derive(Debug)]
pub(crate) struct Eks(Signed);

impl Eks {
    /// A client that speaks to where the environment, a profile or the file says.
    ///
    /// # Errors
    /// The address is none.
    pub(crate) fn new(
        shared: &SdkConfig,
        file: &CloudConfig,
        region: &str,
        clock: Clock,
    ) -> Result<Self, ProviderError> {
        Ok(Self(Signed::new(SERVICE, (shared, file), region, clock)?))
    }

    /// `DescribeNodegroup`; `None` where there is no such node group.
    pub(crate) async fn nodegroup(
        &self,
        cluster: &str,
        name: &str,
    ) -> Result<Option<Managed>, ProviderError> {
        let tried = format!("describing EKS node group {name} of {cluster}");
        let path = format!(
            "clusters/{}/node-groups/{}",
            encoded(cluster),
            encoded(name)
        );
        let question = Question {
            tried: &tried,
            method: "GET",
            path: &path,
            body: None,
        };
        let refusal = |answer: &Answer| {
            let (code, message) = answer::refusal(&answer.error_type, &answer.body);
            refused(&tried, answer.status, &code, &message)
        };
        let body = match self.0.ask(&question, refusal).await {
            Ok(body) => body,
            Err(error) if error.class == ErrorClass::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let found = answer::nodegroup(&body).map_err(|error| {
            let message = format!("{tried}: the answer cannot be read: {error}");
            ProviderError::new(ErrorClass::Other, message)
        })?;
        Ok(Some(found))
    }
}
