//! Facts about the machine, as lines `name value` that any agent can read: below `facts/`, which is no folder on a disk.
//!
//! A fact that this system does not tell is left out; an agent says what it missed.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::contract::AgentError;

/// `facts/system`, `facts/disk`.
pub(super) fn read(which: &str, root: &Path) -> Result<Vec<u8>, AgentError> {
    match which {
        "system" => Ok(system().into_bytes()),
        "disk" => disk(root).map(String::into_bytes),
        _ => Err(AgentError::Failed(format!(
            "facts/{which}: there are facts/system and facts/disk"
        ))),
    }
}

fn system() -> String {
    let mut lines = format!("os {}\narch {}\n", std::env::consts::OS, std::env::consts::ARCH);
    let mut put = |name: &str, value: &str| {
        let _ = writeln!(lines, "{name} {value}");
    };
    if let Ok(cores) = std::thread::available_parallelism() {
        put("cores", &cores.to_string());
    }
    let proc = |name: &str| fs::read_to_string(Path::new("/proc").join(name)).unwrap_or_default();
    // Hundredths as whole numbers: an agent without floating point compares them too.
    let hundredths = |word: &str| word.parse::<f64>().ok().map(|n| format!("{:.0}", n * 100.0));
    if let Some(load) = proc("loadavg").split(' ').next().and_then(hundredths) {
        put("load1_percent", &load);
    }
    if let Some(up) = proc("uptime").split('.').next().filter(|s| !s.is_empty()) {
        put("uptime_seconds", up);
    }
    let memory = proc("meminfo");
    for (field, name) in [
        ("MemTotal:", "memory_total_kib"),
        ("MemAvailable:", "memory_available_kib"),
    ] {
        let line = memory.lines().find_map(|line| line.strip_prefix(field));
        if let Some(value) = line.and_then(|rest| rest.split_whitespace().next()) {
            put(name, value);
        }
    }
    if let Some(host) = Some(proc("sys/kernel/hostname")).filter(|s| !s.is_empty()) {
        put("host", host.trim());
    }
    lines
}

#[allow(
    clippy::unnecessary_cast,
    clippy::useless_conversion,
    reason = "the fields' widths differ between systems"
)]
fn disk(root: &Path) -> Result<String, AgentError> {
    let stat = nix::sys::statvfs::statvfs(root).map_err(|e| AgentError::Failed(format!("facts/disk: {e}")))?;
    let unit = stat.fragment_size() as u64;
    let kib = |blocks: u64| blocks.saturating_mul(unit) / 1024;
    let (total, free) = (kib(stat.blocks() as u64), kib(stat.blocks_available() as u64));
    let used = (total.saturating_sub(free)).saturating_mul(100) / total.max(1);
    Ok(format!(
        "disk_total_kib {total}\ndisk_free_kib {free}\ndisk_used_percent {used}\n"
    ))
}
