use proptest::prelude::*;

use super::*;
use crate::formats::control::Stanza;
use crate::formats::testing::{deb, ipk, long_path, msi, pkg, run};
use crate::formats::{Entry, Tree, gzip, tar};

fn row<'a>(report: &'a Report, path: &str) -> &'a FileRow {
    report
        .files
        .iter()
        .find(|f| f.path == path)
        .unwrap_or_else(|| panic!("{path} is not listed"))
}

#[test]
fn a_deb_is_reported_with_fields_files_scripts_and_conffiles() {
    let report = inspect(&deb().to_bytes().unwrap()).unwrap();
    assert_eq!(report.kind, PackageKind::Deb);
    assert_eq!(report.problems, [""; 0]);
    // Not the stanza itself: a line that starts with a dot is written with one more blank and reads back with it.
    assert_eq!(report.control.to_string(), deb().stanza().unwrap().to_string());
    let probe = row(&report, "/usr/bin/probe");
    assert_eq!(
        (probe.mode.as_str(), probe.uid, probe.gid, probe.size),
        ("0755", 0, 0, 17)
    );
    assert_eq!(probe.sha256, Some(hash::sha256(b"#!/bin/sh\nexit 0\n")));
    assert_eq!(row(&report, "/usr/bin/probe-too").target.as_deref(), Some("probe"));
    assert_eq!(row(&report, &format!("/{}", long_path())).size, 5);
    assert_eq!(report.conffiles, ["/etc/probe/another.conf", "/etc/probe/probe.conf"]);
    assert_eq!(Some(&report.scripts[0].text), deb().scripts.postinst.as_ref());
}

#[test]
fn an_ipk_and_a_pkg_are_reported_and_sound() {
    let report = inspect(&ipk().to_bytes().unwrap()).unwrap();
    assert_eq!((report.kind, report.problems.len()), (PackageKind::Ipk, 0));
    assert_eq!(report.control.get("Architecture"), Some("mipsel_24kc"));
    assert_eq!(report.scripts.len(), 1);
    let report = inspect(&pkg().to_bytes().unwrap()).unwrap();
    assert_eq!(report.kind, PackageKind::Pkg);
    assert_eq!(report.problems, [""; 0]);
    assert_eq!(report.control.get("identifier"), Some("example.vendor.agent"));
    assert_eq!(report.control.get("minimum-os"), Some("11.0"));
    let jos = row(&report, "/usr/local/bin/jos");
    assert_eq!((jos.mode.as_str(), jos.uid, jos.gid, jos.size), ("0755", 0, 80, 3000));
    assert_eq!(report.scripts[0].name, "postinstall");
}

#[test]
fn an_msi_is_reported_and_sound() {
    let report = inspect(&msi().to_bytes().unwrap()).unwrap();
    assert_eq!((report.kind, report.problems.as_slice()), (PackageKind::Msi, &[][..]));
    let field = |name: &str| report.control.get(name).unwrap_or_default();
    assert_eq!(field("ProductName"), "Probe & Söhne");
    assert_eq!((field("ProductVersion"), field("Platform")), ("1.2.3.1", "x64;1033"));
    assert_eq!(field("Service-probe-Start"), "automatic");
    assert_eq!(
        field("Service-probe-Arguments"),
        "run --config \"[CommonAppDataFolder]probe\\probe settings.toml\""
    );
    assert_eq!(report.conffiles, ["/ProgramData/probe/probe settings.toml"]);
    let program = row(&report, "/Program Files/Probe & Söhne/probe.exe");
    assert_eq!(
        (program.size, program.sha256.clone()),
        (70_000, Some(hash::sha256(&[0x4D; 70_000])))
    );
    assert_eq!(row(&report, "/ProgramData/probe/key").mode, "0600");
    let secrets = row(&report, "/ProgramData/probe/secrets");
    assert_eq!((secrets.kind, secrets.mode.as_str()), (FileKind::Dir, "0700"));
    assert!(report.scripts.is_empty(), "it runs nothing of its own");
}

