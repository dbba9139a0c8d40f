//! The part of a Raspberry Pi's own loader that an emulator needs: what `config.txt` names, from the boot partition.

use std::path::Path;
use std::process::Command;

use crate::command::run;

/// A file of the boot partition of a disk with an MBR, or of each that a pattern of mtools fits.
pub(super) fn fetch(disk: &Path, name: &str, into: &Path) {
    let at = format!("{}@@4M", disk.display());
    run(Command::new("mcopy")
        .env("MTOOLS_SKIP_CHECK", "1")
        .args(["-n", "-s", "-o", "-i", &at, &format!("::{name}")])
        .arg(into))
    .ok();
}

/// Kernel, initial RAM disk and command line, as the partition has them now.
pub(super) fn boot(command: &mut Command, disk: &Path, scratch: &Path) {
    let text = |name: &str| {
        fetch(disk, name, &scratch.join(name));
        std::fs::read_to_string(scratch.join(name)).expect("a text of the boot partition")
    };
    let config = text("config.txt");
    let named = |key: &str| {
        let line = config.lines().find_map(|line| line.strip_prefix(key));
        line.unwrap_or_else(|| panic!("no {key:?} in config.txt:\n{config}"))
    };
    let words = text("cmdline.txt");
    // Linux takes the first port of a driver that it is told of, and this board has no eleventh.
    let words: Vec<&str> = words
        .split_whitespace()
        .filter(|w| !w.starts_with("console="))
        .collect();
    let words = format!("{} console=ttyAMA0,115200", words.join(" "));
    for (option, name) in [("-kernel", named("kernel=")), ("-initrd", named("initramfs "))] {
        fetch(disk, name, &scratch.join(name));
        command.arg(option).arg(scratch.join(name));
    }
    command.arg("-append").arg(words);
}
