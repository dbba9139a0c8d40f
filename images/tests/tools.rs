//! Packages of programs without an agent: what a profile with `[[tools]]` makes, and what it refuses.

mod common;

use common::{Bench, program};

const PROFILE: &str = r#"
[brand]
vendor = "Acme Tools"
product = "Acme desk"

[package]
name = "acme-tools"
version = "2.0.0"
maintainer = "Acme Tools <support@acme.example>"

[target]
targets = ["debian/amd64", "debian/arm64"]

[[tools]]
name = "acme-probe"
description = "measures what a lobby prints"
depends = ["cups-client"]
files = [
    { built = "{arch}/probe", path = "/usr/bin/acme-probe", mode = "0755" },
    { built = "any/man", path = "/usr/share/man/man1" },
]

[[tools]]
name = "acme-collector"
description = "collects what probes measure"
files = [
    { built = "{arch}/probe", path = "/usr/sbin/acme-collector", mode = "0755" },
    { source = "collector.service", path = "/usr/lib/systemd/system/acme-collector.service" },
    { source = "collector.conf", path = "/usr/lib/sysusers.d/acme-collector.conf" },
    { source = "collector.default", path = "/etc/default/acme-collector", conffile = true },
]
"#;

fn bench() -> Bench {
    let bench = Bench::new();
    bench.write("acme.toml", PROFILE);
    bench.write("built/amd64/probe", program("x86_64-unknown-linux-musl"));
    bench.write("built/arm64/probe", program("aarch64-unknown-linux-musl"));
    bench.write(
        "built/any/man/acme-probe.1",
        ".TH ACME-PROBE 1\n.SH NAME\nacme-probe \\- measures\n",
    );
    bench.write(
        "collector.service",
        "[Service]\nExecStart=/usr/sbin/acme-collector\n\n[Install]\nWantedBy=multi-user.target\n",
    );
    bench.write("collector.conf", "u acme-collector - \"collector\"\n");
    bench.write("collector.default", "# nothing\n");
    bench
}

const BUILD: [&str; 5] = ["build", "acme.toml", "--built", "built", "--dev-key"];

#[test]
fn a_profile_of_tools_gives_a_package_for_each_tool_and_cpu_and_is_verified_as_any_other() {
    let bench = bench();
    bench.run(&BUILD).ok();
    let debs: Vec<_> = bench
        .names("dist/acme")
        .into_iter()
        .filter(|n| n.ends_with(".deb"))
        .collect();
    assert_eq!(
        debs,
        [
            "acme-collector_2.0.0-1_amd64.deb",
            "acme-collector_2.0.0-1_arm64.deb",
            "acme-probe_2.0.0-1_amd64.deb",
            "acme-probe_2.0.0-1_arm64.deb"
        ]
    );
    let deb = "dist/acme/acme-probe_2.0.0-1_arm64.deb";
    assert_eq!(bench.tool("dpkg-deb", &["-f", deb, "Depends"]).trim(), "cups-client");
    let listing = bench.tool("dpkg-deb", &["-c", deb]);
    assert!(
        listing.contains("-rwxr-xr-x root/root") && listing.contains("./usr/bin/acme-probe"),
        "{listing}"
    );
    assert!(listing.contains("./usr/share/man/man1/acme-probe.1.gz"), "{listing}");
    assert!(
        !listing.contains("etc/jos") && !listing.contains("usr/share/jos"),
        "no part of an agent: {listing}"
    );
    let control = bench.tool("dpkg-deb", &["-I", deb]);
    assert!(!control.contains("postinst"), "nothing is run: {control}");

    let said = bench
        .run(&[
            "verify",
            "dist/acme",
            "--rebuild",
            "--built",
            "built",
            "--profile",
            "acme.toml",
        ])
        .ok();
    assert!(
        said.contains("4 outputs") && said.contains("the same to the byte"),
        "{said}"
    );
    for deb in debs.iter().filter(|deb| deb.contains("probe")) {
        let report = bench.tool(
            "lintian",
            &[
                "--fail-on",
                "error,warning",
                "--allow-root",
                &format!("dist/acme/{deb}"),
            ],
        );
        assert!(!report.contains("E:"), "{report}");
    }
}

