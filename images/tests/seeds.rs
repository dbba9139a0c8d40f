//! Seeds on finished images, as an administrator makes them: what is copied, what is refused, and what is never shown.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use common::Bench;

const TABLE: &str = "name,hostname,token,wifi_ssid,wifi_passphrase\n\
                     lobby,kiosk-0001,jos1-abc,\"Acme, Guests\",correct horse\ndoor,kiosk-0002,jos1-def,,\n";

/// A disk with an MBR and a boot partition at 4 MiB, as images of a Raspberry Pi have one; with or without its mark.
fn disk(bench: &Bench, takes_seeds: bool) {
    let mut bytes = vec![0; 40 << 20];
    bytes[446..462].copy_from_slice(&[0, 0, 0, 0, 0x0c, 0, 0, 0, 0, 0x20, 0, 0, 0, 0x20, 1, 0]);
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    let image = bench.write("kiosk.img", bytes);
    let at = format!("{}@@4M", image.display());
    let run = |program: &str, words: &[&str]| {
        let ran = Command::new(program)
            .env("MTOOLS_SKIP_CHECK", "1")
            .args(["-i", &at])
            .args(words)
            .output();
        assert!(ran.expect("mtools is there").status.success(), "{program}");
    };
    run("mformat", &["-F", "-T", "73728", "-h", "16", "-s", "63", "::"]);
    if takes_seeds {
        let mark = bench.write("mark", "a mark\n");
        run("mcopy", &[mark.to_str().expect("text"), "::jos-image.txt"]);
    }
}

fn seeded(bench: &Bench, more: &[&str]) -> common::Run {
    let words = ["seed", "kiosk.img", "--devices", "devices.csv", "--out", "cards"];
    bench.run(&[&words[..], more].concat())
}

fn on_card(bench: &Bench, name: &str) -> String {
    let at = format!("{}@@4M", bench.path(name).display());
    bench.tool("mtype", &["-i", &at, "::jos-seed.txt"])
}

/// The same by a program that has nothing in common with the one that wrote it.
fn read_by_another(bench: &Bench, name: &str) -> String {
    let partition = bench.write("partition.fat", &bench.read(name)[4 << 20..]);
    bench.tool("7z", &["e", "-so", partition.to_str().expect("text"), "jos-seed.txt"])
}

#[test]
fn each_device_gets_a_copy_of_the_image_with_its_own_seed_and_the_image_stays_as_it_is() {
    let bench = Bench::new();
    disk(&bench, true);
    bench.write("devices.csv", TABLE);
    let before = bench.read("kiosk.img");
    let said = seeded(&bench, &[]).ok();
    assert!(!said.contains("jos1-") && !said.contains("horse"), "{said}");
    assert!(
        on_card(&bench, "cards/lobby.img").ends_with(
            "\nhostname=kiosk-0001\ntoken=jos1-abc\nwifi_ssid=Acme, Guests\nwifi_passphrase=correct horse\n"
        )
    );
    for name in ["cards/lobby.img", "cards/door.img"] {
        assert_eq!(read_by_another(&bench, name), on_card(&bench, name));
    }
    assert!(on_card(&bench, "cards/door.img").ends_with("\nhostname=kiosk-0002\ntoken=jos1-def\n"));
    assert_eq!(bench.read("kiosk.img"), before);
    assert_eq!(bench.names("cards"), ["door.img", "lobby.img"], "seeds lie around");
    let mode = bench
        .path("cards/lobby.img")
        .metadata()
        .expect("a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let first = bench.read("cards/lobby.img");
    seeded(&bench, &[]).ok();
    assert!(bench.read("cards/lobby.img") == first, "equal tables give equal bytes");
}

#[test]
fn seeds_alone_are_small_files_for_cards_that_were_written_already() {
    let bench = Bench::new();
    disk(&bench, true);
    bench.write("devices.csv", TABLE);
    seeded(&bench, &["--files"]).ok();
    let seed = bench.path("cards/lobby/jos-seed.txt");
    assert_eq!(seed.metadata().expect("a file").permissions().mode() & 0o777, 0o600);
    assert!(
        std::fs::read_to_string(seed)
            .expect("a text")
            .contains("\ntoken=jos1-abc\n")
    );
}

#[test]
fn a_wrong_table_and_an_image_that_takes_no_seeds_are_refused_before_anything_is_written() {
    let bench = Bench::new();
    disk(&bench, false);
    bench.write("devices.csv", TABLE);
    let ran = seeded(&bench, &[]);
    let said = ran.stderr();
    assert_eq!(ran.code(), 1, "{said}");
    assert!(
        said.contains("no image that takes seeds") && said.contains("jos-image.txt"),
        "{said}"
    );
    bench.write("devices.csv", "name,token\nlobby,hunter2\n");
    let said = seeded(&bench, &[]).invalid();
    assert!(
        said.contains("devices.csv:2:7: token: expected an enrolment token"),
        "{said}"
    );
    assert!(!said.contains("hunter2") && !bench.path("cards").exists(), "{said}");
}
