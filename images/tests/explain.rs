//! `explain` says of each value where it was written, through every base.

mod common;

use common::Bench;

#[test]
fn each_value_names_the_file_and_line_that_wrote_it() {
    let bench = Bench::new();
    bench.write(
        "house.toml",
        "extends = \"base/debian\"\n\n[agent]\ninterval = 30\n\n[target]\n\"targets+\" = [\"openwrt/x86_64\"]\n",
    );
    bench
        .edit("base/debian", "house")
        .edit("targets = [", "\"targets+\" = [")
        .edit("debian/arm64", "openwrt/mips_24kc");
    let json: serde_json::Value =
        serde_json::from_str(&bench.run(&["explain", "lobby.toml", "--json"]).ok()).expect("JSON");
    let at = |pointer: &str| {
        let origin = &json["origins"][pointer];
        format!("{}:{}", origin["file"].as_str().unwrap_or("?"), origin["line"])
    };
    assert_eq!(at("/agent/interval"), "house.toml:4");
    assert_eq!(at("/package/version"), "lobby.toml:11");
    assert_eq!(at("/package/release"), "built-in base/debian:5");
    // The base's three, then the house's one, then the profile's two.
    let targets = json["profile"]["target"]["targets"].as_array().expect("list");
    assert_eq!(targets.len(), 6);
    assert_eq!(at("/target/targets/0"), "built-in base/debian:9");
    assert_eq!(at("/target/targets/3"), "house.toml:7");
    assert_eq!(at("/target/targets/4"), "lobby.toml:16");
    let text = bench.run(&["explain", "lobby.toml"]).ok();
    assert!(
        text.lines()
            .any(|l| l.starts_with("agent.interval = 30 ") && l.ends_with("# house.toml:4")),
        "{text}"
    );
}

#[test]
fn a_list_replaces_unless_it_is_added() {
    let bench = Bench::new();
    let json: serde_json::Value =
        serde_json::from_str(&bench.run(&["explain", "lobby.toml", "--json"]).ok()).expect("JSON");
    assert_eq!(json["profile"]["target"]["targets"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_base_beside_the_profile_goes_before_the_built_in_one() {
    let bench = Bench::new();
    bench.write("base/debian.toml", "[agent]\ninterval = 7\n");
    let text = bench.run(&["explain", "lobby.toml"]).ok();
    assert!(text.contains("base/debian.toml:2"), "{text}");
    bench.write("elsewhere/far.toml", "[agent]\ninterval = 8\n");
    bench.edit("base/debian", "far");
    let text = bench.run(&["explain", "lobby.toml", "--profiles", "elsewhere"]).ok();
    assert!(text.contains("elsewhere/far.toml:2"), "{text}");
}

#[test]
fn list_names_every_target_and_base() {
    let bench = Bench::new();
    let json: serde_json::Value = serde_json::from_str(&bench.run(&["list", "--json"]).ok()).expect("JSON");
    assert_eq!(json["targets"].as_array().map(Vec::len), Some(13));
    assert_eq!(json["bases"].as_array().map(Vec::len), Some(4));
}

#[test]
fn what_new_writes_builds_as_it_is_and_is_never_overwritten() {
    for (base, target) in [
        ("base/debian", "arm64.deb"),
        ("openwrt", "mipsel_24kc.ipk"),
        ("macos", "universal.pkg"),
    ] {
        let bench = Bench::new();
        bench.run(&["new", "my-box", "--from", base]).ok();
        bench.run(&["validate", "my-box.toml"]).ok();
        bench
            .run(&["build", "my-box.toml", "--dev-key", "--builder", "prebuilt=programs"])
            .ok();
        assert!(
            bench.names("dist/my-box").iter().any(|n| n.ends_with(target)),
            "{:?}",
            bench.names("dist/my-box")
        );
        let said = bench.run(&["new", "my-box", "--from", base]).invalid();
        assert!(said.contains("is there already"), "{said}");
    }
    let bench = Bench::new();
    assert!(
        bench
            .run(&["new", "../x", "--from", "base/debian"])
            .invalid()
            .contains("NAME")
    );
    assert!(
        bench
            .run(&["new", "x", "--from", "base/debain"])
            .invalid()
            .contains("did you mean \"base/debian\"")
    );
}

#[test]
fn the_shipped_profiles_are_valid_and_their_bases_are_the_built_in_ones() {
    let bench = Bench::new();
    let profiles = concat!(env!("CARGO_MANIFEST_DIR"), "/../profiles");
    let shipped = [
        "ai-box",
        "captive-portal",
        "mac-kiosk",
        "print-server",
        "sensor-gateway",
    ];
    let mut args = vec!["validate", "--profiles", profiles];
    args.extend(shipped);
    let text = bench.run(&args).ok();
    assert_eq!(text.matches(": valid").count(), shipped.len(), "{text}");
    let mut args = vec![
        "build",
        "--dev-key",
        "--builder",
        "prebuilt=programs",
        "--profiles",
        profiles,
    ];
    args.extend(shipped);
    bench.run(&args).ok();
    for name in shipped {
        assert!(
            bench
                .names(&format!("dist/{name}"))
                .contains(&"manifest.json".to_owned())
        );
    }
}

#[test]
fn completions_and_the_manual_page_are_printed() {
    let bench = Bench::new();
    assert!(bench.run(&["completions", "bash"]).ok().contains("jos-image"));
    assert!(bench.run(&["man"]).ok().contains(".TH jos-image"));
}
