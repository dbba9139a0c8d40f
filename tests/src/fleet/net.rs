//! A bridge here, and a namespace with one link to it for each device: links that go down, lose packets and are slow.

use std::process::Command;

use crate::command::{Ran, run, sh};

/// The bridge and its namespaces. Gone when dropped.
#[derive(Debug)]
pub struct Net {
    bridge: String,
    prefix: String,
    devices: usize,
}

impl Net {
    /// One with so many devices.
    ///
    /// # Panics
    /// If `ip` cannot make it: only root can.
    pub fn new(devices: usize) -> Self {
        let id = std::process::id();
        let net = Self {
            bridge: format!("jb{id}"),
            prefix: format!("10.{}.{}", 128 + id % 64, id / 64 % 250),
            devices,
        };
        ip(&["link", "add", &net.bridge, "type", "bridge"]).ok();
        ip(&["addr", "add", &format!("{}/24", net.host()), "dev", &net.bridge]).ok();
        ip(&["link", "set", &net.bridge, "up"]).ok();
        for number in 0..devices {
            let (space, link) = (net.space(number), net.link(number));
            ip(&["netns", "add", &space]).ok();
            ip(&[
                "link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &space,
            ])
            .ok();
            ip(&["link", "set", &link, "master", &net.bridge, "up"]).ok();
            let inside = |words: &[&str]| ip(&[&["-n", space.as_str()], words].concat()).ok();
            let address = format!("{}.{}/24", net.prefix, number + 2);
            inside(&["addr", "add", &address, "dev", "eth0"]);
            inside(&["link", "set", "eth0", "up"]);
            inside(&["link", "set", "lo", "up"]);
        }
        net
    }

    /// The address here.
    pub fn host(&self) -> String {
        format!("{}.1", self.prefix)
    }

    /// The namespace of a device.
    pub fn space(&self, number: usize) -> String {
        format!("jf{}-{number}", std::process::id())
    }

    fn link(&self, number: usize) -> String {
        format!("jv{}-{number}", std::process::id() % 100_000)
    }

    /// Takes the link of a device away, or gives it back.
    ///
    /// # Panics
    /// If `ip` cannot.
    pub fn set(&self, number: usize, up: bool) {
        let state = if up { "up" } else { "down" };
        ip(&["link", "set", &self.link(number), state]).ok();
    }

    /// The same from within: the kernel of the device knows, and has no route meanwhile.
    ///
    /// # Panics
    /// If `ip` cannot.
    pub fn plug(&self, number: usize, up: bool) {
        let state = if up { "up" } else { "down" };
        ip(&["-n", &self.space(number), "link", "set", "eth0", state]).ok();
    }

    /// From now on so many packets of a hundred are lost in each direction, and no more than a slow line's go through, so
    /// that what is sent at once waits for its turn.
    ///
    /// # Panics
    /// If the kernel or `iptables` cannot; `scripts/setup` installs that.
    pub fn spoil(&self, number: usize, percent: u8) {
        self.mend(number);
        let share = format!("0.{percent:02}");
        for way in ["INPUT", "OUTPUT"] {
            let drop = [
                "-m",
                "statistic",
                "--mode",
                "random",
                "--probability",
                &share,
                "-j",
                "DROP",
            ];
            self.tables(number, &[&["-A", way][..], &drop].concat()).ok();
        }
        let slow = ["tbf", "rate", "512kbit", "burst", "8kb", "latency", "400ms"];
        self.queue(number, &[&["replace", "dev", "eth0", "root"][..], &slow].concat())
            .ok();
    }

    /// The link is as good as new.
    ///
    /// # Panics
    /// If `iptables` cannot.
    pub fn mend(&self, number: usize) {
        for way in ["INPUT", "OUTPUT"] {
            self.tables(number, &["-F", way]).ok();
        }
        // There is none to take away but after a spoiling.
        let _ = self.queue(number, &["del", "dev", "eth0", "root"]);
    }

    fn tables(&self, number: usize, words: &[&str]) -> Ran {
        self.inside(number, &[&["iptables", "-w", "20"], words].concat())
    }

    fn queue(&self, number: usize, words: &[&str]) -> Ran {
        self.inside(number, &[&["tc", "qdisc"], words].concat())
    }

    fn inside(&self, number: usize, words: &[&str]) -> Ran {
        let mut command = Command::new("ip");
        run(command.args(["netns", "exec", &self.space(number)]).args(words))
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for number in 0..self.devices {
            // Its link goes with it.
            let _ = ip(&["netns", "del", &self.space(number)]);
        }
        let _ = ip(&["link", "del", &self.bridge]);
    }
}

fn ip(words: &[&str]) -> Ran {
    sh("ip", words)
}
