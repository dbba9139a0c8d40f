//! A profile with `[runtime]`: another program, its own list of crates, the settings on the device.

mod common;

use common::Bench;

const DEB: &str = "dist/lobby/lobby-printer_1.4.2-1_arm64.deb";
const RUNTIME: &str = r#"
[runtime]
data_dir = "/srv/lobby/node"
[runtime.models.own]
provider = "uppercase"
[runtime.agents.greeter]
argv = ["sh", "-c", "echo"]
[[runtime.schedules]]
name = "hourly"
agent = "greeter"
every = 3600
[policy.grants.baseline]"#;

fn bench() -> Bench {
    let bench = Bench::new();
    bench.edit("\n[policy.grants.baseline]", RUNTIME);
    bench.edit(", \"openwrt/mipsel_24kc\"", "");
    bench
}

#[test]
fn the_package_carries_the_program_with_the_runtime_its_crates_and_its_settings() {
    let bench = bench();
    let mut program = common::program("aarch64-unknown-linux-musl");
    program.extend(b"runtime");
    bench.write("programs/aarch64-unknown-linux-musl/jos-runtime", &program);
    let crates = r#"[{"name":"jos-node","version":"0.1.0","license":"MIT"}]"#;
    bench.write("programs/aarch64-unknown-linux-musl/crates-runtime.json", crates);
    bench.build(&[]).ok();
    bench.tool("dpkg-deb", &["-x", DEB, "root"]);
    assert_eq!(bench.read("root/usr/bin/jos"), program);
    let bill = String::from_utf8(bench.read("dist/lobby/sbom.cdx.json")).expect("text");
    assert!(bill.contains("\"jos-node\""), "{bill}");
    let text = String::from_utf8(bench.read("root/etc/jos/agent.toml")).expect("text");
    let agent: toml::Table = text.parse().expect("TOML");
    assert_eq!(agent["runtime"]["data_dir"].as_str(), Some("/srv/lobby/node"));
    assert_eq!(agent["runtime"]["agents"]["greeter"]["argv"][0].as_str(), Some("sh"));
    assert_eq!(agent["runtime"]["schedules"][0]["every"].as_integer(), Some(3600));
    let unit = String::from_utf8(bench.read("root/usr/lib/systemd/system/acme-lobby.service")).expect("text");
    assert!(
        unit.contains("\nReadWritePaths=-/srv\n"),
        "the node can make its folder: {unit}"
    );
}

#[test]
fn a_folder_of_programs_without_one_with_the_runtime_is_named() {
    let bench = bench();
    std::fs::remove_file(bench.path("programs/aarch64-unknown-linux-musl/jos-runtime")).expect("it was there");
    let said = bench.build(&[]);
    assert_eq!(said.code(), 1);
    assert!(
        said.stderr().contains("jos-runtime") && said.stderr().contains("jos-image programs"),
        "{}",
        said.stderr()
    );
}

#[test]
fn a_router_takes_no_runtime_and_what_is_wrong_in_its_tables_is_named_by_its_place() {
    let bench = bench();
    bench.edit("\"debian/arm64\"", "\"debian/arm64\", \"openwrt/mipsel_24kc\"");
    let said = bench.build(&[]).invalid();
    assert!(
        said.contains("lobby.toml:16:") && said.contains("\"openwrt/mipsel_24kc\" takes no [runtime]"),
        "{said}"
    );
    bench
        .edit(", \"openwrt/mipsel_24kc\"", "")
        .edit("argv = [", "argw = [")
        .edit("\"uppercase\"", "\"gpt\"");
    let said = bench.build(&[]).invalid();
    for words in ["argw", "did you mean \"argv\"?", "gpt"] {
        assert!(said.contains(words), "{words}: {said}");
    }
}
