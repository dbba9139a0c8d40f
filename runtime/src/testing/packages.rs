//! A package manager that is played.

use std::path::Path;

use super::Machine;
use crate::world::{PackageChange, PackageWish, Packages, Ran};

/// The repository's first entry of a name is its best.
impl Packages for Machine {
    fn manager(&self) -> &'static str {
        "played"
    }
    fn own(&self) -> Option<String> {
        Some("vendor-agent".into())
    }
    fn installed(&self, name: &str) -> Result<Option<String>, String> {
        Ok(self.installed.borrow().get(name).cloned())
    }
    fn preview(&self, wish: &PackageWish) -> Result<Vec<PackageChange>, String> {
        let before = |name: &str| self.installed.borrow().get(name).cloned();
        let change = |name: &str, after: Option<&str>| PackageChange {
            name: name.into(),
            before: before(name),
            after: after.map(str::to_owned),
            ..PackageChange::default()
        };
        let repository = self.repository.borrow();
        if wish.absent {
            let needs = |(n, _, needs): &&(&str, &str, &[&str])| needs.contains(&&*wish.name) && before(n).is_some();
            let along = repository.iter().filter(needs).map(|(n, ..)| change(n, None));
            return Ok(std::iter::once(change(&wish.name, None)).chain(along).collect());
        }
        let fits = |(n, v, _): &&(&str, &str, _)| *n == wish.name && wish.version.as_deref().is_none_or(|w| w == *v);
        let (name, version, needs) = repository.iter().find(fits).ok_or("no such package")?;
        let new = needs.iter().filter(|n| before(n).is_none());
        let new = new.map(|n| change(n, repository.iter().find(|r| r.0 == *n).map(|r| r.1)));
        Ok(new.chain([change(name, Some(version))]).collect())
    }
    fn origins(&self, _: &str, _: &str) -> Result<Vec<String>, String> {
        Ok(vec!["http://repo/main/x.deb".into()])
    }
    fn can_save(&self, name: &str, version: &str) -> bool {
        let repository = self.repository.borrow();
        repository.iter().any(|(n, v, _)| (*n, *v) == (name, version))
    }
    fn save(&self, name: &str, version: &str, folder: &Path) -> Result<String, String> {
        if !self.can_save(name, version) {
            return Err("it is in no repository".into());
        }
        let file = format!("{name}_{version}.deb");
        std::fs::write(folder.join(&file), "").map_err(|e| e.to_string())?;
        Ok(file)
    }
    fn refresh(&self) -> Result<(), String> {
        Ok(())
    }
    fn download(&self, _: &PackageWish) -> Result<(), String> {
        Ok(())
    }
    fn act(&self, wish: &PackageWish) -> Result<Ran, String> {
        for change in self.preview(wish)? {
            let mut installed = self.installed.borrow_mut();
            match change.after {
                Some(version) => drop(installed.insert(change.name, version)),
                None => drop(installed.remove(&change.name)),
            }
        }
        let text = format!("{} {}", if wish.absent { "remove" } else { "install" }, wish.name);
        let code = Some(i32::from(self.failing.borrow().contains(&text)));
        self.ran.borrow_mut().push(text);
        Ok(Ran {
            code,
            output_sha256: "cd".repeat(32),
            ..Ran::default()
        })
    }
    fn back(&self, changes: &[PackageChange], folder: &Path) -> Result<(), String> {
        for change in changes {
            let mut installed = self.installed.borrow_mut();
            match &change.before {
                None => drop(installed.remove(&change.name)),
                Some(version) if installed.get(&change.name) != Some(version) => {
                    let file = change.file.as_ref().ok_or("not saved")?;
                    if !folder.join(file).exists() {
                        return Err(format!("{file} is gone"));
                    }
                    installed.insert(change.name.clone(), version.clone());
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}
