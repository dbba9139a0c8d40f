use super::*;
use crate::formats::testing::{EPOCH, ipk, long_path, run};

fn unpacked() -> (tempfile::TempDir, IpkPackage) {
    let (dir, package) = (tempfile::tempdir().unwrap(), ipk());
    assert_eq!(package.file_name(), "probe_1.2.3-r1_mipsel_24kc.ipk");
    std::fs::write(dir.path().join("p.ipk"), package.to_bytes().unwrap()).unwrap();
    (dir, package)
}

#[test]
fn two_builds_give_identical_bytes() {
    assert_eq!(ipk().to_bytes().unwrap(), ipk().to_bytes().unwrap());
}

#[test]
fn tar_finds_the_three_members_in_opkgs_order() {
    let (dir, _) = unpacked();
    assert_eq!(
        run(dir.path(), "tar", &["-tzf", "p.ipk"]),
        "./debian-binary\n./data.tar.gz\n./control.tar.gz\n"
    );
    let long = run(dir.path(), "tar", &["--numeric-owner", "--full-time", "-tvzf", "p.ipk"]);
    assert!(
        long.lines()
            .all(|l| l.starts_with("-rw-r--r-- 0/0 ") && l.contains("2026-01-02 03:04:05")),
        "{long}"
    );
    let head = std::fs::read(dir.path().join("p.ipk")).unwrap();
    assert_eq!(head[3..8], [0; 5], "no name, no time in the gzip header");
}

#[test]
fn installed_size_is_the_uncompressed_data_archive() {
    let (dir, package) = unpacked();
    run(dir.path(), "tar", &["-xzf", "p.ipk"]);
    run(dir.path(), "gunzip", &["-k", "data.tar.gz"]);
    let size = std::fs::metadata(dir.path().join("data.tar")).unwrap().len();
    let control = run(dir.path(), "tar", &["-xzOf", "control.tar.gz", "./control"]);
    assert!(control.contains(&format!("\nInstalled-Size: {size}\n")), "{control}");
    assert!(control.contains(&format!("\nSourceDateEpoch: {EPOCH}\n")), "{control}");
    assert!(control.contains("\nArchitecture: mipsel_24kc\n"), "{control}");
    assert_eq!(package.build().unwrap().stanza.to_string(), control);
    let listing = run(dir.path(), "tar", &["--numeric-owner", "-tvf", "data.tar"]);
    assert!(listing.lines().all(|l| l.contains(" 0/0 ")), "{listing}");
    assert!(listing.contains(&format!("./{}\n", long_path())), "{listing}");
    let scripts = run(dir.path(), "tar", &["-tvzf", "control.tar.gz"]);
    assert!(
        scripts
            .lines()
            .any(|l| l.starts_with("-rwxr-xr-x") && l.ends_with("./postinst")),
        "{scripts}"
    );
    let conffiles = run(dir.path(), "tar", &["-xzOf", "control.tar.gz", "./conffiles"]);
    assert_eq!(conffiles, "/etc/probe/another.conf\n/etc/probe/probe.conf\n");
}

#[test]
fn an_underscore_in_the_name_or_a_blank_in_the_architecture_is_refused() {
    let mut package = ipk();
    package.control.package = "pro_be".into();
    assert!(package.to_bytes().unwrap_err().to_string().starts_with("Package"));
    package = ipk();
    package.control.architecture = "mips 24kc".into();
    assert!(package.to_bytes().unwrap_err().to_string().starts_with("Architecture"));
    package = ipk();
    package.control.license = "MIT\nDepends: x".into();
    assert!(package.to_bytes().unwrap_err().to_string().starts_with("License"));
}
