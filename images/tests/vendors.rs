//! The profiles of `examples/vendors`, and what `docs/gallery.md` says comes out of them.

mod common;

use std::fs;
use std::path::Path;

use common::Bench;

/// What is in every folder.
const ALWAYS: [&str; 6] = [
    "SHA256SUMS",
    "SHA256SUMS.pub",
    "SHA256SUMS.sig",
    "manifest.json",
    "provenance.intoto.jsonl",
    "sbom.cdx.json",
];

#[test]
fn what_the_gallery_lists_is_what_comes_out_of_its_profiles() {
    let bench = Bench::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let gallery = fs::read_to_string(root.join("docs/gallery.md")).expect("the gallery");
    let profiles = root.join("profiles").display().to_string();
    let entries = fs::read_dir(root.join("examples/vendors")).expect("vendors");
    let (folders, files): (Vec<_>, Vec<_>) = entries.map(|e| e.expect("an entry").path()).partition(|p| p.is_dir());
    for path in folders {
        let folder = path.file_name().expect("a name").to_str().expect("text");
        let baseline = fs::read(path.join("baseline.toml")).expect("a baseline");
        bench.write(&format!("{folder}/baseline.toml"), baseline);
    }
    assert_eq!(files.len(), 5);
    for path in files {
        let text = fs::read_to_string(&path).expect("a profile");
        let given = path.display().to_string();
        bench.run(&["validate", &given, "--profiles", &profiles]).ok();
        let name = path.file_stem().expect("a name").to_str().expect("text");
        // An image takes minutes and a base of Debian.
        let (packages, image) = text.split_once("[image]").unwrap_or((&text, ""));
        bench.write(&format!("{name}.toml"), packages);
        let boards = ["amd64-uefi", "raspberry-pi"].into_iter();
        let boards: Vec<&str> = boards.filter(|board| image.contains(board)).collect();
        let section = gallery.split(&format!("`examples/vendors/{name}.toml`")).nth(1);
        let section = section.unwrap_or_else(|| panic!("{name} is not in the gallery"));
        let section = section.split("\n## ").next().expect("a first part");
        let version = text
            .lines()
            .find_map(|l| l.strip_prefix("version = \"")?.strip_suffix('"'));
        for board in boards {
            let end = format!("_{}-1_{board}.img`", version.expect("a version"));
            assert!(section.contains(&end), "{name}: no {end} in:\n{section}");
        }
        assert_eq!(
            section.contains(".raucb`"),
            image.contains("update = \"rauc\""),
            "{name}"
        );
        let file = format!("{name}.toml");
        let built = ["build", &file, "--profiles", &profiles, "--dev-key", "--builder"];
        bench.run(&[&built[..], &["prebuilt=programs"]].concat()).ok();
        for made in fs::read_dir(bench.path(&format!("dist/{name}"))).expect("outputs") {
            let made = made.expect("an entry").file_name().into_string().expect("text");
            let listed = section.contains(&format!("`{made}`"));
            assert!(
                listed || ALWAYS.contains(&made.as_str()),
                "{name}: {made} is not in:\n{section}"
            );
        }
    }
}
