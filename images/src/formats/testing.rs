//! Helpers for the tests of the formats: the real tools a person would meet, and small trees.

use std::path::Path;
use std::process::{Command, Output};

use super::control::Description;
use super::msi::{Claim, MsiInfo, MsiPackage, MsiService};
use super::pkg::{Pages, PkgInfo, PkgPackage};
use super::{DebControl, DebPackage, Entry, IpkControl, IpkPackage, Scripts, Tree, gzip};

/// 2026-01-02 03:04:05 UTC.
pub(crate) const EPOCH: u32 = 1_767_323_045;

/// Run a tool in `dir` and give back what it said; a tool that is missing or fails fails the test.
pub(crate) fn run(dir: &Path, program: &str, args: &[&str]) -> String {
    let output = run_any(dir, program, args);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {args:?} failed ({}):\n{text}\n{errors}",
        output.status
    );
    text
}

/// Run a tool in `dir`, whatever its exit code.
pub(crate) fn run_any(dir: &Path, program: &str, args: &[&str]) -> Output {
    Command::new(program)
        .args(args)
        .current_dir(dir)
        .env("TZ", "UTC")
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}; scripts/setup installs it"))
}

/// A tree with a program, a conffile, a link, a long path and an empty directory.
pub(crate) fn tree() -> Tree {
    let mut tree = Tree::new();
    tree.file("usr/bin/probe", 0o755, "#!/bin/sh\nexit 0\n").unwrap();
    tree.symlink("usr/bin/probe-too", "probe").unwrap();
    tree.conffile("etc/probe/probe.conf", 0o644, "greeting = hello\n")
        .unwrap();
    tree.insert(Entry::file("etc/probe/another.conf", 0o640, "x = 1\n").as_conffile())
        .unwrap();
    tree.dir("var/lib/probe", 0o750).unwrap();
    tree.file(long_path(), 0o644, "deep\n").unwrap();
    tree
}

/// A path of more than 100 bytes, which ustar's name field cannot hold.
pub(crate) fn long_path() -> String {
    format!("usr/share/probe/{}/{}/leaf.txt", "a".repeat(60), "b".repeat(60))
}

/// A package without a complaint from lintian.
pub(crate) fn deb() -> DebPackage {
    let mut tree = tree();
    let doc = "usr/share/doc/probe";
    tree.file(format!("{doc}/copyright"), 0o644, COPYRIGHT).unwrap();
    tree.file(
        format!("{doc}/changelog.gz"),
        0o644,
        gzip::compress("changelog", CHANGELOG.as_bytes()).unwrap(),
    )
    .unwrap();
    let page = gzip::compress("man page", MAN.as_bytes()).unwrap();
    tree.file("usr/share/man/man1/probe.1.gz", 0o644, page).unwrap();
    tree.symlink("usr/share/man/man1/probe-too.1.gz", "probe.1.gz").unwrap();
    DebPackage {
        control: DebControl {
            package: "probe".into(),
            version: "1.2.3".into(),
            architecture: "all".into(),
            maintainer: "Ann Vendor <ann@vendor.example>".into(),
            depends: vec!["adduser".into()],
            suggests: vec!["probe-doc (>= 1.0) | docs".into()],
            homepage: "https://vendor.example/".into(),
            description: description(),
            ..DebControl::default()
        },
        scripts: Scripts {
            postinst: Some("#!/bin/sh\nset -e\nif [ \"$1\" = configure ]; then\n    echo configured\nfi\n".into()),
            ..Scripts::default()
        },
        tree,
        epoch: EPOCH,
        ..DebPackage::default()
    }
}

/// A package as opkg would take it.
pub(crate) fn ipk() -> IpkPackage {
    IpkPackage {
        control: IpkControl {
            package: "probe".into(),
            version: "1.2.3-r1".into(),
            architecture: "mipsel_24kc".into(),
            depends: vec!["libc".into()],
            license: "MIT".into(),
            description: description(),
            ..IpkControl::default()
        },
        scripts: Scripts {
            postinst: Some("#!/bin/sh\nexit 0\n".into()),
            ..Scripts::default()
        },
        tree: tree(),
        epoch: EPOCH,
    }
}

