//! macOS installer products.

use roxmltree::{Document, Node, ParsingOptions};

use super::report::{FileRow, PackageKind, Report, ScriptRow};
use crate::formats::bom::{self, RowKind};
use crate::formats::control::Stanza;
use crate::formats::{Entry, EntryKind, FormatError, Tree, UNPACKED_LIMIT, cpio, gzip, xar};

pub(super) fn inspect(bytes: &[u8]) -> Result<Report, FormatError> {
    let members = xar::read(bytes)?;
    let part = |path: &str| members.iter().find(|m| m.path == path).map(|m| m.bytes.as_slice());
    let mut report = Report::new(PackageKind::Pkg, Stanza::default(), &Tree::new());
    match part("Distribution") {
        Some(bytes) => distribution(&text("Distribution", bytes)?, &mut report)?,
        None => report
            .problems
            .push("there is no Distribution: this is a component, not a product".to_owned()),
    }
    let infos: Vec<_> = members
        .iter()
        .filter(|m| m.path.rsplit('/').next() == Some("PackageInfo"))
        .collect();
    if infos.is_empty() {
        return Err(FormatError::damaged(
            "package",
            "expected an installer with a PackageInfo, found none",
        ));
    }
    for info in infos {
        let folder = info.path.strip_suffix("PackageInfo").unwrap_or("");
        // A product of several components tells their fields apart by their folder.
        let prefix = if report.control.get("identifier").is_some() {
            folder.replace('/', "-")
        } else {
            String::new()
        };
        package_info(&text(&info.path, &info.bytes)?, &prefix, &mut report)?;
        let unpack = |name: &str| -> Result<Tree, FormatError> {
            let path = format!("{folder}{name}");
            let Some(bytes) = part(&path) else {
                return Ok(Tree::new());
            };
            cpio::read(&path, &gzip::decompress(&path, bytes, UNPACKED_LIMIT)?)
        };
        let payload = unpack("Payload")?;
        for script in unpack("Scripts")?.entries() {
            if let EntryKind::File(bytes) = &script.kind {
                report.scripts.push(ScriptRow::new(&script.path, bytes));
            }
        }
        match part(&format!("{folder}Bom")) {
            Some(bill) => check_bill(&bom::read(bill)?, &payload, &mut report.problems),
            None => report.problems.push(format!("{folder}Bom is missing")),
        }
        report.files.extend(payload.entries().map(FileRow::of));
        report.tree.graft("", payload)?;
    }
    Ok(report)
}

/// The bill must name the payload's entries, no more and no fewer, with their modes, owners and sums.
fn check_bill(rows: &[bom::Row], payload: &Tree, problems: &mut Vec<String>) {
    let rows: std::collections::BTreeMap<&str, &bom::Row> = rows
        .iter()
        .filter_map(|r| Some((r.path.strip_prefix("./")?, r)))
        .collect();
    for entry in payload.entries() {
        match rows.get(entry.path.as_str()) {
            None => problems.push(format!("the Bom does not name {:?}", entry.path)),
            Some(row) if !agrees(row, entry) => problems.push(format!("the Bom says otherwise of {:?}", entry.path)),
            Some(_) => {}
        }
    }
    for path in rows.keys().filter(|path| payload.get(path).is_none()) {
        problems.push(format!("the Bom names {path:?}, which is not in the payload"));
    }
}

fn agrees(row: &bom::Row, entry: &Entry) -> bool {
    let content = match &entry.kind {
        EntryKind::File(bytes) => {
            row.kind == RowKind::File && row.cksum == bom::cksum(bytes) && u64::from(row.size) == entry.size()
        }
        EntryKind::Dir => row.kind == RowKind::Dir,
        EntryKind::Symlink(target) => row.kind == RowKind::Symlink && row.target == *target,
    };
    content && row.mode & 0o7777 == entry.mode && (row.uid, row.gid) == (entry.uid, entry.gid)
}

fn distribution(xml: &str, report: &mut Report) -> Result<(), FormatError> {
    let document = parse("Distribution", xml)?;
    let root = document.root_element();
    let find = |name: &str| root.descendants().find(|n| n.has_tag_name(name));
    push(report, "title", find("title").and_then(|n| n.text()));
    push(report, "organization", find("organization").and_then(|n| n.text()));
    push(
        report,
        "host-architectures",
        find("options").and_then(|n| n.attribute("hostArchitectures")),
    );
    push(
        report,
        "minimum-os",
        find("os-version").and_then(|n| n.attribute("min")),
    );
    Ok(())
}

fn package_info(xml: &str, prefix: &str, report: &mut Report) -> Result<(), FormatError> {
    let document = parse("PackageInfo", xml)?;
    let root: Node<'_, '_> = document.root_element();
    for name in ["identifier", "version", "install-location", "auth"] {
        push(report, &format!("{prefix}{name}"), root.attribute(name));
    }
    Ok(())
}

/// A value that is no plain field (line breaks, blanks around it) is left out with a problem.
fn push(report: &mut Report, name: &str, value: Option<&str>) {
    let Some(value) = value.map(str::trim).filter(|v| !v.is_empty()) else {
        return;
    };
    if value.contains('\n') || report.control.push(name, value).is_err() {
        report.problems.push(format!(
            "{name} has a value that is not one line of text, or is there twice"
        ));
    }
}

fn parse<'a>(part: &str, xml: &'a str) -> Result<Document<'a>, FormatError> {
    let options = ParsingOptions {
        allow_dtd: false,
        nodes_limit: 100_000,
        ..ParsingOptions::default()
    };
    Document::parse_with_options(xml, options).map_err(|e| FormatError::damaged(part, e.to_string()))
}

fn text(part: &str, bytes: &[u8]) -> Result<String, FormatError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| FormatError::damaged(part, "is not UTF-8"))
}
