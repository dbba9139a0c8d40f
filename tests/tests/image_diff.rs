//! What `jos-image diff` says of two images, where other tools than ours have made one out of the other.

use std::fs;
use std::path::Path;
use std::process::Command;

use jos_tests::command::{Ran, run, run_within};
use jos_tests::programs::jos_image;
use jos_tests::vendor_disk::{self, debugfs, put_on_boot};
use serde_json::{Value, json};

fn diff(dir: &Path, a: &str, b: &str, more: &[&str]) -> Ran {
    run(jos_image()
        .env("JOS_CACHE", dir.join("cache"))
        .arg("diff")
        .arg(dir.join(a))
        .arg(dir.join(b))
        .args(more))
}

/// A disk, and a copy of it in `other.img`.
fn two() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    let disk = vendor_disk::make(dir.path(), &|_| {});
    fs::copy(disk, dir.path().join("other.img")).expect("a scratch file");
    dir
}

#[test]
fn two_images_differ_by_partition_and_path_in_mode_owner_size_and_content() {
    let dir = two();
    let other = dir.path().join("other.img");
    diff(dir.path(), "vendor.img", "other.img", &[])
        .ok()
        .says("the same to the byte");

    let new = dir.path().join("new");
    fs::write(&new, "127.0.0.1 localhost\n127.0.1.1 another\n").expect("a scratch file");
    fs::write(dir.path().join("program"), [0, 1, 2, 3]).expect("a scratch file");
    let commands = format!(
        "rm /etc/hosts\nwrite {new} /etc/hosts\nsif /etc/hosts mode 0100644\nsif /home/pi/notes uid 1001\n\
         sif /usr/bin/ping mode 0104755\nrm /etc/hostname\nwrite {program} /srv-new\nsif /srv-new mode 0100644\n\
         rm /usr/bin/perl5.36.0\nsymlink /usr/bin/perl5.36.0 perl\nrm /bin\nsymlink /bin usr/sbin\n",
        new = new.display(),
        program = dir.path().join("program").display(),
    );
    debugfs(Path::new(&vendor_disk::root(&other)), &commands);
    put_on_boot(&other, &new, "NEW.TXT");
    let said = diff(dir.path(), "vendor.img", "other.img", &[]).exits(1).stdout;
    let expected = "\
+ boot:/NEW.TXT (38 bytes)
rootfs:/bin: content usr/bin → usr/sbin
- rootfs:/etc/hostname (7 bytes)
rootfs:/etc/hosts: size 37 → 38
rootfs:/etc/hosts:
    @@ -1,2 +1,2 @@
     127.0.0.1 localhost
    -127.0.1.1 vendor
    +127.0.1.1 another
rootfs:/home/pi/notes: owner 1000:100000 → 1001:100000
+ rootfs:/srv-new (4 bytes)
rootfs:/usr/bin/perl5.36.0: kind file → link
rootfs:/usr/bin/perl5.36.0: mode 0644 → 0777
rootfs:/usr/bin/ping: mode 0644 → 4755
";
    assert_eq!(said, expected);

    // Scripts have partition and path apart; a compressed image is as good as a raw one.
    run(Command::new("xz").arg("-0").arg(&other)).ok();
    let all = diff(dir.path(), "vendor.img", "other.img.xz", &["--json"])
        .exits(1)
        .json();
    let all = all["differences"].as_array().expect("a list");
    let owner = json!({
        "partition": "rootfs", "what": "metadata", "path": "/home/pi/notes",
        "attribute": "owner", "old": "1000:100000", "new": "1001:100000",
    });
    assert!(all.contains(&owner), "{all:#?}");
    let content = all
        .iter()
        .find(|one| one["what"] == "content" && one["path"] == "/etc/hosts");
    let sum = run(Command::new("sha256sum").arg(&new)).ok();
    assert_eq!(
        content.expect("the content")["new"],
        Value::from(sum.text().split(' ').next())
    );
    let left = fs::read_dir(dir.path().join("cache/images")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "unpacked disks lie around");
}

#[test]
fn tables_and_what_nobody_reads_differ_by_name_size_type_and_hash() {
    let dir = two();
    let (a, b) = (dir.path().join("vendor.img"), dir.path().join("other.img"));
    let table = |disk: &Path, lines: &str| {
        let table = format!("label: gpt\nstart=2048, size=34816, type=U, name=boot\n{lines}");
        let mut sfdisk = Command::new("sfdisk");
        let limit = jos_tests::command::LIMIT;
        run_within(sfdisk.arg("-q").arg(disk), limit, table.as_bytes()).ok();
    };
    for (disk, byte) in [(&a, 1), (&b, 2)] {
        vendor_disk::put(disk, vendor_disk::ROOT.0, &[0; 4096]);
        vendor_disk::put(disk, vendor_disk::ROOT.0, b"hsqs");
        vendor_disk::put(disk, vendor_disk::ROOT.0 + 9000, &[byte]);
    }
    let id = "uuid=00000000-0000-4000-8000-000000000001";
    table(&a, &format!("start=36864, size=81920, type=L, name=slot-a, {id}\n"));
    table(
        &b,
        &format!("start=36864, size=79872, type=U, name=slot-b, {id}\nstart=116736, size=2048, type=L, name=data\n"),
    );
    let said = diff(dir.path(), "vendor.img", "other.img", &[]).exits(1).stdout;
    let lines: Vec<&str> = said.lines().filter(|line| !line.starts_with("boot: id ")).collect();
    assert_eq!(
        lines[..3],
        [
            "slot-a: name slot-a → slot-b",
            "slot-a: size 41943040 → 40894464",
            "slot-a: type 0fc63daf-8483-4772-8e79-3d69d8477de4 → c12a7328-f81f-11d2-ba4b-00a0c93ec93b",
        ]
    );
    assert!(
        lines[3].starts_with("slot-a: content ") && lines[3].contains(" → "),
        "{said}"
    );
    assert_eq!(lines[4..], ["+ data: (1048576 bytes)"]);
}

#[test]
fn images_of_one_content_differ_in_what_is_not_looked_at_and_that_is_said() {
    let dir = two();
    let other = dir.path().join("other.img");
    debugfs(
        Path::new(&vendor_disk::root(&other)),
        "sif /etc/hosts mtime @1700000000\n",
    );
    let said = diff(dir.path(), "vendor.img", "other.img", &[]).exits(1);
    assert_eq!(
        said.stdout,
        "rootfs: all that is inside is the same; order, times or compression differ\n"
    );
    fs::write(dir.path().join("package.deb"), "!<arch>\n").expect("a scratch file");
    diff(dir.path(), "vendor.img", "package.deb", &[])
        .exits(2)
        .says("give two packages, or two images");
}
