//! That the README's commands are what a reader can type. tests/golden/readme-commands.txt names each of them and who runs
//! it; those marked `run` run here, in the README's order, in one scratch folder with the files that it takes for given.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use jos_tests::command::run_within;
use jos_tests::programs::{jos_image_path, jos_path, workspace};

/// A command compiles a device program when nobody has yet.
const LIMIT: Duration = Duration::from_secs(1500);

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
        let said = who == "run"
            || who
                .strip_prefix("not run (")
                .is_some_and(|reason| reason.len() > 5 && reason.ends_with(')'))
            || who
                .strip_prefix("elsewhere ")
                .is_some_and(|path| workspace().join(path).is_file());
        assert!(
            said,
            "`{command}`: `{who}` is neither `run`, nor `elsewhere FILE`, nor `not run (REASON)`"
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
    let folders =
        [jos_path(), jos_image_path()].map(|program| program.parent().expect("a program lies in a folder").to_owned());
    let path = std::env::join_paths(
        folders
            .into_iter()
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    );
    let path = path.expect("folders of PATH have no colon");
    for (_, line) in listed().iter().filter(|(who, _)| who == "run") {
        run_within(
            Command::new("sh")
                .args(["-euc", line])
                .current_dir(scratch.path())
                .env("PATH", &path),
            LIMIT,
            &[],
        )
        .ok();
    }
    let written = read(&scratch.path().join("scratch/etc/motd"));
    assert_eq!(
        written, "This device is looked after by jos.\n",
        "the state that the README applies is in force"
    );
}
