//! `jos-image repo`: a folder that opkg, apk and apt would take packages from, held against their own tools, and every way to
//! tamper with it.

mod common;

use std::path::Path;

use common::{Bench, Run, TIME, build, published};

fn verify(bench: &Bench) -> Run {
    bench.run_with(&["repo", "verify", "site"], TIME)
}

#[test]
fn opkgs_list_is_signed_for_signify_and_names_each_package_by_size_and_sum() {
    let bench = published();
    let at = |name: &str| format!("site/opkg/mipsel_24kc/{name}");
    let key = "site/keys/acme-opkg.pub";
    bench.tool(
        "signify-openbsd",
        &["-V", "-p", key, "-x", &at("Packages.sig"), "-m", &at("Packages")],
    );
    let list = String::from_utf8(bench.read(&at("Packages"))).expect("text");
    let file = "lobby-printer_1.4.2-1_mipsel_24kc.ipk";
    let package = bench.read(&at(file));
    assert!(
        list.contains(&format!("\nFilename: {file}\nSize: {}\nSHA256sum: ", package.len())),
        "{list}"
    );
    let sum = bench.tool("sha256sum", &[&at(file)]);
    assert!(list.contains(&sum[..64]), "{list}");
    assert!(
        list.find("SHA256sum") < list.find("Description") && list.ends_with("\n\n"),
        "{list}"
    );
    assert_eq!(bench.tool("gzip", &["-dc", &at("Packages.gz")]), list);
    // The file's name in /etc/opkg/keys is the key's number, as usign prints it.
    let settings: serde_json::Value = serde_json::from_slice(&bench.read("site/repo.json")).expect("JSON");
    let number = settings["opkg_number"].as_str().expect("a number").to_owned();
    let page = String::from_utf8(bench.read("site/index.html")).expect("text");
    assert!(page.contains(&format!("/etc/opkg/keys/{number}")), "{page}");
}

#[test]
fn apks_index_names_signed_packages_by_their_hash() {
    let bench = published();
    let pem = String::from_utf8(bench.read("site/keys/acme-apk.pem")).expect("text");
    let keys = [jos_apk::PublicKey::from_pem(&pem).expect("a key")];
    let limits = jos_apk::Limits::default();
    let index = jos_apk::Index::verified(&bench.read("site/apk/mipsel_24kc/packages.adb"), &keys, limits);
    let index = index.expect("signed");
    assert_eq!(index.packages.len(), 1);
    let file = bench.read(&format!("site/apk/mipsel_24kc/{}", index.packages[0].file_name()));
    let blocks = jos_apk::block::Blocks::from_bytes(&file, limits).expect("a package");
    assert_eq!(index.packages[0].hash, blocks.hash());
    assert!(blocks.verify(&keys).is_ok());
}

#[test]
fn apts_release_is_signed_for_gpgv_both_ways_and_its_lists_lie_under_their_hashes() {
    let bench = published();
    let keyring = bench.path("site/keys/acme-archive-keyring.gpg").display().to_string();
    let suite = "site/apt/dists/stable";
    let (inline, apart, plain) = (
        format!("{suite}/InRelease"),
        format!("{suite}/Release.gpg"),
        format!("{suite}/Release"),
    );
    bench.tool("gpgv", &["--keyring", &keyring, &inline]);
    bench.tool("gpgv", &["--keyring", &keyring, &apart, &plain]);
    let release = String::from_utf8(bench.read(&plain)).expect("text");
    assert!(
        release.contains("Date: Sat, 21 Nov 2026 00:00:00 UTC\nValid-Until: Mon, 21 Dec 2026 00:00:00 UTC\n"),
        "{release}"
    );
    assert!(
        release.contains("Architectures: arm64\n") && release.contains("Acquire-By-Hash: yes\n"),
        "{release}"
    );
    for line in release.lines().filter(|line| line.starts_with(' ')) {
        let [sum, _, name] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let folder = Path::new(name).parent().expect("folder").display().to_string();
        assert_eq!(
            bench.read(&format!("{suite}/{name}")),
            bench.read(&format!("{suite}/{folder}/by-hash/SHA256/{sum}"))
        );
    }
    let keyring = "site/apt/pool/main/a/acme-archive-keyring/acme-archive-keyring_1_all.deb";
    let said = bench.tool("lintian", &["--fail-on", "error", keyring]);
    assert!(!said.contains("\nE:"), "{said}");
    bench.tool("dpkg-deb", &["-x", keyring, "root"]);
    assert_eq!(
        bench.read("root/usr/share/keyrings/acme-archive-keyring.gpg"),
        bench.read("site/keys/acme-archive-keyring.gpg")
    );
    assert_eq!(
        bench.read("root/etc/apt/sources.list.d/acme.sources"),
        bench.read("site/apt/acme.sources")
    );
}

