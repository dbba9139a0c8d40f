//! What a profile may not say. Each is refused with file, line, column and advice, exit code 2, and nothing written.

mod common;

use common::{BASELINE, Bench};

/// The profile with one thing changed is refused at `place` with `words`, and no output appears.
#[track_caller]
fn refused(bench: &Bench, place: &str, words: &[&str]) {
    let said = bench.build(&[]).invalid();
    assert!(said.contains(place), "expected {place}:\n{said}");
    for word in words {
        assert!(said.contains(word), "expected {word:?}:\n{said}");
    }
    assert!(
        said.contains("help:") || said.contains("expected"),
        "no advice:\n{said}"
    );
    assert!(!bench.path("dist").exists(), "something was written");
    let validated = bench.run(&["validate", "lobby.toml"]);
    assert_eq!(
        validated.code(),
        2,
        "validate agrees with build: {}",
        validated.stderr()
    );
}

#[test]
fn the_profile_itself_builds() {
    let bench = Bench::new();
    bench.build(&[]).ok();
    bench.run(&["validate", "lobby.toml"]).ok();
}

#[test]
fn an_unknown_field_is_refused_with_the_nearest_name() {
    let bench = Bench::new();
    bench.edit("vendor =", "vendr =");
    refused(&bench, "lobby.toml:4:1: brand.vendr", &["did you mean \"vendor\""]);
}

#[test]
fn a_wrong_type_is_refused() {
    let bench = Bench::new();
    bench.edit("\"1.4.2\"", "142");
    refused(&bench, "lobby.toml:11:11: package.version", &["integer 142"]);
}

#[test]
fn every_error_of_a_file_is_shown_at_once() {
    let bench = Bench::new();
    bench.edit("vendor =", "vendr =").edit("\"1.4.2\"", "142");
    refused(&bench, "lobby.toml:4:1", &["lobby.toml:11:11"]);
}

#[test]
fn a_missing_base_is_refused_with_where_it_was_looked_for() {
    let bench = Bench::new();
    bench.edit("base/debian", "base/debain");
    refused(
        &bench,
        "lobby.toml:1:11: extends",
        &["did you mean \"base/debian\"", "--profiles"],
    );
}

#[test]
fn a_loop_of_bases_is_refused_with_its_way() {
    let bench = Bench::new();
    bench.write("a.toml", "extends = \"b\"\n");
    bench.write("b.toml", "# turns back\nextends = \"a\"\n");
    bench.edit("base/debian", "a");
    refused(
        &bench,
        "b.toml:2:11: extends",
        &["lobby.toml → a.toml → b.toml → a.toml"],
    );
}

#[test]
fn an_unknown_target_is_refused_with_the_nearest_one() {
    let bench = Bench::new();
    bench.edit("debian/arm64", "debian/aarch64");
    refused(
        &bench,
        "lobby.toml:16:12: target.targets[0]",
        &["did you mean \"debian/arm64\""],
    );
    bench.edit("debian/aarch64", "debian/arm64");
    let said = bench.build(&["--target", "openwrt/mipsel24kc"]).invalid();
    assert!(said.contains("did you mean \"openwrt/mipsel_24kc\""), "{said}");
    let said = bench.build(&["--target", "macos/universal"]).invalid();
    assert!(
        said.contains("lobby.toml:16:11") && said.contains("not for macos/universal"),
        "{said}"
    );
}

#[test]
fn a_target_that_none_of_several_profiles_has_is_refused() {
    let bench = Bench::new();
    let second = common::PROFILE.replace("\"openwrt/mipsel_24kc\"", "\"debian/amd64\"");
    bench.write("second.toml", second);
    let both = |target: &str| {
        let words = [
            "build",
            "lobby.toml",
            "second.toml",
            "--dev-key",
            "--builder",
            "prebuilt=programs",
        ];
        let targets = ["--target", "debian/arm64", "--target", target];
        bench.run(&[words.as_slice(), &targets].concat())
    };
    let said = both("openwrt/mips_24kc").invalid();
    assert!(
        said.contains("no profile named here is for openwrt/mips_24kc"),
        "{said}"
    );
    assert!(!bench.path("dist").exists(), "something was written");
    // Each profile is made for those of the targets that it has.
    both("debian/amd64").ok();
    let made = |file: &str| bench.path(&format!("dist/{file}")).exists();
    assert!(made("second/lobby-printer_1.4.2-1_amd64.deb") && made("second/lobby-printer_1.4.2-1_arm64.deb"));
    assert!(made("lobby/lobby-printer_1.4.2-1_arm64.deb") && !made("lobby/lobby-printer_1.4.2-1_amd64.deb"));
}

