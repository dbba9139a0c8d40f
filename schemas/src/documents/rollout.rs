//! How an admin tells the hub to bring a version to a fleet.

use std::collections::BTreeMap;

#[cfg(feature = "json-schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kind;
use crate::check::{Check, Issues, checked};
use crate::ruled;
use crate::text::Name;

kind!(
    /// The constant `jos.rollout`.
    RolloutKind, "jos.rollout"
);

/// How a version reaches a fleet: in phases, halted when devices fail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct Rollout {
    /// Where an editor finds the JSON Schema; ignored by jos.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Always `jos.rollout`.
    pub kind: RolloutKind,
    /// The state's name.
    pub name: Name,
    /// The state's version.
    #[serde(deserialize_with = "ruled::int::<_, _, 1, 9_007_199_254_740_991>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 1, max = 9_007_199_254_740_991_u64)))]
    pub version: u64,
    /// In order; each takes more of the fleet. The last one is 100 percent without labels.
    #[cfg_attr(feature = "json-schema", schemars(length(min = 1, max = 32)))]
    pub phases: Vec<Phase>,
    /// Halt when more than this share of the devices of a phase fails; 5 when absent.
    #[serde(
        default,
        deserialize_with = "ruled::maybe_int::<_, _, 0, 100>",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 0, max = 100)))]
    pub halt_percent: Option<u32>,
    /// A device that got the version and has said nothing of it for so many seconds counts as failed; 3600 when absent.
    #[serde(
        default,
        deserialize_with = "ruled::maybe_int::<_, _, 1, 2_592_000>",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 1, max = 2_592_000)))]
    pub silent_after: Option<u32>,
    /// Version signed beforehand that the hub offers after a halt; above `version`, since devices never go back.
    #[serde(default, deserialize_with = "ruled::maybe_int::<_, _, 1, 9_007_199_254_740_991>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 1, max = 9_007_199_254_740_991_u64)))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revert_with: Option<u64>,
    /// Begins once a second person has approved it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approval: bool,
    /// When devices may get it, each by its own clock on the wall; at any time when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "json-schema", schemars(length(max = 32)))]
    pub windows: Vec<Window>,
    /// IANA time zone of devices that name none, as `America/Mexico_City`; UTC when absent.
    #[serde(
        default,
        deserialize_with = "ruled::maybe::<_, ruled::Zone>",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "json-schema", schemars(with = "Option<ruled::Zone>"))]
    pub zone: Option<String>,
}

/// A part of the fleet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Share of the devices that match, so far included; rounded down, at least one device.
    #[serde(deserialize_with = "ruled::int::<_, _, 1, 100>")]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 1, max = 100)))]
    pub percent: u32,
    /// Only devices with these labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Seconds over which its devices are let in, one after the other; all at once when absent.
    #[serde(
        default,
        deserialize_with = "ruled::maybe_int::<_, _, 0, 2_592_000>",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 0, max = 2_592_000)))]
    pub spread: Option<u32>,
    /// Seconds to watch before the next phase; 3600 when absent.
    #[serde(
        default,
        deserialize_with = "ruled::maybe_int::<_, _, 0, 2_592_000>",
        skip_serializing_if = "Option::is_none"
    )]
    #[cfg_attr(feature = "json-schema", schemars(range(min = 0, max = 2_592_000)))]
    pub soak: Option<u32>,
}

/// A maintenance window, again each week.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// On which days it begins; every day when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "json-schema", schemars(length(max = 7)))]
    pub days: Vec<Weekday>,
    /// From this time of the day on, as `02:00`.
    #[serde(deserialize_with = "ruled::text::<_, ruled::TimeOfDay>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::TimeOfDay"))]
    pub from: String,
    /// Until this one, on the next day where it is not later than `from`.
    #[serde(deserialize_with = "ruled::text::<_, ruled::TimeOfDay>")]
    #[cfg_attr(feature = "json-schema", schemars(with = "ruled::TimeOfDay"))]
    pub to: String,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "json-schema", derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Weekday {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

checked!(Rollout);

impl Check for Rollout {
    fn check(&self, issues: &mut Issues) {
        if self.phases.is_empty() || self.phases.len() > 32 {
            issues.add(
                "/phases",
                format!("found {} phases, expected 1 to 32", self.phases.len()),
            );
        }
        for (at, phase) in self.phases.iter().enumerate() {
            let alike = self.phases[..at]
                .iter()
                .rev()
                .find(|before| before.labels == phase.labels);
            if let Some(before) = alike.filter(|before| before.percent > phase.percent) {
                let message = format!(
                    "found {} after {}, expected as much or more",
                    phase.percent, before.percent
                );
                issues
                    .add(format!("/phases/{at}/percent"), message)
                    .help("a phase includes the ones before it");
            }
        }
        if self.windows.len() > 32 {
            issues.add(
                "/windows",
                format!("found {} windows, expected 32 at most", self.windows.len()),
            );
        }
        for (at, window) in self.windows.iter().enumerate() {
            if window.days.len() > 7 {
                issues.add(
                    format!("/windows/{at}/days"),
                    format!("found {} days, expected 7 at most", window.days.len()),
                );
            }
        }
    }
}
