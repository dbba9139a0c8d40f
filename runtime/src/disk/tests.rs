//! The disk: whole or not at all, and never through a link.

use std::cell::RefCell;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;

fn disk() -> (tempfile::TempDir, Disk) {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::open(dir.path(), "feed").unwrap();
    (dir, disk)
}

fn attrs(mode: u32) -> Attrs {
    Attrs {
        mode,
        uid: nix::unistd::geteuid().as_raw(),
        gid: nix::unistd::getegid().as_raw(),
    }
}

#[test]
fn a_file_is_written_with_its_mode_and_owner() {
    let (dir, disk) = disk();
    for mode in [0o600, 0o644, 0o4755, 0o2755, 0o000] {
        disk.write_file("/f", b"x", attrs(mode), &Vec::new()).unwrap();
        assert_eq!(dir.path().join("f").metadata().unwrap().mode() & 0o7777, mode);
    }
    assert_eq!(disk.read("/f", 10).unwrap().0, b"x");
    assert!(matches!(disk.read("/f", 0), Err(DiskError::TooLarge { .. })));
}

#[test]
fn paths_that_are_none_are_refused() {
    let (_dir, disk) = disk();
    for bad in [
        "",
        "/",
        "/a/../b",
        "/..",
        "a/./b",
        "/a//b",
        "/a/",
        "/a\0b",
        &format!("/{}", "x".repeat(256)),
    ] {
        assert!(matches!(disk.lstat(bad), Err(DiskError::BadPath { .. })), "{bad:?}");
        assert!(disk.write_file(bad, b"", attrs(0o600), &Vec::new()).is_err(), "{bad:?}");
    }
}

#[test]
fn no_operation_follows_a_link_in_the_path() {
    let (dir, disk) = disk();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("f"), "theirs").unwrap();
    symlink(outside.path(), dir.path().join("l")).unwrap();
    let a = attrs(0o600);
    let is_link = |e: DiskError| matches!(e, DiskError::LinkInPath { .. });
    assert!(is_link(disk.lstat("/l/f").unwrap_err()));
    assert!(is_link(disk.read("/l/f", 10).unwrap_err()));
    assert!(is_link(disk.write_file("/l/f", b"x", a, &Vec::new()).unwrap_err()));
    assert!(is_link(disk.make_dir("/l/d", a).unwrap_err()));
    assert!(is_link(disk.make_link("/l/k", "x", (0, 0)).unwrap_err()));
    assert!(is_link(disk.set_attrs("/l/f", a).unwrap_err()));
    assert!(is_link(disk.remove("/l/f").unwrap_err()));
    assert!(is_link(disk.rename("/l/f", "/l/g").unwrap_err()));
    assert!(is_link(disk.append("/l/f", b"x").unwrap_err()));
    assert!(disk.list("/l").is_err());
    assert!(
        disk.set_attrs("/l", a).is_err(),
        "the link itself has no mode of its own"
    );
    assert_eq!(std::fs::read(outside.path().join("f")).unwrap(), b"theirs");
    let text = disk.lstat("/l/f").unwrap_err().to_string();
    assert!(text.contains(outside.path().to_str().unwrap()), "{text}");
}

#[test]
fn a_link_as_last_component_is_replaced_and_not_followed() {
    let (dir, disk) = disk();
    std::fs::write(dir.path().join("target"), "t").unwrap();
    symlink("target", dir.path().join("l")).unwrap();
    assert!(matches!(disk.read("/l", 10), Err(DiskError::LinkInPath { .. })));
    disk.write_file("/l", b"x", attrs(0o644), &Vec::new()).unwrap();
    assert_eq!(
        (disk.read("/l", 10).unwrap().0, disk.read("/target", 10).unwrap().0),
        (b"x".to_vec(), b"t".to_vec())
    );
}

