use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use proptest::prelude::*;

use super::disk::{DiskOptions, read};
use super::*;
use crate::formats::testing::run;

fn refusal(result: Result<(), FormatError>) -> String {
    result.expect_err("expected a refusal").to_string()
}

#[test]
fn a_tar_slip_is_refused_in_each_of_its_forms() {
    for (path, why) in [
        ("../etc/passwd", "`..`"),
        ("usr/../../etc/passwd", "`..`"),
        ("usr/..", "`..`"),
        ("/etc/passwd", "absolute"),
        (".//etc/passwd", "empty part"),
        ("a//b", "empty part"),
        ("a/./b", "`.` part"),
        ("", "empty"),
        ("./", "empty"),
        ("a\0b", "NUL"),
        ("a\nb", "line break"),
    ] {
        let said = refusal(Tree::new().file(path, 0o644, ""));
        assert!(said.contains(why), "{path:?}: {said}");
    }
    assert!(refusal(Tree::new().file("x".repeat(256), 0o644, "")).contains("255"));
    assert!(refusal(Tree::new().file("x/".repeat(2100) + "y", 0o644, "")).contains("4093"));
    // Percent signs mean nothing to a file system: the name stays what it is.
    let mut tree = Tree::new();
    tree.file("%2e%2e/x", 0o644, "").unwrap();
    assert!(tree.get("%2e%2e/x").is_some());
}

#[test]
fn nothing_lies_below_a_file_or_a_link_whatever_the_order() {
    let mut tree = Tree::new();
    tree.symlink("out", "/etc").unwrap();
    assert!(refusal(tree.file("out/passwd", 0o644, "")).contains("not a directory"));
    tree.file("a/b/c", 0o644, "").unwrap();
    assert!(refusal(tree.symlink("a/b", "/etc")).contains("holds other entries"));
    assert!(refusal(tree.file("a/b/c", 0o644, "")).contains("twice"));
    assert!(refusal(tree.file("./a/b/c", 0o644, "")).contains("twice"));
    assert_eq!(tree.len(), 4, "a refused entry leaves nothing behind");
}

#[test]
fn a_link_may_not_climb_above_the_root() {
    assert!(refusal(Tree::new().symlink("a/link", "../../etc/shadow")).contains("leaves the root"));
    assert!(refusal(Tree::new().symlink("link", "")).contains("impossible"));
    let mut tree = Tree::new();
    tree.symlink("usr/lib/link", "../../etc/x").unwrap();
    tree.symlink("etc/link", "/run/x").unwrap();
}

#[test]
fn special_bits_are_refused_unless_asked_for() {
    let mut tree = Tree::new();
    assert!(refusal(tree.file("su", 0o4755, "")).contains("setuid"));
    assert!(refusal(tree.file("su", 0o100_644, "")).contains("permission bits"));
    tree.allow_special_modes();
    tree.file("su", 0o4755, "").unwrap();
}

#[test]
fn an_explicit_directory_takes_the_place_of_an_implied_one() {
    let mut tree = Tree::new();
    tree.file("var/lib/probe/x", 0o600, "").unwrap();
    tree.insert(Entry::dir("var/lib/probe/", 0o700).owned_by(7, 8)).unwrap();
    let dir = tree.get("var/lib/probe").unwrap();
    assert_eq!((dir.mode, dir.uid, dir.gid), (0o700, 7, 8));
    assert!(refusal(tree.dir("var/lib/probe", 0o700)).contains("twice"));
    assert_eq!(tree.get("var/lib").unwrap().mode, 0o755);
}

#[test]
fn only_a_file_can_be_a_conffile() {
    assert!(refusal(Tree::new().insert(Entry::dir("etc", 0o755).as_conffile())).contains("conffile"));
}

#[test]
fn a_graft_merges_directories_and_refuses_a_second_file() {
    let mut base = Tree::new();
    base.file("usr/bin/a", 0o755, "a").unwrap();
    let mut more = Tree::new();
    more.file("bin/b", 0o755, "b").unwrap();
    base.graft("usr", more.clone()).unwrap();
    assert!(base.get("usr/bin/b").is_some());
    assert!(refusal(base.graft("usr", more.clone())).contains("twice"));
    assert!(refusal(base.graft("..", more)).contains("`..`"));
}

