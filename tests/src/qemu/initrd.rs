//! The smallest initial RAM disk that finds an ext4 root on a virtio disk: busybox, a handful of modules in the order that
//! their dependencies ask, and a script that hands over. A tenth of a second to build, under any emulation.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::command::sh;

/// What stands between the kernel and its root, by the names modules.dep has.
const WANTED: [&str; 7] = [
    "virtio_pci",
    "virtio_mmio",
    "virtio_blk",
    "virtio_rng",
    "crc32c_generic",
    "ext4",
    "af_packet",
];

/// Writes the image for the one kernel in `root` to `to`.
pub(super) fn build(root: &Path, to: &Path) {
    let tree = tempfile::tempdir().expect("a scratch folder");
    let tree = tree.path();
    for folder in ["bin", "dev", "proc", "root", "modules"] {
        fs::create_dir(tree.join(folder)).expect("a scratch folder");
    }
    let copy = |from: &Path, to: &str| {
        fs::copy(from, tree.join(to)).unwrap_or_else(|error| panic!("cannot copy {}: {error}", from.display()));
    };
    copy(&root.join("usr/bin/busybox"), "bin/busybox");

    let all = root.join("usr/lib/modules");
    let release = fs::read_dir(&all)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", all.display()))
        .flatten()
        .next()
        .unwrap_or_else(|| panic!("no kernel in {}", all.display()))
        .path();
    let index_path = release.join("modules.dep");
    let index =
        fs::read_to_string(&index_path).unwrap_or_else(|error| panic!("cannot read {}: {error}", index_path.display()));
    let mut ordered: Vec<&str> = Vec::new();
    for module in WANTED {
        // A module that is built into the kernel is not in the index.
        let Some(line) = index.lines().find(|line| {
            line.split(':')
                .next()
                .is_some_and(|path| path.ends_with(&format!("/{module}.ko")))
        }) else {
            continue;
        };
        let (path, needs) = line.split_once(':').expect("modules.dep has a colon in each line");
        // modules.dep lists what a module needs so that the last comes first.
        for path in needs.split_whitespace().rev().chain([path]) {
            if !ordered.contains(&path) {
                ordered.push(path);
            }
        }
    }
    let mut loads = String::new();
    for path in ordered {
        let name = path.rsplit('/').next().expect("a path has a last part");
        copy(&release.join(path), &format!("modules/{name}"));
        loads.push_str(&format!("insmod /modules/{name}\n"));
    }

    let script = format!(
        "#!/bin/busybox sh\n/bin/busybox --install -s /bin\nPATH=/bin\nmount -t proc proc /proc\nmount -t devtmpfs dev /dev\n{loads}\
         n=0\nwhile [ ! -b /dev/vda ] && [ $n -lt 600 ]; do n=$((n+1)); usleep 50000; done\n\
         mount -t ext4 /dev/vda /root || exec sh\nmount -o move /dev /root/dev\numount /proc\nexec switch_root /root /sbin/init\n"
    );
    let init = tree.join("init");
    fs::write(&init, script).expect("a scratch file");
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).expect("a scratch file");
    sh(
        "sh",
        &[
            "-euc",
            "cd \"$1\"; find . | cpio --quiet -o -H newc >\"$2\"",
            "sh",
            &tree.display().to_string(),
            &to.display().to_string(),
        ],
    )
    .ok();
}
