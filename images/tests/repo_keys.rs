//! The keys of a repository: how they change, and what a list under another one is worth to the tools that check it.

mod common;

use common::{Bench, TIME, published};

/// The repository with its lists signed anew by the keys in `keys`, and by those in `also` where any are named.
fn sign(bench: &Bench, keys: &str, also: Option<&str>) {
    let mut words = vec!["repo", "sign", "site", "--keys", keys];
    words.extend(also.into_iter().flat_map(|also| ["--also", also]));
    bench.run_with(&words, TIME).ok();
}

#[test]
fn while_keys_change_each_package_manager_verifies_by_the_key_it_knows() {
    let bench = published();
    let keep = |name: &str| bench.tool("cp", &["-r", "site/keys", name]);
    let by = |known: &str| bench.run_with(&["repo", "verify", "site", "--trusted", known], TIME);
    let release = "site/apt/dists/stable/InRelease";
    // gpgv ends with an error where it knows one of two signers; apt reads what it says of each.
    let gpgv = |known: &str| {
        let mut command = std::process::Command::new("gpgv");
        command.args(["--keyring", &format!("./{known}/acme-archive-keyring.gpg"), release]);
        let said = command.current_dir(bench.path("")).output().expect("gpgv").stderr;
        String::from_utf8_lossy(&said).matches("Good signature").count()
    };
    let signify = |known: &str| {
        let key = format!("{known}/acme-opkg.pub");
        let at = |name: &str| format!("site/opkg/mipsel_24kc/{name}");
        bench.tool(
            "signify-openbsd",
            &["-V", "-p", &key, "-x", &at("Packages.sig"), "-m", &at("Packages")],
        )
    };
    keep("known-old");
    bench.run(&["repo", "key", "new", "--out", "next"]).ok();

    sign(&bench, "keys", Some("next"));
    by("known-old").ok();
    signify("known-old");
    assert_eq!(
        bench.names("site/keys").len(),
        5,
        "both keys of apk and opkg are published"
    );
    let keyrings = || bench.names("site/apt/pool/main/a/acme-archive-keyring").len();
    assert_eq!(keyrings(), 2, "the keyring with both keys is a new version");

    sign(&bench, "next", Some("keys"));
    keep("known-both");
    assert_eq!((gpgv("known-both"), gpgv("known-old")), (2, 1));
    by("known-both").ok();
    signify("known-both");
    let said = by("known-old");
    assert_eq!(said.code(), 1);
    let said = said.stdout();
    assert!(
        said.contains("opkg/mipsel_24kc/Packages.sig: is no signature"),
        "{said}"
    );
    assert!(
        !said.contains("apk/") && !said.contains("apt/"),
        "apt and apk verify by the old key still: {said}"
    );

    sign(&bench, "next", None);
    by("known-both").ok();
    assert_eq!(
        bench.names("site/keys").len(),
        3,
        "the old ones are published no longer"
    );
    assert_eq!(keyrings(), 4);
    let said = by("known-old").stdout();
    for part in ["apk/mipsel_24kc/packages.adb", "apt/dists/stable/InRelease"] {
        assert!(said.contains(part), "the old key is believed no longer: {said}");
    }
}

#[test]
fn a_package_whose_script_holds_a_secret_is_refused() {
    let bench = published();
    bench.write(
        "tree/DEBIAN/control",
        "Package: leak\nVersion: 1\nArchitecture: all\nMaintainer: A <a@b>\nDescription: x\n",
    );
    let script = format!("#!/bin/sh\n# ghp_{}\n", "a".repeat(36));
    bench.tool(
        "chmod",
        &[
            "0755",
            bench.write("tree/DEBIAN/postinst", script).to_str().expect("text"),
        ],
    );
    bench.tool("dpkg-deb", &["--root-owner-group", "--build", "tree", "leak.deb"]);
    let said = bench
        .run(&["repo", "add", "site", "--keys", "keys", "leak.deb"])
        .invalid();
    assert!(
        said.contains("its script postinst line 2 holds an access token"),
        "{said}"
    );
}

#[test]
fn signify_refuses_an_edited_list_a_replaced_one_and_another_key() {
    let bench = published();
    let at = |name: &str| format!("site/opkg/mipsel_24kc/{name}");
    let check = |key: &str| {
        let (list, signature) = (at("Packages"), at("Packages.sig"));
        let mut command = std::process::Command::new("signify-openbsd");
        command.args(["-V", "-p", key, "-x", &signature, "-m", &list]);
        command
            .current_dir(bench.path(""))
            .output()
            .expect("signify")
            .status
            .success()
    };
    let own = "site/keys/acme-opkg.pub";
    assert!(check(own));
    let list = bench.read(&at("Packages"));
    let text = String::from_utf8(list.clone()).expect("text");
    bench.write(&at("Packages"), text.replace("Version: 1.4.2-1", "Version: 1.4.3-1"));
    assert!(!check(own), "edited");
    bench.write(&at("Packages"), "");
    assert!(!check(own), "replaced");
    bench.write(&at("Packages"), list);
    bench.run(&["repo", "key", "new", "--out", "others"]).ok();
    bench.tool("cp", &["-r", "site", "elsewhere"]);
    bench
        .run_with(&["repo", "sign", "elsewhere", "--keys", "others"], TIME)
        .ok();
    assert!(!check("elsewhere/keys/acme-opkg.pub"), "another key");
    std::fs::remove_file(bench.path(&at("Packages.sig"))).expect("removed");
    assert!(!check(own), "no signature");
}

#[test]
fn a_vendors_colour_is_on_the_page_and_nothing_but_a_colour_is_taken() {
    let bench = Bench::new();
    bench.build(&[]).ok();
    bench.run(&["repo", "key", "new", "--out", "keys"]).ok();
    let build = |accent: &str| {
        let words = [
            "repo", "build", "site", "--keys", "keys", "--name", "acme", "--title", "Acme",
        ];
        let more = [
            "--maintainer",
            "Acme <a@acme.example>",
            "--url",
            "https://acme.example",
            "--allow-dev",
            "dist",
        ];
        bench.run(&[&words[..], &more, &["--accent", accent]].concat())
    };
    let said = build("red; } body { display: none").invalid();
    assert!(said.contains("accent") && said.contains("#1f6feb"), "{said}");
    build("#0f766e").ok();
    let page = String::from_utf8(bench.read("site/index.html")).expect("text");
    assert!(page.contains("--accent: #0f766e;"), "{page}");
}

#[test]
fn a_repository_whose_keys_change_is_added_to_by_both() {
    let bench = published();
    bench.run(&["repo", "key", "new", "--out", "next"]).ok();
    bench.edit("version = \"1.4.2\"", "version = \"1.4.3\"");
    bench.build(&[]).ok();
    let words = [
        "repo",
        "add",
        "site",
        "--keys",
        "keys",
        "--also",
        "next",
        "--allow-dev",
        "dist",
    ];
    bench.run_with(&words, TIME).ok();
    bench.tool("cp", &["-r", "site/keys", "known-old"]);
    bench
        .run_with(&["repo", "sign", "site", "--keys", "next", "--also", "keys"], TIME)
        .ok();
    let said = bench
        .run_with(&["repo", "verify", "site", "--trusted", "known-old"], TIME)
        .stdout();
    assert!(!said.contains("apk/") && !said.contains("apt/"), "{said}");
    let page = String::from_utf8(bench.read("site/index.html")).expect("text");
    assert!(page.contains("while keys change"), "{page}");
}
