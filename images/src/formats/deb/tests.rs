use super::*;
use crate::formats::testing::{EPOCH, deb, long_path, run, run_any};

fn built(package: &DebPackage) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let name = package.file_name();
    std::fs::write(dir.path().join(&name), package.to_bytes().unwrap()).unwrap();
    (dir, name)
}

#[test]
fn two_builds_give_identical_bytes() {
    assert_eq!(deb().to_bytes().unwrap(), deb().to_bytes().unwrap());
    let gz = || DebPackage {
        compression: DebCompression::Gzip,
        ..deb()
    };
    assert_eq!(gz().to_bytes().unwrap(), gz().to_bytes().unwrap());
}

#[test]
fn dpkg_reads_the_fields_as_they_were_given() {
    for compression in [DebCompression::Xz, DebCompression::Gzip] {
        let package = DebPackage { compression, ..deb() };
        let (dir, name) = built(&package);
        assert_eq!(name, "probe_1.2.3_all.deb");
        let field = |field: &str| run(dir.path(), "dpkg-deb", &["-f", &name, field]);
        assert_eq!(field("Package"), "probe\n");
        assert_eq!(field("Maintainer"), "Ann Vendor <ann@vendor.example>\n");
        assert_eq!(field("Depends"), "adduser\n");
        let size = package.tree.installed_kib();
        assert_eq!(field("Installed-Size"), format!("{size}\n"));
        assert_eq!(
            field("Description"),
            "program that looks and says what it sees\n A longer text about it, which goes on\n over a line.\n .\n And a \
             second paragraph\n  .with a dot first\n"
        );
        assert_eq!(
            run(dir.path(), "dpkg-deb", &["-f", &name]),
            package.stanza().unwrap().to_string()
        );
    }
}

#[test]
fn dpkg_unpacks_the_tree_with_its_modes_and_times() {
    let (dir, name) = built(&deb());
    let listing = run(dir.path(), "dpkg-deb", &["--contents", &name]);
    assert!(
        listing.starts_with("drwxr-xr-x root/root         0 2026-01-02 03:04 ./\n"),
        "{listing}"
    );
    assert!(
        listing.contains("-rwxr-xr-x root/root        17 2026-01-02 03:04 ./usr/bin/probe\n"),
        "{listing}"
    );
    assert!(listing.contains("./usr/bin/probe-too -> probe\n"), "{listing}");
    assert!(listing.contains(&format!("./{}\n", long_path())), "{listing}");
    assert!(
        listing.contains("drwxr-x--- root/root         0 2026-01-02 03:04 ./var/lib/probe/\n"),
        "{listing}"
    );
    run(dir.path(), "dpkg-deb", &["-R", &name, "out"]);
    let out = dir.path().join("out");
    assert_eq!(std::fs::read(out.join(long_path())).unwrap(), b"deep\n");
    let sums = run(&out, "md5sum", &["-c", "DEBIAN/md5sums"]);
    assert!(
        sums.contains("usr/bin/probe: OK") && !sums.contains("probe.conf"),
        "{sums}"
    );
    let conffiles = std::fs::read_to_string(out.join("DEBIAN/conffiles")).unwrap();
    assert_eq!(conffiles, "/etc/probe/another.conf\n/etc/probe/probe.conf\n");
    let script = std::fs::read_to_string(out.join("DEBIAN/postinst")).unwrap();
    assert_eq!(Some(script), deb().scripts.postinst);
    let stat = run(&out, "stat", &["-c", "%a %Y", "DEBIAN/postinst", "usr/bin/probe"]);
    assert_eq!(stat, format!("755 {EPOCH}\n755 {EPOCH}\n"));
}

#[test]
fn lintian_has_no_complaint() {
    let (dir, name) = built(&deb());
    // The fixture's 0750 and 0640 are meant: private state and a secret. An upload to Debian is not.
    let meant = "non-standard-dir-perm,non-standard-file-perm,initial-upload-closes-no-bugs";
    let fail_on = ["--fail-on", "error,warning,info"];
    let args = [
        "--no-cfg",
        "--allow-root",
        fail_on[0],
        fail_on[1],
        "--suppress-tags",
        meant,
        &name,
    ];
    let output = run_any(dir.path(), "lintian", &args);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn fields_outside_policy_are_refused_by_name() {
    let refused = |change: fn(&mut DebPackage), field: &str| {
        let mut package = deb();
        change(&mut package);
        let said = package.to_bytes().unwrap_err().to_string();
        assert!(said.starts_with(field), "{said}");
    };
    refused(|p| p.control.package = "Probe".into(), "Package");
    refused(|p| p.control.version = "v1".into(), "Version");
    refused(|p| p.control.architecture = "any".into(), "Architecture");
    refused(|p| p.control.architecture = "a b".into(), "Architecture");
    refused(|p| p.control.maintainer = "Ann".into(), "Maintainer");
    refused(|p| p.control.maintainer = "Ann <a@b>\nDepends: x".into(), "Maintainer");
    refused(|p| p.control.depends = vec!["a, b".into()], "Depends");
    refused(|p| p.control.homepage = "x\ny".into(), "Homepage");
    refused(|p| p.control.description.synopsis = String::new(), "Description");
    refused(|p| p.scripts.prerm = Some("echo no interpreter\n".into()), "prerm");
    refused(|p| p.scripts.prerm = Some("#!/bin/sh\r\n".into()), "prerm");
}

#[test]
fn an_epoch_is_in_the_version_and_not_in_the_file_name() {
    let mut package = deb();
    package.control.version = "2:1.0-1".into();
    assert_eq!(package.file_name(), "probe_1.0-1_all.deb");
}
