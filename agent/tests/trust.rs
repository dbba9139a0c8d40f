//! `jos key`, `jos sign`, `jos verify` and `jos trust`, driven as an admin drives them: by the built program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const STATE: &str = r#"kind = "jos.agent.desired_state"

[meta]
name = "portal"
version = 7
expires = 2099-01-01T00:00:00Z
audience = { tenant = "acme", devices = ["router-7"], labels = { site = "mx-3" } }

[[spec.apply]]
type = "file"
path = "/etc/motd"
content = "hello\n"
"#;

/// A desk: a folder of its own, and the program.
struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a directory"),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("readable")
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.read(name)).expect("JSON")
    }

    fn run(&self, line: &str) -> Output {
        self.run_args(&line.split(' ').collect::<Vec<_>>())
    }

    fn run_args(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_jos"))
            .args(args)
            .current_dir(self.dir.path())
            .output()
            .expect("it runs")
    }

    /// Runs what must succeed; gives standard output.
    fn ok(&self, line: &str) -> String {
        let output = self.run(line);
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(0), "jos {line}\n{out}{err}");
        assert_eq!(err, "", "jos {line}: nothing to complain about");
        out
    }

    /// Runs what must fail with `code`; gives standard error.
    fn fails(&self, code: i32, line: &str) -> String {
        let output = self.run(line);
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(code), "jos {line}\n{out}{err}");
        assert_eq!(out, "", "jos {line}: no result");
        err
    }

    fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.dir.path())
            .expect("readable")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// One key with root and admin, its trust document, and a state.
    fn set_up() -> Self {
        let desk = Self::new();
        desk.ok("key new --out admin.key --id admin-1");
        desk.ok("trust init --key admin.key --tenant acme --expires 2099-01-01");
        desk.write("state.toml", STATE);
        desk
    }
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    (text(&output.stdout), text(&output.stderr))
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).expect("a file").permissions().mode() & 0o7777
}

fn secret_of(desk: &Desk, file: &str) -> String {
    desk.json(file)["secret"].as_str().expect("a secret").to_owned()
}

#[test]
fn a_new_key_is_for_its_owner_alone_never_overwritten_and_never_printed() {
    let desk = Desk::new();
    let made = desk.run_args(&["key", "new", "--out", "admin.key", "--comment", "Ana, office"]);
    assert!(made.status.success());
    assert_eq!(
        (mode(&desk.path("admin.key")), mode(&desk.path("admin.key.pub"))),
        (0o600, 0o644)
    );
    let secret = secret_of(&desk, "admin.key");
    let before = desk.read("admin.key");
    let again = desk.fails(2, "key new --out admin.key");
    assert!(again.contains("never overwritten"), "{again}");
    assert_eq!(desk.read("admin.key"), before);
    let shown = [
        texts(&made).0,
        again,
        desk.ok("key show admin.key"),
        desk.ok("key show admin.key --json"),
        desk.ok("key show admin.key.pub"),
        desk.read("admin.key.pub"),
    ];
    assert!(shown.iter().all(|text| !text.contains(&secret)));
    assert!(shown[2].contains("Ana, office"));
    assert_eq!(
        desk.json("admin.key.pub"),
        serde_json::from_str::<Value>(&shown[3]).expect("JSON")
    );
}

#[test]
fn a_key_file_that_others_can_read_is_refused_with_the_command_that_helps() {
    use std::os::unix::fs::PermissionsExt as _;
    let desk = Desk::set_up();
    fs::set_permissions(desk.path("admin.key"), fs::Permissions::from_mode(0o644)).expect("chmod");
    let err = desk.fails(2, "sign --key admin.key state.toml");
    assert!(err.contains("chmod 600 admin.key"), "{err}");
    assert!(!desk.path("state.json").exists());
}

#[test]
fn a_toml_state_is_signed_into_json_and_verifies_for_its_device_alone() {
    let desk = Desk::set_up();
    desk.ok("sign --key admin.key --trust trust.json state.toml");
    assert_eq!(desk.read("state.toml"), STATE, "the source stays");
    let good = desk.ok("verify --trust trust.json state.json");
    assert!(
        good.contains("portal version 7") && good.contains("by admin-1"),
        "{good}"
    );
    let device = "verify --trust trust.json --device router-7 --label site=mx-3 --json state.json";
    let value: Value = serde_json::from_str(&desk.ok(device)).expect("JSON");
    assert_eq!(
        (&value["valid"], &value["audience_checked"]),
        (&Value::Bool(true), &Value::Bool(true))
    );
    for (line, code) in [
        (
            "verify --trust trust.json --device router-8 --label site=mx-3 --json state.json",
            "other-device",
        ),
        (
            "verify --trust trust.json --device router-7 --label site=mx-4 --json state.json",
            "other-label",
        ),
        (
            "verify --trust trust.json --tenant other --json state.json",
            "trust-of-other-tenant",
        ),
        (
            "verify --trust trust.json --now 2100-01-01 --json state.json",
            "trust-expired",
        ),
    ] {
        let error: Value = serde_json::from_str(&desk.fails(1, line)).expect("JSON");
        assert_eq!(error["details"]["code"], code, "{line}");
        assert!(error["help"].is_string(), "{line}");
    }
}

