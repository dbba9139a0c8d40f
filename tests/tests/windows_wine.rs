//! `jos.exe` under wine: the desk's commands, a state that is applied and put right, and the service by wine's own service
//! control manager. Wine is not Windows: its file system is Linux', its access lists are not kept, and no power is cut. What this
//! proves is that the program runs, speaks to the manager as it expects, and does to files what it says; and that an .msi of
//! `jos-image` puts it there, replaces it and takes it away.
//!
//! The program is `$JOS_WINDOWS_EXE`, else scripts/windows makes it; that of the package comes out of the pipeline, or out of
//! `$JOS_DEVICE_PROGRAMS`. A wine that has no bcryptprimitives.dll is given ours.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jos_tests::baked::{Vendor, only};
use jos_tests::command::{Ran, run_within};
use jos_tests::programs::workspace;
use jos_tests::wait;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Wine starts a whole Windows first, on a machine that may be at its limit.
const LONG: Duration = Duration::from_secs(540);

/// A Windows of its own.
struct Windows {
    dir: TempDir,
    /// Where the program is, as Windows names it.
    program: &'static str,
    /// Somebody who is logged in: without anybody wine shuts its Windows down, services and all.
    login: Option<Child>,
}

impl Windows {
    /// With the program of the desk in it.
    fn with_jos() -> Self {
        let machine = Self::new("C:\\Program Files\\jos\\jos.exe");
        let to = machine.drive().join("Program Files/jos");
        fs::create_dir_all(&to).expect("a folder");
        fs::copy(made("JOS_WINDOWS_EXE", &[]), to.join("jos.exe")).expect("the program");
        machine
    }

    /// Without a program; somebody will put it there.
    fn new(program: &'static str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let mut machine = Self {
            dir,
            program,
            login: None,
        };
        machine.wine(&["wineboot", "-i"]).ok();
        // What packages are for; wine 8 calls itself an older one.
        let version = [
            "reg",
            "add",
            "HKCU\\Software\\Wine",
            "/v",
            "Version",
            "/d",
            "win10",
            "/f",
        ];
        machine.wine(&version).ok();
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
        self.wine(&[&[self.program], words].concat())
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
    let machine = Windows::with_jos();
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

const PROFILE: &str = r#"
extends = "base/windows"
[brand]
vendor = "Acme Tools"
product = "Lobby Printer"
[package]
name = "lobby-printer"
service = "acme-lobby"
version = "1.4.2"
maintainer = "Acme Tools <support@acme.example>"
[agent]
interval = 1
[state]
baseline = "baseline.toml"
[policy.grants.baseline]
files = ["/ProgramData/lobby", "/ProgramData/lobby/**"]
services = ["Spooler"]
"#;

/// A file, and a service of Windows' own that is to run.
const BASELINE: &str = r#"
kind = "jos.agent.desired_state"
[meta]
name = "lobby-printer"
version = 1
[[spec.apply]]
type = "directory"
path = "/ProgramData/lobby"
[[spec.apply]]
type = "file"
path = "/ProgramData/lobby/greeting"
content = "hello\n"
[[spec.apply]]
type = "service"
name = "Spooler"
action = "start"
"#;

/// The vendor's package of this version, whose baseline has this version and greeting.
fn package(vendor: &Vendor, version: &str, state: u32, greeting: &str) -> PathBuf {
    let profile = vendor.at("lobby.toml");
    fs::write(&profile, PROFILE.replace("1.4.2", version)).expect("a profile");
    let baseline = BASELINE.replace("version = 1", &format!("version = {state}"));
    fs::write(vendor.at("baseline.toml"), baseline.replace("hello", greeting)).expect("a baseline");
    let profile = profile.to_str().expect("text");
    only(&vendor.bake(profile, &["windows/amd64"], version), ".msi")
}

#[test]
#[ignore = "soak: compiles for Windows, and boots a wine"]
fn a_package_installs_the_program_as_a_service_keeps_what_was_edited_and_goes_clean() {
    let vendor = Vendor::new();
    let first = package(&vendor, "1.4.2", 1, "hello");
    let second = package(&vendor, "1.5.0", 2, "welcome");
    let machine = Windows::new("C:\\Program Files\\Lobby Printer\\jos.exe");
    let msiexec = |word: &str, package: &Path| {
        let name = package.file_name().expect("a name");
        fs::copy(package, machine.dir.path().join(name)).expect("the package");
        machine.wine(&[
            "msiexec",
            word,
            name.to_str().expect("text"),
            "/qn",
            "/l*v",
            "install.log",
        ])
    };
    let data = machine.drive().join("ProgramData/jos");
    let program = machine.drive().join("Program Files/Lobby Printer/jos.exe");
    let greeting = machine.drive().join("ProgramData/lobby/greeting");
    let running = |service: &str| machine.wine(&["sc", "query", service]).stdout.contains("RUNNING");
    assert!(!running("Spooler"), "the state has nothing to do");

    msiexec("/i", &first).ok();
    machine.jos(&["--version"]).ok().says("jos ");
    let entry = "HKLM\\System\\CurrentControlSet\\Services\\acme-lobby";
    machine
        .wine(&["reg", "query", entry, "/v", "ImagePath"])
        .ok()
        // Wine writes no quotation marks around the path.
        .says("C:\\Program Files\\Lobby Printer\\jos.exe")
        .says(" agent run --service");
    assert!(running("acme-lobby"));
    wait::until_true("the baseline is kept", LONG, || {
        fs::read_to_string(&greeting).is_ok_and(|text| text == "hello\n")
    });
    // A service of Windows is started by the state, and again when it was stopped.
    wait::until_true("the state's service runs", LONG, || running("Spooler"));
    machine.wine(&["net", "stop", "Spooler"]).ok();
    wait::until_true("the state's service runs again", LONG, || running("Spooler"));
    let version = || machine.jos(&["agent", "status", "--json"]).json()["version"].clone();
    wait::until_true("the agent tells its version", LONG, || version() == 1);
    machine
        .jos(&["agent", "status"])
        .ok()
        .says("acme-lobby (as LocalSystem)");
    // What a package brought is the package's to take away.
    machine
        .jos(&["agent", "uninstall"])
        .exits(1)
        .says("baked in by a package");
    assert!(running("acme-lobby"));

    // A newer one brings its state, and leaves what an administrator wrote.
    let settings = read(&data.join("agent.toml")) + "# ours\n";
    fs::write(data.join("agent.toml"), &settings).expect("an edit");
    msiexec("/i", &second).ok();
    wait::until_true("the newer state is kept", LONG, || read(&greeting) == "welcome\n");
    wait::until_true("the agent tells its version", LONG, || version() == 2);
    assert!(running("acme-lobby"));
    assert_eq!(read(&data.join("agent.toml")), settings);
    // An older one is refused, and nothing changes.
    assert!(!msiexec("/i", &first).succeeded());
    assert_eq!(version(), 2);

    // Wine tells the service to stop and does not wait until it has; a program that runs is not removed.
    machine.wine(&["net", "stop", "acme-lobby"]).ok();
    msiexec("/x", &second).ok();
    assert!(!machine.wine(&["sc", "query", "acme-lobby"]).stdout.contains("STATE"));
    assert!(!program.exists() && !program.with_file_name("LICENSE.txt").exists());
    assert_eq!(read(&data.join("agent.toml")), settings);
    assert_eq!(read(&greeting), "welcome\n");
    assert!(data.join("state/lobby-printer").is_dir(), "its ledger stays");
}
