//! What is wrong with a schedule, in the words of the parser that CronJobs use upstream.

use super::CronError;

impl CronError {
    /// The error in upstream's words, for the schedule it is about. Not every detail of upstream's
    /// order of checks is kept: of two mistakes in one field, the other may be named.
    pub fn upstream(&self, schedule: &str) -> String {
        let part = |text: &str| {
            let mut parts = schedule.split([' ', '\t', ',']);
            parts
                .find(|part| part.contains(text))
                .unwrap_or(text)
                .to_owned()
        };
        match self {
            Self::Fields(count) => {
                let fields: Vec<&str> = schedule.split_whitespace().collect();
                let fields = fields.join(" ");
                format!("expected exactly 5 fields, found {count}: [{fields}]")
            }
            Self::Name(name) => format!("unrecognized descriptor: {name}"),
            Self::Length(length) => format!(
                "failed to parse duration @every {length}: time: invalid duration {length:?}"
            ),
            Self::Zone => {
                "cannot use TZ or CRON_TZ in schedule, use timeZone field instead".to_owned()
            }
            Self::Value { text, .. } if text.contains('-') => {
                format!("too many hyphens: {}", part(text))
            }
            Self::Value { text, .. } => format!(
                "failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"
            ),
            Self::Step { text, .. } if text.matches('/').count() > 1 => {
                format!("too many slashes: {text}")
            }
            Self::Step { text, .. } => step(text),
            Self::Range {
                first,
                last,
                least,
                most,
                text,
                ..
            } => {
                let part = part(text);
                if first < least {
                    format!("beginning of range ({first}) below minimum ({least}): {part}")
                } else if last > most {
                    format!("end of range ({last}) above maximum ({most}): {part}")
                } else {
                    format!("beginning of range ({first}) beyond end of range ({last}): {part}")
                }
            }
            Self::Never(_) => self.to_string(),
        }
    }
}

fn step(text: &str) -> String {
    let step = text.split_once('/').map_or(text, |(_, step)| step);
    match step.parse::<i64>() {
        Ok(0) => format!("step of range should be a positive number: {text}"),
        Ok(number) => format!("negative number ({number}) not allowed: {text}"),
        Err(_) => format!(
            "failed to parse int from {step}: strconv.Atoi: parsing {step:?}: invalid syntax"
        ),
    }
}
