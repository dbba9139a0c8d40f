//! Seeds: what one device alone has (its name, its token, its wireless network), laid on the boot partition of a finished image.
//!
//! Owns: the table of devices, the seed's text, and putting it into a copy of an image. The image itself is neither built again
//! nor changed, so thousand devices share one base, one signature and one bill of materials. A device's first boot takes its
//! seed and removes it.
//! Never: shows a value in an error or a log.

pub mod csv;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jos_schemas::report::{Issue, MOST, Report};

use crate::image::{ImageError, sound_passphrase, sound_ssid, table, tools};
use crate::targets::nearest_of;
use csv::Field;

/// The seed's name on the boot partition.
pub const FILE: &str = "jos-seed.txt";
/// What an image that takes seeds has on its boot partition.
pub const READ_ME: &str = "jos-image.txt";

/// The one time of seeds, 2026-11-21: that of their making would be another each time.
const EPOCH: u64 = 1_795_219_200;

/// Columns of the table besides `name`, which are also the keys of a seed.
const KEYS: [&str; 4] = ["hostname", "token", "wifi_ssid", "wifi_passphrase"];

/// One device.
#[derive(Clone, PartialEq, Eq)]
pub struct Device {
    /// What its files are called here.
    pub name: String,
    values: Vec<(&'static str, String)>,
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<&str> = self.values.iter().map(|(key, _)| *key).collect();
        f.debug_struct("Device")
            .field("name", &self.name)
            .field("keys", &keys)
            .finish()
    }
}

impl Device {
    /// The seed's text.
    #[must_use]
    pub fn seed(&self) -> String {
        let lines: Vec<String> = self
            .values
            .iter()
            .map(|(key, value)| format!("{key}={value}\n"))
            .collect();
        format!(
            "# Of {} alone; its first boot takes it and removes this file.\n{}",
            self.name,
            lines.concat()
        )
    }
}

/// The devices of a table.
///
/// # Errors
/// Everything that is wrong with it, by line and column.
pub fn devices(file: &str, text: &str) -> Result<Vec<Device>, Report> {
    let report = |issues: Vec<Issue>| Report {
        file: file.to_owned(),
        more: issues.len() > MOST,
        issues: issues.into_iter().take(MOST).collect(),
    };
    let rows = csv::rows(text).map_err(|issue| report(vec![*issue]))?;
    let mut issues = Vec::new();
    let Some((head, rows)) = rows.split_first() else {
        let issue = Issue {
            line: 1,
            column: 1,
            ..Issue::new("an empty table")
        };
        return Err(report(vec![
            issue.help("its first line names columns: name,hostname,token"),
        ]));
    };
    let columns = columns(head, &mut issues);
    let mut seen: BTreeMap<(&str, String), u32> = BTreeMap::new();
    let mut all = Vec::new();
    for row in rows {
        if row.len() != head.len() {
            let last = &row[row.len().min(head.len() + 1) - 1];
            let message = format!(
                "found {} fields, expected {} as in the first line",
                row.len(),
                head.len()
            );
            issues.push(last.issue(message).help("a field with a comma in it stands in \"…\""));
            continue;
        }
        let mut device = Device {
            name: String::new(),
            values: Vec::new(),
        };
        for (key, field) in columns.iter().zip(row) {
            let Some(key) = key else { continue };
            if let Err((message, help)) = sound(key, &field.text) {
                issues.push(field.issue(format!("{key}: {message}")).help(help));
            }
            if ["name", "hostname"].contains(key)
                && !field.text.is_empty()
                && let Some(line) = seen.insert((*key, field.text.clone()), field.line)
            {
                let message = format!("{key}: {:?} is that of line {line} already", field.text);
                issues.push(field.issue(message).help("no two devices have the same"));
            }
            if *key == "name" {
                device.name.clone_from(&field.text);
            } else if !field.text.is_empty() {
                device.values.push((*key, field.text.clone()));
            }
        }
        let has = |key: &str| device.values.iter().any(|(k, _)| *k == key);
        if has("wifi_passphrase") && !has("wifi_ssid") {
            issues.push(
                row[0]
                    .issue("a passphrase without a network")
                    .help("fill in wifi_ssid, too"),
            );
        }
        all.push(device);
    }
    if issues.is_empty() && all.is_empty() {
        issues.push(head[0].issue("no device in it").help("one line each, below the first"));
    }
    if issues.is_empty() {
        Ok(all)
    } else {
        Err(report(issues))
    }
}

