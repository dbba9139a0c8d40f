//! What proves where outputs come from: signed statements, `verify`, `verify --rebuild` and `diff`, held against openssl.

mod common;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::Bench;
use serde_json::Value;

const FOLDER: &str = "dist/lobby";
const PREBUILT: [&str; 2] = ["--builder", "prebuilt=programs"];

fn built() -> Bench {
    let bench = Bench::new();
    bench.build(&[]).ok();
    bench
}

fn envelopes(bench: &Bench) -> Vec<Value> {
    let text = String::from_utf8(bench.read("dist/lobby/provenance.intoto.jsonl")).expect("text");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn decoded(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().expect("text")).expect("base64")
}

#[test]
fn each_output_has_a_statement_of_slsa_provenance_and_openssl_verifies_its_signature() {
    let bench = built();
    // The public key as openssl reads one (RFC 8410), out of what signify reads.
    let public = String::from_utf8(bench.read("dist/lobby/SHA256SUMS.pub")).expect("text");
    let public = STANDARD
        .decode(public.lines().nth(1).expect("two lines"))
        .expect("base64");
    let head = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    bench.write("key.der", [&head, &public[10..]].concat());
    let mut subjects = Vec::new();
    for envelope in envelopes(&bench) {
        let kind = envelope["payloadType"].as_str().expect("text");
        assert_eq!(kind, "application/vnd.in-toto+json");
        let payload = decoded(&envelope["payload"]);
        let signed = [
            format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).as_bytes(),
            &payload,
        ]
        .concat();
        bench.write("signed", &signed);
        bench.write("signature", decoded(&envelope["signatures"][0]["sig"]));
        let check = ["pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", "key.der"];
        let files = ["-rawin", "-in", "signed", "-sigfile", "signature"];
        bench.tool("openssl", &[&check[..], &files].concat());

        let statement: Value = serde_json::from_slice(&payload).expect("JSON");
        assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
        assert_eq!(statement["predicateType"], "https://slsa.dev/provenance/v1");
        let subject = statement["subject"][0]["name"].as_str().expect("text").to_owned();
        let sum = bench.tool("sha256sum", &[&format!("{FOLDER}/{subject}")]);
        assert_eq!(statement["subject"][0]["digest"]["sha256"], sum[..64]);
        let definition = &statement["predicate"]["buildDefinition"];
        assert_eq!(definition["externalParameters"]["profile"], "lobby");
        let from = definition["resolvedDependencies"].as_array().expect("list");
        let names: Vec<&str> = from.iter().filter_map(|d| d["name"].as_str()).collect();
        let (triple, other) = match subject.ends_with("arm64.deb") {
            true => (
                "program:aarch64-unknown-linux-musl",
                "program:mipsel-unknown-linux-musl",
            ),
            false => (
                "program:mipsel-unknown-linux-musl",
                "program:aarch64-unknown-linux-musl",
            ),
        };
        for name in ["baseline:lobby/baseline.toml", "profile:lobby.toml", triple] {
            assert!(names.contains(&name), "{subject}: {names:?}");
        }
        assert!(
            !names.contains(&other),
            "{subject} was made of the other program as well: {names:?}"
        );
        subjects.push(subject);
    }
    let packages: Vec<_> = bench.names(FOLDER);
    let packages: Vec<_> = packages
        .into_iter()
        .filter(|name| [".deb", ".ipk", ".apk"].iter().any(|end| name.ends_with(end)))
        .collect();
    subjects.sort();
    assert_eq!(subjects, packages);
}

#[test]
fn a_sound_folder_is_verified_and_says_by_which_key() {
    let bench = built();
    let said = bench.run(&["verify", FOLDER]).ok();
    assert!(
        said.contains("3 outputs, each as signed, by the key that lies beside them"),
        "{said}"
    );
    bench.write("known.pub", bench.read("dist/lobby/SHA256SUMS.pub"));
    let said = bench.run(&["verify", FOLDER, "--trusted", "known.pub"]).ok();
    assert_eq!(said, "3 outputs, each as signed\n");
}

#[test]
fn every_changed_missing_or_strange_file_of_a_folder_is_found_and_named() {
    let bench = built();
    for name in bench.names(FOLDER) {
        let path = format!("{FOLDER}/{name}");
        let bytes = bench.read(&path);
        let mut changed = bytes.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        bench.write(&path, changed);
        let run = bench.run(&["verify", FOLDER]);
        let said = run.stdout() + &run.stderr();
        assert!(
            run.code() != 0 && !said.contains("each as signed"),
            "{name} was changed: {said}"
        );
        std::fs::remove_file(bench.path(&path)).expect("removed");
        let run = bench.run(&["verify", FOLDER]);
        let said = run.stdout() + &run.stderr();
        assert!(
            run.code() != 0 && !said.contains("each as signed"),
            "{name} was removed: {said}"
        );
        bench.write(&path, bytes);
    }
    bench.write(&format!("{FOLDER}/extra.deb"), "x");
    let run = bench.run(&["verify", FOLDER]);
    assert_eq!(run.code(), 1);
    assert!(run.stdout().contains("extra.deb: is in no list"), "{}", run.stdout());
}

