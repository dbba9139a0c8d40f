//! The `.msi` of a profile, read by msitools: its brand, its settings, its service, and what a profile for Windows may not say.

mod common;

use common::{BASELINE, Bench};

const MSI: &str = "dist/lobby/lobby-printer_1.4.2-1_amd64.msi";

/// A bench whose profile is for Windows alone.
fn bench() -> Bench {
    let bench = Bench::new();
    bench
        .edit("base/debian", "base/windows")
        .edit(
            "targets = [\"debian/arm64\", \"openwrt/mipsel_24kc\"]",
            "targets = [\"windows/amd64\"]",
        )
        .edit(
            "[\"/etc/lobby\", \"/etc/lobby/**\"]",
            "[\"/ProgramData/lobby\", \"/ProgramData/lobby/**\"]",
        );
    bench.write(
        "lobby/baseline.toml",
        BASELINE.replace("/etc/lobby", "/ProgramData/lobby"),
    );
    bench
}

/// The rows of a table.
fn rows(bench: &Bench, table: &str) -> Vec<Vec<String>> {
    let text = bench.tool("msiinfo", &["export", MSI, table]);
    let cells = |line: &str| line.trim_end_matches('\r').split('\t').map(str::to_owned).collect();
    text.lines().skip(3).map(cells).collect()
}

#[test]
fn the_msi_is_branded_and_whole() {
    let bench = bench();
    bench.edit("product =", "logo = \"logo.ico\"\nproduct =");
    bench.write("logo.ico", [0, 0, 1, 0, 0, 0]);
    bench.build(&[]).ok();
    let properties = rows(&bench, "Property");
    let property = |name: &str| {
        let row = properties.iter().find(|row| row[0] == name);
        row.map(|row| row[1].as_str()).unwrap_or_else(|| panic!("no {name}"))
    };
    assert_eq!(property("ProductName"), "Lobby Printer");
    assert_eq!(property("Manufacturer"), "Acme Tools");
    assert_eq!(property("ProductVersion"), "1.4.2.1");
    assert_eq!(property("ARPHELPLINK"), "https://acme.example/support");
    assert_eq!(property("ARPPRODUCTICON"), "product.ico");
    assert!(
        property("ARPCOMMENTS").ends_with("(1.4.2-1)"),
        "{}",
        property("ARPCOMMENTS")
    );
    bench.tool("msiextract", &["-C", "root", MSI]);
    let at = |path: &str| String::from_utf8(bench.read(&format!("root/ProgramData/jos/{path}"))).expect("text");
    assert_eq!(
        bench.read("root/Program Files/Lobby Printer/jos.exe"),
        common::program("x86_64-pc-windows-gnu")
    );
    let agent: toml::Table = at("agent.toml").parse().expect("TOML");
    assert_eq!(agent["name"].as_str(), Some("lobby-printer"));
    assert_eq!(agent["service"].as_str(), Some("acme-lobby"));
    assert_eq!(agent["trust"].as_str(), Some("/ProgramData/jos/share/trust.json"));
    assert_eq!(agent["state_dir"].as_str(), Some("/ProgramData/jos/state"));
    assert!(at("policy.toml").contains("/ProgramData/lobby/**"));
    assert!(at("share/baseline.json").contains("/ProgramData/lobby/greeting"));
    assert!(at("share/trust.json").contains("\"keys\""));
    let brand: serde_json::Value = serde_json::from_str(&at("share/brand.json")).expect("JSON");
    assert_eq!(
        (&brand["vendor"], &brand["product"]),
        (&"Acme Tools".into(), &"Lobby Printer".into())
    );
    let service = &rows(&bench, "ServiceInstall")[0];
    assert_eq!(
        (service[1].as_str(), service[2].as_str()),
        ("acme-lobby", "Lobby Printer")
    );
    // The agent reads its one configuration, which names the state.
    assert_eq!(service[10], "agent run --service");
    assert_eq!(agent["state"].as_str(), Some("/ProgramData/jos/share/baseline.json"));
}