#[test]
fn the_same_packages_keys_and_time_give_the_same_bytes() {
    let bench = published();
    build(&bench, "again", "dist").ok();
    let (first, second) = (common::tree(&bench.path("site")), common::tree(&bench.path("again")));
    assert!(first.len() > 20);
    assert_eq!(first, second);
    // Signing what is there changes nothing, either.
    bench.run_with(&["repo", "sign", "site", "--keys", "keys"], TIME).ok();
    assert_eq!(common::tree(&bench.path("site")), first);
}

#[test]
fn a_sound_repository_is_verified_and_says_by_which_keys() {
    let bench = published();
    let said = verify(&bench).ok();
    assert!(said.contains("--trusted"), "{said}");
    let said = bench
        .run_with(&["repo", "verify", "site", "--trusted", "site/keys"], TIME)
        .ok();
    assert_eq!(said, "every signature, sum and package agrees\n");
}

#[test]
fn every_changed_file_of_a_repository_is_found_and_named() {
    let bench = published();
    for (file, whole) in common::tree(&bench.path("site")) {
        // The page and what an older index left under its hash are not signed; the settings only name things.
        if file == "index.html" || file == "repo.json" || file.ends_with(".sources") {
            continue;
        }
        let mut changed = whole.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        bench.write(&format!("site/{file}"), &changed);
        let run = verify(&bench);
        assert_ne!(run.code(), 0, "{file}");
        bench.write(&format!("site/{file}"), &whole);
    }
    verify(&bench).ok();
}

#[test]
fn a_removed_package_a_strange_one_another_key_and_an_old_index_are_found() {
    let bench = published();
    let ipk = "site/opkg/mipsel_24kc/lobby-printer_1.4.2-1_mipsel_24kc.ipk";
    let whole = bench.read(ipk);
    std::fs::remove_file(bench.path(ipk)).expect("removed");
    let run = verify(&bench);
    assert_eq!(run.code(), 1);
    assert!(
        run.stdout()
            .contains("lobby-printer_1.4.2-1_mipsel_24kc.ipk: No such file"),
        "{}",
        run.stdout()
    );
    bench.write(ipk, &whole);
    bench.write("site/opkg/mipsel_24kc/strange.ipk", &whole);
    assert!(verify(&bench).stdout().contains("strange.ipk: is in no list"));
    std::fs::remove_file(bench.path("site/opkg/mipsel_24kc/strange.ipk")).expect("removed");

    bench.run(&["repo", "key", "new", "--out", "others"]).ok();
    let run = bench.run_with(&["repo", "sign", "site", "--keys", "others"], TIME);
    run.ok();
    let said = bench.run_with(&["repo", "verify", "site", "--trusted", "site/keys"], TIME);
    said.ok();
    bench.run_with(&["repo", "sign", "site", "--keys", "keys"], TIME).ok();
    verify(&bench).ok();

    let later = &[("SOURCE_DATE_EPOCH", "1797900000")];
    let run = bench.run_with(&["repo", "verify", "site"], later);
    assert_eq!(run.code(), 1);
    assert!(
        run.stdout().contains("Valid-Until") && run.stdout().contains("repo sign"),
        "{}",
        run.stdout()
    );
}

