//! What devices measure: as numbers under names, which are kept, and as a person reads them.
//!
//! Numbers are kept as the device said them. The units are those of the agent's telemetry: bytes, per cent, seconds, hundredths
//! of a load, thousandths of a degree; a service is one where it runs, else nought.

use std::collections::BTreeMap;

use jos_schemas::text::Name;
use jos_ui::words;
use serde_json::Value;

/// No measure of a machine is larger, and sums of it stay numbers.
const LARGEST: f64 = 1e18;
/// Bytes of a name, at most.
const LONGEST: usize = 128;
/// What `/proc/loadavg` says, in its order: over so many minutes.
const LOAD: [&str; 3] = ["1", "5", "15"];

/// The numbers of a heartbeat; those one level down as `network.received`, the load as `load.1`, `load.5` and `load.15`.
pub fn numbers(telemetry: &BTreeMap<Name, Value>) -> impl Iterator<Item = (String, f64)> {
    telemetry
        .iter()
        .flat_map(|(name, value)| said(name.as_str(), value))
        .filter_map(|(name, value)| Some((name, number(&value)?)))
        .filter(|(name, number)| number.abs() <= LARGEST && name.len() <= LONGEST)
}

/// All that a heartbeat said, by the same names, as a person reads it.
pub fn shown(telemetry: &BTreeMap<Name, Value>) -> Vec<(String, String)> {
    let all = telemetry.iter().flat_map(|(name, value)| said(name.as_str(), value));
    all.map(|(name, value)| {
        let text = match (number(&value), &value) {
            (Some(number), _) => unit(&name)(number),
            (None, Value::String(text)) => text.clone(),
            (None, other) => other.to_string(),
        };
        (name, text)
    })
    .collect()
}

fn said(name: &str, value: &Value) -> Vec<(String, Value)> {
    let below = |member: &str, value: &Value| (format!("{name}.{member}"), value.clone());
    match value {
        Value::Object(members) => members.iter().map(|(member, value)| below(member, value)).collect(),
        Value::Array(over) if name == "load" && over.len() == LOAD.len() => LOAD
            .iter()
            .zip(over)
            .map(|(member, value)| below(member, value))
            .collect(),
        other => vec![(name.to_owned(), other.clone())],
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Bool(so) => Some(f64::from(u8::from(*so))),
        other => other.as_f64(),
    }
}

/// How a figure of this name is said.
pub fn unit(name: &str) -> fn(f64) -> String {
    match name.split_once('.') {
        Some(("memory" | "disk" | "network", _)) => |bytes| words::bytes(bytes.max(0.0) as u64),
        Some(("load", _)) => |hundredths| format!("{:.2}", hundredths / 100.0),
        Some(("services", _)) => running,
        None if name == "cpu" => |percent| format!("{percent:.0} %"),
        None if name == "temperature" => |thousandths| format!("{:.1} °C", thousandths / 1000.0),
        None if name == "uptime" => lasting,
        _ => plain,
    }
}

/// Bytes in each second.
pub fn each_second(bytes: f64) -> String {
    format!("{}/s", words::bytes(bytes.max(0.0) as u64))
}

/// Of a service: always, never, or how much of the time.
fn running(share: f64) -> String {
    match share {
        1.0 => "runs".to_owned(),
        0.0 => "does not run".to_owned(),
        share => format!("{:.0} %", share * 100.0),
    }
}

/// Seconds, in the two largest units that they fill.
fn lasting(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours) {
        (0, 0) if minutes == 0 => format!("{seconds} s"),
        (0, 0) => format!("{minutes} min"),
        (0, hours) => format!("{hours} h {minutes} min"),
        (days, hours) => format!("{days} d {hours} h"),
    }
}

/// A number in few signs, whatever its size.
fn plain(value: f64) -> String {
    let size = value.abs();
    for (unit, sign) in [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")] {
        if size >= unit {
            let unit = if sign == "k" { 1e3 } else { unit };
            return format!("{:.1} {sign}", value / unit);
        }
    }
    let digits = if size >= 100.0 || value.fract() == 0.0 { 0 } else { 2 };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_an_agent_measures_has_names_and_is_said_in_its_units() {
        let telemetry = json!({
            "cpu": 50, "custom": { "queue": -1 }, "disk": { "total": 1_048_576, "free": 524_288 }, "load": [15, 100, 1234],
            "memory": { "total": 1_024_000, "available": 614_400 }, "network": { "received": 6, "sent": 9 },
            "services": { "cups": true, "portal": false }, "temperature": 47_500, "uptime": 270_000, "note": "x",
        });
        let telemetry: BTreeMap<Name, Value> = serde_json::from_value(telemetry).expect("telemetry");
        let kept: BTreeMap<String, f64> = numbers(&telemetry).collect();
        assert_eq!([kept["load.1"], kept["load.5"], kept["load.15"]], [15.0, 100.0, 1234.0]);
        assert_eq!([kept["services.cups"], kept["services.portal"]], [1.0, 0.0]);
        assert_eq!((kept.len(), kept.contains_key("note")), (15, false));
        let shown: BTreeMap<String, String> = shown(&telemetry).into_iter().collect();
        for (name, expected) in [
            ("cpu", "50 %"),
            ("custom.queue", "-1"),
            ("load.1", "0.15"),
            ("load.15", "12.34"),
            ("memory.available", "600 KiB"),
            ("services.cups", "runs"),
            ("services.portal", "does not run"),
            ("temperature", "47.5 °C"),
            ("uptime", "3 d 3 h"),
            ("note", "x"),
        ] {
            assert_eq!(shown[name], expected, "{name}");
        }
    }

    #[test]
    fn a_mean_of_a_service_is_a_share_of_the_time() {
        assert_eq!(
            ["runs", "75 %"].map(str::to_owned),
            [1.0, 0.75].map(unit("services.cups"))
        );
    }

    #[test]
    fn a_number_is_said_in_few_signs() {
        let said = [0.0, 0.42, 47.5, 512.3, 20_480.0, 3.5e9, -2e6].map(plain);
        assert_eq!(said, ["0", "0.42", "47.50", "512", "20.5 k", "3.5 G", "-2.0 M"]);
    }
}
