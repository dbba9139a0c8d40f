//! What it costs to ask an agent, by form, and to see that no file changed: rows of a Markdown table.
//!
//! A program's cost is its start, which belongs to the agent crate; it is not measured here.

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use jos_node::contract::Agent;
use jos_node::jobs;
use jos_node::models::Echo;
use jos_node::registry::{Means, Registry};
use jos_schemas::text::Name;
use serde_json::json;

/// Runs of each figure; their median counts.
const RUNS: usize = 5;
/// Calls of one run.
const CALLS: u32 = 5_000;

fn main() {
    // `cargo test --benches` runs this too, for whether it builds.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    for part in ["agents", "tools", "artifacts"] {
        fs::create_dir(folder.path().join(part)).expect("a folder");
        for entry in fs::read_dir(examples.join(part)).into_iter().flatten() {
            let entry = entry.expect("an entry");
            fs::copy(entry.path(), folder.path().join(part).join(entry.file_name())).expect("copied");
        }
    }
    let module = r#"(module (memory (export "memory") 1) (func (export "decide") (result i32) i32.const 0))"#;
    let document = json!({ "kind": "jos.runtime_agent", "name": "nothing", "wasm": jos_trust::sha256(module.as_bytes()).to_hex() });
    fs::write(folder.path().join("agents/nothing.wat"), module).expect("written");
    fs::write(folder.path().join("agents/nothing.json"), document.to_string()).expect("written");
    let means = Means {
        device: None,
        messages: None,
        model: Arc::new(Echo),
        programs: None,
    };
    let registry = Registry::new(folder.path(), means);
    registry.refresh().expect("read");
    let text = json!({ "text": "one two\nthree" });
    let message = json!({ "message": { "draft": "ACCEPT", "task": "t" } });
    let row = |what: &str, micros: f64| println!("| {what}, median of {RUNS} runs of {CALLS} | {micros:.1} µs |");
    row(
        "a module asked that proposes nothing: what a call costs by itself",
        median(|| asked(&registry, "nothing", &text)),
    );
    row(
        "a module asked that reads its job and proposes (text-metrics)",
        median(|| asked(&registry, "text-metrics", &text)),
    );
    row(
        "prompts asked (reviewer, echo)",
        median(|| asked(&registry, "reviewer", &message)),
    );
    row(
        &format!("no file changed (registry of {})", registry.agents().len()),
        median(|| refreshed(&registry)),
    );
}

fn median(mut run: impl FnMut() -> f64) -> f64 {
    let mut all: Vec<f64> = (0..RUNS).map(|_| run()).collect();
    all.sort_by(f64::total_cmp);
    all[RUNS / 2]
}

fn each(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS)
}

fn asked(registry: &Registry, name: &str, input: &serde_json::Value) -> f64 {
    let name = Name::new(name).expect("a name");
    let agent: Arc<dyn Agent> = registry.agent(&name).expect("it is there");
    let job = jobs::job("bench".into(), name.clone(), input.clone());
    let begun = Instant::now();
    for _ in 0..CALLS {
        let mut hands = registry.hands(&name, "bench");
        black_box(agent.decide(&job, &mut hands).expect("proposals"));
    }
    each(begun)
}

fn refreshed(registry: &Registry) -> f64 {
    let begun = Instant::now();
    for _ in 0..CALLS {
        black_box(registry.refresh().expect("looked"));
    }
    each(begun)
}
