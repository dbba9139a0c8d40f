//! The package that brings an archive's key and address to a machine, and keeps both up to date there.

use super::{Keys, RepoError, Settings, apt, openpgp};
use crate::formats::control::Description;
use crate::formats::{DebControl, DebPackage, Tree, date, gzip};

/// The package. Its time is the same for ever, so that it changes with the key alone.
pub(super) fn package(settings: &Settings, keys: &Keys) -> Result<DebPackage, RepoError> {
    let name = format!("{}-archive-keyring", settings.name);
    let version = settings.keyring_version;
    let maintainer = &settings.maintainer;
    let doc = format!("usr/share/doc/{name}");
    let changelog = format!(
        "{name} ({version}) stable; urgency=medium\n\n  * The key {}.\n\n -- {maintainer}  {}\n",
        keys.all_apt()
            .iter()
            .map(|key| openpgp::fingerprint(&key.public()))
            .collect::<Vec<_>>()
            .join(", and the key "),
        date::rfc_5322(openpgp::KEY_CREATED, "+0000")
    );
    let copyright = format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\n\
         Copyright: {maintainer}\nLicense: public-domain\n A public key and an address are facts; copy them freely.\n"
    );
    let overrides = format!(
        "# To bring the source of packages to a machine is what this package is for.\n\
         {name}: package-installs-apt-sources *\n"
    );
    let sources = format!("etc/apt/sources.list.d/{}.sources", settings.name);
    let mut tree = Tree::new();
    tree.file(
        format!("usr/share/keyrings/{}", settings.keyring_file()),
        0o644,
        keys.certificate(settings)?,
    )?;
    tree.conffile(sources, 0o644, apt::sources(settings))?;
    tree.file(format!("{doc}/copyright"), 0o644, copyright)?;
    tree.file(
        format!("{doc}/changelog.gz"),
        0o644,
        gzip::compress("changelog", changelog.as_bytes())?,
    )?;
    tree.file(format!("usr/share/lintian/overrides/{name}"), 0o644, overrides)?;
    Ok(DebPackage {
        control: DebControl {
            package: name,
            version: version.to_string(),
            architecture: "all".into(),
            maintainer: maintainer.clone(),
            section: "misc".into(),
            homepage: settings.url.clone(),
            description: Description {
                synopsis: "key and address of a package archive".into(),
                extended: format!(
                    "Brings the key that signs the packages of {} and the address\nwhere apt finds them.",
                    settings.title
                ),
            },
            ..DebControl::default()
        },
        tree,
        epoch: openpgp::KEY_CREATED,
        ..DebPackage::default()
    })
}
