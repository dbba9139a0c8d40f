//! What lies in the packages, read by the tools of their own systems; and that equal inputs give equal bytes.

mod common;

use common::{Bench, tree};

const DEB: &str = "dist/lobby/lobby-printer_1.4.2-1_arm64.deb";
const IPK: &str = "dist/lobby/lobby-printer_1.4.2-1_mipsel_24kc.ipk";
const APK: &str = "dist/lobby/lobby-printer-1.4.2-r1.mipsel_24kc.apk";

#[test]
fn the_deb_is_branded_and_whole() {
    let bench = Bench::new();
    bench.build(&[]).ok();
    let field = |name: &str| bench.tool("dpkg-deb", &["-f", DEB, name]).trim().to_owned();
    assert_eq!(field("Package"), "lobby-printer");
    assert_eq!(field("Provides"), "jos-agent");
    assert_eq!(field("Conflicts"), "jos-agent");
    assert_eq!(field("Replaces"), "jos-agent");
    assert_eq!(field("Maintainer"), "Acme Tools <support@acme.example>");
    assert!(field("Depends").contains("cups"));
    let description = field("Description");
    assert!(
        description.contains("Lobby Printer by Acme Tools") && description.contains("https://acme.example/support")
    );
    bench.tool("dpkg-deb", &["-x", DEB, "root"]);
    let at = |path: &str| String::from_utf8(bench.read(&format!("root/{path}"))).expect("text");
    assert_eq!(
        bench.read("root/usr/bin/jos"),
        common::program("aarch64-unknown-linux-musl")
    );
    let agent: toml::Table = at("etc/jos/agent.toml").parse().expect("TOML");
    assert_eq!(agent["name"].as_str(), Some("lobby-printer"));
    assert_eq!(agent["service"].as_str(), Some("acme-lobby"));
    assert_eq!(agent["product"].as_str(), Some("Lobby Printer"));
    assert!(at("etc/jos/policy.toml").contains("/etc/lobby/**"));
    let unit = at("usr/lib/systemd/system/acme-lobby.service");
    assert!(
        unit.contains("agent run --config /etc/jos/agent.toml /usr/share/jos/baseline.json"),
        "{unit}"
    );
    assert!(unit.contains("Restart=always") && unit.contains("NoNewPrivileges=yes") && !unit.contains("@EXEC_START@"));
    assert!(at("usr/lib/motd.d/50-lobby-printer").contains("Lobby Printer by Acme Tools"));
    let brand: serde_json::Value = serde_json::from_str(&at("usr/share/jos/brand.json")).expect("JSON");
    assert_eq!(brand["vendor"], "Acme Tools");
    bench.tool("dpkg-deb", &["-e", DEB, "control"]);
    let conffiles = String::from_utf8(bench.read("control/conffiles")).expect("text");
    assert_eq!(conffiles, "/etc/jos/agent.toml\n/etc/jos/policy.toml\n");
    let listing = bench.tool("dpkg-deb", &["-c", DEB]);
    assert!(listing.lines().all(|l| l.contains("root/root")), "{listing}");
    assert!(
        listing
            .lines()
            .any(|l| l.starts_with("drwx------") && l.ends_with("./etc/jos/secrets/")),
        "{listing}"
    );
}

#[test]
fn the_debs_scripts_are_what_policy_and_shellcheck_ask() {
    let bench = Bench::new();
    bench.build(&[]).ok();
    bench.tool("dpkg-deb", &["-e", DEB, "control"]);
    let scripts = ["control/postinst", "control/prerm", "control/postrm"];
    bench.tool("shellcheck", &scripts);
    let at = |name: &str| String::from_utf8(bench.read(name)).expect("text");
    assert!(
        scripts
            .iter()
            .all(|s| at(s).starts_with("#!/bin/sh\nset -e\n") && !at(s).contains('@'))
    );
    let postinst = at("control/postinst");
    assert!(
        postinst.contains("for unit in 'acme-lobby.service' 'acme-lobby-recover.service'"),
        "{postinst}"
    );
    assert!(
        postinst.contains("deb-systemd-helper --quiet was-enabled \"$unit\""),
        "{postinst}"
    );
    assert!(at("control/prerm").contains("-z \"$DPKG_ROOT\""));
    let purge = at("control/postrm");
    assert!(purge.contains("rm -rf /var/lib/jos /etc/jos"), "{purge}");
}

