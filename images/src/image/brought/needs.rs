//! Whether a base has what our package and the profile ask of it: nothing can be installed there by its own scripts.

use std::collections::BTreeMap;

use jos_schemas::documents::profile::Image;

use super::super::base::Base;
use super::super::{ImageError, tools};
use crate::formats::DebPackage;
use crate::formats::control::Stanza;

/// What dpkg knows of a root.
struct Installed {
    /// Version of each package by name.
    packages: BTreeMap<String, String>,
    /// Names that packages stand for, and by which.
    provided: BTreeMap<String, String>,
}

impl Installed {
    fn read(status: &str) -> Result<Self, ImageError> {
        let (mut packages, mut provided) = (BTreeMap::new(), BTreeMap::new());
        for text in status.split("\n\n").filter(|t| !t.trim().is_empty()) {
            let stanza = Stanza::parse("the base's dpkg status", text).map_err(|e| ImageError::Unfit(e.to_string()))?;
            let field = |name: &str| stanza.get(name).unwrap_or_default().to_owned();
            if !field("Status").ends_with(" installed") {
                continue;
            }
            for one in field("Provides").split(',') {
                provided.insert(name_of(one).to_owned(), field("Package"));
            }
            packages.insert(field("Package"), field("Version"));
        }
        Ok(Self { packages, provided })
    }

    /// Whether a relation of Debian Policy §7.1 holds, as `cups (>= 2.4) | lprng`.
    fn holds(&self, relation: &str) -> bool {
        relation.split('|').any(|one| {
            let name = name_of(one);
            let asked = one.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
            match (self.packages.get(name), asked) {
                (Some(_), None) => true,
                (Some(version), Some((asked, _))) => {
                    let (operator, than) = asked
                        .trim()
                        .split_at(asked.trim().find(|c| !"<>=".contains(c)).unwrap_or(0));
                    compares(version, operator, than.trim())
                }
                (None, None) => self.provided.contains_key(name),
                (None, Some(_)) => false,
            }
        })
    }
}

/// The name in one alternative: `cups`, of ` cups:any (>= 2.4)`.
fn name_of(relation: &str) -> &str {
    relation.trim().split(['(', ' ', ':']).next().unwrap_or_default()
}

fn compares(version: &str, operator: &str, than: &str) -> bool {
    let ran = tools::command("dpkg")
        .args(["--compare-versions", version, operator, than])
        .status();
    ran.is_ok_and(|status| status.success())
}

/// Refuses where something is missing.
pub(super) fn met(base: &Base, own: &DebPackage, image: &Image, shown: &str) -> Result<(), ImageError> {
    let at = base.tree().join("var/lib/dpkg/status");
    let status = std::fs::read_to_string(&at).map_err(ImageError::io(&at))?;
    let installed = Installed::read(&status)?;
    let refused = |what: String, help: &str| {
        let help = help.to_owned();
        Err(ImageError::Refused { what, help })
    };
    let control = &own.control;
    if let Some(version) = installed.packages.get(&control.package) {
        return refused(
            format!(
                "{shown} has {} {version} already: expected a base without it",
                control.package
            ),
            "bring the image that yours was made from; devices in the field are upgraded by apt",
        );
    }
    for relation in &control.conflicts {
        if installed.holds(relation) {
            let name = name_of(relation);
            let by = installed.provided.get(name).map_or(name, String::as_str);
            return refused(
                format!(
                    "{shown} has the package {by}, which {} cannot stand beside",
                    control.package
                ),
                "bring a base without it",
            );
        }
    }
    let missing: Vec<&str> = control
        .depends
        .iter()
        .map(String::as_str)
        .filter(|relation| !installed.holds(relation))
        .collect();
    if !missing.is_empty() {
        return refused(
            format!(
                "{shown} lacks {}: expected in it what {} depends on",
                missing.join(", "),
                control.package
            ),
            "install it in the base and pin its new hash: a base's packages cannot be configured from outside",
        );
    }
    if image.users.iter().any(|u| !u.ssh_keys.is_empty()) && !base.tree().join("usr/sbin/sshd").exists() {
        return refused(
            format!("{shown} has no /usr/sbin/sshd: expected one, since users under [image] have SSH keys"),
            "install openssh-server in the base and pin its new hash, or leave the keys out",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_are_held_against_what_dpkg_has_installed() {
        let status = "Package: cups\nStatus: install ok installed\nVersion: 2.4.2-3\nProvides: printing (= 1)\n\n\
                      Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n";
        let installed = Installed::read(status).expect("a status");
        for (relation, expected) in [
            ("cups", true),
            ("cups:any (>= 2.4)", true),
            ("cups (>> 2.5) | cups (<< 2.4)", false),
            ("lprng | cups", true),
            ("printing", true),
            ("printing (>= 1)", false),
            ("gone", false),
        ] {
            assert_eq!(installed.holds(relation), expected, "{relation}");
        }
    }
}