#[test]
fn names_that_differ_in_case_are_refused_for_a_mac() {
    let mut tree = Tree::new();
    tree.file("a/Read", 0o644, "").unwrap();
    tree.file("a/read", 0o644, "").unwrap();
    assert!(refusal(tree.check_case_insensitive()).contains("letter case"));
}

#[test]
fn contents_do_not_show_in_debug_output() {
    assert!(!format!("{:?}", Entry::file("k", 0o600, "hunter2")).contains("hunter2"));
}

fn disk(root: &Path) -> Result<Tree, FormatError> {
    read(root, &DiskOptions::default())
}

#[test]
fn a_directory_is_read_without_following_its_links() {
    let home = tempfile::tempdir().unwrap();
    let outside = home.path().join("outside");
    let root = home.path().join("root");
    std::fs::create_dir_all(root.join("etc")).unwrap();
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "s").unwrap();
    std::fs::write(root.join("etc/a"), "a").unwrap();
    std::fs::set_permissions(root.join("etc/a"), PermissionsExt::from_mode(0o664)).unwrap();
    symlink("/somewhere/else", root.join("etc/link")).unwrap();
    symlink(&outside, root.join("dir-link")).unwrap();
    let tree = disk(&root).unwrap();
    assert_eq!(
        tree.get("etc/a").unwrap().mode,
        0o644,
        "a umask of 002 gives the same package as one of 022"
    );
    assert_eq!(tree.get("etc/a").unwrap().kind, EntryKind::File(b"a".to_vec()));
    assert_eq!(
        tree.get("etc/link").unwrap().kind,
        EntryKind::Symlink("/somewhere/else".into())
    );
    assert!(matches!(tree.get("dir-link").unwrap().kind, EntryKind::Symlink(_)));
    assert!(tree.entries().all(|e| !e.path.contains("secret")));
    symlink("../../outside/secret", root.join("etc/slip")).unwrap();
    assert!(disk(&root).unwrap_err().to_string().contains("leaves the root"));
}

#[test]
fn fifos_sockets_and_setuid_programs_on_disk_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), "mkfifo", &["pipe"]);
    assert!(disk(dir.path()).unwrap_err().to_string().contains("FIFO"));
    std::fs::remove_file(dir.path().join("pipe")).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    assert!(disk(dir.path()).unwrap_err().to_string().contains("socket"));
    drop(socket);
    std::fs::remove_file(dir.path().join("socket")).unwrap();
    std::fs::write(dir.path().join("su"), "").unwrap();
    std::fs::set_permissions(dir.path().join("su"), PermissionsExt::from_mode(0o4755)).unwrap();
    assert!(disk(dir.path()).unwrap_err().to_string().contains("setuid"));
    let asked = DiskOptions {
        special_modes: true,
        ..DiskOptions::default()
    };
    assert_eq!(read(dir.path(), &asked).unwrap().get("su").unwrap().mode, 0o4755);
}

#[test]
fn limits_hold_for_a_directory_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a"), [0; 600]).unwrap();
    std::fs::write(dir.path().join("b"), [0; 600]).unwrap();
    let few = DiskOptions {
        max_bytes: 1000,
        ..DiskOptions::default()
    };
    assert!(
        read(dir.path(), &few)
            .unwrap_err()
            .to_string()
            .contains("limit of 1000")
    );
    let one = DiskOptions {
        max_entries: 1,
        ..DiskOptions::default()
    };
    assert!(read(dir.path(), &one).unwrap_err().to_string().contains("entries"));
    assert!(
        disk(&dir.path().join("absent"))
            .unwrap_err()
            .to_string()
            .contains("absent")
    );
}

proptest! {
    #[test]
    fn whatever_is_taken_stays_below_the_root(paths in proptest::collection::vec("[a.\\\\/ %]{0,12}", 0..12)) {
        let mut tree = Tree::new();
        for path in paths {
            let _ = tree.file(path, 0o644, "");
        }
        let mut before = String::new();
        for entry in tree.entries() {
            prop_assert!(entry.path > before, "sorted, each once");
            let mut parts = Path::new(&entry.path).components();
            prop_assert!(parts.all(|p| matches!(p, std::path::Component::Normal(_))));
            if let Some((parent, _)) = entry.path.rsplit_once('/') {
                prop_assert!(tree.get(parent).is_some_and(Entry::is_dir));
            }
            before.clone_from(&entry.path);
        }
    }
}