#[test]
fn a_missing_ca_file_is_refused() {
    let bench = Bench::new();
    bench.edit(
        "[state]",
        "[hub]\nurl = \"https://hub.acme.example\"\nca = \"hub.pem\"\n\n[state]",
    );
    refused(&bench, "lobby.toml:20:6: hub.ca", &["hub.pem"]);
    bench.write("hub.pem", "not a certificate");
    refused(&bench, "lobby.toml:20:6: hub.ca", &["no certificate"]);
}

#[test]
fn a_path_that_leaves_the_profiles_folder_is_refused() {
    let bench = Bench::new();
    bench.write(
        "inner/lobby.toml",
        common::PROFILE.replace("lobby/baseline.toml", "../lobby/baseline.toml"),
    );
    let said = bench
        .run(&[
            "build",
            "inner/lobby.toml",
            "--dev-key",
            "--builder",
            "prebuilt=programs",
        ])
        .invalid();
    assert!(
        said.contains("lobby.toml:19:12: state.baseline") && said.contains("leaves"),
        "{said}"
    );
    bench.edit("lobby/baseline.toml", "/etc/passwd");
    refused(
        &bench,
        "lobby.toml:19:12: state.baseline",
        &["leaves the profile's folder"],
    );
}

#[test]
fn a_link_that_leaves_the_profiles_folder_is_refused() {
    let bench = Bench::new();
    let outside = tempfile::tempdir().expect("folder");
    std::fs::write(outside.path().join("b.toml"), BASELINE).expect("file");
    std::os::unix::fs::symlink(outside.path().join("b.toml"), bench.path("lobby/link.toml")).expect("link");
    bench.edit("lobby/baseline.toml", "lobby/link.toml");
    refused(&bench, "lobby.toml:19:12: state.baseline", &["link that leaves"]);
}

#[test]
fn a_bad_version_is_refused() {
    // The last is a version to dpkg, and none that apk has a word for.
    for bad in ["v1", "1..2", "1.0 beta", "1-2", "1.0+dfsg"] {
        let bench = Bench::new();
        bench.edit("1.4.2", bad);
        refused(&bench, "lobby.toml:11:11: package.version", &[bad]);
    }
}

#[test]
fn a_name_with_a_slash_is_refused() {
    let bench = Bench::new();
    bench.edit("\"lobby-printer\"", "\"lobby/../printer\"");
    refused(&bench, "lobby.toml:9:8: package.name", &["expected a name"]);
}

#[test]
fn a_brand_with_a_quote_or_a_line_break_is_refused() {
    for bad in [
        "'Lobby \"Printer\"'",
        "\"Lobby\\nPrinter\"",
        "\"Lobby $(id)\"",
        "\"Lobby`id`\"",
        "\"\\u001b[2J\"",
    ] {
        let bench = Bench::new();
        bench.edit("\"Lobby Printer\"", bad);
        refused(&bench, "lobby.toml:5:11: brand.product", &["found"]);
    }
}

#[test]
fn an_unsigned_baseline_without_a_key_is_refused() {
    let bench = Bench::new();
    let said = bench.build(&["--no-key"]).invalid();
    assert!(
        said.contains("lobby.toml:19:12: state.baseline") && said.contains("--key"),
        "{said}"
    );
    assert!(!bench.path("dist").exists());
}

#[test]
fn a_baseline_for_another_agent_is_refused_in_its_own_file() {
    let bench = Bench::new();
    bench.write("lobby/baseline.toml", BASELINE.replace("lobby-printer", "other"));
    refused(&bench, "lobby/baseline.toml:4:8: meta.name", &["lobby-printer"]);
}

#[test]
fn a_baseline_with_a_placeholder_is_refused_where_it_stands() {
    let bench = Bench::new();
    bench.write(
        "lobby/baseline.toml",
        common::BASELINE.replace("/etc/lobby/greeting", "..."),
    );
    refused(&bench, "lobby/baseline.toml:9:8: spec.apply[0].path", &["placeholder"]);
}

#[test]
fn an_error_in_a_baseline_names_its_own_file_and_line() {
    let bench = Bench::new();
    bench.write("lobby/baseline.toml", BASELINE.replace("path =", "paht ="));
    refused(&bench, "lobby/baseline.toml:9:1", &["did you mean \"path\""]);
}

