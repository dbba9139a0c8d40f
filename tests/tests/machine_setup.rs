//! `scripts/setup` on a machine that has nothing: what it says is missing, and how it refuses what it cannot do. What it
//! installs is the distribution's and takes minutes; that was tried by hand (docs/proofs).

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use jos_tests::command::{Ran, sh};
use jos_tests::nspawn::Machine;
use jos_tests::programs::workspace;

/// Where the scripts lie in the machine; any user may read it.
const CHECKOUT: &str = "/opt/jos";

/// A machine with the scripts and no other part of jos.
fn bare() -> Machine {
    let machine = Machine::boot();
    for script in [
        "setup",
        "lib/common.sh",
        "lib/toolchain.sh",
        "lib/library.sh",
        "lib/packages.txt",
    ] {
        let path = format!("scripts/{script}");
        machine.put(&workspace().join(&path), &format!("{CHECKOUT}/{path}"));
    }
    machine
}

fn setup(machine: &Machine, words: &str) -> Ran {
    machine.run(&["bash", "-c", &format!("exec {CHECKOUT}/scripts/setup {words}")])
}

/// What packages.txt wants for `purposes`, in the order of setup's own list. No Rust is there, so the `+` lines count.
fn wanted(purposes: &[&str]) -> BTreeSet<String> {
    let list = fs::read_to_string(workspace().join("scripts/lib/packages.txt")).expect("the list is there");
    let lines = list.lines().filter(|line| !line.starts_with('#'));
    let of = |line: &str| {
        let mut words = line.split_whitespace();
        let (purpose, package) = (words.next()?, words.next()?);
        purposes
            .contains(&purpose.trim_end_matches(['+', '~']))
            .then(|| package.to_owned())
    };
    lines.filter_map(of).collect()
}

