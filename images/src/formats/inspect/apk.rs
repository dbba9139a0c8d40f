//! apk packages.

use jos_apk::block::{Blocks, Schema};
use jos_apk::{Content, Dependency, Limits, Package};

use super::report::{PackageKind, Report, ScriptRow};
use crate::formats::control::Stanza;
use crate::formats::{Entry, FormatError, Tree, UNPACKED_LIMIT};

pub(super) fn inspect(bytes: &[u8]) -> Result<Report, FormatError> {
    let blocks = Blocks::from_bytes(bytes, Limits { bytes: UNPACKED_LIMIT })?;
    if blocks.schema == Schema::Index {
        return Err(FormatError::damaged(
            "package",
            "this is an index of packages, expected one package",
        ));
    }
    let package = Package::from_blocks(&blocks)?;
    let tree = tree(&package)?;
    let mut report = Report::new(PackageKind::Apk, control(&package, &blocks)?, &tree);
    let scripts = &package.scripts;
    for (name, text) in [
        ("post-deinstall", &scripts.post_deinstall),
        ("post-install", &scripts.post_install),
        ("post-upgrade", &scripts.post_upgrade),
        ("pre-deinstall", &scripts.pre_deinstall),
        ("pre-install", &scripts.pre_install),
        ("pre-upgrade", &scripts.pre_upgrade),
        ("trigger", &scripts.trigger),
    ] {
        if !text.is_empty() {
            report.scripts.push(ScriptRow::new(name, text.as_bytes()));
        }
    }
    let conffiles = tree.get(&format!("lib/apk/packages/{}.conffiles", package.info.name));
    if let Some(crate::formats::EntryKind::File(text)) = conffiles.map(|e| &e.kind) {
        report.take_conffiles(&String::from_utf8_lossy(text), &tree);
    }
    Ok(report)
}

fn tree(package: &Package) -> Result<Tree, FormatError> {
    let mut tree = Tree::new();
    tree.allow_special_modes();
    for dir in &package.dirs {
        if !dir.path.is_empty() {
            tree.insert(Entry::dir(dir.path.clone(), dir.owner.mode))?;
        }
        for file in &dir.files {
            let path = [dir.path.as_str(), "/", &file.name].concat();
            let path = path.trim_start_matches('/');
            tree.insert(match &file.content {
                Content::File(bytes) => Entry::file(path, file.owner.mode, bytes.clone()),
                Content::Symlink(target) => Entry::symlink(path, target.clone()),
                Content::Hardlink(target) => Entry::symlink(path, format!("/{target}")),
            })?;
        }
    }
    Ok(tree)
}

fn control(package: &Package, blocks: &Blocks) -> Result<Stanza, FormatError> {
    let info = &package.info;
    let names = |all: &[Dependency]| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let number = |number: Option<u64>| number.map(|n| n.to_string()).unwrap_or_default();
    // As one line: another's description may have several.
    let line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut stanza = Stanza::default();
    let fields = [
        ("Package", info.name.clone()),
        ("Version", info.version.clone()),
        ("Architecture", line(&info.arch)),
        ("Depends", names(&info.depends)),
        ("Provides", names(&info.provides)),
        ("Replaces", names(&info.replaces)),
        ("Install-If", names(&info.install_if)),
        ("License", line(&info.license)),
        ("Origin", line(&info.origin)),
        ("Maintainer", line(&info.maintainer)),
        ("URL", line(&info.url)),
        ("Build-Time", number(info.build_time)),
        ("Installed-Size", number(info.installed_size)),
        ("Tree-SHA256", crate::formats::hash::hex(&blocks.hash())),
        ("Signatures", blocks.signatures.len().to_string()),
        ("Description", line(&info.description)),
    ];
    for (name, value) in fields {
        if !value.is_empty() {
            stanza.push(name, &value)?;
        }
    }
    Ok(stanza)
}