#[test]
fn another_signers_repository_is_refused_by_the_keys_that_were_known() {
    let bench = published();
    bench.tool("cp", &["-r", "site/keys", "known"]);
    bench.run(&["repo", "key", "new", "--out", "others"]).ok();
    bench.run_with(&["repo", "sign", "site", "--keys", "others"], TIME).ok();
    let run = bench.run_with(&["repo", "verify", "site", "--trusted", "known"], TIME);
    assert_eq!(run.code(), 1);
    for file in [
        "Packages.sig",
        "packages.adb",
        "InRelease",
        "Release.gpg",
        "keys/acme-archive-keyring.gpg",
    ] {
        assert!(run.stdout().contains(file), "{file}: {}", run.stdout());
    }
    // The keyring with another key is a newer package, so that machines take it.
    assert!(
        bench
            .path("site/apt/pool/main/a/acme-archive-keyring/acme-archive-keyring_2_all.deb")
            .exists()
    );
}

#[test]
fn a_package_with_a_secret_is_refused_and_nothing_is_written() {
    let bench = published();
    bench.write(
        "tree/DEBIAN/control",
        "Package: leak\nVersion: 1\nArchitecture: all\nMaintainer: A <a@b.example>\nDescription: x\n",
    );
    bench.write("tree/etc/wpa.conf", "ssid=x\nwpa_passphrase=correct horse\n");
    bench.tool("dpkg-deb", &["--root-owner-group", "-b", "tree", "leak.deb"]);
    let before = common::tree(&bench.path("site"));
    let run = bench.run_with(&["repo", "add", "site", "--keys", "keys", "leak.deb"], TIME);
    let said = run.invalid();
    assert!(
        said.contains("/etc/wpa.conf line 2") && !said.contains("correct horse"),
        "{said}"
    );
    assert_eq!(common::tree(&bench.path("site")), before);
}

#[test]
fn a_package_that_names_a_place_outside_the_repository_is_refused_and_nothing_is_written() {
    let bench = published();
    let before = common::tree(&bench.path("site"));
    for (name, version, architecture) in [
        ("../../up", "1", "all"),
        ("up", "1/../../../up", "all"),
        ("up", "1", "../../../../up"),
        ("", "1", "all"),
        ("é", "1", "all"),
    ] {
        let control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: A <a@b.example>\nDescription: x\n"
        );
        let _ = std::fs::remove_dir_all(bench.path("tree"));
        bench.write("tree/control", control);
        bench.write("tree/debian-binary", "2.0\n");
        bench.tool("tar", &["-C", "tree", "-czf", "tree/control.tar.gz", "./control"]);
        bench.tool("tar", &["-C", "tree", "-czf", "tree/data.tar.gz", "-T", "/dev/null"]);
        let _ = std::fs::remove_file(bench.path("odd.deb"));
        let members = [
            "rc",
            "odd.deb",
            "tree/debian-binary",
            "tree/control.tar.gz",
            "tree/data.tar.gz",
        ];
        bench.tool("ar", &members);
        bench
            .run_with(&["repo", "add", "site", "--keys", "keys", "odd.deb"], TIME)
            .invalid();
        assert_eq!(
            common::tree(&bench.path("site")),
            before,
            "{name} {version} {architecture}"
        );
    }
    assert_eq!(bench.names(".").iter().filter(|name| name.contains("up")).count(), 0);
}

#[test]
fn a_package_whose_devices_trust_a_throwaway_key_is_refused_unless_asked_for() {
    let bench = published();
    let before = common::tree(&bench.path("site"));
    let said = bench
        .run_with(&["repo", "add", "site", "--keys", "keys", "dist"], TIME)
        .invalid();
    assert!(said.contains("throwaway key") && said.contains("--allow-dev"), "{said}");
    assert_eq!(common::tree(&bench.path("site")), before);
}

#[test]
fn another_content_under_a_published_version_is_refused() {
    let bench = published();
    bench.edit("Lobby Printer", "Lobby Printer II");
    bench.build(&[]).ok();
    let before = common::tree(&bench.path("site"));
    let said = bench
        .run_with(&["repo", "add", "site", "--keys", "keys", "--allow-dev", "dist"], TIME)
        .invalid();
    assert!(said.contains("new version or release"), "{said}");
    assert_eq!(common::tree(&bench.path("site")), before);
}