fn installed(machine: &Machine) -> BTreeSet<String> {
    let listed = machine.run(&["dpkg-query", "-W", "-f", "${Package}\n"]).ok();
    listed.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn a_dry_run_on_a_machine_without_anything_lists_exactly_the_packages_of_its_purpose() {
    let machine = bare();
    let before = installed(&machine);
    for (purpose, brings) in [
        ("build", &["build"] as &[&str]),
        ("quickstart", &["build", "cross", "quickstart"]),
        ("test", &["build", "cross", "image", "quickstart", "test"]),
        ("bench", &["build", "cross", "bench"]),
    ] {
        let said = setup(&machine, &format!("--for {purpose} --dry-run --json"))
            .ok()
            .json();
        let missing: Vec<String> = serde_json::from_value(said["missing_packages"].clone()).expect("names");
        let expected: Vec<String> = wanted(brings).difference(&before).cloned().collect();
        assert!(expected.len() > 3, "{purpose}: {expected:?}");
        assert_eq!(missing, expected, "{purpose}");
        assert_eq!(said["zig_missing"], purpose != "build", "{purpose}");
        assert_eq!(said["release"], "debian:12");
    }
    assert_eq!(installed(&machine), before, "a dry run installs nothing");
    assert!(!machine.host_path("/root/.cache/jos/zig").exists());
}

#[test]
fn without_root_and_sudo_it_says_what_root_would_have_to_type() {
    let machine = bare();
    let words =
        format!("exec setpriv --reuid=1000 --regid=1000 --clear-groups {CHECKOUT}/scripts/setup --for build --yes");
    // No home that can be written: the cache falls back to the checkout, which is made writable as a person's own is.
    machine.run(&["chown", "-R", "1000:1000", CHECKOUT]).ok();
    machine
        .run(&["bash", "-c", &words])
        .exits(1)
        .says("not root, and no sudo")
        .says("apt-get install --no-install-recommends cargo-web gcc git libc6-dev rustc-web")
        .says("for build, this machine (debian:12) lacks:");
}

#[test]
fn a_compiler_that_is_too_old_is_refused_before_anything_is_installed() {
    let machine = bare();
    let before = installed(&machine);
    only_offer(&machine, "rustc-web", "1.85.0");
    setup(&machine, "--for build --yes")
        .exits(1)
        .says("rustc-web (found 1.85.0, expected at least 1.95)")
        .says("cargo-web (found none, expected at least 1.95)")
        .says("bookworm-security")
        .says("rustup toolchain install stable");
    assert_eq!(installed(&machine), before);
}

/// Leaves apt in the machine nothing to install but an empty package of this name and version.
fn only_offer(machine: &Machine, name: &str, version: &str) {
    let shelf = machine.host_path("/opt/shelf");
    let scratch = tempfile::tempdir().expect("a folder");
    let control = format!(
        "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: Tests <tests@example.org>\nDescription: old\n"
    );
    fs::create_dir_all(scratch.path().join("DEBIAN")).expect("a folder");
    fs::write(scratch.path().join("DEBIAN/control"), control).expect("written");
    fs::create_dir_all(&shelf).expect("a folder");
    let shown = |path: &Path| path.display().to_string();
    sh("dpkg-deb", &["--build", &shown(scratch.path()), &shown(&shelf)]).ok();
    let packages = sh("dpkg-scanpackages", &["--multiversion", &shown(&shelf)]).ok();
    // As apt in the machine sees the shelf.
    let packages = packages.stdout.replace(&shown(&shelf), ".");
    fs::write(shelf.join("Packages"), packages).expect("written");
    machine
        .sh("rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*; echo 'deb [trusted=yes] file:/opt/shelf ./' >/etc/apt/sources.list")
        .ok();
}

/// What `script` prints once the scripts that choose a toolchain are read, with `cache` for the cache.
fn beside(cache: &Path, script: &str) -> Ran {
    let read = format!(
        "set -euo pipefail; export JOS_CACHE={}; for part in common toolchain library; do . {}/scripts/lib/$part.sh; done; {script}",
        cache.display(),
        workspace().display()
    );
    sh("bash", &["-c", &read])
}

#[test]
fn a_compiler_without_the_librarys_source_gets_debians_source_of_its_own_release() {
    let cache = tempfile::tempdir().expect("a folder");
    let own = sh("rustc", &["--print", "sysroot"]).ok();
    let rustlib = Path::new(own.text()).join("lib/rustlib");
    let list = |dir: &Path| -> BTreeSet<_> {
        let entries = fs::read_dir(dir).expect("a folder").flatten();
        entries.map(|entry| entry.file_name()).collect()
    };
    let before = list(&rustlib);
    let version = beside(
        cache.path(),
        "host_toolchain; library_beside \"$HOST_RUSTC\" \"$HOST_VERSION\" >&2; echo $HOST_VERSION",
    )
    .ok();
    let sysroot = cache.path().join("rust").join(version.text());
    let compiler = sysroot.join("bin/rustc").display().to_string();
    assert_eq!(Path::new(sh(&compiler, &["--print", "sysroot"]).ok().text()), sysroot);
    assert!(sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs").is_file());
    let package = fs::read_to_string(sysroot.join("lib/rustlib/src/rust/package")).expect("what it is");
    assert!(
        package.starts_with(&format!("rust-src_{}+", version.text())),
        "{package}"
    );
    // It compiles and links as the compiler does that it was put beside.
    let main = cache.path().join("main.rs");
    fs::write(&main, "fn main() { println!(\"{}\", std::env::args().count()); }").expect("written");
    let program = cache.path().join("main").display().to_string();
    sh(&compiler, &["-o", &program, &main.display().to_string()]).ok();
    assert_eq!(sh(&program, &[]).ok().text(), "1");
    assert_eq!(list(&rustlib), before, "the compiler's own folder is as it was");
    assert_eq!(
        list(&cache.path().join("rust")).len(),
        1,
        "nothing else is left in the cache"
    );
}

#[test]
fn where_debian_has_no_source_of_that_release_nothing_is_left_in_the_cache() {
    let cache = tempfile::tempdir().expect("a folder");
    beside(cache.path(), "host_toolchain; library_beside \"$HOST_RUSTC\" 1.0.0").exits(1);
    assert_eq!(fs::read_dir(cache.path().join("rust")).expect("the folder").count(), 0);
}
