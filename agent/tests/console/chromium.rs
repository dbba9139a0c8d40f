//! The pages in a real browser: tests/browser/console.mjs uses them beside a real node. `scripts/test browser` installs what
//! it takes and runs it.

use std::path::Path;
use std::process::Command;

use crate::Running;

#[test]
#[ignore = "takes node and Chromium: scripts/test browser"]
fn somebody_submits_a_job_installs_an_agent_and_replays_and_sees_it_all_live() {
    let mut running = Running::start(true);
    running.serve();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/browser/console.mjs");
    let mut browser = Command::new("node");
    browser
        .arg(script)
        .env("JOS_URL", &running.url)
        .env("JOS_DATA", running.dir.path());
    let ended = browser
        .status()
        .expect("node starts; `scripts/test browser` installs it");
    assert!(ended.success(), "the browser says why above");
}
