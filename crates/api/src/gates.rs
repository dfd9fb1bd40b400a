//! Feature gates: behaviour that Kubernetes 1.36 lets a cluster turn on or off.

use crate::exposition::{Exposition, Kind, Page};
use std::fmt;
use std::str::FromStr;

/// A feature that can be turned on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// Autoscalers may ask for `minReplicas: 0` and scale to zero and back.
    HpaScaleToZero,
    /// Autoscalers may name a tolerance per direction.
    HpaConfigurableTolerance,
    /// StatefulSets may replace several pods at once.
    MaxUnavailableStatefulSet,
    /// Pods may name resources for all their containers together.
    PodLevelResources,
}

/// How far a feature has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Off unless asked for.
    Alpha,
    /// On unless refused, but for [`Feature::MaxUnavailableStatefulSet`].
    Beta,
}

impl fmt::Display for Stage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Alpha => "ALPHA",
            Self::Beta => "BETA",
        })
    }
}

impl Feature {
    /// Every feature, in the order of their names.
    pub const ALL: [Self; 4] = [
        Self::HpaConfigurableTolerance,
        Self::HpaScaleToZero,
        Self::MaxUnavailableStatefulSet,
        Self::PodLevelResources,
    ];

    /// The name upstream gives it.
    pub fn name(self) -> &'static str {
        match self {
            Self::HpaScaleToZero => "HPAScaleToZero",
            Self::HpaConfigurableTolerance => "HPAConfigurableTolerance",
            Self::MaxUnavailableStatefulSet => "MaxUnavailableStatefulSet",
            Self::PodLevelResources => "PodLevelResources",
        }
    }

    /// Where Kubernetes 1.36 has it.
    pub fn stage(self) -> Stage {
        match self {
            Self::HpaScaleToZero => Stage::Alpha,
            Self::HpaConfigurableTolerance
            | Self::MaxUnavailableStatefulSet
            | Self::PodLevelResources => Stage::Beta,
        }
    }

    /// Whether it is on where nobody says otherwise.
    pub fn is_on_by_default(self) -> bool {
        self.stage() == Stage::Beta && self != Self::MaxUnavailableStatefulSet
    }

    fn bit(self) -> u8 {
        match self {
            Self::HpaScaleToZero => 1,
            Self::HpaConfigurableTolerance => 2,
            Self::PodLevelResources => 4,
            Self::MaxUnavailableStatefulSet => 8,
        }
    }
}

/// Which features are on. Reads and prints as `--feature-gates` does:
/// `HPAScaleToZero=true,PodLevelResources=false`; `AllAlpha` and `AllBeta` stand for every
/// feature of that stage that is not named itself.
///
/// ```
/// use plimsoll_api::gates::{Feature, FeatureGates};
/// let gates: FeatureGates = "HPAScaleToZero=true".parse()?;
/// assert!(gates.is_on(Feature::HpaScaleToZero));
/// # Ok::<(), plimsoll_api::gates::GateError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeatureGates(u8);

impl Default for FeatureGates {
    /// As Kubernetes 1.36 has them.
    fn default() -> Self {
        let on = Feature::ALL.into_iter().filter(|f| f.is_on_by_default());
        on.fold(Self(0), |gates, feature| gates.with(feature, true))
    }
}

impl FeatureGates {
    /// Whether a feature is on.
    pub fn is_on(self, feature: Feature) -> bool {
        self.0 & feature.bit() != 0
    }

    /// The same with one feature turned on or off.
    #[must_use]
    pub fn with(self, feature: Feature, on: bool) -> Self {
        if on {
            Self(self.0 | feature.bit())
        } else {
            Self(self.0 & !feature.bit())
        }
    }
}

impl Exposition for FeatureGates {
    fn expose(&self, page: &mut Page) {
        let name = "kubernetes_feature_enabled";
        page.family(name, Kind::Gauge, "Whether a feature is on.");
        for feature in Feature::ALL {
            let stage = feature.stage().to_string();
            let labels = [("name", feature.name()), ("stage", stage.as_str())];
            page.sample(name, &labels, u8::from(self.is_on(feature)));
        }
    }
}

