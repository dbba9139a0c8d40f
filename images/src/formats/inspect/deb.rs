//! Debian binary packages, deb(5).

use super::report::{PackageKind, Report, ScriptRow};
use super::untar::{control_text, untar};
use crate::formats::control::Stanza;
use crate::formats::{EntryKind, FormatError, Tree, UNPACKED_LIMIT, ar, gzip, hash, xz};

const SCRIPTS: [&str; 5] = ["config", "postinst", "postrm", "preinst", "prerm"];

pub(super) fn inspect(bytes: &[u8]) -> Result<Report, FormatError> {
    let members = ar::read(bytes)?;
    // deb(5): members whose name starts with an underscore may come in front of data.tar and are passed over.
    let mut members = members.iter().filter(|m| !m.name.starts_with('_'));
    let version = members.next().filter(|m| m.name == "debian-binary");
    let version = version.ok_or_else(|| FormatError::damaged("package", "expected debian-binary as first member"))?;
    if !version.bytes.starts_with(b"2.") {
        return Err(FormatError::damaged("debian-binary", "expected format version 2"));
    }
    let control = archive(members.next(), "control.tar")?;
    let tree = archive(members.next(), "data.tar")?;
    let text = control_text(&control, "control")?;
    let text = text.ok_or_else(|| FormatError::damaged("control.tar", "there is no file `control`"))?;
    let mut report = Report::new(PackageKind::Deb, Stanza::parse("control", &text)?, &tree);
    if let Some(extra) = members.next() {
        report
            .problems
            .push(format!("there is a member {:?} after data.tar", extra.name));
    }
    for field in ["Package", "Version", "Architecture", "Maintainer", "Description"] {
        if report.control.get(field).is_none() {
            report
                .problems
                .push(format!("control has no field {field}, which deb-control(5) asks for"));
        }
    }
    for name in SCRIPTS {
        if let Some(EntryKind::File(bytes)) = control.get(name).map(|e| &e.kind) {
            report.scripts.push(ScriptRow::new(name, bytes));
        }
    }
    report.take_conffiles(&control_text(&control, "conffiles")?.unwrap_or_default(), &tree);
    check_sums(
        &control_text(&control, "md5sums")?.unwrap_or_default(),
        &tree,
        &mut report.problems,
    );
    Ok(report)
}

fn archive(member: Option<&ar::Member<'_>>, name: &str) -> Result<Tree, FormatError> {
    let found = member.map_or("nothing", |m| m.name);
    let wrong = || {
        FormatError::damaged(
            "package",
            format!("expected {name}, {name}.gz or {name}.xz, found {found:?}"),
        )
    };
    let member = member.ok_or_else(wrong)?;
    match member.name.strip_prefix(name) {
        Some("") => untar(name, member.bytes),
        Some(".gz") => untar(name, &gzip::decompress(name, member.bytes, UNPACKED_LIMIT)?),
        Some(".xz") => untar(name, &xz::decompress(name, member.bytes, UNPACKED_LIMIT)?),
        _ => Err(wrong()),
    }
}

/// deb-md5sums(5): 32 digits, two blanks, the path without a leading slash.
fn check_sums(text: &str, tree: &Tree, problems: &mut Vec<String>) {
    for line in text.lines().filter(|l| !l.is_empty()) {
        let Some((sum, path)) = line.split_once("  ") else {
            problems.push(format!("md5sums has a line that is not `sum  path`: {line:?}"));
            continue;
        };
        match tree.get(path).map(|e| &e.kind) {
            Some(EntryKind::File(bytes)) if hash::md5(bytes) == sum => {}
            Some(EntryKind::File(_)) => problems.push(format!("md5sums has another sum for {path:?}")),
            _ => problems.push(format!("md5sums names {path:?}, which is no file of the package")),
        }
    }
}
