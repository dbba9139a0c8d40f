//! What we write is what others read: a second reader in Python, written from the description of the format alone, and
//! openssl(1) for the signatures.

use std::path::Path;
use std::process::Command;

use jos_apk::{Compression, Content, Dir, File, Index, Limits, Owner, Package, PackageInfo, Scripts, SigningKey};
use serde_json::{Value, json};

fn key() -> SigningKey {
    SigningKey::from_seed([42; 32]).expect("a key")
}

fn dependencies(all: &[&str]) -> Vec<jos_apk::Dependency> {
    all.iter().map(|d| d.parse().expect(d)).collect()
}

fn file(name: &str, mode: u32, content: Content) -> File {
    File {
        name: name.into(),
        owner: Owner::root(mode),
        mtime: 1_795_219_200,
        content,
    }
}

fn dir(path: &str, files: Vec<File>) -> Dir {
    Dir {
        path: path.into(),
        owner: Owner::root(0o755),
        files,
    }
}

fn sample(name: &str, version: &str) -> Package {
    let program: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
    Package {
        info: PackageInfo {
            name: name.into(),
            version: version.into(),
            description: "A guest network with a welcome page, ünïcode and all".into(),
            arch: "mipsel_24kc".into(),
            license: "MIT".into(),
            origin: "feeds/jos/jos-agent".into(),
            maintainer: "The jos authors <maintainers@josfox.dev>".into(),
            url: "https://example.org/".into(),
            repo_commit: vec![0xab; 20],
            build_time: Some(1_795_219_200),
            provider_priority: Some(100),
            depends: dependencies(&["libc", "uci>=1.2-r3", "!jos-agent", "dnsmasq~2.9"]),
            provides: dependencies(&["jos-agent=1.0.0-r1", "cmd:jos=1.0.0-r1"]),
            replaces: dependencies(&["old-portal<2"]),
            install_if: dependencies(&["luci", "jos-agent=1.0.0-r1"]),
            recommends: dependencies(&["ca-bundle"]),
            tags: vec!["openwrt:abiversion=1".into()],
            ..PackageInfo::default()
        },
        dirs: vec![
            dir("", vec![]),
            dir("etc", vec![file("empty", 0o600, Content::File(Vec::new()))]),
            dir("usr", vec![]),
            dir(
                "usr/bin",
                vec![
                    file("jos", 0o755, Content::File(program)),
                    file("portal", 0o777, Content::Symlink("jos".into())),
                    file("small", 0o4755, Content::File(b"x".to_vec())),
                ],
            ),
            dir("var", vec![]),
        ],
        scripts: Scripts {
            post_install: "#!/bin/sh\necho installed\n".into(),
            pre_deinstall: "#!/bin/sh\n".to_owned() + &"# long\n".repeat(12_000),
            ..Scripts::default()
        },
        triggers: vec!["/usr/lib/*".into()],
        replaces_priority: None,
    }
}

fn read(bytes: &[u8], signed_by: &Path) -> Value {
    let dir = tempfile::tempdir().expect("folder");
    let path = dir.path().join("file");
    std::fs::write(&path, bytes).expect("file");
    let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reader.py");
    let done = Command::new("python3")
        .arg(reader)
        .arg(&path)
        .arg(signed_by)
        .output()
        .expect("python3");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).expect("JSON")
}

fn public(dir: &Path) -> std::path::PathBuf {
    let path = dir.join("key.pem");
    std::fs::write(&path, key().public().to_pem().expect("pem")).expect("key");
    path
}

fn texts(all: &[jos_apk::Dependency]) -> Vec<String> {
    let mut texts: Vec<_> = all.iter().map(ToString::to_string).collect();
    texts.sort_by_key(|t| t.trim_start_matches('!').to_owned());
    texts
}

fn told(info: &PackageInfo) -> Value {
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    json!({
        "name": info.name, "version": info.version, "hash": hex(&info.hash), "description": info.description,
        "arch": info.arch, "license": info.license, "origin": info.origin, "maintainer": info.maintainer,
        "url": info.url, "repo_commit": hex(&info.repo_commit), "build_time": info.build_time,
        "installed_size": info.installed_size, "file_size": info.file_size,
        "provider_priority": info.provider_priority, "depends": texts(&info.depends),
        "provides": texts(&info.provides), "replaces": texts(&info.replaces),
        "install_if": texts(&info.install_if), "recommends": texts(&info.recommends), "layer": info.layer,
        "tags": info.tags,
    })
}

#[test]
fn a_second_reader_and_openssl_agree_with_every_field_of_a_package() {
    let dir = tempfile::tempdir().expect("folder");
    let trusted = public(dir.path());
    for compression in [Compression::None, Compression::Deflate] {
        let bytes = sample("portal", "1.0.0-r1")
            .to_bytes(&[&key()], compression)
            .expect("package");
        let ours = Package::from_bytes(&bytes, Limits::default()).expect("read");
        let theirs = read(&bytes, &trusted);
        assert_eq!(theirs["info"], told(&ours.info));
        assert_eq!(theirs["verified"], json!([true]));
        assert_eq!(theirs["scripts"]["pre_deinstall"], ours.scripts.pre_deinstall);
        assert_eq!(theirs["scripts"]["post_install"], ours.scripts.post_install);
        assert_eq!(theirs["triggers"], json!(["/usr/lib/*"]));
        let rows = ours.dirs.iter().flat_map(|dir| {
            let path = |name: &str| format!("{}/{name}", dir.path).trim_start_matches('/').to_owned();
            let own = (dir.path.clone(), dir.owner.mode, "dir", String::new());
            let files = dir.files.iter().map(move |file| match &file.content {
                Content::File(_) => (path(&file.name), file.owner.mode, "file", String::new()),
                Content::Symlink(to) => (path(&file.name), file.owner.mode, "symlink", to.clone()),
                Content::Hardlink(to) => (path(&file.name), file.owner.mode, "hardlink", to.clone()),
            });
            std::iter::once(own).chain(files).collect::<Vec<_>>()
        });
        let told = theirs["files"].as_array().expect("files").iter().map(|row| {
            let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
            let mode = u32::from_str_radix(text("mode").trim_start_matches("0o"), 8).expect("octal");
            (text("path"), mode, text("kind"), text("target"))
        });
        let rows: Vec<_> = rows.map(|(p, m, k, t)| (p, m, k.to_owned(), t)).collect();
        assert_eq!(told.collect::<Vec<_>>(), rows);
    }
}