#[test]
fn an_edited_unsigned_or_foreign_state_is_refused() {
    let desk = Desk::set_up();
    desk.ok("sign --key admin.key state.toml");
    let signed = desk.read("state.json");
    desk.write("edited.json", &signed.replace("hello", "mine!"));
    assert!(
        desk.fails(1, "verify --trust trust.json edited.json")
            .contains("changed after signing")
    );
    assert!(
        desk.fails(1, "verify --trust trust.json state.toml")
            .contains("not signed")
    );
    desk.ok("key new --out other.key");
    desk.ok("sign --replace --key other.key --output other.json state.json");
    assert!(
        desk.fails(1, "verify --trust trust.json other.json")
            .contains("does not know")
    );
    desk.write("broken.json", "{\"kind\": \"jos.agent.desired_state\", }");
    assert!(
        desk.fails(2, "verify --trust trust.json broken.json")
            .contains("broken.json:1:")
    );
}

#[test]
fn what_no_device_could_verify_is_not_signed_and_nothing_is_written() {
    let desk = Desk::set_up();
    let before = desk.files();
    for (broken, expected) in [
        (STATE.replace("[meta]", "[meta]\nnaem = 1"), "did you mean"),
        (STATE.replace("version = 7", "version = 7.5"), "integer"),
        (STATE.replace("version = 7", "version = 0"), "version"),
        (STATE.replace("jos.agent.desired_state", "jos.policy"), "jos.policy"),
        (format!("{STATE}[signature]\nalg = \"none\"\n"), "ed25519"),
    ] {
        desk.write("state.toml", &broken);
        let err = desk.fails(2, "sign --key admin.key state.toml");
        assert!(err.contains(expected), "{expected}: {err}");
    }
    assert_eq!(desk.files(), before);
}

#[test]
fn a_state_with_placeholders_is_not_signed_and_each_is_named() {
    let desk = Desk::set_up();
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas/fixtures/accept/desired-state");
    for file in ["seed-example.json", "seed-example.toml"] {
        let example = fs::read_to_string(format!("{examples}/{file}")).expect("the standard's example");
        desk.write(file, &example);
        let before = desk.files();
        let err = desk.fails(2, &format!("sign --key admin.key --json {file}"));
        let error: Value = serde_json::from_str(&err).expect("JSON");
        let open = ["/spec/apply/0/command", "/spec/apply/1/path", "/spec/apply/2/name"];
        assert_eq!(error["details"]["placeholders"], serde_json::json!(open), "{err}");
        assert!(open.iter().all(|at| {
            desk.fails(2, &format!("sign --key admin.key --output - {file}"))
                .contains(at)
        }));
        assert_eq!((desk.files(), desk.read(file)), (before, example));
    }
}

#[test]
fn signing_again_replaces_an_earlier_version_but_never_another_document() {
    let desk = Desk::set_up();
    desk.ok("sign --key admin.key state.toml");
    desk.write("state.toml", &STATE.replace("version = 7", "version = 8"));
    desk.ok("sign --key admin.key state.toml");
    assert_eq!(desk.json("state.json")["meta"]["version"], 8);
    desk.write("state.json", "{\"mine\": true}");
    assert!(
        desk.fails(2, "sign --key admin.key state.toml")
            .contains("another document")
    );
    assert_eq!(desk.read("state.json"), "{\"mine\": true}");
    let piped = desk.ok("sign --key admin.key --output - state.toml");
    assert_eq!(
        serde_json::from_str::<Value>(&piped).expect("JSON")["meta"]["version"],
        8
    );
}

#[test]
fn two_holders_of_a_threshold_sign_one_after_the_other() {
    let desk = Desk::new();
    desk.ok("key new --out ana.key --id ana");
    desk.ok("key new --out ben.key --id ben");
    let made =
        desk.ok("trust init --key ana.key --key ben.key.pub --threshold root=2 --threshold admin=2 --tenant acme");
    assert!(made.contains("missing  1 of its own root keys: ben"), "{made}");
    assert!(desk.fails(1, "verify --trust trust.json trust.json").contains("1 of 2"));
    desk.ok("sign --key ben.key trust.json");
    desk.ok("verify --trust trust.json trust.json");
    desk.write("state.toml", STATE);
    let once = desk.ok("sign --key ana.key --trust trust.json state.toml");
    assert!(once.contains("1 of 2 needed keys"), "{once}");
    assert!(desk.fails(1, "verify --trust trust.json state.json").contains("1 of 2"));
    let twice = desk.ok("sign --key ben.key --trust trust.json state.json");
    assert!(twice.contains("under trust version 1"), "{twice}");
    desk.ok("verify --trust trust.json state.json");
    // Ana signs the unchanged source once more: Ben's signature stays.
    desk.ok("sign --key ana.key state.toml");
    desk.ok("verify --trust trust.json state.json");
}