#[test]
fn lintian_finds_no_errors_and_no_warnings() {
    let bench = Bench::new();
    bench.build(&[]).ok();
    let said = bench.tool("lintian", &["--fail-on", "error,warning", DEB]);
    assert!(!said.contains("\nE:") && !said.contains("\nW:"), "{said}");
}

#[test]
fn the_apk_has_the_files_of_the_ipk_and_openwrts_records_of_them() {
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt as _;

    let bench = Bench::new();
    bench.build(&[]).ok();
    let package = jos_apk::Package::from_bytes(&bench.read(APK), jos_apk::Limits::default()).expect("an apk");
    let mut files = BTreeMap::new();
    for dir in &package.dirs {
        for file in &dir.files {
            let jos_apk::Content::File(bytes) = &file.content else {
                panic!("{} is no file", file.name);
            };
            files.insert(format!("{}/{}", dir.path, file.name), (file.owner.mode, bytes.clone()));
        }
    }
    let mut record = |kind: &str| {
        let (_, bytes) = files
            .remove(&format!("lib/apk/packages/lobby-printer.{kind}"))
            .expect(kind);
        String::from_utf8(bytes).expect("text")
    };
    let (list, conffiles, sums) = (record("list"), record("conffiles"), record("conffiles_static"));
    let paths: Vec<_> = files.keys().map(|path| format!("/{path}")).collect();
    assert_eq!(list.lines().collect::<Vec<_>>(), paths);
    assert_eq!(sums.lines().count(), conffiles.lines().count());
    std::fs::create_dir(bench.path("ipk")).expect("folder");
    bench.tool("tar", &["-xzf", IPK, "-C", "ipk"]);
    bench.tool("tar", &["-xzf", "ipk/control.tar.gz", "-C", "ipk"]);
    assert_eq!(bench.read("ipk/conffiles"), conffiles.as_bytes());
    std::fs::create_dir(bench.path("data")).expect("folder");
    bench.tool("tar", &["-xzf", "ipk/data.tar.gz", "-C", "data"]);
    let mode = |path: &str| std::fs::metadata(bench.path(path)).expect("file").permissions().mode() & 0o7777;
    for (path, bytes) in tree(&bench.path("data")) {
        let packed = files.remove(&path).expect(&path);
        assert_eq!(packed, (mode(&format!("data/{path}")), bytes), "{path}");
    }
    assert!(files.is_empty(), "only in the apk: {:?}", files.keys());
    let info = &package.info;
    let provides: Vec<_> = info.provides.iter().map(ToString::to_string).collect();
    let depends: Vec<_> = info.depends.iter().map(ToString::to_string).collect();
    assert_eq!(
        (info.arch.as_str(), provides),
        ("mipsel_24kc", vec!["jos-agent=1.4.2-r1".to_owned()])
    );
    assert!(depends.contains(&"!jos-agent".to_owned()), "{depends:?}");
    let scripts = [
        ("post-install", &package.scripts.post_install),
        ("post-upgrade", &package.scripts.post_upgrade),
        ("pre-deinstall", &package.scripts.pre_deinstall),
    ];
    for (name, text) in scripts {
        assert!(
            text.contains("export pkgname='lobby-printer'\n") && !text.contains("JOS_"),
            "{text}"
        );
        std::fs::write(bench.path(name), text).expect("script");
        bench.tool("shellcheck", &["-e", "SC1091", name]);
    }
    assert!(package.scripts.post_upgrade.contains("/etc/init.d/acme-lobby restart"));
    let told = bench.run(&["inspect", APK]).ok();
    assert!(
        told.contains("apk v3 package") && told.contains("/usr/bin/jos"),
        "{told}"
    );
}