#[test]
fn inspect_verify_and_diff_know_it_as_they_know_the_others() {
    let bench = bench();
    bench.build(&["--out", "old"]).ok();
    bench.build(&[]).ok();
    let told: serde_json::Value = serde_json::from_str(&bench.run(&["inspect", MSI, "--json"]).ok()).expect("JSON");
    assert_eq!(
        (&told["kind"], &told["problems"]),
        (&"msi".into(), &serde_json::json!([]))
    );
    assert_eq!(
        told["conffiles"],
        serde_json::json!(["/ProgramData/jos/agent.toml", "/ProgramData/jos/policy.toml"])
    );
    let mode = |path: &str| {
        let mut files = told["files"].as_array().expect("files").iter();
        files.find(|file| file["path"] == path).map(|file| file["mode"].clone())
    };
    assert_eq!(
        mode("/ProgramData/jos"),
        Some("0700".into()),
        "users could lay settings there first"
    );
    assert_eq!(mode("/ProgramData/jos/secrets"), Some("0700".into()));
    assert_eq!(mode("/ProgramData/jos/state"), Some("0700".into()));
    bench.run(&["verify", "dist/lobby"]).ok();
    let again = MSI.replace("dist/", "old/");
    assert!(
        bench.read(MSI) == bench.read(&again),
        "the same inputs gave other bytes"
    );
    bench.edit("[state]", "[agent]\ninterval = 61\n\n[state]");
    bench.build(&[]).ok();
    let said = bench.run(&["diff", &again, MSI]).stdout();
    assert!(said.contains("+interval = 61"), "{said}");
    let bill = String::from_utf8(bench.read("dist/lobby/sbom.cdx.json")).expect("text");
    assert!(bill.contains("package:lobby-printer_1.4.2-1_amd64.msi") && bill.contains("program:x86_64-pc-windows-gnu"));
}

#[test]
fn a_repository_takes_it_in_and_says_how_it_is_installed() {
    let bench = bench();
    bench.build(&[]).ok();
    bench.run(&["repo", "key", "new", "--out", "keys"]).ok();
    common::build(&bench, "site", "dist").ok();
    bench.tool("sh", &["-c", "cd site/windows && sha256sum -c --strict SHA256SUMS"]);
    let page = String::from_utf8(bench.read("site/index.html")).expect("text");
    assert!(
        page.contains("msiexec /i lobby-printer_1.4.2-1_amd64.msi /qn"),
        "{page}"
    );
}

#[test]
fn what_windows_or_its_installer_cannot_do_is_refused_with_its_place() {
    for (from, to, words) in [
        ("\"1.4.2\"", "\"300.1\"", ["package.version", "255.255.65535"]),
        (
            "[state]",
            "[hub]\nurl = \"https://hub.acme.example\"\n\n[state]",
            ["hub.url", "no hub yet"],
        ),
        (
            "[state]",
            "[[files]]\npath = \"/etc/lobby.conf\"\ncontent = \"\"\n\n[state]",
            ["files[0].path", "neither below /Program Files nor below /ProgramData"],
        ),
        (
            "[state]",
            "[[files]]\npath = \"/ProgramData/lobby/aux.txt\"\ncontent = \"\"\n\n[state]",
            ["files[0].path", "device"],
        ),
    ] {
        let bench = bench();
        bench.edit(from, to);
        let said = bench.build(&[]).invalid();
        for word in words {
            assert!(said.contains(word), "expected {word:?}:\n{said}");
        }
        assert!(said.contains("help:") && !bench.path("dist").exists(), "{said}");
    }
}

#[test]
fn a_file_for_other_systems_may_lie_where_windows_has_nothing() {
    let bench = bench();
    bench.edit(
        "[state]",
        "[[files]]\npath = \"/etc/lobby.conf\"\ncontent = \"\"\nsystems = [\"debian\"]\n\n[state]",
    );
    bench.build(&[]).ok();
}

#[test]
fn a_program_for_another_processor_is_refused() {
    let bench = bench();
    let mut program = common::program("x86_64-pc-windows-gnu");
    program[0x44..0x46].copy_from_slice(&[0x64, 0xaa]);
    bench.write("programs/x86_64-pc-windows-gnu/jos", program);
    let run = bench.build(&[]);
    assert_eq!(run.code(), 1);
    let said = run.stderr();
    assert!(
        said.contains("machine 0xaa64") && said.contains("expected a 64-bit Windows program"),
        "{said}"
    );
}

#[test]
fn a_new_profile_for_windows_builds_as_it_is() {
    let bench = Bench::new();
    bench.run(&["new", "front-desk", "--from", "base/windows"]).ok();
    let args = [
        "build",
        "front-desk.toml",
        "--dev-key",
        "--builder",
        "prebuilt=programs",
    ];
    bench.run(&args).ok();
    assert!(
        bench
            .names("dist/front-desk")
            .iter()
            .any(|name| name.ends_with("_amd64.msi"))
    );
}