#[test]
fn another_signers_folder_is_refused_by_the_key_that_was_known() {
    let bench = built();
    bench.write("known.pub", bench.read("dist/lobby/SHA256SUMS.pub"));
    bench.build(&["--out", "again"]).ok();
    std::fs::remove_file(bench.path("cache/dev.key")).expect("the throwaway key");
    bench.build(&[]).ok();
    let run = bench.run(&["verify", FOLDER, "--trusted", "known.pub"]);
    assert_eq!(run.code(), 1);
    let said = run.stdout();
    for expected in [
        "SHA256SUMS.sig: is no signature",
        "line 1 has no signature by the trusted key",
    ] {
        assert!(said.contains(expected), "{said}");
    }
    bench.run(&["verify", "again/lobby", "--trusted", "known.pub"]).ok();
}

#[test]
fn without_the_secret_key_the_same_sources_give_the_same_bytes_and_others_say_where_they_differ() {
    let bench = built();
    std::fs::remove_file(bench.path("cache/dev.key")).expect("the throwaway key");
    let rebuild = || bench.run(&[&["verify", FOLDER, "--rebuild"][..], &PREBUILT].concat());
    let said = rebuild().ok();
    assert!(said.ends_with("built again, the same to the byte\n"), "{said}");
    assert!(!bench.path("cache/dev.key").exists(), "no key was made to do it");

    bench.edit("depends = [\"cups\"]", "depends = [\"cups\", \"avahi-daemon\"]");
    let run = rebuild();
    assert_eq!(run.code(), 1, "{}", run.stderr());
    let said = run.stdout();
    assert!(
        said.contains("lobby-printer_1.4.2-1_arm64.deb: comes out otherwise"),
        "{said}"
    );
    assert!(
        said.contains("field Depends: \"adduser, cups\" → \"adduser, cups, avahi-daemon\""),
        "{said}"
    );

    bench.edit(", \"avahi-daemon\"]", "]");
    let text = String::from_utf8(bench.read("lobby/baseline.toml")).expect("text");
    bench.write("lobby/baseline.toml", text.replace("hello", "goodbye"));
    let said = rebuild().invalid();
    assert!(
        said.contains("is not the baseline that was signed and packaged"),
        "{said}"
    );
}

#[test]
fn diff_says_in_what_two_packages_differ_and_nothing_of_equal_ones() {
    let bench = built();
    let deb = "dist/lobby/lobby-printer_1.4.2-1_arm64.deb";
    assert_eq!(bench.run(&["diff", deb, deb]).ok(), "the same to the byte\n");

    bench.edit("version = \"1.4.2\"", "version = \"1.4.3\"");
    let text = String::from_utf8(bench.read("lobby/baseline.toml")).expect("text");
    bench.write("lobby/baseline.toml", text.replace("version = 3", "version = 4"));
    bench.write("extra.txt", "extra\n");
    let profile = String::from_utf8(bench.read("lobby.toml")).expect("text");
    let files = "\n[[files]]\npath = \"/srv/extra\"\nsource = \"extra.txt\"\nmode = \"0600\"\n";
    bench.write("lobby.toml", profile + files);
    bench.build(&["--out", "new"]).ok();
    let new = "new/lobby/lobby-printer_1.4.3-1_arm64.deb";
    let run = bench.run(&["diff", deb, new, "--json"]);
    assert_eq!(run.code(), 1);
    let value: Value = serde_json::from_str(&run.stdout()).expect("JSON");
    let all = value["differences"].as_array().expect("list");
    let find = |what: &str, name: &str, value: &str| all.iter().find(|d| d["what"] == what && d[name] == value);
    let field = find("field", "name", "Version").expect("the version");
    assert_eq!((&field["old"], &field["new"]), (&"1.4.2-1".into(), &"1.4.3-1".into()));
    let added = find("added", "path", "/srv/extra").expect("the new file");
    assert_eq!(added["size"], 6);
    let baseline = find("content", "path", "/usr/share/jos/baseline.json").expect("the baseline");
    let lines = baseline["diff"].as_str().expect("lines");
    assert!(lines.lines().any(|l| l.starts_with('-') && l.contains('3')), "{lines}");
    assert!(
        find("content", "path", "/usr/bin/jos").is_none(),
        "the program is the same"
    );

    let ipk = "dist/lobby/lobby-printer_1.4.2-1_mipsel_24kc.ipk";
    let run = bench.run(&["diff", deb, ipk]);
    assert_eq!((run.code(), run.stdout().lines().next()), (1, Some("kind: deb → ipk")));
    let said = bench.run(&["diff", deb, "lobby.toml"]).invalid();
    assert!(said.contains("lobby.toml"), "{said}");
}

#[test]
fn an_enrolment_token_is_in_no_statement() {
    let bench = Bench::new();
    let token = format!("jos1-{}", "a".repeat(160));
    bench.write("token", &token);
    let profile = String::from_utf8(bench.read("lobby.toml")).expect("text");
    bench.write(
        "lobby.toml",
        profile + "\n[hub]\nurl = \"https://hub.example\"\ntoken = \"token\"\n",
    );
    bench.build(&[]).ok();
    for envelope in envelopes(&bench) {
        let payload = String::from_utf8(decoded(&envelope["payload"])).expect("text");
        let sum = bench.tool("sha256sum", &["token"]);
        assert!(!payload.contains("jos1-") && !payload.contains(&sum[..64]), "{payload}");
    }
}