#[test]
fn the_bill_of_materials_lists_packages_programs_and_their_crates() {
    let bench = Bench::new();
    let sum = "a".repeat(64);
    let crates = format!(
        r#"[{{"name": "jos-agent", "version": "0.1.0", "license": "MIT", "uses": [["serde", "1.0.0"]]}},
            {{"name": "serde", "version": "1.0.0", "license": "MIT/Apache-2.0", "checksum": "{sum}"}}]"#
    );
    bench.write("programs/aarch64-unknown-linux-musl/crates.json", crates);
    bench.build(&[]).ok();
    let text = bench.read("dist/lobby/sbom.cdx.json");
    let bill: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    assert_eq!(
        (&bill["bomFormat"], &bill["specVersion"]),
        (&"CycloneDX".into(), &"1.6".into())
    );
    let component = |reference: &str| {
        let all = bill["components"].as_array().expect("components");
        all.iter()
            .find(|c| c["bom-ref"] == reference)
            .unwrap_or_else(|| panic!("{reference}"))
            .clone()
    };
    let serde = component("pkg:cargo/serde@1.0.0");
    assert_eq!(serde["licenses"][0]["expression"], "MIT OR Apache-2.0");
    assert_eq!(serde["hashes"][0]["content"], sum.as_str());
    let deb = component("package:lobby-printer_1.4.2-1_arm64.deb");
    assert_eq!(
        &bench.tool("sha256sum", &[DEB])[..64],
        deb["hashes"][0]["content"].as_str().expect("text")
    );
    component("program:mipsel-unknown-linux-musl");
    let uses = |reference: &str| {
        let all = bill["dependencies"].as_array().expect("dependencies");
        let one = all.iter().find(|d| d["ref"] == reference);
        one.unwrap_or_else(|| panic!("{reference}"))["dependsOn"].clone()
    };
    assert_eq!(
        uses("program:aarch64-unknown-linux-musl"),
        serde_json::json!(["pkg:cargo/jos-agent@0.1.0"])
    );
    assert_eq!(
        uses("pkg:cargo/jos-agent@0.1.0"),
        serde_json::json!(["pkg:cargo/serde@1.0.0"])
    );
    // Its sum is signed with the others.
    let sums = String::from_utf8(bench.read("dist/lobby/SHA256SUMS")).expect("text");
    assert!(sums.contains("  sbom.cdx.json\n"), "{sums}");
}