#[test]
fn a_stolen_key_is_rotated_out_and_the_chain_is_walked() {
    let desk = Desk::new();
    desk.ok("key new --out root.key --id root-1");
    desk.ok("key new --out old.key --id admin-1");
    desk.ok("key new --out new.key --id admin-2");
    desk.ok("trust init --role root=root.key --role admin=old.key.pub --tenant acme --expires 2099-01-01");
    desk.write("state.toml", STATE);
    desk.ok("sign --key old.key --output stolen.json state.toml");
    desk.ok("sign --key new.key state.toml");
    desk.ok("trust rotate trust.json --replace admin-1=new.key.pub --floor portal=6 --key root.key");
    assert_eq!(desk.json("trust.v2.json")["floors"]["portal"], 6);
    desk.ok("verify --trust trust.json trust.v2.json");
    let chain = "verify --trust trust.json --trust trust.v2.json";
    desk.ok(&format!("{chain} state.json"));
    desk.fails(1, &format!("{chain} stolen.json"));
    desk.ok("verify --trust trust.json stolen.json");
    // One more key, then a new root: the next versions, each in a file of its own.
    desk.ok("key new --out ben.key --id ben");
    desk.ok("trust add trust.v2.json --role admin=ben.key.pub --key root.key");
    let third = desk.json("trust.v3.json");
    assert_eq!(third["roles"]["admin"]["keys"], serde_json::json!(["admin-2", "ben"]));
    assert!(third.get("floors").is_none(), "a floor is an act of one version");
    desk.ok("key new --out root2.key --id root-2");
    let half = desk.ok("trust rotate trust.v3.json --replace root-1=root2.key");
    assert!(half.contains("missing  1 of the old root keys: root-1"), "{half}");
    assert!(
        desk.fails(1, "verify --trust trust.v3.json trust.v4.json")
            .contains("version 3")
    );
    desk.ok("sign --key root.key trust.v4.json");
    desk.ok("verify --trust trust.v3.json trust.v4.json");
    let shown = desk.ok("trust show trust.json trust.v2.json trust.v3.json trust.v4.json");
    assert!(!shown.contains("missing"), "{shown}");
    let gap = desk.fails(1, "verify --trust trust.json trust.v4.json");
    assert!(gap.contains("one by one"), "{gap}");
}

#[test]
fn unsound_trust_documents_are_not_made() {
    let desk = Desk::set_up();
    let before = desk.files();
    for (line, expected) in [
        ("trust init --key admin.key", "exists"),
        (
            "trust init --out t.json --role root=admin.key",
            "no key gets the role admin",
        ),
        (
            "trust init --out t.json --key admin.key --threshold root=2",
            "expected 1 to 1",
        ),
        (
            "trust init --out t.json --key admin.key --threshold root=0",
            "expected 1 to 1",
        ),
        (
            "trust init --out t.json --key admin.key --role boss=admin.key",
            "expected root, admin or freshness",
        ),
        (
            "trust init --out t.json --key admin.key --expires 2027-02-30",
            "no such day",
        ),
        ("trust init --out t.json --key nowhere.key", "nowhere.key"),
        (
            "trust rotate trust.json --replace nobody=admin.key --key admin.key",
            "no key nobody",
        ),
        (
            "trust rotate trust.json --remove admin-1 --key admin.key",
            "root to no key",
        ),
        ("trust rotate trust.json --floor portal=0 --key admin.key", "from 1"),
        ("trust add trust.json --role admin=admin.key --key admin.key", "already"),
        ("trust show state.toml", "expected a trust document"),
    ] {
        let err = desk.fails(2, line);
        assert!(err.contains(expected), "jos {line}\n{err}");
    }
    assert_eq!(desk.files(), before);
}

#[test]
fn every_result_and_every_error_is_json_on_demand() {
    let desk = Desk::new();
    for line in [
        "key new --json --out a.key",
        "key show --json a.key",
        "trust init --json --key a.key",
        "trust rotate --json trust.json --key a.key",
        "trust show --json trust.json trust.v2.json",
        "sign --json --key a.key trust.v2.json",
        "verify --json --trust trust.json trust.v2.json",
    ] {
        serde_json::from_str::<Value>(&desk.ok(line)).unwrap_or_else(|e| panic!("jos {line}: {e}"));
    }
    let error: Value = serde_json::from_str(&desk.fails(2, "key new --json --out a.key")).expect("JSON");
    assert!(error["error"].is_string() && error["help"].is_string());
}

#[test]
fn help_teaches_with_examples() {
    let desk = Desk::new();
    for line in [
        "key new",
        "key show",
        "sign",
        "verify",
        "trust init",
        "trust add",
        "trust rotate",
        "trust show",
    ] {
        let help = desk.ok(&format!("{line} --help"));
        assert!(
            help.contains("Examples:") && help.contains("--json"),
            "jos {line} --help"
        );
    }
}
