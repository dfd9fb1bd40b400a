//! The file of `--cloud-config`, as AWS cloud providers of Kubernetes have it: sections in
//! brackets, `key = value` lines, names in any case.
//!
//! ```text
//! [Global]
//! Region = eu-west-1
//! [ServiceOverride "1"]
//! Service = autoscaling
//! URL = https://autoscaling.example.net
//! SigningRegion = eu-west-1
//! ```
//!
//! Everything else in it is for other components and left unread.

use std::str::FromStr;

/// What is wrong with the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A line that is neither a section nor a value.
    #[error("line {line} of the cloud config is no section and no `key = value`: {text}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// The line.
        text: String,
    },
    /// An override without a service or an address.
    #[error("a ServiceOverride of the cloud config lacks {0}")]
    Incomplete(&'static str),
}

/// Another address for one of the services.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceOverride {
    /// `autoscaling`, `ec2` or `eks`, in small letters.
    pub service: String,
    /// Where it is.
    pub url: String,
    /// The region that requests are signed for; empty for the region of the rest.
    pub signing_region: String,
}

/// What the provider takes from the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CloudConfig {
    /// Region; empty where the file has none.
    pub region: String,
    /// Addresses of services.
    pub overrides: Vec<ServiceOverride>,
}

impl CloudConfig {
    /// The override of a service, if there is one.
    pub(crate) fn service(&self, name: &str) -> Option<&ServiceOverride> {
        self.overrides.iter().find(|found| found.service == name)
    }

    fn set(&mut self, section: &str, key: &str, value: &str) {
        if section == "global" && key == "region" {
            value.clone_into(&mut self.region);
        }
        let Some(last) = self
            .overrides
            .last_mut()
            .filter(|_| section == "serviceoverride")
        else {
            return;
        };
        match key {
            "service" => last.service = value.to_ascii_lowercase(),
            "url" => value.clone_into(&mut last.url),
            "signingregion" => value.clone_into(&mut last.signing_region),
            _ => {}
        }
    }
}

impl FromStr for CloudConfig {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        let mut section = String::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(name) = line
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'))
            {
                let name = name.split_whitespace().next().unwrap_or_default();
                section = name.to_ascii_lowercase();
                if section == "serviceoverride" {
                    config.overrides.push(ServiceOverride::default());
                }
                continue;
            }
            let Some((key, value)) = line.split_once('=') else {
                let text = line.to_owned();
                return Err(ConfigError::Line {
                    line: index + 1,
                    text,
                });
            };
            let key = key.trim().to_ascii_lowercase();
            config.set(&section, &key, value.trim().trim_matches('"'));
        }
        let lacks = |part: fn(&ServiceOverride) -> &String| {
            config.overrides.iter().any(|found| part(found).is_empty())
        };
        if lacks(|found| &found.service) {
            return Err(ConfigError::Incomplete("Service"));
        }
        if lacks(|found| &found.url) {
            return Err(ConfigError::Incomplete("URL"));
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::{CloudConfig, ConfigError};

    #[test]
    fn reads_overrides_and_leaves_the_rest() {
        let text = "; for the cluster\n[Global]\nZone = eu-west-1a\nRegion=eu-west-1\nDisableSecurityGroupIngress = false\n\n\
                    [ServiceOverride \"1\"]\nService=AutoScaling\nURL = \"http://127.0.0.1:5000\"\nsigningRegion=eu-west-2\n\
                    [serviceoverride \"2\"]\nservice = ec2\nurl = https://ec2.example.net\n";
        let config: CloudConfig = text.parse().unwrap();
        assert_eq!(config.region, "eu-west-1");
        let scaling = config.service("autoscaling").unwrap();
        assert_eq!(
            (scaling.url.as_str(), scaling.signing_region.as_str()),
            ("http://127.0.0.1:5000", "eu-west-2")
        );
        assert_eq!(
            config.service("ec2").unwrap().url,
            "https://ec2.example.net"
        );
        assert_eq!(config.service("eks"), None);
    }

    #[test]
    fn says_what_it_cannot_read() {
        let wrong = "[Global]\nwhat is this".parse::<CloudConfig>();
        let text = "what is this".to_owned();
        assert_eq!(wrong, Err(ConfigError::Line { line: 2, text }));
        let lacking = "[ServiceOverride \"1\"]\nService = ec2".parse::<CloudConfig>();
        assert_eq!(lacking, Err(ConfigError::Incomplete("URL")));
    }
}