#[test]
fn special_files_and_files_with_several_names_are_left_alone() {
    let (dir, disk) = disk();
    nix::unistd::mkfifo(
        &dir.path().join("fifo"),
        nix::sys::stat::Mode::from_bits_truncate(0o600),
    )
    .unwrap();
    let special = |e: DiskError| matches!(e, DiskError::Special { .. });
    assert!(special(disk.read("/fifo", 10).unwrap_err()));
    assert!(special(
        disk.write_file("/fifo", b"", attrs(0o600), &Vec::new()).unwrap_err()
    ));
    assert!(special(disk.remove("/fifo").unwrap_err()));
    assert!(special(disk.set_attrs("/fifo", attrs(0o600)).unwrap_err()));
    std::fs::write(dir.path().join("a"), "a").unwrap();
    std::fs::hard_link(dir.path().join("a"), dir.path().join("b")).unwrap();
    assert!(matches!(
        disk.write_file("/a", b"", attrs(0o600), &Vec::new()),
        Err(DiskError::HardLinked { links: 2, .. })
    ));
    assert!(matches!(disk.remove("/a"), Err(DiskError::HardLinked { .. })));
    assert!(matches!(
        disk.set_attrs("/a", attrs(0o600)),
        Err(DiskError::HardLinked { .. })
    ));
}

