//! The environment file of an agent: `KEY=VALUE` a line, 0600, read by jos itself.
//!
//! No init system's own environment file is used: their quoting rules differ, and launchd has none. The plane reads the file
//! and hands the values to the commands of the artifact, and to nothing else: no unit file, no process list holds them.

use std::path::Path;

use crate::files;

/// Its name beside `agent.toml`.
pub(crate) const FILE: &str = "environment";

/// Reads `KEY=VALUE` arguments.
pub(crate) fn parse(arguments: &[String]) -> Result<Vec<(String, String)>, String> {
    let mut all: Vec<(String, String)> = Vec::new();
    for argument in arguments {
        let (key, value) = argument
            .split_once('=')
            .ok_or("--env: expected KEY=VALUE, found no '='")?;
        check(key, value)?;
        if all.iter().any(|(known, _)| known == key) {
            return Err(format!("--env: {key} is given twice"));
        }
        all.push((key.to_owned(), value.to_owned()));
    }
    Ok(all)
}

/// The value is never part of a message: it may be a secret.
fn check(key: &str, value: &str) -> Result<(), String> {
    let first = |b: u8| b.is_ascii_alphabetic() || b == b'_';
    let fits = key.bytes().next().is_some_and(first) && key.bytes().all(|b| first(b) || b.is_ascii_digit());
    if !fits || key.len() > 128 {
        return Err(format!(
            "--env: found the name {key:?}, expected letters, digits and '_', a letter or '_' first"
        ));
    }
    // These would change the agent itself instead of what it runs.
    if ["LD_", "DYLD_", "JOS_", "NOTIFY_"].iter().any(|p| key.starts_with(p)) {
        return Err(format!(
            "--env: {key} is not possible: names that start with LD_, DYLD_, JOS_ or NOTIFY_ act on the agent"
        ));
    }
    if value.contains(['\n', '\r', '\0']) {
        return Err(format!("--env: the value of {key} holds a line break or NUL"));
    }
    if value.len() > 32 << 10 {
        return Err(format!("--env: the value of {key} is longer than 32 KiB"));
    }
    Ok(())
}

/// The file's text.
pub(crate) fn write(all: &[(String, String)]) -> String {
    all.iter().map(|(key, value)| format!("{key}={value}\n")).collect()
}

/// Reads the file beside `config`; none is an empty environment. One that others may read is refused.
pub(crate) fn load(folder: &Path) -> Result<Vec<(String, String)>, String> {
    let path = folder.join(FILE);
    let meta = match path.symlink_metadata() {
        Ok(meta) => meta,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(format!("{}: {e}", path.display())),
    };
    let mode = std::os::unix::fs::MetadataExt::mode(&meta) & 0o7777;
    if mode & 0o077 != 0 {
        return Err(format!(
            "{}: others may read it (mode {mode:04o}); chmod 600 it",
            path.display()
        ));
    }
    let bytes = files::read(&path, 1 << 20).map_err(|e| e.to_string())?;
    let text = String::from_utf8(bytes).map_err(|_| format!("{}: not UTF-8", path.display()))?;
    let lines: Vec<String> = text
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
        .map(str::to_owned)
        .collect();
    parse(&lines).map_err(|e| format!("{}: {}", path.display(), e.trim_start_matches("--env: ")))
}

#[cfg(test)]
mod tests {
    use super::{parse, write};

    #[test]
    fn variables_that_act_on_the_agent_or_break_the_file_are_refused_without_showing_the_value() {
        for bad in [
            "",
            "A",
            "=x",
            "1A=x",
            "A B=x",
            "A-B=secretvalue",
            "LD_PRELOAD=/x",
            "DYLD_X=1",
            "JOS_LOG=x",
            "A=secretvalue\nB=c",
        ] {
            let refused = parse(&[bad.to_owned()]).unwrap_err();
            assert!(!refused.contains("secretvalue"), "{refused}");
        }
        assert!(parse(&["A=1".into(), "A=2".into()]).is_err());
    }

    #[test]
    fn values_are_kept_byte_for_byte() {
        let all = parse(&["A= x=\"y\" $HOME %n \\ ".into(), "B=".into()]).unwrap();
        assert_eq!(write(&all), "A= x=\"y\" $HOME %n \\ \nB=\n");
    }
}
