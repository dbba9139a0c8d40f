//! That the README's commands are what a reader can type. tests/golden/readme-commands.txt names each of them and who runs
//! it; those marked `run` and `typed` run here, in the README's order, in one scratch folder with the files that it takes
//! for given; `typed` ones at a terminal.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use jos_tests::command::{Ran, run, run_within};
use jos_tests::programs::{jos_image_path, jos_path, workspace};
use jos_tests::wait::until;

/// A command compiles a device program when nobody has yet.
const LIMIT: Duration = Duration::from_secs(1500);
/// What an agent that was started does by itself.
const SOON: Duration = Duration::from_secs(30);

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

/// The commands of all `sh` blocks, without their comments.
fn readme_commands() -> Vec<String> {
    let mut commands = Vec::new();
    let mut inside = false;
    for line in read(&workspace().join("README.md")).lines() {
        match line.trim() {
            "```sh" => inside = true,
            "```" => inside = false,
            _ if inside => commands.push(line.split(" # ").next().unwrap_or(line).trim().to_owned()),
            _ => {}
        }
    }
    commands.retain(|command| !command.is_empty() && !command.starts_with('#'));
    commands
}

/// Disposition and command of each line.
fn listed() -> Vec<(String, String)> {
    read(&workspace().join("tests/golden/readme-commands.txt"))
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            line.split_once(" | ")
                .unwrap_or_else(|| panic!("a line is `WHO | COMMAND`, found `{line}`"))
        })
        .map(|(who, command)| (who.to_owned(), command.to_owned()))
        .collect()
}

#[test]
fn every_command_in_the_readme_is_run_or_the_list_says_why_not() {
    let listed = listed();
    let commands: Vec<&str> = listed.iter().map(|(_, command)| command.as_str()).collect();
    assert_eq!(
        readme_commands(),
        commands,
        "README.md and tests/golden/readme-commands.txt name different commands"
    );
    for (who, command) in &listed {
        let said = ["run", "typed"].contains(&who.as_str())
            || who
                .strip_prefix("not run (")
                .is_some_and(|reason| reason.len() > 5 && reason.ends_with(')'))
            || who
                .strip_prefix("elsewhere ")
                .is_some_and(|path| workspace().join(path).is_file());
        assert!(
            said,
            "`{command}`: `{who}` is neither `run` nor `typed`, nor `elsewhere FILE`, nor `not run (REASON)`"
        );
    }
}

#[test]
fn the_readmes_commands_do_what_a_reader_expects_when_typed_in_order() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let fixtures = workspace().join("tests/fixtures/readme");
    for entry in fs::read_dir(&fixtures)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", fixtures.display()))
        .flatten()
    {
        fs::copy(entry.path(), scratch.path().join(entry.file_name())).expect("a scratch folder");
    }
    fs::create_dir_all(scratch.path().join("scratch/etc")).expect("a scratch folder");
    let path = path();
    let _agent = Installed {
        home: scratch.path(),
        path: &path,
    };
    for (who, line) in listed() {
        let here = scratch.path();
        match who.as_str() {
            "run" => drop(run_within(&mut shell(&line, here, &path), LIMIT, &[]).ok()),
            // The service is there before its flow is done: who looks again sees it.
            "typed" => until(&format!("`{line}` shows what a reader expects"), SOON, || {
                shows(&line, &typed(&line, here, &path).ok())
            }),
            _ => {}
        }
    }
    let written = read(&scratch.path().join("scratch/etc/motd"));
    assert_eq!(
        written, "This device is looked after by jos.\n",
        "the state that the README applies is in force"
    );
    assert!(!scratch.path().join(".jos/agents/my-service").exists());
    assert!(scratch.path().join("data/my-service").exists(), "the ledger stays");
}

/// The programs under test go before all others.
fn path() -> OsString {
    let folders =
        [jos_path(), jos_image_path()].map(|program| program.parent().expect("a program lies in a folder").to_owned());
    let path = std::env::join_paths(
        folders
            .into_iter()
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    );
    path.expect("folders of PATH have no colon")
}

fn shell(line: &str, here: &Path, path: &OsStr) -> Command {
    let mut command = Command::new("sh");
    command.args(["-euc", line]).current_dir(here).env("PATH", path);
    command
}

/// As somebody types it: script(1) gives it a terminal, and what is asked is answered with yes.
fn typed(line: &str, home: &Path, path: &OsStr) -> Ran {
    let mut line = line.to_owned();
    if line.starts_with("jos agent install ") {
        line.push_str(&format!(" --init generic --state-dir {}", home.join("data").display()));
    }
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).current_dir(home);
    command.env("PATH", path).env("HOME", home).env("SHELL", "/bin/sh");
    run_within(&mut command, LIMIT, b"y\n")
}

/// Whether it shows what a reader expects, by the command's third word.
fn shows(line: &str, ran: &Ran) -> Result<(), String> {
    let words: &[&str] = match line.split(' ').nth(2).unwrap_or_default() {
        "install" => &[
            "my-service was here",
            "Grant this? [y/N]",
            "installed and running",
            "not enrolled: jos agent enrol TOKEN",
            "agent supervise --config",
        ],
        "status" => &["running", "1 of 1 steps", "applied", "records, head", "hub.example.com"],
        "logs" => &["flow: my-service/greet: done"],
        "list" => &["NAME", "my-service", "installed", "generic"],
        "uninstall" => &["is gone; its data stays in", "--purge"],
        other => panic!("nobody says what `jos agent {other}` shows"),
    };
    match words.iter().find(|word| !ran.stdout.contains(**word)) {
        None => Ok(()),
        Some(word) => Err(format!("no {word:?} in\n{ran}")),
    }
}

/// Ends the agent that the README installs, also when something fails before the README's last command.
struct Installed<'h> {
    home: &'h Path,
    path: &'h OsStr,
}

impl Drop for Installed<'_> {
    fn drop(&mut self) {
        if self.home.join(".jos/agents/my-service").exists() {
            let line = "jos agent uninstall my-service --purge";
            let _ = run(shell(line, self.home, self.path).env("HOME", self.home));
        }
    }
}