#[test]
fn temporary_names_are_not_to_be_guessed_and_are_made_exclusively() {
    struct Names(RefCell<Vec<String>>);
    impl Tap for Names {
        fn before(&self, op: &Op<'_>) -> io::Result<()> {
            if let Op::Create(path) = op {
                self.0.borrow_mut().push((*path).to_owned());
            }
            Ok(())
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let names = Rc::new(Names(RefCell::default()));
    let disk = Disk::open(dir.path(), "5eed0123456789ab")
        .unwrap()
        .with_tap(names.clone());
    disk.write_file("/f", b"1", attrs(0o600), &Vec::new()).unwrap();
    disk.write_file("/f", b"2", attrs(0o600), &Vec::new()).unwrap();
    let made = names.0.borrow().clone();
    assert_eq!(made.len(), 2);
    assert!(
        made[0] != made[1] && made.iter().all(|n| n.contains("5eed0123456789ab")),
        "{made:?}"
    );
    // Somebody who did guess the next one has only stopped it: nothing of theirs is written through.
    let theirs = dir.path().join("theirs");
    std::fs::write(&theirs, "theirs").unwrap();
    symlink(&theirs, dir.path().join(".jos-5eed0123456789ab-2")).unwrap();
    assert!(disk.write_file("/f", b"3", attrs(0o600), &Vec::new()).is_err());
    assert_eq!(std::fs::read(theirs).unwrap(), b"theirs");
    assert_eq!(disk.read("/f", 10).unwrap().0, b"2");
}

#[test]
fn a_write_is_synced_before_its_name_and_its_directory_after() {
    struct Order(RefCell<Vec<&'static str>>);
    impl Tap for Order {
        fn before(&self, op: &Op<'_>) -> io::Result<()> {
            self.0.borrow_mut().push(match op {
                Op::Create(_) => "create",
                Op::Write(..) => "write",
                Op::Meta(..) => "meta",
                Op::Rename(..) => "rename",
                Op::Sync(_) => "sync",
                Op::SyncDir(_) => "sync directory",
                _ => "other",
            });
            Ok(())
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let order = Rc::new(Order(RefCell::default()));
    let disk = Disk::open(dir.path(), "x").unwrap().with_tap(order.clone());
    disk.write_file("/f", b"1", attrs(0o600), &Vec::new()).unwrap();
    assert_eq!(
        *order.0.borrow(),
        ["create", "write", "meta", "sync", "rename", "sync directory"]
    );
}

#[test]
fn a_tree_is_removed_without_following_its_links() {
    let (dir, disk) = disk();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("f"), "theirs").unwrap();
    std::fs::create_dir_all(dir.path().join("t/a/b")).unwrap();
    std::fs::write(dir.path().join("t/a/f"), "x").unwrap();
    symlink(outside.path(), dir.path().join("t/a/out")).unwrap();
    disk.remove_tree("/t").unwrap();
    assert!(!dir.path().join("t").exists() && outside.path().join("f").exists());
}

#[test]
fn a_file_that_is_locked_down_is_still_its_owners() {
    let (dir, disk) = disk();
    std::fs::write(dir.path().join("f"), "x").unwrap();
    std::fs::set_permissions(dir.path().join("f"), std::fs::Permissions::from_mode(0o400)).unwrap();
    disk.write_file("/f", b"y", attrs(0o400), &Vec::new()).unwrap();
    assert_eq!(disk.read("/f", 10).unwrap().0, b"y");
}

#[cfg(target_os = "linux")]
#[test]
fn extended_attributes_are_read_and_written() {
    let (_dir, disk) = disk();
    let wanted = vec![("user.jos-test".to_owned(), "c3a9".to_owned())];
    match disk.write_file("/f", b"x", attrs(0o600), &wanted) {
        Ok(()) => assert_eq!(disk.xattrs("/f").unwrap(), wanted),
        // A file system without them (tmpfs of old kernels) says so.
        Err(e) => assert!(e.to_string().contains("extended attributes"), "{e}"),
    }
}

#[test]
fn device_node_at_the_target() {
    // The machine's own: nothing is made for it, and nothing is done to it.
    let disk = Disk::open(Path::new("/dev"), "feed").unwrap();
    let before = Path::new("/dev/null").metadata().unwrap();
    let special = |e: DiskError| matches!(e, DiskError::Special { what, .. } if what == "a character device");
    assert!(special(disk.read("/null", 10).unwrap_err()));
    assert!(special(
        disk.write_file("/null", b"x", attrs(0o600), &Vec::new()).unwrap_err()
    ));
    assert!(special(disk.make_link("/null", "x", (0, 0)).unwrap_err()));
    assert!(special(disk.set_attrs("/null", attrs(0o600)).unwrap_err()));
    assert!(special(disk.remove("/null").unwrap_err()));
    let after = Path::new("/dev/null").metadata().unwrap();
    assert_eq!(
        (after.mode(), after.ino(), after.rdev()),
        (before.mode(), before.ino(), before.rdev())
    );
}

/// Both ways of reaching a directory; the second also where the kernel knows the first.
const WAYS: [Way; 2] = [Way::Whole, Way::Steps];

#[test]
fn both_ways_reach_the_same_and_say_the_same() {
    for way in WAYS {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path(), "feed").unwrap().by(way);
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        std::fs::write(dir.path().join("a/f"), "f").unwrap();
        symlink("b", dir.path().join("a/l")).unwrap();
        symlink("/", dir.path().join("a/out")).unwrap();
        symlink("..", dir.path().join("a/up")).unwrap();
        disk.write_file("/a/b/x", b"x", attrs(0o600), &Vec::new()).unwrap();
        assert_eq!(disk.read("a/b/x", 10).unwrap().0, b"x", "{way:?}");
        assert_eq!(disk.lstat("/a/missing/x").unwrap(), None);
        assert_eq!(disk.lstat("/a/f/x").unwrap(), None);
        assert!(
            matches!(disk.read("/a/f/x", 1), Err(DiskError::NotADirectory { .. })),
            "{way:?}"
        );
        for (path, link) in [
            ("/a/l/x", "a/l"),
            ("/a/out/etc/passwd", "a/out"),
            ("/a/up/a/b/x", "a/up"),
        ] {
            match disk.read(path, 10) {
                Err(DiskError::LinkInPath { component, .. }) => assert!(component.ends_with(link), "{component}"),
                other => panic!("{way:?} {path}: {other:?}"),
            }
        }
        let long = format!("/{}", ["b"; 60].join("/"));
        assert_eq!(disk.lstat(&long).unwrap(), None);
    }
}

#[test]
fn symlink_swapped_for_a_component_while_it_is_walked() {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    const ROUNDS: u32 = 3000;
    for way in WAYS {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir_all(dir.path().join("a/b/c")).unwrap();
        std::fs::create_dir_all(outside.path().join("c")).unwrap();
        std::fs::write(outside.path().join("c/f"), "theirs").unwrap();
        std::fs::write(outside.path().join("c/old"), "theirs").unwrap();
        symlink(outside.path(), dir.path().join("a/link")).unwrap();
        let disk = Disk::open(dir.path(), "feed").unwrap().by(way);
        let (stop, swaps) = (AtomicBool::new(false), AtomicU32::new(0));
        let (done, refused) = (Cell::new(0), Cell::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // The directory and the link take the same name in turn.
                let a = |name: &str| dir.path().join("a").join(name);
                while !stop.load(Ordering::Relaxed) {
                    std::fs::rename(a("b"), a("kept")).unwrap();
                    std::fs::rename(a("link"), a("b")).unwrap();
                    swaps.fetch_add(1, Ordering::Relaxed);
                    std::fs::rename(a("b"), a("link")).unwrap();
                    std::fs::rename(a("kept"), a("b")).unwrap();
                }
            });
            let count = |result: Result<(), DiskError>| {
                let counter = if result.is_ok() { &done } else { &refused };
                counter.set(counter.get() + 1);
            };
            while done.get() < ROUNDS || refused.get() < ROUNDS / 100 || swaps.load(Ordering::Relaxed) < ROUNDS {
                count(disk.write_file("/a/b/c/f", b"ours", attrs(0o600), &Vec::new()));
                count(disk.set_attrs("/a/b/c/f", attrs(0o644)));
                count(disk.make_link("/a/b/c/l", "x", (attrs(0).uid, attrs(0).gid)));
                count(disk.make_dir("/a/b/c/d", attrs(0o700)));
                count(disk.remove("/a/b/c/d"));
                count(disk.remove("/a/b/c/old"));
                if let Ok((bytes, _)) = disk.read("/a/b/c/f", 100) {
                    assert_ne!(bytes, b"theirs", "{way:?}: read from outside");
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
        let mut names: Vec<_> = std::fs::read_dir(outside.path().join("c")).unwrap().flatten().collect();
        names.sort_by_key(std::fs::DirEntry::file_name);
        let names: Vec<_> = names.iter().map(std::fs::DirEntry::file_name).collect();
        assert_eq!(names, ["f", "old"], "{way:?}: something was made or removed outside");
        assert_eq!(std::fs::read(outside.path().join("c/f")).unwrap(), b"theirs", "{way:?}");
        assert_eq!(outside.path().join("c/f").metadata().unwrap().mode() & 0o777, 0o644);
    }
}

#[test]
fn what_is_protected_is_not_reached_whatever_it_is_called() {
    for way in WAYS {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path(), "feed").unwrap().by(way);
        for sub in ["a/own/deep", "a/near", "b/free/deep"] {
            std::fs::create_dir_all(dir.path().join(sub)).unwrap();
        }
        std::fs::write(dir.path().join("a/own/deep/f"), "theirs").unwrap();
        std::fs::write(dir.path().join("a/program"), "theirs").unwrap();
        let patterns = ["/a/own", "/a/program", "/a/near/later/*.conf", "/a/S??jos"];
        disk.keep_off(patterns.into_iter());
        // Other names for the same, as a mount that nobody knows of would make them.
        std::fs::rename(dir.path().join("a"), dir.path().join("b/moved")).unwrap();
        let stopped = |path: &str| {
            let errors = [
                disk.lstat(path).err(),
                disk.read(path, 10).err(),
                disk.list(path).err(),
                disk.write_file(path, b"x", attrs(0o600), &Vec::new()).err(),
                disk.make_dir(path, attrs(0o700)).err(),
                disk.make_link(path, "x", (0, 0)).err(),
                disk.set_attrs(path, attrs(0o777)).err(),
                disk.remove(path).err(),
                disk.remove_tree(path).err(),
                disk.rename(path, &format!("{path}x")).err(),
            ];
            for (at, error) in errors.into_iter().enumerate() {
                let own = matches!(error, Some(DiskError::Own { .. }));
                assert!(own, "{way:?} {path}: operation {at}: {error:?}");
            }
        };
        for path in [
            "/b/moved/own",
            "/b/moved/own/deep/f",
            "/b/moved/own/new/f",
            "/b/moved/program",
            "/b/moved/near/later/x.conf",
            "/b/moved/S99jos",
        ] {
            // Twice: what was met is remembered.
            stopped(path);
            stopped(path);
        }
        for path in ["/b/free/deep/f", "/b/moved/near/f", "/b/moved/near/later2", "/b/f"] {
            for _ in 0..2 {
                disk.write_file(path, b"x", attrs(0o600), &Vec::new()).unwrap();
                assert_eq!(disk.read(path, 10).unwrap().0, b"x");
            }
        }
        // A directory that is made on the way to one that was not there is no way around.
        disk.make_dir("/b/moved/near/later", attrs(0o700)).unwrap();
        disk.write_file("/b/moved/near/later/x.txt", b"x", attrs(0o600), &Vec::new())
            .unwrap();
        stopped("/b/moved/near/later/x.conf");
        let text = disk.lstat("/b/moved/own/f").unwrap_err().to_string();
        assert!(text.contains("leads to /a/own, which is protected"), "{text}");
        assert_eq!(std::fs::read(dir.path().join("b/moved/own/deep/f")).unwrap(), b"theirs");
    }
}