fn columns(head: &[Field], issues: &mut Vec<Issue>) -> Vec<Option<&'static str>> {
    let known = || ["name"].into_iter().chain(KEYS);
    let mut found: Vec<Option<&'static str>> = Vec::new();
    for field in head {
        let key = known().find(|key| *key == field.text);
        if key.is_none() {
            let help = match nearest_of(&field.text, known()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("known: {}", known().collect::<Vec<_>>().join(", ")),
            };
            // A table without a first line would show a token here.
            let shown = if field.text.len() < 24 {
                format!("{:?}", field.text)
            } else {
                "this".into()
            };
            issues.push(field.issue(format!("{shown} is no column")).help(help));
        } else if found.contains(&key) {
            issues.push(
                field
                    .issue(format!("{:?} is there twice", field.text))
                    .help("name each column once"),
            );
        }
        found.push(key);
    }
    if !found.contains(&Some("name")) {
        issues.push(
            head[0]
                .issue("no column `name`")
                .help("it says what each device's files are called"),
        );
    }
    found
}

/// Whether a value fits its column; never shows it.
fn sound(key: &str, value: &str) -> Result<(), (String, &'static str)> {
    let host = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let named = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let wrong = |what: &str, help: &'static str| Err((what.to_owned(), help));
    match key {
        "name" if value.is_empty() || value.len() > 64 || !value.chars().all(named) || value.starts_with('.') => {
            wrong("expected letters, digits, - _ and .", "it becomes the name of a file")
        }
        _ if value.is_empty() => Ok(()),
        "hostname"
            if value.len() > 63 || !value.chars().all(host) || value.starts_with('-') || value.ends_with('-') =>
        {
            wrong("expected a-z, 0-9 and -", "as kiosk-0001")
        }
        "token"
            if !value.starts_with("jos1-") || value.len() > 8192 || !value.chars().all(|c| named(c) && c != '.') =>
        {
            wrong(
                "expected an enrolment token",
                "the line that `jos-hub token new` prints: jos1-…",
            )
        }
        "wifi_ssid" => sound_ssid(value).map_err(|e| (e.to_owned(), "as the access point shows it")),
        "wifi_passphrase" => sound_passphrase(value).map_err(|e| (e.to_owned(), "as the access point has it")),
        _ => Ok(()),
    }
}

/// A finished image with its boot partition.
#[derive(Debug)]
pub struct Seedable {
    image: PathBuf,
    /// Where the boot partition begins, in bytes.
    boot: u64,
}

impl Seedable {
    /// Looks whether seeds are read from this image.
    ///
    /// # Errors
    /// [`ImageError`] when it is no disk with such a boot partition.
    pub fn open(image: &Path) -> Result<Self, ImageError> {
        let unfit = || {
            ImageError::Unfit(format!(
                "{}: no image that takes seeds: expected a disk whose first partition has {READ_ME}",
                image.display()
            ))
        };
        let boot = table::read(image)?.first().ok_or_else(unfit)?.start;
        let all = Self {
            image: image.to_owned(),
            boot,
        };
        tools::run(all.mtool("mdir", image).arg(format!("::{READ_ME}")), None, "").map_err(|_| unfit())?;
        Ok(all)
    }

    fn mtool(&self, program: &str, image: &Path) -> std::process::Command {
        let mut command = tools::command(program);
        command.env("SOURCE_DATE_EPOCH", EPOCH.to_string());
        command.arg("-i").arg(format!("{}@@{}", image.display(), self.boot));
        command
    }

