//! A device with another processor: its programs run by qemu-user, and what they start too.

use std::fs;
use std::path::Path;

/// What the command line of an agent begins with whose `program` is for another processor.
///
/// An agent starts its own program anew as its other half, which qemu-user alone cannot: the kernel has to know who runs a
/// file of that kind. It is told so (binfmt_misc) inside of a user namespace, so that nobody else on this machine is.
///
/// # Panics
/// If `program` cannot be read.
pub(super) fn around(emulator: &str, cpu: &str, program: &Path) -> Vec<String> {
    let head = fs::read(program).unwrap_or_else(|error| panic!("cannot read {}: {error}", program.display()));
    let escaped = |bytes: &[u8]| bytes.iter().map(|b| format!("\\x{b:02x}")).collect::<String>();
    // ELF's own bytes but for the system that it is for, then its kind and its processor (elf(5)); both kinds of programs.
    let mut mask = [0xff; 20];
    mask[7] = 0;
    let is_little_endian = head[5] == 1;
    mask[if is_little_endian { 16 } else { 17 }] = 0xfe;
    let kind = format!(":other:M::{}:{}:{emulator}:F", escaped(&head[..20]), escaped(&mask));
    let script = "mount -t binfmt_misc none /proc/sys/fs/binfmt_misc && printf %s \"$1\" >/proc/sys/fs/binfmt_misc/register \
                  && export QEMU_CPU=\"$2\" && shift 2 && exec \"$@\"";
    [
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        script,
        "sh",
        &kind,
        cpu,
    ]
    .map(str::to_owned)
    .to_vec()
}