/// An installer with a daemon, its licence and a script.
pub(crate) fn pkg() -> PkgPackage {
    let mut tree = Tree::new();
    tree.insert(Entry::file("usr/local/bin/jos", 0o755, vec![0xCF; 3000]).owned_by(0, 80))
        .unwrap();
    tree.file("Library/LaunchDaemons/example.vendor.agent.plist", 0o644, "<plist/>\n")
        .unwrap();
    let mut resources = Tree::new();
    resources.file("license.txt", 0o644, "Expat\n").unwrap();
    PkgPackage {
        info: PkgInfo {
            identifier: "example.vendor.agent".into(),
            version: "1.2.3".into(),
            title: "Agent <by> Ann & Co".into(),
            organization: "example.vendor".into(),
            minimum_os: "11.0".into(),
            architectures: vec!["arm64".into(), "x86_64".into()],
            pages: Pages {
                license: "license.txt".into(),
                ..Pages::default()
            },
        },
        preinstall: None,
        postinstall: Some("#!/bin/sh\nexit 0\n".into()),
        tree,
        resources,
        epoch: EPOCH,
    }
}

/// A Windows package with a service, settings, a private folder and an icon.
pub(crate) fn msi() -> MsiPackage {
    let mut tree = Tree::new();
    let program = "Program Files/Probe & Söhne/probe.exe";
    tree.file(program, 0o755, vec![0x4D; 70_000]).unwrap();
    tree.dir("ProgramData/probe", 0o700).unwrap();
    tree.conffile("ProgramData/probe/probe settings.toml", 0o644, "greeting = 'hello'\n")
        .unwrap();
    tree.file("ProgramData/probe/share/trust.json", 0o644, "{}\n").unwrap();
    tree.file("ProgramData/probe/key", 0o600, "not told\n").unwrap();
    tree.dir("ProgramData/probe/secrets", 0o700).unwrap();
    MsiPackage {
        info: MsiInfo {
            name: "probe".into(),
            product: "Probe & Söhne".into(),
            manufacturer: "Ann Vendor".into(),
            version: "1.2.3.1".into(),
            comments: "looks and says what it sees (1.2.3-1)".into(),
            help: "https://vendor.example/".into(),
            contact: "ann@vendor.example".into(),
            icon: Some(vec![0, 0, 1, 0, 0, 0]),
        },
        tree,
        program: program.into(),
        service: MsiService {
            name: "probe".into(),
            display: "Probe [test]".into(),
            description: "Looks.".into(),
            arguments: ["run", "--config", "/ProgramData/probe/probe settings.toml"]
                .map(str::to_owned)
                .to_vec(),
        },
        claim: Some(Claim {
            key: "Software\\Probe".into(),
            name: "Only".into(),
            refusal: "Another probe, [OTHER], is installed.".into(),
        }),
        epoch: EPOCH,
    }
}

fn description() -> Description {
    Description {
        synopsis: "program that looks and says what it sees".into(),
        extended: "A longer text about it, which goes on\nover a line.\n\nAnd a second paragraph\n.with a dot first\n"
            .into(),
    }
}

const COPYRIGHT: &str = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: 2026 Ann Vendor <ann@vendor.example>
License: Expat
 Permission is hereby granted, free of charge, to any person obtaining a copy
 of this software to deal in the Software without restriction.
";

const CHANGELOG: &str = "probe (1.2.3) bookworm; urgency=medium

  * Initial release.

 -- Ann Vendor <ann@vendor.example>  Fri, 02 Jan 2026 03:04:05 +0000
";

const MAN: &str = ".TH PROBE 1 2026-01-02 probe probe
.SH NAME
probe \\- look and say what is seen
.SH SYNOPSIS
.B probe
.SH DESCRIPTION
It looks.
";
