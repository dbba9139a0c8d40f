//! opkg packages.

use super::report::{PackageKind, Report, ScriptRow};
use super::untar::{control_text, untar};
use crate::formats::control::Stanza;
use crate::formats::{EntryKind, FormatError, Tree, UNPACKED_LIMIT, gzip};

const SCRIPTS: [&str; 6] = ["postinst", "postinst-pkg", "postrm", "preinst", "prerm", "prerm-pkg"];

pub(super) fn inspect(bytes: &[u8]) -> Result<Report, FormatError> {
    let outer = untar("package", &gzip::decompress("package", bytes, UNPACKED_LIMIT)?)?;
    let member = |name: &str| match outer.get(name).map(|e| &e.kind) {
        Some(EntryKind::File(bytes)) => Ok(bytes.as_slice()),
        _ => Err(FormatError::damaged(
            "package",
            format!("expected an opkg package with ./{name}, found {}", names(&outer)),
        )),
    };
    if member("debian-binary")? != b"2.0\n" {
        return Err(FormatError::damaged("debian-binary", "expected 2.0"));
    }
    let control = gzip::decompress("control.tar.gz", member("control.tar.gz")?, UNPACKED_LIMIT)?;
    let control = untar("control.tar.gz", &control)?;
    let data = gzip::decompress("data.tar.gz", member("data.tar.gz")?, UNPACKED_LIMIT)?;
    let tree = untar("data.tar.gz", &data)?;
    let text = control_text(&control, "control")?;
    let text = text.ok_or_else(|| FormatError::damaged("control.tar.gz", "there is no file `control`"))?;
    let mut report = Report::new(PackageKind::Ipk, Stanza::parse("control", &text)?, &tree);
    for field in ["Package", "Version", "Architecture"] {
        if report.control.get(field).is_none() {
            report.problems.push(format!("control has no field {field}"));
        }
    }
    if let Some(size) = report
        .control
        .get("Installed-Size")
        .filter(|s| *s != data.len().to_string())
    {
        let problem = format!(
            "Installed-Size is {size}, the uncompressed data archive has {} bytes",
            data.len()
        );
        report.problems.push(problem);
    }
    for name in SCRIPTS {
        if let Some(EntryKind::File(bytes)) = control.get(name).map(|e| &e.kind) {
            report.scripts.push(ScriptRow::new(name, bytes));
        }
    }
    report.take_conffiles(&control_text(&control, "conffiles")?.unwrap_or_default(), &tree);
    Ok(report)
}

fn names(outer: &Tree) -> String {
    let names: Vec<_> = outer.entries().take(5).map(|e| format!("{:?}", e.path)).collect();
    if names.is_empty() {
        "an empty archive".to_owned()
    } else {
        names.join(", ")
    }
}