#[test]
fn bad_use_is_refused_with_what_to_do() {
    let bench = published();
    let refused = |args: &[&str], words: &[&str]| {
        let said = bench.run_with(args, TIME).invalid();
        assert!(words.iter().all(|word| said.contains(word)), "{args:?}: {said}");
    };
    refused(&["repo", "key", "new", "--out", "keys"], &["not overwritten"]);
    refused(
        &["repo", "sign", "dist", "--keys", "keys"],
        &["no repository", "repo build"],
    );
    refused(&["repo", "add", "site", "--keys", "keys", "nowhere"], &["nowhere"]);
    refused(&["repo", "add", "site", "--keys", "dist", "dist"], &["repo key new"]);
    let build = |name: &str, url: &str, dir: &str| {
        let args = [
            "repo",
            "build",
            dir,
            "--keys",
            "keys",
            "--name",
            name,
            "--title",
            "T",
            "--maintainer",
            "T <t@t.example>",
            "--url",
            url,
            "dist",
        ];
        args.map(str::to_owned)
    };
    for (args, words) in [
        (build("Acme", "https://x", "new"), ["--name", "a-z"]),
        (build("acme", "ftp://x", "new"), ["--url", "https://"]),
        (build("acme", "https://x", "site"), ["not empty", "repo add"]),
    ] {
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        refused(&args, &words);
    }
    assert!(!bench.path("new").exists());
    std::fs::set_permissions(
        bench.path("keys/apk.pem"),
        std::os::unix::fs::PermissionsExt::from_mode(0o644),
    )
    .expect("mode");
    refused(
        &["repo", "sign", "site", "--keys", "keys"],
        &["apk.pem may be read by others", "chmod 600"],
    );
}

#[test]
fn a_repository_is_served_to_a_lab_and_ends_when_told() {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::process::{Command, Stdio};

    let bench = published();
    let mut server = Command::new(env!("CARGO_BIN_EXE_jos-image"))
        .args(["repo", "serve", "site", "--listen", "127.0.0.1:0", "--json"])
        .current_dir(bench.path("."))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("jos-image runs");
    let mut line = String::new();
    BufReader::new(server.stdout.take().expect("piped"))
        .read_line(&mut line)
        .expect("a line");
    let told: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    let get = |path: &str, more: &str| {
        let mut stream =
            std::net::TcpStream::connect(told["address"].as_str().expect("an address")).expect("connected");
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\r\n"
        )
        .expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("answered");
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
        (
            String::from_utf8_lossy(&answer[..end]).into_owned(),
            answer[end..].to_vec(),
        )
    };
    let list = bench.read("site/opkg/mipsel_24kc/Packages");
    let (head, body) = get("/opkg/mipsel_24kc/Packages", "");
    assert!(head.starts_with("HTTP/1.1 200") && body == list, "{head}");
    let (head, body) = get("/opkg/mipsel_24kc/Packages", "Range: bytes=5-9\r\n");
    assert!(head.starts_with("HTTP/1.1 206") && body == list[5..10], "{head}");
    let (head, body) = get("/", "");
    assert!(
        head.contains("text/html") && body == bench.read("site/index.html"),
        "{head}"
    );
    for outside in ["/../keys/opkg.key", "/%2e%2e/keys/opkg.key", "/nowhere"] {
        let (head, _) = get(outside, "");
        assert!(!head.starts_with("HTTP/1.1 200"), "{outside}: {head}");
    }
    let pid = server.id().to_string();
    bench.tool("kill", &["-TERM", &pid]);
    assert!(server.wait().expect("ended").success());
    let mut said = String::new();
    server
        .stderr
        .take()
        .expect("piped")
        .read_to_string(&mut said)
        .expect("text");
    assert!(said.contains("127.0.0.1 GET /opkg/mipsel_24kc/Packages 206"), "{said}");
}

#[test]
fn keys_are_secret_files_and_their_values_are_never_printed() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = Bench::new();
    let said = bench.run(&["repo", "key", "new", "--out", "keys"]).ok();
    for name in ["opkg.key", "apt.key", "apk.pem"] {
        let path = bench.path(&format!("keys/{name}"));
        assert_eq!(
            std::fs::metadata(&path).expect("file").permissions().mode() & 0o777,
            0o600
        );
        let text = std::fs::read_to_string(&path).expect("text");
        let secret = text
            .lines()
            .find(|line| line.len() > 30 && !line.contains(' '))
            .unwrap_or("no such line");
        assert!(!said.contains(secret), "{said}");
    }
}
