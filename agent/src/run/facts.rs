//! What a device says of itself once, at its enrolment: shown to people, never taken for identity. Its time zone is what the
//! hub opens maintenance windows by, where nobody has given the device the label `timezone`.

use std::collections::BTreeMap;
use std::path::Path;

/// Of the machine whose files lie below `root`.
pub(crate) fn facts(root: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut put = |name: &str, value: String| {
        let value: String = value
            .trim_matches(['\0', ' ', '\n'])
            .chars()
            .filter(|c| !c.is_control())
            .take(200)
            .collect();
        if !value.is_empty() {
            all.insert(name.to_owned(), value);
        }
    };
    let text = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_default();
    put("hostname", text("proc/sys/kernel/hostname"));
    put("kernel", text("proc/sys/kernel/osrelease"));
    put("arch", std::env::consts::ARCH.to_owned());
    put("os", system(&text("etc/os-release")));
    put("model", text("proc/device-tree/model"));
    let own = std::env::var("TZ").ok();
    put("timezone", timezone(root, own.as_deref()).unwrap_or_default());
    all
}

fn system(release: &str) -> String {
    let line = release.lines().find_map(|l| l.strip_prefix("PRETTY_NAME="));
    line.map_or_else(|| std::env::consts::OS.to_owned(), |l| l.trim_matches('"').to_owned())
}

/// The machine's own setting, by its IANA name or as POSIX writes it; what this process was told (`TZ`) only where there is
/// none. OpenWrt's file is looked at first: what lies beside it is made from it.
fn timezone(root: &Path, own: Option<&str>) -> Option<String> {
    let text = |path: &str| std::fs::read_to_string(root.join(path)).ok();
    let line = |path: &str| Some(text(path)?.lines().next()?.trim().to_owned());
    let link = || {
        let target = std::fs::read_link(root.join("etc/localtime")).ok()?;
        let name = target.to_str()?.split_once("zoneinfo/")?.1;
        let name = name
            .strip_prefix("posix/")
            .or(name.strip_prefix("right/"))
            .unwrap_or(name);
        Some(name.to_owned())
    };
    let uci = || option(&text("etc/config/system")?, "zonename");
    let own = || own.map(|own| own.strip_prefix(':').unwrap_or(own).to_owned());
    let is_one = |name: &String| !name.is_empty() && !name.starts_with('/');
    uci()
        .filter(is_one)
        .or_else(|| link().filter(is_one))
        .or_else(|| line("etc/timezone").filter(is_one))
        .or_else(|| line("etc/TZ").filter(is_one))
        .or_else(|| own().filter(is_one))
}

/// An option of a UCI file. LuCI writes the name of a zone with spaces.
fn option(text: &str, name: &str) -> Option<String> {
    let value = |line: &str| {
        let rest = line.trim().strip_prefix("option")?.trim_start().strip_prefix(name)?;
        rest.starts_with([' ', '\t'])
            .then(|| rest.trim().trim_matches(['\'', '"']).replace(' ', "_"))
    };
    text.lines().find_map(value)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A machine with these files.
    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn the_time_zone_is_found_where_each_system_keeps_it() {
        let linked = |target: &str| {
            let dir = machine(&[("etc/hostname", "x")]);
            symlink(target, dir.path().join("etc/localtime")).unwrap();
            timezone(dir.path(), None)
        };
        let of = |files: &[(&str, &str)], own| timezone(machine(files).path(), own);
        let lima = Some("America/Lima".to_owned());
        // systemd writes it relative, macOS elsewhere.
        assert_eq!(linked("../usr/share/zoneinfo/America/Lima"), lima);
        assert_eq!(linked("/usr/share/zoneinfo/posix/America/Lima"), lima);
        assert_eq!(linked("/var/db/timezone/zoneinfo/America/Lima"), lima);
        assert_eq!(linked("/etc/elsewhere"), None);
        assert_eq!(of(&[("etc/timezone", "America/Lima\n")], None), lima);
        assert_eq!(
            of(&[("etc/TZ", "CST6CDT,M3.2.0,M11.1.0\n")], None),
            Some("CST6CDT,M3.2.0,M11.1.0".into())
        );
        assert_eq!(of(&[], Some(":America/Lima")), lima);
        assert_eq!(of(&[], Some(":/etc/localtime")), None);
        assert_eq!(of(&[], None), None);
    }

    #[test]
    fn openwrt_says_it_in_its_settings_and_what_is_made_from_them_comes_after() {
        let system =
            "config system\n\toption hostname 'x'\n\toption timezone 'CST6'\n\toption zonename 'America/Mexico City'\n";
        let both = machine(&[("etc/config/system", system), ("etc/TZ", "CST6\n")]);
        assert_eq!(timezone(both.path(), Some("UTC")), Some("America/Mexico_City".into()));
        let plain = "config system\n\toption timezone 'CST6'\n";
        let only = machine(&[("etc/config/system", plain), ("etc/TZ", "CST6\n")]);
        assert_eq!(timezone(only.path(), None), Some("CST6".into()));
    }

    #[test]
    fn what_a_device_says_of_itself_has_its_time_zone_and_no_control_characters() {
        let dir = machine(&[
            ("proc/sys/kernel/hostname", "kiosk\x1b[2J\n"),
            ("etc/os-release", "NAME=x\nPRETTY_NAME=\"Debian 12\"\n"),
            ("etc/timezone", "America/Lima\n"),
        ]);
        let facts = facts(dir.path());
        let said = |name: &str| facts.get(name).map(String::as_str);
        assert_eq!(said("hostname"), Some("kiosk[2J"));
        assert_eq!(said("os"), Some("Debian 12"));
        assert_eq!(said("timezone"), Some("America/Lima"));
        assert_eq!(said("model"), None);
    }
}
