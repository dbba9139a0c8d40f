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
    /// Everything of the machine whose files lie below `root`, by its name.
    pub(super) fn read(
        &mut self,
        root: &Path,
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
        put("cpu", self.cpu(&text(root, "proc/stat")));
        put("memory", memory(&text(root, "proc/meminfo")));
        put("disk", disk(state_dir));
        put("load", load(&text(root, "proc/loadavg")));
        put("temperature", temperature(root));
        put("network", network(&text(root, "proc/net/dev")));
        put("uptime", first(&text(root, "proc/uptime")).map(|s| json!(s as u64)));
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

fn text(root: &Path, path: &str) -> String {
    std::fs::read_to_string(root.join(path)).unwrap_or_default()
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
fn temperature(root: &Path) -> Option<Value> {
    let zones = std::fs::read_dir(root.join("sys/class/thermal")).ok()?.flatten();
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

#[cfg(test)]
mod tests {
    use jos_runtime::world::{ServiceCommand, ServiceState};

    use super::*;

    /// An init system that knows two services, of which one runs.
    struct Two;

    impl Services for Two {
        fn init(&self) -> &'static str {
            "none"
        }
        fn state(&self, service: &str) -> Result<ServiceState, String> {
            match service {
                "cups" | "nginx" => Ok(ServiceState {
                    known: true,
                    enabled: true,
                    active: service == "cups",
                }),
                other => Err(format!("{other} cannot be asked")),
            }
        }
        fn command(&self, _: &str, _: ServiceCommand) -> Result<(), String> {
            Err("nothing is changed by being looked at".into())
        }
        fn refresh(&self) -> Result<(), String> {
            Ok(())
        }
    }

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
    }

    #[test]
    fn every_figure_comes_from_where_the_kernel_has_it_and_what_it_does_not_have_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let names = BTreeSet::from(["cups", "nginx", "nobody-knows-it"].map(str::to_owned));
        let read =
            |root: &Path, custom: Option<&Path>| Telemetry::default().read(root, dir.path(), (&Two, &names), custom);
        let bare = read(&dir.path().join("nothing"), None);
        assert_eq!(Vec::from_iter(bare.keys().map(Name::as_str)), ["disk", "services"]);

        put("proc/stat", "cpu  1 0 1 8 0 0 0 0 0 0\n");
        put("proc/meminfo", "MemTotal: 8 kB\nMemAvailable: 4 kB\n");
        put("proc/loadavg", "0.50 0.25 0.10 1/2 3\n");
        put("proc/uptime", "4711.93 9000.00\n");
        put("proc/net/dev", "h\nh\n eth0: 5 1 0 0 0 0 0 0 7 1\n");
        for (zone, degrees) in [
            ("thermal_zone0", "41000\n"),
            ("thermal_zone1", "-5000\n"),
            ("cooling_device0", "99000\n"),
        ] {
            put(&format!("sys/class/thermal/{zone}/temp"), degrees);
        }
        put("metrics", "queue 3\n");
        let all = read(dir.path(), Some(&dir.path().join("metrics")));
        let said = |name: &str| all.get(&Name::new(name).unwrap()).cloned().unwrap_or_default();
        assert_eq!(said("temperature"), json!(41000));
        assert_eq!(said("uptime"), json!(4711));
        assert_eq!(said("services"), json!({ "cups": true, "nginx": false }));
        assert_eq!(said("custom"), json!({ "queue": 3 }));
        let (total, free) = (said("disk")["total"].as_u64(), said("disk")["free"].as_u64());
        assert!(total > Some(0) && free <= total, "{:?}", said("disk"));
        // Per cent of the CPUs takes two readings.
        assert_eq!(said("cpu"), Value::Null);
        assert_eq!(all.len(), 8);
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