    /// A copy with this device's seed on it, for its owner's eyes alone. Equal inputs give equal bytes.
    ///
    /// # Errors
    /// [`ImageError`].
    pub fn copy(&self, device: &Device, seed: &Path, to: &Path) -> Result<(), ImageError> {
        let new = to.with_extension("new");
        private(&new, b"")?;
        let copy = ["--sparse=always", "--reflink=auto", "--no-preserve=mode"];
        tools::run(
            tools::command("cp").args(copy).arg(&self.image).arg(&new),
            None,
            "is there room?",
        )?;
        let into = format!("::{FILE}");
        tools::run(
            self.mtool("mcopy", &new).args(["-o", "-m"]).arg(seed).arg(into),
            None,
            "",
        )
        .map_err(|error| match error {
            ImageError::Tool { tool, said, .. } => ImageError::Tool {
                tool,
                said,
                help: format!("the image for {} could not be written", device.name),
            },
            other => other,
        })?;
        std::fs::rename(&new, to).map_err(ImageError::io(to))
    }
}

/// Writes a file that only its owner may read, with a time that follows from nothing but us.
///
/// # Errors
/// [`ImageError`].
pub fn private(path: &Path, bytes: &[u8]) -> Result<(), ImageError> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    drop(std::fs::remove_file(path));
    let mut options = std::fs::File::options();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.map_err(ImageError::io(path))?;
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(EPOCH);
    file.write_all(bytes)
        .and_then(|()| file.set_modified(time))
        .map_err(ImageError::io(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        devices("devices.csv", text).expect_err("it is refused").to_string()
    }

    #[test]
    fn each_row_is_a_device_with_what_it_alone_has() {
        let text = "name,hostname,token,wifi_ssid,wifi_passphrase\na,kiosk-1,jos1-abc,\"Caf, 1\",let me in!\nb,,,,\n";
        let all = devices("devices.csv", text).expect("a table");
        assert_eq!(
            all[0].seed(),
            "# Of a alone; its first boot takes it and removes this file.\nhostname=kiosk-1\ntoken=jos1-abc\n\
             wifi_ssid=Caf, 1\nwifi_passphrase=let me in!\n"
        );
        assert_eq!((all[1].name.as_str(), all[1].seed().lines().count()), ("b", 1));
        assert!(!format!("{all:?}").contains("jos1-abc"), "a token is shown");
    }

    #[test]
    fn everything_wrong_is_told_by_line_and_column_and_no_secret_with_it() {
        let said = refused("name,hostnam,token,wifi_passphrase\na,x,hunter2,tooshrt\n../b,x,jos1-a,\nc,x\n");
        for expected in [
            "devices.csv:1:6: \"hostnam\" is no column",
            "did you mean \"hostname\"?",
            "devices.csv:2:5: token: expected an enrolment token",
            "devices.csv:2:13: wifi_passphrase: expected",
            "devices.csv:3:1: name: expected",
            "devices.csv:4:3: found 2 fields, expected 4",
        ] {
            assert!(said.contains(expected), "{expected}\n{said}");
        }
        assert!(!said.contains("hunter2") && !said.contains("tooshrt"), "{said}");
    }

    #[test]
    fn two_devices_with_one_name_are_refused() {
        let said = refused("name,hostname\na,x\na,x\n");
        assert!(
            said.contains("devices.csv:3:1: name: \"a\" is that of line 2 already"),
            "{said}"
        );
        assert!(
            said.contains("devices.csv:3:3: hostname: \"x\" is that of line 2"),
            "{said}"
        );
    }

    #[test]
    fn a_table_without_devices_or_names_is_refused() {
        assert!(refused("").contains("devices.csv:1:1: an empty table"));
        assert!(refused("name\n").contains("no device in it"));
        assert!(refused("hostname\nx\n").contains("no column `name`"));
    }
}