#[test]
fn the_ipk_has_opkgs_layout_and_the_feeds_files() {
    let bench = Bench::new();
    bench.build(&[]).ok();
    let members = bench.tool("tar", &["-tzf", IPK]);
    assert_eq!(members, "./debian-binary\n./data.tar.gz\n./control.tar.gz\n");
    std::fs::create_dir(bench.path("ipk")).expect("folder");
    bench.tool("tar", &["-xzf", IPK, "-C", "ipk"]);
    bench.tool("tar", &["-xzf", "ipk/data.tar.gz", "-C", "ipk"]);
    bench.tool("tar", &["-xzf", "ipk/control.tar.gz", "-C", "ipk"]);
    let feed = |name: &str| {
        let path = format!("{}/../openwrt-feed/jos-agent/files/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(path).expect("feed file")
    };
    let at = |name: &str| String::from_utf8(bench.read(&format!("ipk/{name}"))).expect("text");
    assert_eq!(
        at("etc/init.d/acme-lobby"),
        feed("jos-agent.init"),
        "the feed's script is the one source"
    );
    assert_eq!(at("etc/config/jos"), feed("jos.config"));
    assert_eq!(at("etc/uci-defaults/95-acme-lobby"), feed("jos.uci-defaults"));
    assert_eq!(at("lib/upgrade/keep.d/lobby-printer"), feed("jos-agent.keep"));
    let hotplug = at("etc/hotplug.d/iface/95-acme-lobby");
    assert_eq!(hotplug, feed("jos.hotplug").replace("'jos-agent'", "'acme-lobby'"));
    assert_eq!(
        at("conffiles"),
        "/etc/config/jos\n/etc/jos/agent.toml\n/etc/jos/policy.toml\n"
    );
    assert!(at("postinst").contains("default_postinst"));
    assert!(at("etc/jos/agent.toml").contains("state_dir = \"/etc/jos/state\""));
    assert!(
        !bench.path("ipk/etc/banner").exists(),
        "the banner belongs to the system"
    );
    assert!(at("usr/share/jos/motd").contains("Lobby Printer"));
    let owners = bench.tool("tar", &["--numeric-owner", "-tvzf", "ipk/data.tar.gz"]);
    assert!(owners.lines().all(|l| l.contains(" 0/0 ")), "{owners}");
}

#[test]
fn the_pkg_is_read_by_bsdtar_and_brings_an_uninstaller() {
    let bench = Bench::new();
    bench
        .edit("\"openwrt/mipsel_24kc\"", "\"macos/universal\"")
        .edit("depends =", "identifier = \"example.acme.lobby\"\ndepends =");
    bench.build(&["--target", "macos/universal"]).ok();
    let pkg = "dist/lobby/lobby-printer_1.4.2-1_universal.pkg";
    let members = bench.tool("bsdtar", &["-tf", pkg]);
    for part in [
        "Distribution",
        "base.pkg/PackageInfo",
        "base.pkg/Bom",
        "base.pkg/Payload",
        "base.pkg/Scripts",
    ] {
        assert!(members.lines().any(|l| l == part), "{part}: {members}");
    }
    std::fs::create_dir_all(bench.path("pkg/root")).expect("folder");
    bench.tool("bsdtar", &["-xf", pkg, "-C", "pkg"]);
    bench.tool("bsdtar", &["-xf", "pkg/base.pkg/Payload", "-C", "pkg/root"]);
    let root = "pkg/root/Library";
    let job = bench.read(&format!("{root}/LaunchDaemons/example.acme.lobby.plist"));
    assert!(String::from_utf8_lossy(&job).contains("/Library/Application Support/jos/share/baseline.json"));
    let uninstaller = format!("{root}/Application Support/jos/share/uninstall.sh");
    bench.tool("shellcheck", &[&uninstaller]);
    assert!(
        String::from_utf8_lossy(&bench.read(&uninstaller)).contains("launchctl bootout \"system/example.acme.lobby\"")
    );
    bench.tool(
        "sh",
        &[
            "-c",
            "mkdir scripts && cd scripts && bsdtar -xf ../pkg/base.pkg/Scripts && shellcheck postinstall",
        ],
    );
    let program = bench.read("pkg/root/usr/local/bin/jos");
    assert_eq!(program[..4], [0xca, 0xfe, 0xba, 0xbe], "a universal program");
}

#[test]
fn inspect_agrees_with_the_packages_own_tools() {
    let bench = Bench::new();
    bench.build(&[]).ok();
    for package in [DEB, IPK] {
        let json: serde_json::Value =
            serde_json::from_str(&bench.run(&["inspect", package, "--json"]).ok()).expect("JSON");
        assert_eq!(json["problems"].as_array().map(Vec::len), Some(0));
        let paths: Vec<_> = json["files"]
            .as_array()
            .expect("files")
            .iter()
            .filter_map(|f| f["path"].as_str())
            .collect();
        assert!(paths.contains(&"/usr/bin/jos") && paths.contains(&"/usr/share/jos/trust.json"));
    }
    bench.write("noise", "not a package");
    assert!(bench.run(&["inspect", "noise"]).invalid().contains("noise"));
}

#[test]
fn the_checksums_hold_and_signify_verifies_their_signature() {
    let bench = Bench::new();
    bench.build(&[]).ok();
    bench.tool("sh", &["-c", "cd dist/lobby && sha256sum -c --strict SHA256SUMS"]);
    let verify = [
        "-V",
        "-p",
        "dist/lobby/SHA256SUMS.pub",
        "-x",
        "dist/lobby/SHA256SUMS.sig",
        "-m",
        "dist/lobby/SHA256SUMS",
    ];
    bench.tool("signify-openbsd", &verify);
    let manifest: serde_json::Value = serde_json::from_slice(&bench.read("dist/lobby/manifest.json")).expect("JSON");
    assert_eq!(manifest["kind"], "jos.image.manifest");
    assert_eq!(manifest["dev_key"], true);
    let inputs: Vec<_> = manifest["inputs"]
        .as_array()
        .expect("inputs")
        .iter()
        .filter_map(|i| i["name"].as_str())
        .collect();
    assert!(
        inputs.contains(&"lobby.toml") && inputs.contains(&"lobby/baseline.toml"),
        "{inputs:?}"
    );
    let here = bench.path("").display().to_string();
    for (name, bytes) in tree(&bench.path("dist")) {
        assert!(
            !String::from_utf8_lossy(&bytes).contains(here.trim_end_matches('/')),
            "{name} names this machine's folder"
        );
    }
}

/// Two benches with one key: everything else is apart, folder and cache.
fn pair() -> (Bench, Bench) {
    let (a, b) = (Bench::new(), Bench::new());
    a.build(&[]).ok();
    let key = a.read("cache/dev.key");
    use std::os::unix::fs::PermissionsExt;
    let path = b.write("cache/dev.key", key);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("mode");
    (a, b)
}

#[test]
fn equal_inputs_in_two_folders_with_two_caches_give_equal_bytes() {
    let (a, b) = pair();
    b.build(&["--jobs", "1"]).ok();
    assert_eq!(tree(&a.path("dist")), tree(&b.path("dist")));
}

#[test]
fn one_changed_value_changes_only_what_holds_it() {
    let (a, b) = pair();
    b.edit("[state]", "[agent]\ninterval = 61\n\n[state]");
    b.build(&[]).ok();
    for bench in [&a, &b] {
        bench.tool("dpkg-deb", &["-x", DEB, "root"]);
    }
    let (before, after) = (tree(&a.path("root")), tree(&b.path("root")));
    let changed: Vec<_> = before
        .iter()
        .zip(&after)
        .filter(|(x, y)| x != y)
        .map(|(x, _)| x.0.as_str())
        .collect();
    assert_eq!(changed, ["etc/jos/agent.toml"]);
}

#[test]
fn a_failed_build_leaves_the_folder_as_it_was() {
    let bench = Bench::new();
    bench.build(&[]).ok();
    let before = tree(&bench.path("dist"));
    bench.edit("1.4.2", "1.4.3");
    std::fs::remove_file(bench.path("programs/mipsel-unknown-linux-musl/jos")).expect("program");
    assert_eq!(bench.build(&[]).code(), 1);
    assert_eq!(tree(&bench.path("dist")), before);
    assert_eq!(bench.names("dist"), ["lobby"]);
}

#[test]
fn a_second_build_replaces_the_set_before_it() {
    let bench = Bench::new();
    bench.build(&[]).ok();
    bench.edit("1.4.2", "1.5.0");
    bench.build(&[]).ok();
    let names = bench.names("dist/lobby");
    assert!(names.iter().all(|n| !n.contains("1.4.2")), "{names:?}");
    assert!(
        names.contains(&"lobby-printer_1.5.0-1_arm64.deb".to_owned()),
        "{names:?}"
    );
}
