//! What the machine is told about beside its state: figures of now, as far as the system gives them.
//!
//! Linux has them in `/proc` and `/sys`; elsewhere what is missing is left out. Nothing here names a user, a process or an
//! address.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jos_runtime::world::Services;
use jos_schemas::text::Name;
use serde_json::{Map, Value, json};

use crate::files;

/// Own figures that a file may hold, at most.
const MOST_CUSTOM: usize = 64;
/// Services that are asked for, at most.
const MOST_SERVICES: usize = 32;

/// What is kept from one reading to the next.
#[derive(Default)]
pub(super) struct Telemetry {
    /// Busy and all ticks of the CPUs.
    cpu: Option<(u64, u64)>,
}

impl Telemetry {
    /// Everything, by its name.
    pub(super) fn read(
        &mut self,
        state_dir: &Path,
        services: (&dyn Services, &BTreeSet<String>),
        custom: Option<&Path>,
    ) -> BTreeMap<Name, Value> {
        let mut all = BTreeMap::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let (Ok(name), Some(value)) = (Name::new(name), value) {
                all.insert(name, value);
            }
        };
        put("cpu", self.cpu(&text("/proc/stat")));
        put("memory", memory(&text("/proc/meminfo")));
        put("disk", disk(state_dir));
        put("load", load(&text("/proc/loadavg")));
        put("temperature", temperature());
        put("network", network(&text("/proc/net/dev")));
        put("uptime", first(&text("/proc/uptime")).map(|s| json!(s as u64)));
        put("services", states(services.0, services.1));
        put("custom", custom.and_then(own));
        all
    }

    /// Per cent of all CPUs since the last reading.
    fn cpu(&mut self, stat: &str) -> Option<Value> {
        let line = stat.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = line.split_ascii_whitespace().filter_map(|t| t.parse().ok()).collect();
        let all: u64 = ticks.iter().take(8).sum();
        let idle: u64 = ticks.iter().skip(3).take(2).sum();
        let now = (all.saturating_sub(idle), all);
        let (busy, before) = self.cpu.replace(now)?;
        let span = now.1.checked_sub(before).filter(|s| *s > 0)?;
        Some(json!(now.0.saturating_sub(busy) * 100 / span))
    }
}

