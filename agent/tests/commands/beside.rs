//! `jos hub …` and `jos image …`: the program of that name, found beside `jos` or on PATH.
//!
//! `printf`, `true` and `false` stand under those names: what they print is what they were handed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use crate::desk::{Desk, Ran};

/// A real program of this machine.
fn program(name: &str) -> PathBuf {
    let found = Command::new("sh")
        .args(["-c", &format!("command -p -v {name}")])
        .output()
        .unwrap();
    let path = PathBuf::from(String::from_utf8(found.stdout).unwrap().trim());
    if path.is_absolute() {
        return path;
    }
    // A shell's own word; the file has its place by convention.
    PathBuf::from("/usr/bin").join(name)
}

struct Bench {
    desk: Desk,
}

impl Bench {
    /// `jos` alone in a folder `bin`, and a folder `path` that is all of PATH.
    fn new() -> Self {
        let desk = Desk::new();
        for folder in ["bin", "path"] {
            fs::create_dir(desk.path(folder)).unwrap();
        }
        fs::hard_link(crate::desk::JOS, desk.path("bin/jos")).unwrap();
        Self { desk }
    }

    fn put(&self, stands_for: &str, at: &str) {
        symlink(program(stands_for), self.desk.path(at)).unwrap();
    }

    fn jos(&self, arguments: &[&str]) -> Ran {
        let mut jos = self.desk.command(self.desk.path("bin/jos"));
        jos.env("PATH", self.desk.path("path")).args(arguments);
        jos.output().unwrap().into()
    }
}

#[test]
fn what_is_not_installed_is_said_with_what_to_do() {
    let bench = Bench::new();
    for what in ["hub", "image"] {
        let said = bench.jos(&[what, "build", "--help"]).exits(1);
        let program = format!("jos-{what}");
        said.says(&[&program, "neither beside jos nor on PATH", "install it"]);
        let error = bench.jos(&["--json", what]).exits(1).json();
        assert!(error["error"].as_str().unwrap().contains(&program), "{error}");
    }
}

#[test]
fn the_program_gets_every_argument_as_it_was_typed_and_its_end_is_ours() {
    let bench = Bench::new();
    for what in ["hub", "image"] {
        let at = format!("path/jos-{what}");
        bench.put("printf", &at);
        let words = [what, "[%s]", "--help", "-V", "--json", "a  b", "", "--", "*"];
        assert_eq!(bench.jos(&words).exits(0).out, "[--help][-V][--json][a  b][][--][*]");
        fs::remove_file(bench.desk.path(&at)).unwrap();
        for (end, code) in [("true", 0), ("false", 1)] {
            bench.put(end, &at);
            assert_eq!(bench.jos(&[what, "x"]).code, Some(code));
            fs::remove_file(bench.desk.path(&at)).unwrap();
        }
    }
}

#[test]
fn the_program_beside_jos_goes_before_one_on_path() {
    let bench = Bench::new();
    bench.put("false", "path/jos-image");
    bench.put("true", "bin/jos-image");
    assert_eq!(bench.jos(&["image"]).code, Some(0));
    fs::remove_file(bench.desk.path("bin/jos-image")).unwrap();
    assert_eq!(bench.jos(&["image"]).code, Some(1));
}

#[test]
fn neither_a_file_that_is_no_program_nor_one_of_a_relative_path_is_run() {
    let bench = Bench::new();
    bench.desk.write("path/jos-hub", "not a program\n");
    fs::create_dir(bench.desk.path("bin/jos-hub")).unwrap();
    bench.jos(&["hub"]).exits(1).says(&["jos-hub is not installed"]);
    bench.put("true", "jos-hub");
    let mut jos = bench.desk.command(bench.desk.path("bin/jos"));
    let ran: Ran = jos.env("PATH", ".:").arg("hub").output().unwrap().into();
    ran.exits(1).says(&["jos-hub is not installed"]);
}
