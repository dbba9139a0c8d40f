//! A node whose disk is full: it waits or fails by name, its ledger stays whole, and it goes on once there is room.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use jos_tests::command::run;
use jos_tests::node::Node;
use jos_tests::wait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A file system of two MiB.
struct Small(tempfile::TempDir);

impl Small {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m", "jos-test"])
            .arg(dir.path()))
        .ok();
        Self(dir)
    }

    /// Writes until nothing more fits.
    fn fill(&self) -> PathBuf {
        let filler = self.0.path().join("filler");
        let mut size = 2 << 20;
        while size > 0 {
            let mut bytes = fs::read(&filler).unwrap_or_default();
            bytes.resize(bytes.len() + size, b'x');
            if fs::write(&filler, &bytes).is_err() {
                bytes.truncate(bytes.len() - size);
                let _ = fs::write(&filler, &bytes);
                size /= 2;
            }
        }
        filler
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn with_a_full_disk_jobs_wait_or_fail_by_name_and_the_ledger_stays_whole() {
    let small = Small::new();
    let node = Node::within(small.0.path());
    let serving = node.serve(&[]);
    node.drop_in("first.json", r#"{"agent":"advance","input":{}}"#);
    node.over(1);
    let pid = Pid::from_raw(i32::try_from(serving.pid()).expect("a process id fits"));
    kill(pid, Signal::SIGSTOP).expect("it runs");
    for n in 0..20 {
        node.drop_in(
            &format!("j{n}.json"),
            r#"{"agent":"advance","input":{"note":"a note"}}"#,
        );
    }
    let filler = small.fill();
    kill(pid, Signal::SIGCONT).expect("it runs");
    wait::until("the node says that the disk is full", jos_tests::node::LIMIT, || {
        let log = node.log();
        if log.to_lowercase().contains("no space") {
            Ok(())
        } else {
            Err(log)
        }
    });
    fs::remove_file(filler).expect("it is there");
    node.over(21);
    serving.stop();
    let report = node.replays();
    assert_eq!(report["unfinished"], 0, "{report:#}");
}
