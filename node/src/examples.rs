//! The examples that `jos runtime init --with-examples` puts into a data directory: they are the files of `examples/`.

use crate::error::NodeError;
use crate::place::{DataDir, Durable};

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_bytes!(concat!("../../examples/", $name)) as &[u8])),*]
    };
}

/// Each file by its place below the data directory, with its content.
pub const FILES: [(&str, &[u8]); 26] = files![
    "agents/disk-monitor.json",
    "agents/disk-monitor.wat",
    "agents/inventory.jos",
    "agents/planner.jos",
    "agents/reviewer.jos",
    "agents/system-health.json",
    "agents/system-health.sh",
    "agents/text-metrics.json",
    "agents/text-metrics.wat",
    "agents/worker.jos",
    "config/queues.toml",
    "evals/disk-monitor.json",
    "evals/inventory.json",
    "evals/planner.json",
    "evals/planner-bad-handoff.json",
    "evals/reviewer-accepts.json",
    "evals/reviewer-rejects.json",
    "evals/system-health.json",
    "evals/text-metrics.json",
    "evals/worker.json",
    "schedules/disk-monitor.json",
    "schedules/system-health.json",
    "swarm/run.sh",
    "tools/note.jos",
    "tools/tally.json",
    "tools/tally.wat",
];

/// Puts every example there whose place is free; names those that it put.
pub fn put(data: &DataDir) -> Result<Vec<&'static str>, NodeError> {
    let mut put = Vec::new();
    for (name, content) in FILES {
        if !data.path(name).exists() {
            if let Some((folder, _)) = name.rsplit_once('/') {
                let path = data.path(folder);
                std::fs::create_dir_all(&path).map_err(NodeError::io(&path, "make the directory"))?;
            }
            data.put(name, content, Durable::Yes)?;
            put.push(name);
        }
    }
    Ok(put)
}
