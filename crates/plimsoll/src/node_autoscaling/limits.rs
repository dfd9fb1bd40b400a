//! Limits as flags write them.

use std::str::FromStr;

/// `MIN:MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) min: i64,
    pub(super) max: i64,
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is not MIN:MAX, two whole numbers from zero on");
        let (min, max) = text.split_once(':').ok_or_else(bad)?;
        let number = |text: &str| text.parse::<u32>().map_err(|_| bad()).map(i64::from);
        let range = Self {
            min: number(min)?,
            max: number(max)?,
        };
        if range.min > range.max {
            return Err(format!("in {text:?} the minimum is above the maximum"));
        }
        Ok(range)
    }
}

/// `TYPE:MIN:MAX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GpuLimit {
    pub(super) resource: String,
    pub(super) range: Range,
}

impl FromStr for GpuLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is not TYPE:MIN:MAX");
        let (resource, range) = text.split_once(':').ok_or_else(bad)?;
        if resource.is_empty() {
            return Err(bad());
        }
        // Parity: the usual type is named without its domain.
        let resource = if resource.contains('/') {
            resource.to_owned()
        } else {
            "nvidia.com/gpu".to_owned()
        };
        Ok(Self {
            resource,
            range: range.parse()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{GpuLimit, Range};

    #[test]
    fn limits_are_two_numbers() {
        assert_eq!(
            "0:320000".parse(),
            Ok(Range {
                min: 0,
                max: 320_000
            })
        );
        for wrong in ["", "5", "5:", ":5", "-1:5", "6:5", "1:2:3"] {
            assert!(wrong.parse::<Range>().is_err(), "{wrong}");
        }
        let gpu: GpuLimit = "amd.com/gpu:1:4".parse().unwrap();
        assert_eq!((&*gpu.resource, gpu.range.max), ("amd.com/gpu", 4));
        assert!(":1:4".parse::<GpuLimit>().is_err());
    }
}
