//! `jos.exe` under wine: the desk's commands, a state that is applied and put right, and the service by wine's own service
//! control manager. Wine is not Windows: its file system is Linux', its access lists are not kept, and no power is cut. What this
//! proves is that the program runs, speaks to the manager as it expects, and does to files what it says.
//!
//! The program is `$JOS_WINDOWS_EXE`, else scripts/windows makes it. A wine that has no bcryptprimitives.dll is given ours.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jos_tests::command::{Ran, run_within};
use jos_tests::programs::workspace;
use jos_tests::wait;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Wine starts a whole Windows first, on a machine that may be at its limit.
const LONG: Duration = Duration::from_secs(540);

/// A Windows of its own, with the program in it.
struct Windows {
    dir: TempDir,
    /// Somebody who is logged in: without anybody wine shuts its Windows down, services and all.
    login: Option<Child>,
}

impl Windows {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let mut machine = Self { dir, login: None };
        machine.wine(&["wineboot", "-i"]).ok();
        // Ten seconds for the first word of a service are too few on a machine at its limit; read when Windows starts.
        let control = "HKLM\\System\\CurrentControlSet\\Control";
        let patience = ["reg", "add", control, "/v", "ServicesPipeTimeout", "/d", "300000", "/f"];
        machine.wine(&patience).ok();
        machine.server("-k");
        let missing = machine.drive().join("windows/system32/bcryptprimitives.dll");
        if !missing.exists() {
            fs::copy(made("JOS_WINDOWS_SHIM", &["--shim"]), missing).expect("the library");
        }
        let login = machine
            .command(&["cmd"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        machine.login = Some(login.expect("wine starts"));
        let to = machine.drive().join("Program Files/jos");
        fs::create_dir_all(&to).expect("a folder");
        fs::copy(made("JOS_WINDOWS_EXE", &[]), to.join("jos.exe")).expect("the program");
        machine
    }

    /// Drive C, as Linux sees it.
    fn drive(&self) -> PathBuf {
        self.dir.path().join("prefix/drive_c")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("wine");
        command.args(words).current_dir(self.dir.path());
        command.env_remove("DISPLAY").env("WINEDEBUG", "-all");
        command.env("WINEPREFIX", self.dir.path().join("prefix"));
        // Neither .NET nor a browser is asked for.
        command.env("WINEDLLOVERRIDES", "mscoree=;mshtml=;winemenubuilder.exe=");
        command
    }

    /// Ends what runs of it.
    fn server(&self, word: &str) {
        let mut command = Command::new("wineserver");
        let prefix = self.dir.path().join("prefix");
        let _ = command.arg(word).env("WINEPREFIX", prefix).status();
    }

    fn wine(&self, words: &[&str]) -> Ran {
        run_within(&mut self.command(words), LONG, b"")
    }

    fn jos(&self, words: &[&str]) -> Ran {
        let program = ["C:\\Program Files\\jos\\jos.exe"];
        self.wine(&[&program, words].concat())
    }

    /// Writes and signs a state of one step.
    fn state(&self, version: u32, step: &Value) {
        let state = json!({ "kind": "jos.agent.desired_state", "meta": { "name": "kiosk", "version": version },
                            "spec": { "apply": [step] } });
        fs::write(self.dir.path().join("state.json"), state.to_string()).expect("a state");
        self.jos(&["sign", "--key", "admin.key", "state.json"]).ok();
    }
}

impl Drop for Windows {
    fn drop(&mut self) {
        if let Some(mut login) = self.login.take() {
            drop(login.stdin.take());
            let _ = login.wait();
        }
        self.server("-k");
    }
}

/// What scripts/windows makes, unless it is named.
fn made(named: &str, words: &[&str]) -> PathBuf {
    if let Some(file) = std::env::var_os(named) {
        return file.into();
    }
    let file = workspace().join("target/windows").join(named);
    let mut script = Command::new(workspace().join("scripts/windows"));
    run_within(script.args(words).arg(&file), Duration::from_secs(3000), b"").ok();
    file
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn file() -> Value {
    json!({ "type": "file", "path": "/ProgramData/acme/app.ini", "content": "a=1\r\n" })
}

#[test]
#[ignore = "soak: compiles for Windows, and boots a wine"]
fn the_windows_program_keeps_a_machine_as_a_signed_state_says_as_a_service() {
    let machine = Windows::new();
    machine.jos(&["--version"]).ok().says("jos ");
    // The desk.
    machine.jos(&["key", "new", "--out", "admin.key"]).ok();
    machine
        .jos(&["trust", "init", "--key", "admin.key", "--out", "trust.json"])
        .ok();
    machine.state(1, &file());
    machine.jos(&["validate", "state.json"]).ok();
    // Windows' own files, on the drive of its own.
    fs::create_dir_all(machine.drive().join("ProgramData/acme")).expect("a folder");
    let kept = machine.drive().join("ProgramData/acme/app.ini");

    // The service.
    machine.jos(&["agent", "status"]).exits(1);
    let install = [
        "agent",
        "install",
        "state.json",
        "--trust",
        "trust.json",
        "--interval",
        "1",
        "--yes",
        "--json",
    ];
    let installed = machine.jos(&install).ok().json();
    assert_eq!(installed["service"], "jos");
    machine.wine(&["sc", "query", "jos"]).ok().says("RUNNING");
    wait::until_true("the state is kept", LONG, || kept.exists());
    assert_eq!(read(&kept), "a=1\r\n");
    let status = || machine.jos(&["agent", "status", "--json"]);
    wait::until_true("the agent tells its version", LONG, || status().json()["version"] == 1);
    assert_eq!(status().ok().json()["state"], "running");
    // Drift is put right.
    fs::write(&kept, "a=2").expect("a change");
    wait::until_true("the drift is put right", LONG, || read(&kept) == "a=1\r\n");
    // Installed again, nothing changes.
    machine.jos(&install).ok();

    // Stopped by the manager, as at a shutdown.
    machine.wine(&["net", "stop", "jos"]).ok();
    machine.jos(&["agent", "status"]).exits(1).says("stopped");
    machine.jos(&["ledger", "verify", "kiosk"]).ok();
    machine.jos(&["agent", "diff", "kiosk"]).ok();

    // What Windows has no counterpart for is refused by name, and nothing changes.
    machine.state(
        2,
        &json!({ "type": "link", "path": "/ProgramData/acme/link", "target": "app.ini" }),
    );
    let apply = ["agent", "apply", "state.json", "--wait", "120"];
    machine.jos(&apply).exits(1).says("not on Windows: links");
    let mut secret = file();
    secret["mode"] = json!("0600");
    machine.state(3, &secret);
    machine.jos(&apply).exits(1).says("permission bits");
    assert_eq!(read(&kept), "a=1\r\n");

    machine.jos(&["agent", "uninstall"]).ok().says("its data stays");
    machine.jos(&["agent", "uninstall"]).ok().says("nothing is installed");
    assert!(!machine.wine(&["sc", "query", "jos"]).stdout.contains("STATE"));
    assert_eq!(read(&kept), "a=1\r\n");
}