#[test]
fn a_report_is_json_and_text() {
    let report = inspect(&deb().to_bytes().unwrap()).unwrap();
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["kind"], "deb");
    assert_eq!(json["control"]["Package"], "probe");
    assert_eq!(json["files"][0]["kind"], "dir");
    let text = report.to_string();
    assert!(text.starts_with("Debian package (.deb), "), "{text}");
    assert!(
        text.contains("\nPackage: probe\n") && text.contains("/usr/bin/probe-too -> probe\n"),
        "{text}"
    );
    assert!(text.contains("  | set -e\n"), "{text}");
}

#[test]
fn dpkgs_own_packages_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("p/DEBIAN");
    std::fs::create_dir_all(&root).unwrap();
    let control = "Package: probe\nVersion: 1\nArchitecture: all\nMaintainer: A <a@b.example>\nDescription: x\n";
    std::fs::write(root.join("control"), control).unwrap();
    std::fs::write(dir.path().join("p/first"), "same").unwrap();
    std::fs::hard_link(dir.path().join("p/first"), dir.path().join("p/second")).unwrap();
    for how in ["xz", "gzip", "none"] {
        run(
            dir.path(),
            "dpkg-deb",
            &["--root-owner-group", &format!("-Z{how}"), "-b", "p", "p.deb"],
        );
        let report = inspect_file(&dir.path().join("p.deb")).unwrap();
        assert_eq!(report.problems, [""; 0]);
        assert_eq!(row(&report, "/second").sha256, Some(hash::sha256(b"same")));
    }
    run(dir.path(), "dpkg-deb", &["-Zzstd", "-b", "p", "p.deb"]);
    let said = inspect_file(&dir.path().join("p.deb")).unwrap_err().to_string();
    assert!(
        said.contains("expected control.tar") && said.contains("control.tar.zst"),
        "{said}"
    );
}

#[test]
fn what_is_wrong_but_readable_is_a_problem() {
    let mut package = ipk();
    package.tree.file("etc/other", 0o644, "x").unwrap();
    let data = tar::write(&package.tree, 0, tar::Owners::Numeric).unwrap();
    let mut control = Tree::new();
    control
        .file("control", 0o644, "Package: p\nVersion: 1\nInstalled-Size: 7\n")
        .unwrap();
    control.file("conffiles", 0o644, "/etc/other\n/etc/absent\n").unwrap();
    let control = tar::write(&control, 0, tar::Owners::Numeric).unwrap();
    let (data, control) = (
        gzip::compress("d", &data).unwrap(),
        gzip::compress("c", &control).unwrap(),
    );
    let members: [(&str, &[u8]); 3] = [
        ("debian-binary", b"2.0\n"),
        ("data.tar.gz", &data),
        ("control.tar.gz", &control),
    ];
    let outer = gzip::compress("o", &tar::write_files(&members, 0).unwrap()).unwrap();
    let report = inspect(&outer).unwrap();
    let all = report.problems.join("\n");
    assert_eq!(report.problems.len(), 3, "{all}");
    assert!(
        all.contains("Architecture") && all.contains("Installed-Size is 7") && all.contains("/etc/absent"),
        "{all}"
    );
    assert!(report.to_string().contains("\nProblems:\n"));
}

/// A tar header for `name`, made without our writer's rules.
fn raw_tar(name: &str, kind: u8, link: &str) -> Vec<u8> {
    let mut header = ::tar::Header::new_gnu();
    let bytes = header.as_mut_bytes();
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    bytes[157..157 + link.len()].copy_from_slice(link.as_bytes());
    if kind == b'S' {
        // A sparse file that claims 8 GiB in one empty block.
        bytes[483..494].copy_from_slice(b"77777777777");
        bytes[386..397].copy_from_slice(b"77777777777");
        bytes[398..409].copy_from_slice(b"00000000000");
    }
    header.set_entry_type(::tar::EntryType::new(kind));
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    header.set_cksum();
    let mut out = header.as_bytes().to_vec();
    out.resize(out.len() + 1024, 0);
    out
}

#[test]
fn a_slip_or_a_device_in_a_foreign_package_is_refused() {
    for (name, kind, link, why) in [
        ("../../etc/cron.d/x", b'0', "", "`..`"),
        ("/etc/passwd", b'0', "", "absolute"),
        ("./dev/sda", b'4', "", "type '4'"),
        ("./pipe", b'6', "", "type '6'"),
        ("./hard", b'1', "/etc/shadow", "hard link"),
        ("./soft", b'2', "../../etc/shadow", "leaves the root"),
        ("./sparse", b'S', "", "type 'S'"),
    ] {
        let package = gzip::compress("p", &raw_tar(name, kind, link)).unwrap();
        let said = inspect(&package).unwrap_err().to_string();
        assert!(said.contains(why), "{name}: {said}");
    }
}

