//! The reader behind `jos-image inspect`: packages of any origin.

use jos_images::formats::control::Description;
use jos_images::formats::deb::DebCompression;
use jos_images::formats::msi::MsiService;
use jos_images::formats::{
    DebControl, DebPackage, IpkControl, IpkPackage, MsiInfo, MsiPackage, PkgInfo, PkgPackage, Scripts, Tree, inspect,
};

/// A package is reported on or refused; both can be printed, and the report is JSON.
pub fn package_inspect(data: &[u8]) {
    match inspect(data) {
        Ok(report) => {
            serde_json::to_vec(&report).expect("a report is plain data");
            let text = report.to_string();
            let steering = text.chars().find(|c| c.is_control() && *c != '\n');
            assert!(steering.is_none(), "{steering:?} stands in {text:?}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Small packages of every kind, as seeds.
pub(crate) fn written() -> Vec<(&'static str, Vec<u8>)> {
    let mut tree = Tree::new();
    tree.file("usr/bin/probe", 0o755, "#!/bin/sh\n").expect("a path");
    tree.symlink("usr/bin/probe-too", "probe").expect("a path");
    tree.conffile("etc/probe.conf", 0o644, "x = 1\n").expect("a path");
    let description = || Description {
        synopsis: "program that looks".to_owned(),
        extended: "It says what it sees.\n".to_owned(),
    };
    let scripts = Scripts {
        postinst: Some("#!/bin/sh\nexit 0\n".to_owned()),
        ..Scripts::default()
    };
    let deb = |compression| DebPackage {
        control: DebControl {
            package: "probe".to_owned(),
            version: "1.2.3".to_owned(),
            architecture: "all".to_owned(),
            maintainer: "Ann <ann@vendor.example>".to_owned(),
            description: description(),
            ..DebControl::default()
        },
        scripts: scripts.clone(),
        tree: tree.clone(),
        compression,
        ..DebPackage::default()
    };
    let ipk = IpkPackage {
        control: IpkControl {
            package: "probe".to_owned(),
            version: "1.2.3-r1".to_owned(),
            architecture: "mipsel_24kc".to_owned(),
            description: description(),
            ..IpkControl::default()
        },
        scripts: scripts.clone(),
        tree: tree.clone(),
        epoch: 0,
    };
    let pkg = PkgPackage {
        info: PkgInfo {
            identifier: "example.vendor.probe".to_owned(),
            version: "1.2.3".to_owned(),
            title: "Probe".to_owned(),
            minimum_os: "11.0".to_owned(),
            architectures: vec!["arm64".to_owned()],
            ..PkgInfo::default()
        },
        postinstall: scripts.postinst.clone(),
        tree: tree.clone(),
        ..PkgPackage::default()
    };
    let mut windows = Tree::new();
    windows
        .file("Program Files/Probe/probe.exe", 0o755, "MZ")
        .expect("a path");
    windows
        .conffile("ProgramData/probe/probe.conf", 0o600, "x = 1\n")
        .expect("a path");
    let text = |text: &str| text.to_owned();
    let msi = MsiPackage {
        info: MsiInfo {
            name: text("probe"),
            product: text("Probe"),
            manufacturer: text("Ann"),
            version: text("1.2.3"),
            ..MsiInfo::default()
        },
        tree: windows,
        program: text("Program Files/Probe/probe.exe"),
        service: MsiService {
            name: text("probe"),
            display: text("Probe"),
            ..MsiService::default()
        },
        ..MsiPackage::default()
    };
    vec![
        ("probe-xz.deb", deb(DebCompression::Xz).to_bytes().expect("a package")),
        ("probe-gz.deb", deb(DebCompression::Gzip).to_bytes().expect("a package")),
        ("probe.ipk", ipk.to_bytes().expect("a package")),
        ("probe.pkg", pkg.to_bytes().expect("a package")),
        ("probe.msi", msi.to_bytes().expect("a package")),
    ]
}
