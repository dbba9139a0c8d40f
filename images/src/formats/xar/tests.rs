use super::*;
use crate::formats::testing::{EPOCH, run};

fn sample() -> Tree {
    let mut tree = Tree::new();
    tree.file("Distribution", 0o644, "<x/>\n").unwrap();
    tree.file("base.pkg/Payload", 0o644, vec![7u8; 5000]).unwrap();
    tree.file("base.pkg/Empty", 0o644, "").unwrap();
    tree.file("base.pkg-notes", 0o644, "sorts between base.pkg and base.pkg/Empty")
        .unwrap();
    tree.file("Resources/en.lproj/read & <me>.txt", 0o644, "hello").unwrap();
    tree
}

#[test]
fn bsdtar_and_7z_list_and_unpack_the_archive() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = write(&sample(), EPOCH).unwrap();
    assert_eq!(bytes, write(&sample(), EPOCH).unwrap());
    std::fs::write(dir.path().join("a.xar"), &bytes).unwrap();
    let listing = run(dir.path(), "bsdtar", &["-tf", "a.xar"]);
    let sorted = |names: &mut dyn Iterator<Item = &str>| {
        let mut names: Vec<String> = names.map(|n| n.trim_end_matches('/').to_owned()).collect();
        names.sort();
        names
    };
    let tree = sample();
    assert_eq!(
        sorted(&mut listing.lines()),
        sorted(&mut tree.entries().map(|e| e.path.as_str()))
    );
    run(dir.path(), "bsdtar", &["-xf", "a.xar"]);
    assert_eq!(
        std::fs::read(dir.path().join("base.pkg/Payload")).unwrap(),
        vec![7u8; 5000]
    );
    assert_eq!(
        std::fs::read(dir.path().join("Resources/en.lproj/read & <me>.txt")).unwrap(),
        b"hello"
    );
    run(dir.path(), "7z", &["t", "-txar", "a.xar"]);
    assert!(run(dir.path(), "7z", &["l", "-txar", "a.xar"]).contains("base.pkg"));
}

#[test]
fn an_archive_reads_back() {
    let members = read(&write(&sample(), EPOCH).unwrap()).unwrap();
    let payload = members.iter().find(|m| m.path == "base.pkg/Payload").unwrap();
    assert_eq!(payload.bytes, vec![7u8; 5000]);
    assert_eq!(members.len(), 5);
}

#[test]
fn a_changed_byte_anywhere_is_found() {
    let bytes = write(&sample(), EPOCH).unwrap();
    for at in (0..bytes.len()).step_by(11) {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(read(&changed).is_err(), "byte {at}");
    }
    for n in (0..bytes.len()).step_by(13) {
        assert!(read(&bytes[..n]).is_err(), "cut to {n}");
    }
}

fn with_toc(toc: &str) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(toc.as_bytes()).unwrap();
    let packed = encoder.finish().unwrap();
    let mut out = MAGIC.to_vec();
    out.extend(28u16.to_be_bytes());
    out.extend(1u16.to_be_bytes());
    out.extend((packed.len() as u64).to_be_bytes());
    out.extend((toc.len() as u64).to_be_bytes());
    out.extend(1u32.to_be_bytes());
    out.extend(&packed);
    out.extend(hash::sha1_raw(&packed));
    out
}

#[test]
fn hostile_tables_of_contents_are_refused() {
    let sum = "<checksum style='sha1'><offset>0</offset><size>20</size></checksum>";
    let file = |name: &str, offset: &str| {
        format!(
            "<xar><toc>{sum}<file><name>{name}</name><data><offset>{offset}</offset><length>1</length>\
             <size>1</size></data></file></toc></xar>"
        )
    };
    let bomb = "<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;'>]><xar>&b;</xar>".to_owned();
    for (toc, why) in [
        (file("..", "0"), "`..`"),
        (file("a/b", "0"), "slash"),
        (file("a", "99"), "outside"),
        (file("a", "18446744073709551615"), "outside"),
        (file("a", "-1"), "not a number"),
        (
            format!(
                "<xar><toc>{sum}{}</toc></xar>",
                "<file><name>a</name>".repeat(100_000) + &"</file>".repeat(100_000)
            ),
            "nested too deep",
        ),
        (bomb, "DTD"),
        ("<xar/>".into(), "<toc>"),
    ] {
        let said = read(&with_toc(&toc)).unwrap_err().to_string();
        assert!(said.contains(why), "{said}, expected {why}");
    }
}

#[test]
fn times_are_those_of_date() {
    let dir = tempfile::tempdir().unwrap();
    for epoch in [0, 951_782_399, 951_782_400, 951_868_800, EPOCH, 4_107_542_400, u32::MAX] {
        let said = run(
            dir.path(),
            "date",
            &["-u", "-d", &format!("@{epoch}"), "+%Y-%m-%dT%H:%M:%SZ"],
        );
        assert_eq!(said.trim(), utc(epoch));
    }
}