#[test]
fn an_error_in_a_base_names_the_base() {
    let bench = Bench::new();
    bench.write(
        "mine.toml",
        "extends = \"base/debian\"\n\n[agent]\ninterval = \"often\"\n",
    );
    bench.edit("base/debian", "mine");
    refused(&bench, "mine.toml:4:12: agent.interval", &[]);
}

#[test]
fn adding_to_what_is_no_list_is_refused() {
    let bench = Bench::new();
    bench.edit("version = \"1.4.2\"", "version = \"1.4.2\"\n\"version+\" = [\"x\"]");
    refused(&bench, "lobby.toml:12:1", &["is no list"]);
}

#[test]
fn a_key_that_the_trust_root_does_not_know_is_refused() {
    let bench = Bench::new();
    key(&bench, "admin.key", 1);
    key(&bench, "other.key", 2);
    trust(&bench, 1);
    let said = bench.build(&["--key", "other.key", "--trust", "trust.json"]).invalid();
    assert!(
        said.contains("lobby.toml:19:12") && said.contains("a device would refuse"),
        "{said}"
    );
    bench.build(&["--key", "admin.key", "--trust", "trust.json"]).ok();
}

#[test]
fn a_key_without_a_trust_root_is_refused() {
    let bench = Bench::new();
    key(&bench, "admin.key", 1);
    let said = bench.build(&["--key", "admin.key"]).invalid();
    assert!(
        said.contains("trust.file: no trust root") && said.contains("jos trust init"),
        "{said}"
    );
}

#[test]
fn a_folder_with_other_files_is_never_replaced() {
    let bench = Bench::new();
    bench.write("dist/lobby/thesis.txt", "precious");
    let said = bench.build(&[]).invalid();
    assert!(said.contains("thesis.txt"), "{said}");
    assert_eq!(bench.read("dist/lobby/thesis.txt"), b"precious");
}

#[test]
fn a_program_for_another_machine_is_refused() {
    let bench = Bench::new();
    bench.write(
        "programs/mipsel-unknown-linux-musl/jos",
        common::program("mips-unknown-linux-musl"),
    );
    let run = bench.build(&[]);
    assert_eq!(run.code(), 1);
    assert!(run.stderr().contains("MIPS, 32 bit, big endian"), "{}", run.stderr());
    assert!(!bench.path("dist").exists());
}

#[test]
fn builders_say_what_they_lack() {
    let bench = Bench::new();
    let said = bench
        .run(&["build", "lobby.toml", "--dev-key", "--builder", "magic"])
        .invalid();
    assert!(said.contains("zigbuild, cross, native, or prebuilt=DIR"), "{said}");
    let run = bench.run(&["build", "lobby.toml", "--dev-key", "--builder", "prebuilt=nowhere"]);
    assert!(run.code() == 1 && run.stderr().contains("nowhere"), "{}", run.stderr());
}

#[test]
fn the_cross_builder_names_the_missing_engine_and_what_else_there_is() {
    let bench = Bench::new();
    let checkout = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let args = [
        "build",
        "lobby.toml",
        "--dev-key",
        "--builder",
        "cross",
        "--source",
        checkout,
    ];
    let run = bench.run_with(&args, &[("PATH", "/nonexistent"), ("CROSS_CONTAINER_ENGINE", "")]);
    assert_eq!(run.code(), 1);
    assert!(
        run.stderr().contains("no container engine (docker or podman)"),
        "{}",
        run.stderr()
    );
    assert!(run.stderr().contains("--builder zigbuild"), "{}", run.stderr());
    assert!(!bench.path("dist").exists());
}

/// A key whose seed is `seed` repeated: tests need no randomness.
fn key(bench: &Bench, name: &str, seed: u8) -> jos_trust::SecretKey {
    let key = jos_trust::SecretKey::from_bytes(&[seed; 32]);
    jos_trust::keyfile::write_secret(&bench.path(name), &key).expect("key file");
    key
}

fn trust(bench: &Bench, seed: u8) {
    use jos_schemas::documents::trust::{KIND, Role};
    use jos_trust::sign::{Grant, NewTrust, new_trust, sign_document, to_json_text, to_node};
    let key = jos_trust::SecretKey::from_bytes(&[seed; 32]);
    let grants = vec![Grant {
        key: (&key).into(),
        roles: vec![Role::Root, Role::Admin],
    }];
    let trust = new_trust(&NewTrust {
        grants,
        ..NewTrust::default()
    })
    .expect("sound");
    let signed = sign_document("trust.json", "", &to_node(&trust), KIND, &key).expect("signs");
    bench.write("trust.json", to_json_text(&signed));
}

