//! Files from a browser into `agents/` and `tools/`.
//!
//! One file is what `jos add-agent` takes: it is kept aside for a moment and handed to that command. A document and what it
//! names beside it are put there together, and taken back when the registry cannot load them.

use jos_node::place::Durable;
use serde_json::Value;

use super::Console;
use super::form::File;
use super::tasks::command;

/// Most files at a time.
const MOST: usize = 8;

/// What is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Agent,
    Tool,
}

impl What {
    fn folder(self) -> &'static str {
        match self {
            Self::Agent => "agents",
            Self::Tool => "tools",
        }
    }
}

/// Installs what came; says what is there now.
pub(super) fn install(console: &Console, what: What, name: &str, files: &[File]) -> Result<String, String> {
    if files.is_empty() {
        return Err("No file was chosen.".into());
    }
    if files.len() > MOST {
        return Err(format!(
            "Found {} files, expected {MOST} at most: a document and what it names.",
            files.len()
        ));
    }
    if let Some(file) = files.iter().find(|file| !is_file_name(&file.name)) {
        let shown: String = file.name.chars().take(80).collect();
        return Err(format!(
            "Found the file name {shown:?}, expected 1 to 100 letters, digits, '.', '_' and '-', beginning with a letter or digit."
        ));
    }
    match (what, files) {
        (What::Agent, [file]) => by_command(console, name, file),
        _ if !name.is_empty() => {
            Err("A name can be given to one file that is an agent; several bring a document that says it.".into())
        }
        _ => together(console, what, files),
    }
}

/// Whether a name can stand in a folder of the data directory, and hides nothing.
fn is_file_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=100).contains(&name.len()) && name.bytes().all(plain) && name.as_bytes()[0].is_ascii_alphanumeric()
}

fn by_command(console: &Console, name: &str, file: &File) -> Result<String, String> {
    let data = &console.data;
    let folder = format!("state/console/{}", console.outside.hex(8));
    let path = data.path(&folder).join(&file.name);
    std::fs::create_dir(data.path(&folder)).map_err(|e| e.to_string())?;
    let ended = std::fs::write(&path, &file.bytes).map_err(|e| e.to_string()).map(|()| {
        // The `=` keeps a name from being taken for an option.
        let named = format!("--name={name}");
        let path = path.to_string_lossy();
        let words: Vec<&str> = ["add-agent", &*path]
            .into_iter()
            .chain((!name.is_empty()).then_some(&*named))
            .collect();
        command(data.root(), &words)
    });
    let _ = std::fs::remove_dir_all(data.path(&folder));
    let ended = ended?;
    match ended.why() {
        // Where the file was kept for a moment is nobody's concern.
        Some(why) => Err(why.replace(&*path.to_string_lossy(), &file.name)),
        None => Ok(format!(
            "Agent {} is installed.",
            ended.said["agent"].as_str().unwrap_or(name)
        )),
    }
}

fn together(console: &Console, what: What, files: &[File]) -> Result<String, String> {
    let data = &console.data;
    let below = |file: &File| format!("{}/{}", what.folder(), file.name);
    if let Some(there) = files.iter().map(below).find(|below| data.path(below).exists()) {
        return Err(format!("{there} is there already; remove it first."));
    }
    // The document last: what it names is there when it is seen.
    let mut order: Vec<&File> = files.iter().collect();
    order.sort_by_key(|file| is_document(&file.name));
    let mut put = Vec::new();
    let back = |put: &[String]| {
        put.iter()
            .filter_map(|below| data.remove(below).err().map(|e| e.to_string()))
            .collect::<Vec<_>>()
    };
    for file in order {
        if let Err(e) = data.put(&below(file), &file.bytes, Durable::Yes) {
            back(&put);
            return Err(e.to_string());
        }
        put.push(below(file));
    }
    let registry = console.registry();
    let broken = registry.broken().into_iter().find(|broken| put.contains(&broken.file));
    let listed = match what {
        What::Agent => registry.agents(),
        What::Tool => registry.tools(),
    };
    let loaded = listed.iter().find(|listed| put.contains(&listed.file));
    let why = match (broken, loaded) {
        (None, Some(listed)) => return Ok(format!("{} is installed.", listed.name)),
        (Some(broken), _) => broken.reason,
        (None, None) => "none of the files is a document that says what they are (.json, .toml or .jos)".into(),
    };
    let left = back(&put);
    console.registry();
    let left = if left.is_empty() {
        String::new()
    } else {
        format!(" It could not be taken back: {}", left.join(", "))
    };
    Err(format!("Not installed: {why}{left}"))
}

fn is_document(name: &str) -> bool {
    [".json", ".toml", ".jos"].iter().any(|end| name.ends_with(end))
}

/// Removes what a document of the registry stands for: itself, and what only it names beside it.
pub(super) fn remove(console: &Console, file: &str) -> Result<String, String> {
    let registry = console.registry();
    let all: Vec<String> = registry
        .agents()
        .into_iter()
        .chain(registry.tools())
        .map(|listed| listed.file)
        .collect();
    let broken = registry.broken().into_iter().map(|broken| broken.file);
    if !all.iter().cloned().chain(broken).any(|known| known == file) {
        return Err(format!("There is no {file} any more."));
    }
    let (folder, name) = file.split_once('/').unwrap_or(("agents", file));
    let document = |name: &str| std::fs::read(console.data.path(&format!("{folder}/{name}"))).unwrap_or_default();
    let mut gone = beside(name, &document(name));
    for other in all.iter().filter(|other| *other != file) {
        let Some(other) = other.strip_prefix(&format!("{folder}/")) else {
            continue;
        };
        let kept = beside(other, &document(other));
        gone.retain(|name| !kept.contains(name));
    }
    for name in std::iter::once(name.to_owned()).chain(gone) {
        console
            .data
            .remove(&format!("{folder}/{name}"))
            .map_err(|e| e.to_string())?;
    }
    Ok(format!("{name} is removed. Its past stays in the ledger."))
}

/// The files that a document names beside it.
fn beside(name: &str, document: &[u8]) -> Vec<String> {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let parsed: Value = serde_json::from_slice(document).unwrap_or_default();
    let argv = parsed["argv"].as_array().into_iter().flatten();
    let scripts = argv
        .filter_map(|word| word.as_str()?.strip_prefix("./"))
        .filter(|name| is_file_name(name))
        .map(str::to_owned);
    let modules = ["wasm", "wat"].map(|end| format!("{stem}.{end}"));
    scripts
        .chain(parsed.get("wasm").map(|_| modules).into_iter().flatten())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_leaves_no_folder_and_hides_nothing() {
        for good in ["greeter.py", "a", "text-metrics.wasm", "A_1.jos"] {
            assert!(is_file_name(good), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            ".hidden",
            "../x",
            "a/b",
            "a b",
            "a\\b",
            "-x",
            "é",
            "<img>.jos",
            &"a".repeat(101),
        ] {
            assert!(!is_file_name(bad), "{bad}");
        }
    }

    #[test]
    fn a_document_takes_with_it_what_it_names_and_nothing_else() {
        assert_eq!(beside("m.json", br#"{"wasm":"00"}"#), ["m.wasm", "m.wat"]);
        assert_eq!(
            beside("p.json", br#"{"argv":["sh","./p.sh","/etc/passwd","./../x"]}"#),
            ["p.sh"]
        );
        assert!(beside("a.jos", b"{}").is_empty());
        assert!(beside("broken.json", b"{").is_empty());
    }
}