#[test]
fn the_bill_of_materials_leads_from_each_package_to_its_program_and_on_to_its_crates() {
    let bench = bench();
    let crates = r#"[{"name":"left","version":"1.0.0","license":"MIT"},
                     {"name":"probe","version":"2.0.0","uses":[["left","1.0.0"]]}]"#;
    bench.write("built/arm64/probe.crates.json", crates);
    bench.run(&BUILD).ok();
    let bill: serde_json::Value = serde_json::from_slice(&bench.read("dist/acme/sbom.cdx.json")).expect("JSON");
    let uses = |of: &str| {
        let mut all = bill["dependencies"].as_array().expect("list").iter();
        let found = all
            .find(|one| one["ref"] == of)
            .unwrap_or_else(|| panic!("no {of} in {bill:#}"));
        found["dependsOn"][0].as_str().unwrap_or_default().to_owned()
    };
    let program = uses("package:acme-probe_2.0.0-1_arm64.deb");
    assert_eq!(program, "program:acme-probe_2.0.0-1_arm64.deb:/usr/bin/acme-probe");
    assert_eq!(uses(&program), "pkg:cargo/probe@2.0.0");
    assert_eq!(uses("pkg:cargo/probe@2.0.0"), "pkg:cargo/left@1.0.0");
    let components = bill["components"].as_array().expect("list");
    let left = components.iter().find(|one| one["name"] == "left").expect("the crate");
    assert_eq!(left["licenses"][0]["expression"], "MIT");
    bench.write("built/arm64/probe.crates.json", "{}");
    let said = bench.run(&BUILD).invalid();
    assert!(said.contains("probe.crates.json"), "{said}");
}

#[test]
fn a_tools_unit_is_enabled_its_user_made_and_its_scripts_pass_shellcheck() {
    let bench = bench();
    bench.run(&BUILD).ok();
    let deb = "dist/acme/acme-collector_2.0.0-1_amd64.deb";
    assert_eq!(bench.tool("dpkg-deb", &["-f", deb, "Depends"]).trim(), "systemd");
    bench.tool("dpkg-deb", &["-e", deb, "control"]);
    for script in ["postinst", "prerm", "postrm"] {
        bench.tool("shellcheck", &[&format!("control/{script}")]);
    }
    let text = String::from_utf8(bench.read("control/postinst")).expect("text");
    let place = |what: &str| text.find(what).unwrap_or_else(|| panic!("no {what} in {text}"));
    assert!(place("systemd-sysusers") < place("deb-systemd-helper enable"), "{text}");
    assert!(
        text.contains("acme-collector.conf") && text.contains("start acme-collector.service"),
        "{text}"
    );
    assert!(!text.contains('@') && !text.contains("systemd-tmpfiles"), "{text}");
    assert_eq!(
        String::from_utf8_lossy(&bench.read("control/conffiles")),
        "/etc/default/acme-collector\n"
    );
}

#[test]
fn a_tool_for_another_cpu_a_missing_one_and_a_secret_are_refused_at_their_line() {
    let bench = bench();
    bench.write("built/arm64/probe", program("x86_64-unknown-linux-musl"));
    let said = bench.run(&BUILD).invalid();
    assert!(said.contains("acme.toml:19:") && said.contains("aarch64"), "{said}");
    std::fs::remove_file(bench.path("built/arm64/probe")).expect("removed");
    let said = bench.run(&BUILD).invalid();
    assert!(
        said.contains("arm64/probe is not there") && said.contains("--built"),
        "{said}"
    );
    bench.write("built/arm64/probe", program("aarch64-unknown-linux-musl"));
    bench.write("collector.default", format!("-----BEGIN {} KEY-----\n", "EC PRIVATE"));
    let said = bench.run(&BUILD).invalid();
    assert!(said.contains("a private key"), "{said}");
}

#[test]
fn tools_and_an_appliance_in_one_profile_and_targets_without_tools_are_refused() {
    let bench = bench();
    let text = PROFILE.replace("\"debian/arm64\"", "\"openwrt/x86_64\"");
    bench.write("acme.toml", text + "\n[hub]\nurl = \"https://hub.example\"\n");
    let said = bench.run(&BUILD).invalid();
    for expected in ["\"openwrt/x86_64\" takes no tools", "hub is of an appliance"] {
        assert!(said.contains(expected), "{said}");
    }
    let said = bench.run(&["validate", "acme.toml"]).invalid();
    assert!(said.contains("takes no tools"), "{said}");
}

#[test]
fn our_own_tools_are_described_as_any_vendors_are() {
    let bench = Bench::new();
    let profiles = concat!(env!("CARGO_MANIFEST_DIR"), "/../profiles");
    bench.run(&["validate", "jos-tools", "--profiles", profiles]).ok();
}
