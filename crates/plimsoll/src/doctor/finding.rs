//! What a check says.

use serde::Serialize;
use serde_json::{Value, json};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// Works, but look at it.
    Warn,
    /// Will not work.
    Fail,
}

impl Level {
    fn text(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        }
    }
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// How bad it is.
    pub(super) level: Level,
    /// Which check, e.g. `rights`.
    pub(super) check: &'static str,
    /// What was found.
    pub(super) text: String,
    /// What to do; empty where nothing is to be done.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) advice: String,
}

impl Finding {
    /// As it should be.
    pub(super) fn ok(check: &'static str, text: impl Into<String>) -> Self {
        Self {
            level: Level::Ok,
            check,
            text: text.into(),
            advice: String::new(),
        }
    }

    /// Works, but look at it.
    pub(super) fn warn(
        check: &'static str,
        text: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            level: Level::Warn,
            check,
            text: text.into(),
            advice: advice.into(),
        }
    }

    /// Will not work.
    pub(super) fn fail(
        check: &'static str,
        text: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            level: Level::Fail,
            ..Self::warn(check, text, advice)
        }
    }
}

/// The report for people.
pub(super) fn lines(server: &str, findings: &[Finding]) -> Vec<String> {
    let mut lines = vec![format!("{server}, nothing was changed")];
    for finding in findings {
        let level = finding.level.text();
        lines.push(format!(
            "{level:<4}  {:<13} {}",
            finding.check, finding.text
        ));
        if !finding.advice.is_empty() {
            lines.push(format!("{:20}-> {}", "", finding.advice));
        }
    }
    let count = |level| findings.iter().filter(|f| f.level == level).count();
    let (warned, failed) = (count(Level::Warn), count(Level::Fail));
    lines.push(match (failed, warned) {
        (0, 0) => "ready to install".to_owned(),
        (0, _) => format!("ready to install; {warned} to look at"),
        _ => format!("not ready: {failed} failed, {warned} to look at"),
    });
    lines
}

/// The report for programs.
pub(super) fn report(server: &str, findings: &[Finding]) -> Value {
    let failed = findings.iter().any(|f| f.level == Level::Fail);
    json!({"server": server, "ready": !failed, "findings": findings})
}
