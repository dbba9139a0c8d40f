//! One process of a hub, on its folder and its address.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use super::Process;
use crate::programs::jos_hub;

/// One process of a hub.
#[derive(Debug)]
pub(super) struct One {
    pub(super) data: &'static str,
    pub(super) process: Option<Process>,
    pub(super) listen: String,
    pub(super) admin: String,
}

impl One {
    /// Starts to serve, perhaps by a clock of its own.
    pub(super) fn serve(&mut self, folder: &Path, clock: Option<&str>) {
        let mut command = jos_hub();
        if let Some(clock) = clock {
            // Timers go on as they are: only what is read as the date is another.
            command
                .env("LD_PRELOAD", super::clock::library())
                .env("FAKETIME", clock)
                .env("DONT_FAKE_MONOTONIC", "1");
        }
        command
            .current_dir(folder)
            .args(["serve", "--json", "--log", "warn", "--data", self.data]);
        command.args(["--listen", &self.listen, "--admin-listen", "127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the hub starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        self.process = Some(Process(child));
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let addresses: Value = serde_json::from_str(&line).expect("the hub says where it listens");
        let admin = addresses["admins"].as_str().expect("an address");
        admin.clone_into(&mut self.admin);
    }
}