#[test]
fn escape_sequences_from_a_package_do_not_reach_the_terminal() {
    let mut report = inspect(&deb().to_bytes().unwrap()).unwrap();
    report.control = Stanza {
        fields: vec![("Description".into(), "\u{1b}]0;owned\u{7}".into())],
    };
    report.scripts[0].text = "\u{1b}[2J".into();
    assert!(!report.to_string().contains('\u{1b}'));
}

#[test]
fn junk_is_refused_by_what_it_begins_with() {
    assert!(inspect(b"").unwrap_err().to_string().contains("empty"));
    let said = inspect(b"PK\x03\x04 zip").unwrap_err().to_string();
    assert!(said.contains("504b0304") && said.contains(".deb"), "{said}");
    let dir = tempfile::tempdir().unwrap();
    assert!(
        inspect_file(dir.path())
            .unwrap_err()
            .to_string()
            .contains("regular file")
    );
    let said = inspect_file(&dir.path().join("absent.deb")).unwrap_err().to_string();
    assert!(said.contains("absent.deb"), "{said}");
}

#[test]
fn a_decompression_bomb_is_stopped_at_the_limit() {
    let bomb = gzip::compress("bomb", &vec![0; 4 << 20]).unwrap();
    assert!(
        gzip::decompress("bomb", &bomb, 1 << 20)
            .unwrap_err()
            .to_string()
            .contains("limit of 1048576")
    );
    let bomb = crate::formats::xz::compress("bomb", &vec![0; 4 << 20]).unwrap();
    assert!(
        crate::formats::xz::decompress("bomb", &bomb, 1 << 20)
            .unwrap_err()
            .to_string()
            .contains("limit")
    );
}

fn packages() -> [Vec<u8>; 5] {
    let gz = crate::formats::DebPackage {
        compression: crate::formats::deb::DebCompression::Gzip,
        ..deb()
    };
    [
        deb().to_bytes().unwrap(),
        gz.to_bytes().unwrap(),
        ipk().to_bytes().unwrap(),
        pkg().to_bytes().unwrap(),
        msi().to_bytes().unwrap(),
    ]
}

#[test]
fn every_truncation_is_refused() {
    for bytes in packages() {
        // The last byte of a .deb may be padding, which is not missed.
        for n in (0..bytes.len() - 1).step_by(17).chain([bytes.len() - 2]) {
            assert!(inspect(&bytes[..n]).is_err(), "cut to {n} of {}", bytes.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_bytes_behind_any_magic_never_panic(
        kind in 0usize..6,
        tail in proptest::collection::vec(any::<u8>(), 0..4000),
    ) {
        let magic: &[u8] = [&b"!<arch>\ndebian-binary   0           0     0     100644  4         `\n2.0\n"[..],
            b"\x1f\x8b\x08\0\0\0\0\0\0\x03", b"xar!\0\x1c\0\x01", b"", b"!<arch>\n", crate::formats::msi::MAGIC][kind];
        let _ = inspect(&[magic, &tail].concat());
    }

    #[test]
    fn random_archives_inside_sound_compression_never_panic(
        tail in proptest::collection::vec(any::<u8>(), 0..4000),
        at in 0usize..2000,
        byte: u8,
    ) {
        let _ = inspect(&gzip::compress("x", &tail).unwrap());
        let mut tree = Tree::new();
        tree.insert(Entry::file("debian-binary", 0o644, "2.0\n")).unwrap();
        tree.file("control.tar.gz", 0o644, tail).unwrap();
        tree.symlink("x".repeat(120), "y".repeat(150)).unwrap();
        let mut plain = tar::write(&tree, 0, tar::Owners::NamedRoot).unwrap();
        plain[at] = byte;
        let _ = inspect(&gzip::compress("x", &plain).unwrap());
    }

    #[test]
    fn one_changed_byte_never_panics(which in 0usize..5, at: prop::sample::Index, byte: u8) {
        let mut bytes = packages()[which].clone();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = inspect(&bytes);
    }
}