/// The profile with this `[image]` is refused with `words`.
#[track_caller]
fn refused_image(image: &str, words: &[&str]) {
    let bench = Bench::new();
    let text = String::from_utf8(bench.read("lobby.toml")).expect("text");
    bench.write("lobby.toml", format!("{text}\n[image]\n{image}\n"));
    refused(&bench, "lobby.toml:", words);
}

#[test]
fn a_board_that_is_none_is_refused_with_the_one_that_was_meant() {
    refused_image(
        "boards = [\"amd64-efi\"]",
        &["\"amd64-efi\" is no board", "did you mean \"amd64-uefi\"?"],
    );
}

#[test]
fn a_base_that_is_not_pinned_or_is_asked_for_what_it_brings_itself_is_refused_by_name() {
    refused_image(
        "base = \"os.img.xz\"",
        &["expected FILE@sha256:HEX", "sha256sum os.img.xz"],
    );
    let base = format!("base = \"os.img.xz@sha256:{}\"", "a".repeat(64));
    refused_image(
        &format!("{base}\nboards = [\"arm64-uefi\", \"raspberry-pi\"]\npackages = [\"vim\"]"),
        &[
            "found 2 boards with a base",
            "`packages` is for images made of Debian's packages",
        ],
    );
    refused_image(&base, &["\"os.img.xz\" cannot be read"]);
}

#[test]
fn a_wireless_network_without_a_country_or_with_a_passphrase_that_is_none_is_refused() {
    refused_image("[image.wifi]\nssid = \"Guests\"", &["`country` is missing"]);
    refused_image(
        "[image.wifi]\ncountry = \"mx\"",
        &["found \"mx\"", "two capital letters"],
    );
    refused_image("[image.wifi]\ncountry = \"MX\"\nssid = \"\"", &["1 to 32 bytes"]);
    refused_image(
        "[image.wifi]\ncountry = \"MX\"\npassphrase = \"p\"",
        &["a passphrase without `ssid`", "each device's seed"],
    );
    let bench = Bench::new();
    let text = String::from_utf8(bench.read("lobby.toml")).expect("text");
    let wifi = "[image.wifi]\ncountry = \"MX\"\nssid = \"Guests\"\npassphrase = \"wifi.pass\"";
    bench.write("lobby.toml", format!("{text}\n[image]\n{wifi}\n"));
    bench.write("wifi.pass", "hunter2\n");
    refused(&bench, "lobby.toml:", &["holds no passphrase", "8 to 63"]);
    let said = bench.build(&[]).invalid();
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn a_size_a_host_name_and_a_key_that_are_none_are_refused() {
    refused_image("size = \"2 GB\"", &["2 GB", "900M or 2G"]);
    refused_image("hostname = \"Kiosk_{serial}\"", &["Kiosk_{serial}", "a-z, 0-9 and -"]);
    refused_image(
        "mirror = \"http://me:secret@deb.example.org\"",
        &["without a name or password"],
    );
    refused_image(
        "[[image.users]]\nname = \"ada\"\nssh_keys = [\"-----BEGIN\"]",
        &["one line of an OpenSSH public key"],
    );
}

#[test]
fn two_roots_that_could_not_be_kept_apart_or_signed_are_refused_by_name() {
    refused_image(
        "boards = [\"raspberry-pi\"]\nroot = \"ro\"\nupdate = \"rauc\"",
        &["\"raspberry-pi\" has no loader that falls back"],
    );
    refused_image(
        "update = \"rauc\"",
        &["expected a root that is never written to", "root = \"ro\""],
    );
    refused_image(
        "root = \"ro\"\n[image.rauc]\ncert = \"c.pem\"\nkey = \"k.pem\"",
        &["a signer of bundles, and no bundles"],
    );
    refused_image("update = \"ostree\"", &["ostree"]);
    refused_image(
        "root = \"ro\"\nupdate = \"rauc\"\ncmdline = \"dyndbg='file a'\"",
        &["found a quote or a backslash"],
    );
    let named = "root = \"ro\"\nupdate = \"rauc\"\n[image.rauc]\ncert = \"c.pem\"\nkey = \"k.pem\"";
    let bench = Bench::new();
    let text = String::from_utf8(bench.read("lobby.toml")).expect("text");
    bench.write("lobby.toml", format!("{text}\n[image]\n{named}\n"));
    bench.write("k.pem", "-----BEGIN PRIVATE KEY-----\n");
    for certificate in ["", "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n"] {
        bench.write("c.pem", certificate);
        refused(
            &bench,
            "lobby.toml:",
            &["c.pem holds no certificate, or a secret beside it"],
        );
    }
}
