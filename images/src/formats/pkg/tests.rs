use super::*;
use crate::formats::testing::{pkg, run};

fn unpacked() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.pkg"), pkg().to_bytes().unwrap()).unwrap();
    run(dir.path(), "bsdtar", &["-xf", "a.pkg"]);
    dir
}

#[test]
fn two_builds_give_identical_bytes() {
    assert_eq!(pkg().to_bytes().unwrap(), pkg().to_bytes().unwrap());
    assert_eq!(pkg().file_name(), "agent-1.2.3.pkg");
}

#[test]
fn bsdtar_and_7z_find_the_parts_of_a_product() {
    let dir = unpacked();
    run(dir.path(), "7z", &["t", "-txar", "a.pkg"]);
    for part in [
        "Distribution",
        "base.pkg/PackageInfo",
        "base.pkg/Bom",
        "base.pkg/Payload",
        "base.pkg/Scripts",
    ] {
        assert!(dir.path().join(part).is_file(), "{part}");
    }
    let payload = run(dir.path(), "bsdtar", &["--numeric-owner", "-tvf", "base.pkg/Payload"]);
    let row = |start: &str, end: &str| payload.lines().any(|l| l.starts_with(start) && l.ends_with(end));
    assert!(row("-rwxr-xr-x  1 0      80", "./usr/local/bin/jos"), "{payload}");
    assert!(
        row(
            "-rw-r--r--  1 0      0",
            "./Library/LaunchDaemons/example.vendor.agent.plist"
        ),
        "{payload}"
    );
    let scripts = run(dir.path(), "bsdtar", &["-tvf", "base.pkg/Scripts"]);
    assert!(
        scripts
            .lines()
            .any(|l| l.starts_with("-rwxr-xr-x") && l.ends_with("./postinstall")),
        "{scripts}"
    );
}

#[test]
fn the_bill_names_exactly_the_payload() {
    let dir = unpacked();
    let rows = bom::read(&std::fs::read(dir.path().join("base.pkg/Bom")).unwrap()).unwrap();
    let mut billed: Vec<_> = rows.iter().map(|r| r.path.clone()).collect();
    billed.sort();
    let listing = run(dir.path(), "bsdtar", &["-tf", "base.pkg/Payload"]);
    let mut paid: Vec<_> = listing.lines().map(str::to_owned).collect();
    paid.sort();
    assert_eq!(billed, paid);
}

#[test]
fn the_xml_is_well_formed_and_says_what_was_asked() {
    let dir = unpacked();
    let script = "
import sys, xml.etree.ElementTree as E
d = E.parse('Distribution').getroot()
p = E.parse('base.pkg/PackageInfo').getroot()
print(d.tag, d.find('title').text, d.find('options').get('hostArchitectures'), d.find('.//os-version').get('min'))
print(p.get('identifier'), p.get('version'), p.get('install-location'), p.find('payload').get('numberOfFiles'))
print([s.get('file') for s in p.find('scripts')], d.find('license').get('file'), d.findall('pkg-ref')[-1].text)
";
    let said = run(dir.path(), "python3", &["-c", script]);
    assert_eq!(
        said,
        "installer-gui-script Agent <by> Ann & Co arm64,x86_64 11.0\nexample.vendor.agent 1.2.3 / 8\n['./postinstall'] \
         license.txt #base.pkg\n"
    );
}

#[test]
fn what_the_installer_would_not_take_is_refused_by_name() {
    let refused = |change: fn(&mut PkgPackage), why: &str| {
        let mut package = pkg();
        change(&mut package);
        let said = package.to_bytes().unwrap_err().to_string();
        assert!(said.contains(why), "{said}");
    };
    refused(|p| p.info.identifier = "agent".into(), "identifier");
    refused(|p| p.info.identifier = "a.b\" auth=\"none".into(), "identifier");
    refused(|p| p.info.version = "1.2.3-rc1".into(), "version");
    refused(|p| p.info.minimum_os = "".into(), "minimum OS");
    refused(|p| p.info.architectures = vec!["ppc".into()], "architectures");
    refused(|p| p.info.pages.welcome = "absent.txt".into(), "welcome");
    refused(|p| p.postinstall = Some("launchctl".into()), "postinstall");
    refused(|p| p.tree.file("USR/local", 0o644, "").unwrap(), "letter case");
}
