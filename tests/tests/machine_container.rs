//! The container of a node, built and run by podman: work comes from outside by the mounted directory, two share it.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use jos_tests::command::{Ran, run, run_within};
use jos_tests::node::Node;
use jos_tests::programs::{jos_image, workspace};
use jos_tests::wait;
use serde_json::Value;

/// Nobody, as the image says.
const USER: u32 = 65534;
/// The program may have to be compiled.
const COMPILED: Duration = Duration::from_secs(1500);
const LIMIT: Duration = Duration::from_secs(120);

/// Images and containers of this test alone.
struct Podman {
    dir: tempfile::TempDir,
}

impl Podman {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a folder"),
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("podman");
        command.arg("--root").arg(self.dir.path().join("root"));
        command.arg("--runroot").arg(self.dir.path().join("run"));
        // What needs neither a storage driver of the kernel's, nor systemd, nor a log of its own.
        command.args([
            "--storage-driver",
            "vfs",
            "--cgroup-manager",
            "cgroupfs",
            "--events-backend",
            "none",
        ]);
        command.args(["--runtime", "runc"]).args(words);
        command
    }

    fn run(&self, words: &[&str]) -> Ran {
        run_within(&mut self.command(words), LIMIT, &[])
    }

    /// Starts a node of the name on the directory.
    fn serve(&self, name: &str, data: &Path) {
        let mount = format!("{}:/data", data.display());
        // Where processes may not raise their own limits, podman's usual ones are refused.
        let limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];
        let words = [
            "run",
            "--detach",
            "--name",
            name,
            "--network",
            "none",
            "--log-driver",
            "k8s-file",
            "-v",
            &mount,
        ];
        self.run(&[&words, &limits[..], &["jos-node"]].concat()).ok();
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        let _ = self.command(&["rm", "--all", "--force", "--time", "0"]).output();
        let _ = self.command(&["rmi", "--all", "--force"]).output();
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.dir.path().join("root/vfs"))
            .output();
    }
}

/// `TRIPLE/jos-runtime` for this machine.
fn programs(into: &Path) -> PathBuf {
    if let Some(programs) = std::env::var_os("JOS_DEVICE_PROGRAMS") {
        return programs.into();
    }
    let mut command = jos_image();
    command
        .arg("programs")
        .arg(into)
        .args(["--target", "debian/amd64", "--source"])
        .arg(workspace());
    run_within(&mut command, COMPILED, &[]).ok();
    into.to_owned()
}

#[test]
fn two_containers_share_a_directory_and_work_that_comes_from_outside_is_done_once_though_one_is_killed() {
    let podman = Podman::new();
    let context = programs(&podman.dir.path().join("programs"));
    let file = workspace().join("images/container/Dockerfile");
    let words = ["build", "--isolation", "chroot", "-t", "jos-node", "-f"];
    let built = podman.run(
        &[
            &words[..],
            &[&file.display().to_string(), &context.display().to_string()],
        ]
        .concat(),
    );
    built.ok();
    let node = Node::new();
    let data = node.root();
    run(Command::new("chown").arg("-R").arg(format!("{USER}:{USER}")).arg(&data)).ok();
    // The folder above is a scratch folder's, closed to others.
    let above = data.parent().expect("a folder").to_owned();
    chown(&above, Some(USER), Some(USER)).expect("ours to give away");

    for name in ["one", "two"] {
        podman.serve(name, &data);
    }
    wait::until("both serve", LIMIT, || {
        let nodes = node.jos(&["status", "--json"]).json()["nodes"].clone();
        match nodes.as_object().map(serde_json::Map::len) {
            Some(2) => Ok(()),
            _ => Err(format!(
                "{nodes}\n{}{}",
                podman.run(&["logs", "one"]),
                podman.run(&["logs", "two"])
            )),
        }
    });
    // Root's own `jos submit`, outside: the container reads what it wrote.
    let first = node.jos(&["submit", "advance", "--wait", "60"]).ok();
    assert!(first.stdout.contains("DONE"), "{first}");
    for n in 0..40 {
        node.jos(&["submit", "advance", "--id", &format!("j{n}")]).ok();
        if n == 20 {
            podman.run(&["kill", "--signal", "KILL", "two"]).ok();
        }
    }
    (0..40).for_each(|n| drop(node.comes(&format!("outbox/j{n}.json"))));
    podman.run(&["stop", "--time", "10", "one"]).ok();
    let code = podman.run(&["inspect", "one", "--format", "{{.State.ExitCode}}"]).ok();
    assert_eq!(code.text(), "0", "it ends by itself when it is told to");
    let report = node.replays();
    assert_eq!(report["jobs"]["DONE"], 41, "{report:#}");
    let reruns = report["reruns"].as_array().map_or(0, Vec::len);
    assert!(reruns <= 8, "at most what the killed one was at: {report:#}");
    assert_eq!(report["unfinished"], Value::from(0), "{report:#}");
}