#[test]
fn a_second_reader_and_openssl_agree_with_every_field_of_an_index() {
    let dir = tempfile::tempdir().expect("folder");
    let trusted = public(dir.path());
    let mut index = Index {
        description: "packages of an example".into(),
        ..Index::default()
    };
    for (name, version) in [
        ("portal", "1.0.0-r10"),
        ("portal", "1.0.0-r9"),
        ("gateway", "2.0_rc1-r1"),
    ] {
        let bytes = sample(name, version)
            .to_bytes(&[], Compression::Deflate)
            .expect("package");
        index.add(&bytes, Limits::default()).expect("taken");
        index
            .add(&bytes, Limits::default())
            .expect("the same again is no other");
    }
    let bytes = index.to_bytes(&[&key()], Compression::Deflate).expect("index");
    let ours = Index::verified(&bytes, &[key().public()], Limits::default()).expect("read");
    let theirs = read(&bytes, &trusted);
    assert_eq!(theirs["packages"], ours.packages.iter().map(told).collect::<Value>());
    assert_eq!(theirs["verified"], json!([true]));
    let order: Vec<_> = ours.packages.iter().map(PackageInfo::file_name).collect();
    assert_eq!(
        order,
        ["gateway-2.0_rc1-r1.apk", "portal-1.0.0-r9.apk", "portal-1.0.0-r10.apk"]
    );
    // What an index says of a package is what that package's reader finds.
    let package = sample("gateway", "2.0_rc1-r1")
        .to_bytes(&[&key()], Compression::None)
        .expect("package");
    assert_eq!(read(&package, &trusted)["tree_sha256"], theirs["packages"][0]["hash"]);
}

/// apk-tools 3.0.6 writes lists of files with the mark of an object.
#[test]
fn a_list_that_is_marked_as_an_object_is_read_as_the_same_list() {
    use jos_apk::block::{Blocks, Schema};
    use jos_apk::value::{Value, decode, encode};
    let blocks = sample("portal", "1.0.0-r1").to_blocks().expect("package");
    let Value::Object(mut root) = decode(&blocks.tree).expect("tree") else {
        panic!("the root is an object");
    };
    root[1] = Value::Object(root[1].items().to_vec());
    let tree = encode(&Value::Object(root)).expect("tree").bytes;
    let other = Blocks::new(Schema::Package, tree, blocks.data.clone());
    let read = Package::from_blocks(&other).expect("read");
    assert_eq!(read.dirs, Package::from_blocks(&blocks).expect("read").dirs);
}

#[test]
fn another_content_under_a_taken_name_and_version_is_refused() {
    let mut index = Index::default();
    let bytes = |package: Package| package.to_bytes(&[], Compression::Deflate).expect("package");
    index
        .add(&bytes(sample("portal", "1.0.0-r1")), Limits::default())
        .expect("taken");
    let mut other = sample("portal", "1.0.0-r1");
    other.info.description = "another".into();
    let refused = index
        .add(&bytes(other), Limits::default())
        .expect_err("taken name")
        .to_string();
    assert!(refused.contains("portal-1.0.0-r1.apk"), "{refused}");
}

#[test]
fn an_index_by_another_key_or_without_a_signature_is_refused_and_says_which() {
    let index = Index::default();
    let other = SigningKey::from_seed([1; 32]).expect("a key");
    let by_other = index.to_bytes(&[&other], Compression::Deflate).expect("index");
    let unsigned = index.to_bytes(&[], Compression::Deflate).expect("index");
    let why = |bytes: &[u8]| {
        let refused = Index::verified(bytes, &[key().public()], Limits::default());
        refused.expect_err("untrusted").to_string()
    };
    assert_eq!(why(&by_other), "signed by none of the trusted keys");
    assert_eq!(why(&unsigned), "not signed");
}

#[test]
fn every_changed_byte_of_a_package_is_refused_or_changes_nothing_that_is_read() {
    let package = sample("portal", "1.0.0-r1");
    let mut small = package.clone();
    small.dirs[3].files[0].content = Content::File(b"program".to_vec());
    small.scripts.pre_deinstall.clear();
    let bytes = small.to_bytes(&[&key()], Compression::None).expect("package");
    let keys = [key().public()];
    for at in 0..bytes.len() {
        let mut other = bytes.clone();
        other[at] ^= 0x10;
        let blocks = jos_apk::block::Blocks::from_bytes(&other, Limits::default());
        let read = blocks.and_then(|b| b.verify(&keys).map(drop).and_then(|()| Package::from_blocks(&b)));
        assert!(read.is_err(), "byte {at}");
    }
}
