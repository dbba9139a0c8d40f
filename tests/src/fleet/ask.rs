//! What only the hub's interface tells: its own figures, and what devices measured.

use serde_json::Value;

use super::Hub;
use crate::command::{Ran, sh};

impl Hub {
    /// `GET` of this path, as the admin.
    ///
    /// # Panics
    /// If there is no answer, or a refusal.
    pub fn get(&self, path: &str) -> Ran {
        self.get_of(0, path)
    }

    fn get_of(&self, number: usize, path: &str) -> Ran {
        let token = std::fs::read_to_string(self.path("hub/admin.token")).expect("a token");
        let (ca, url) = (
            self.path("hub/ca.pem"),
            format!("https://{}{path}", self.hubs[number].admin),
        );
        let bearer = format!("Authorization: Bearer {}", token.trim());
        let ca = ca.display().to_string();
        sh(
            "curl",
            &["-sS", "--fail-with-body", "--cacert", &ca, "-H", &bearer, &url],
        )
        .ok()
    }

    /// One of its counters, all its processes together.
    ///
    /// # Panics
    /// If it has none of this name.
    pub fn counter(&self, name: &str) -> u64 {
        let of = |number: usize| {
            let text = self.get_of(number, "/metrics").stdout;
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            let value = line.and_then(|value| value.parse::<u64>().ok());
            value.unwrap_or_else(|| panic!("no counter {name}:\n{text}"))
        };
        (0..self.hubs.len()).map(of).sum()
    }

    /// What the agent `kiosk` of a device measured: the steps of `metric`, the oldest first.
    pub fn history(&self, device: &str, metric: &str) -> Vec<Value> {
        let path = format!("/api/v1/devices/{device}/history?agent=kiosk&metric={metric}");
        self.get(&path).json().as_array().cloned().unwrap_or_default()
    }
}

impl Hub {
    /// Its folder is gone, and a backup takes its place; it serves again.
    ///
    /// # Panics
    /// If it does not.
    pub fn restore(&mut self, backup: &str) {
        self.kill();
        std::fs::remove_dir_all(self.path("hub")).expect("its folder");
        self.hub(&["restore", "--from", backup]).ok();
        self.serve();
    }
}