/// Why a text names no feature gates.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GateError {
    /// A name without a value.
    #[error("missing bool value for {0}")]
    NoValue(String),
    /// A value that is neither true nor false.
    #[error("invalid value of {name}={value}: neither true nor false")]
    NoBool {
        /// The feature.
        name: String,
        /// The value as written.
        value: String,
    },
    /// A feature nobody knows.
    #[error("unrecognized feature gate: {0}; the known ones are {known}", known = known())]
    Unknown(String),
}

fn known() -> String {
    let shown = Feature::ALL.map(|feature| {
        let (name, stage, on) = (feature.name(), feature.stage(), feature.is_on_by_default());
        format!("{name} ({stage}, default={on})")
    });
    format!("AllAlpha, AllBeta, {}", shown.join(", "))
}

impl FromStr for FeatureGates {
    type Err = GateError;

    fn from_str(text: &str) -> Result<Self, GateError> {
        let (mut of_stages, mut named) = (Vec::new(), Vec::new());
        for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let (name, value) = part
                .split_once('=')
                .ok_or_else(|| GateError::NoValue(part.to_owned()))?;
            let (name, on) = (name.trim(), boolean(name.trim(), value.trim())?);
            let feature = Feature::ALL.into_iter().find(|f| f.name() == name);
            match (name, feature) {
                ("AllAlpha", _) => of_stages.push((Stage::Alpha, on)),
                ("AllBeta", _) => of_stages.push((Stage::Beta, on)),
                (_, Some(feature)) => named.push((feature, on)),
                (_, None) => return Err(GateError::Unknown(name.to_owned())),
            }
        }
        let mut gates = Self::default();
        for (stage, on) in of_stages {
            let features = Feature::ALL.into_iter().filter(|f| f.stage() == stage);
            gates = features.fold(gates, |gates, feature| gates.with(feature, on));
        }
        let set = |gates: Self, (feature, on)| gates.with(feature, on);
        Ok(named.into_iter().fold(gates, set))
    }
}

/// The spellings that Go's flags accept.
fn boolean(name: &str, value: &str) -> Result<bool, GateError> {
    match value {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(GateError::NoBool {
            name: name.to_owned(),
            value: value.to_owned(),
        }),
    }
}

impl fmt::Display for FeatureGates {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown =
            Feature::ALL.map(|feature| format!("{}={}", feature.name(), self.is_on(feature)));
        out.write_str(&shown.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::{Feature, FeatureGates};
    use rstest::rstest;

    #[rstest]
    #[case::defaults("", [true, false, false, true])]
    #[case::one("HPAScaleToZero=true", [true, true, false, true])]
    #[case::several(" HPAScaleToZero=1 , PodLevelResources=F,", [true, true, false, false])]
    #[case::a_stage("AllAlpha=true,AllBeta=false", [false, true, false, false])]
    #[case::a_stage_with_what_is_off("AllBeta=true", [true, false, true, true])]
    #[case::a_name_beats_its_stage("HPAScaleToZero=false,AllAlpha=true", [true, false, false, true])]
    #[case::the_last_counts("HPAScaleToZero=true,HPAScaleToZero=false", [true, false, false, true])]
    fn gates_are_read_as_upstream_reads_them(#[case] text: &str, #[case] want: [bool; 4]) {
        let gates: FeatureGates = text.parse().unwrap();
        assert_eq!(Feature::ALL.map(|feature| gates.is_on(feature)), want);
        assert_eq!(gates.to_string().parse(), Ok(gates));
    }

    #[rstest]
    #[case("HPAScaleToZero", "missing bool value for HPAScaleToZero")]
    #[case(
        "HPAScaleToZero=maybe",
        "invalid value of HPAScaleToZero=maybe: neither true nor false"
    )]
    #[case(
        "Nonsense=true",
        "unrecognized feature gate: Nonsense; the known ones are AllAlpha, AllBeta, \
         HPAConfigurableTolerance (BETA, default=true), HPAScaleToZero (ALPHA, default=false), \
         MaxUnavailableStatefulSet (BETA, default=false), PodLevelResources (BETA, default=true)"
    )]
    fn what_is_no_gate_is_refused(#[case] text: &str, #[case] want: &str) {
        let error = text.parse::<FeatureGates>().unwrap_err();
        assert_eq!(error.to_string(), want);
    }
}
