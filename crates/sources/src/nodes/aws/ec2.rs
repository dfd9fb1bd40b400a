//! The few reads of EC2 that tell what machines a launch template makes.
//!
//! Facts: the query protocol of EC2's API (version 2016-11-15).

use super::config::CloudConfig;
use super::ec2_answer as answer;
use super::error::refused;
use super::model::{LaunchFacts, Shape, TemplateRef};
use super::signed::{Answer, Question, Service, Signed, encoded};
use aws_config::SdkConfig;
use plimsoll_api::nodegroup::{ErrorClass, ProviderError};
use plimsoll_clock::Clock;

const SERVICE: Service = Service {
    name: "ec2",
    id: "EC2",
};
const VERSION: &str = "2016-11-15";
/// What the body of a request is.
const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// A client for the reads of EC2.
#[derive(Debug)]
pub(crate) struct Ec2(Signed);

impl Ec2 {
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

    /// `DescribeLaunchTemplateVersions`.
    pub(crate) async fn launch_template(
        &self,
        template: &TemplateRef,
    ) -> Result<Option<LaunchFacts>, ProviderError> {
        let (key, which) = if template.id.is_empty() {
            ("LaunchTemplateName", template.name.as_str())
        } else {
            ("LaunchTemplateId", template.id.as_str())
        };
        let tried = format!("describing launch template {which}");
        let parameters = [
            ("Action", "DescribeLaunchTemplateVersions"),
            (key, which),
            ("LaunchTemplateVersion.1", &template.version),
        ];
        let body = self.ask(&tried, &parameters).await?;
        answer::launch_template(&body).map_err(|error| unreadable(&tried, &error))
    }

    /// `DescribeInstanceTypes`.
    pub(crate) async fn instance_type(&self, name: &str) -> Result<Option<Shape>, ProviderError> {
        let tried = format!("describing instance type {name}");
        let parameters = [
            ("Action", "DescribeInstanceTypes"),
            ("InstanceType.1", name),
        ];
        let body = self.ask(&tried, &parameters).await?;
        answer::instance_type(&body).map_err(|error| unreadable(&tried, &error))
    }

    async fn ask(&self, tried: &str, parameters: &[(&str, &str)]) -> Result<String, ProviderError> {
        let form = form(parameters);
        let question = Question {
            tried,
            method: "POST",
            path: "",
            body: Some((FORM, &form)),
        };
        let refusal = |Answer { status, body, .. }: &Answer| {
            let (code, message) = answer::refusal(body);
            refused(tried, *status, &code, &message)
        };
        self.0.ask(&question, refusal).await
    }
}

fn unreadable(tried: &str, error: &quick_xml::DeError) -> ProviderError {
    ProviderError::new(
        ErrorClass::Other,
        format!("{tried}: the answer cannot be read: {error}"),
    )
}

fn form(parameters: &[(&str, &str)]) -> String {
    let version = std::iter::once(&("Version", VERSION));
    let pair = |(key, value): &(&str, &str)| format!("{}={}", encoded(key), encoded(value));
    let pairs: Vec<_> = parameters.iter().chain(version).map(pair).collect();
    pairs.join("&")
}

#[cfg(test)]
mod tests {
    use super::form;

    #[test]
    fn writes_forms() {
        let got = form(&[
            ("Action", "DescribeInstanceTypes"),
            ("LaunchTemplateVersion.1", "$Latest &é"),
        ]);
        let want = "Action=DescribeInstanceTypes&LaunchTemplateVersion.1=%24Latest%20%26%C3%A9&Version=2016-11-15";
        assert_eq!(got, want);
    }
}