fn text(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn first(line: &str) -> Option<f64> {
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Bytes.
fn memory(info: &str) -> Option<Value> {
    let field = |name: &str| -> Option<u64> {
        let line = info.lines().find_map(|l| l.strip_prefix(name))?;
        let kib: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
        Some(kib * 1024)
    };
    Some(json!({ "total": field("MemTotal:")?, "available": field("MemAvailable:")? }))
}

/// Bytes of the file system that holds the data.
fn disk(state_dir: &Path) -> Option<Value> {
    let seen = nix::sys::statvfs::statvfs(state_dir).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(u64::from(seen.fragment_size() as u32));
    Some(json!({ "total": bytes(seen.blocks() as u64), "free": bytes(seen.blocks_available() as u64) }))
}

/// Over one, five and fifteen minutes, in hundredths.
fn load(line: &str) -> Option<Value> {
    let figures: Vec<u64> = line
        .split_ascii_whitespace()
        .take(3)
        .filter_map(|f| Some((f.parse::<f64>().ok()? * 100.0) as u64))
        .collect();
    (figures.len() == 3).then(|| json!(figures))
}

/// Of the hottest zone, in thousandths of a degree Celsius.
fn temperature() -> Option<Value> {
    let zones = std::fs::read_dir("/sys/class/thermal").ok()?.flatten();
    let zone = |e: std::fs::DirEntry| -> Option<i64> {
        e.file_name().to_str()?.strip_prefix("thermal_zone")?;
        std::fs::read_to_string(e.path().join("temp")).ok()?.trim().parse().ok()
    };
    zones.filter_map(zone).max().map(|t| json!(t))
}

/// Bytes since boot, of all interfaces but loopback.
fn network(dev: &str) -> Option<Value> {
    let (mut received, mut sent, mut any) = (0_u64, 0_u64, false);
    for line in dev.lines() {
        let Some((name, figures)) = line.split_once(':') else {
            continue;
        };
        let figures: Vec<u64> = figures
            .split_ascii_whitespace()
            .filter_map(|f| f.parse().ok())
            .collect();
        if name.trim() != "lo" && figures.len() >= 9 {
            (received, sent, any) = (received + figures[0], sent + figures[8], true);
        }
    }
    any.then(|| json!({ "received": received, "sent": sent }))
}

/// Whether the services that the state names run.
fn states(services: &dyn Services, names: &BTreeSet<String>) -> Option<Value> {
    let mut all = Map::new();
    for name in names.iter().take(MOST_SERVICES) {
        if let Ok(state) = services.state(name) {
            all.insert(name.clone(), json!(state.active));
        }
    }
    (!all.is_empty()).then_some(Value::Object(all))
}

/// Lines of `NAME NUMBER`, written by whoever has figures of his own; others are passed over.
fn own(path: &Path) -> Option<Value> {
    let bytes = files::read(path, 16 << 10).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let mut all = Map::new();
    for line in text.lines().take(MOST_CUSTOM) {
        let mut words = line.split_ascii_whitespace();
        if let (Some(name), Some(number), None) = (words.next(), words.next(), words.next())
            && let (Ok(name), Ok(number)) = (Name::new(name), number.parse::<i64>())
        {
            all.insert(name.to_string(), json!(number));
        }
    }
    (!all.is_empty()).then_some(Value::Object(all))
}

/// What a device says of itself once, at its enrolment: shown to people, never taken for identity.
pub(crate) fn facts() -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut put = |name: &str, value: String| {
        let value: String = value
            .trim_matches(['\0', ' ', '\n'])
            .chars()
            .filter(|c| !c.is_control())
            .take(200)
            .collect();
        if !value.is_empty() {
            all.insert(name.to_owned(), value);
        }
    };
    put("hostname", text("/proc/sys/kernel/hostname"));
    put("kernel", text("/proc/sys/kernel/osrelease"));
    put("arch", std::env::consts::ARCH.to_owned());
    put("os", system(&text("/etc/os-release")));
    put("model", text("/proc/device-tree/model"));
    all
}

fn system(release: &str) -> String {
    let line = release.lines().find_map(|l| l.strip_prefix("PRETTY_NAME="));
    line.map_or_else(|| std::env::consts::OS.to_owned(), |l| l.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_as_the_kernel_writes_them() {
        let mut telemetry = Telemetry::default();
        assert_eq!(telemetry.cpu("cpu  100 0 100 800 0 0 0 0 0 0\n"), None);
        assert_eq!(telemetry.cpu("cpu  150 0 150 900 0 0 0 0 0 0\n"), Some(json!(50)));
        let info = "MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:   600 kB\n";
        assert_eq!(memory(info), Some(json!({ "total": 1_024_000, "available": 614_400 })));
        assert_eq!(load("0.15 1.00 12.34 1/2 3"), Some(json!([15, 100, 1234])));
        let dev = "Inter-| x\n face |x\n    lo: 9 0 0 0 0 0 0 0 9 0\n  eth0: 5 1 0 0 0 0 0 0 7 1\n  wlan0: 1 1 0 0 0 0 0 0 2 1\n";
        assert_eq!(network(dev), Some(json!({ "received": 6, "sent": 9 })));
        assert_eq!(network("garbage"), None);
        assert_eq!(system("NAME=x\nPRETTY_NAME=\"Debian 12\"\n"), "Debian 12");
    }

    #[test]
    fn own_figures_are_lines_of_a_name_and_a_number_and_everything_else_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics");
        std::fs::write(&path, "pages-printed 12\nbad name 3\nx y\n../x 1\nqueue -1\n").unwrap();
        assert_eq!(own(&path), Some(json!({ "pages-printed": 12, "queue": -1 })));
        assert_eq!(own(&dir.path().join("none")), None);
    }
}
