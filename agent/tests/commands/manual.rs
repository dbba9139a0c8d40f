//! `jos completions` and `jos man`: taken by the real shells and the real formatters where this machine has them.

use std::process::Command;

use crate::desk::{Desk, Ran};

/// The programs that jos runs for itself are nobody's to type.
const HIDDEN: [&str; 3] = ["supervise", "fetcher", "forget"];

fn there(program: &str) -> bool {
    let found = Command::new(program)
        .arg("--version")
        .output()
        .is_ok_and(|o| o.status.success());
    if !found {
        eprintln!("{program} is not installed: not checked with it");
    }
    found
}

#[test]
fn every_shell_gets_a_script_that_knows_every_command() {
    let desk = Desk::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = desk.jos(&["completions", shell]).exits(0).out;
        for word in ["validate", "rotate", "install", "state-dir", "completions"] {
            assert!(script.contains(word), "{shell}: no {word}");
        }
        let value = desk.jos(&["completions", shell, "--json"]).exits(0).json();
        assert_eq!((&value["shell"], &value["script"]), (&shell.into(), &script.into()));
    }
    desk.jos(&["completions", "tcsh"]).exits(2).says(&["bash", "zsh"]);
    desk.jos(&["completions"]).exits(2).says(&["<SHELL>"]);
}

#[test]
fn the_scripts_are_good_to_the_shells_themselves() {
    let desk = Desk::new();
    for (shell, check) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        if there(shell) {
            desk.write("script", desk.jos(&["completions", shell]).exits(0).out);
            let ran: Ran = desk.command(shell).args([check, "script"]).output().unwrap().into();
            assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{shell}");
        }
    }
}

/// What bash offers for the last of these words.
fn offered(desk: &Desk, words: &[&str]) -> Vec<String> {
    let script = r#"
set -eu
source ./script
[ "$(complete -p jos)" ] || exit 9
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_jos jos "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
"#;
    let mut bash = desk.command("bash");
    bash.args(["--norc", "--noprofile", "-c", script, "bash"]).args(words);
    let ran: Ran = bash.output().unwrap().into();
    assert_eq!(ran.code, Some(0), "{words:?}: {ran:#?}");
    ran.out.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_and_values() {
    if !there("bash") {
        return;
    }
    let desk = Desk::new();
    desk.write("script", desk.jos(&["completions", "bash"]).exits(0).out);
    assert_eq!(offered(&desk, &["jos", "agent", "inst"]), ["install"]);
    assert_eq!(offered(&desk, &["jos", "trust", "rot"]), ["rotate"]);
    assert_eq!(offered(&desk, &["jos", "agent", "install", "--state"]), ["--state-dir"]);
    assert_eq!(
        offered(&desk, &["jos", "agent", "install", "--init", ""]),
        ["systemd", "procd", "launchd", "generic"]
    );
    let all = offered(&desk, &["jos", "agent", ""]);
    assert!(
        all.contains(&"plan".to_owned()) && all.contains(&"status".to_owned()),
        "{all:?}"
    );
    for hidden in HIDDEN {
        assert!(!all.contains(&hidden.to_owned()), "{all:?}");
    }
}

#[test]
fn one_page_a_command_is_written_and_man_renders_each_without_a_complaint() {
    let desk = Desk::new();
    let pages = desk.jos(&["man", "new/man1", "--json"]).exits(0).json();
    let pages: Vec<&str> = pages["pages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p.as_str().unwrap())
        .collect();
    for page in [
        "jos.1",
        "jos-agent.1",
        "jos-agent-install.1",
        "jos-trust-rotate.1",
        "jos-sign.1",
    ] {
        assert!(pages.contains(&page), "{pages:?}");
    }
    for hidden in HIDDEN {
        assert!(!pages.contains(&format!("jos-agent-{hidden}.1").as_str()), "{pages:?}");
    }
    if there("groff") {
        for page in &pages {
            let mut groff = desk.command("groff");
            groff
                .args(["-man", "-ww", "-Kutf8", "-Tutf8", "-P-cbou"])
                .arg(desk.path("new/man1").join(page));
            let ran: Ran = groff.output().unwrap().into();
            assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{page}");
            assert!(ran.out.contains("SYNOPSIS"), "{page}: {}", ran.out);
        }
    }
    if there("man") {
        let mut man = desk.command("man");
        man.args(["--warnings", "-E", "UTF-8", "-l", "new/man1/jos-agent-install.1"])
            .env("MANWIDTH", "100");
        let ran: Ran = man.output().unwrap().into();
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:#?}");
        ran.says(&[
            "NAME",
            "jos agent install",
            "--state-dir",
            "EXAMPLES",
            "  jos agent install kiosk.jos                            asks",
        ]);
    }
    desk.write("file", "");
    desk.jos(&["man", "file/below"]).exits(1).says(&["file/below"]);
    desk.jos(&["man"]).exits(2).says(&["<DIR>"]);
}
