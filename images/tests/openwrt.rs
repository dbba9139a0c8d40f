//! What a router is flashed with. The ImageBuilder here is a stand-in that keeps to the contract of the real one's `make image`
//! (PROFILE, PACKAGES, FILES, BIN_DIR, the folder `packages`); the real one could not be had where this was written.

mod common;

use common::Bench;

const IPK: &str = "dist/lobby/lobby-printer_1.4.2-1_mipsel_24kc.ipk";

/// Installs what PACKAGES names out of `packages`, lays FILES over it, and writes one image and its manifest.
const MAKEFILE: &str = r#"
image:
	@test -n "$(BIN_DIR)" -a -n "$(SOURCE_DATE_EPOCH)"
	rm -rf root && mkdir root
	for name in $(PACKAGES); do tar -xzOf packages/$${name}_*.ipk ./data.tar.gz | tar -xzf - -C root || exit 1; done
	test -z "$(FILES)" || cp -a $(FILES)/. root/
	tar --sort=name --mtime=@$(SOURCE_DATE_EPOCH) --owner=0 --group=0 -cf $(BIN_DIR)/openwrt-$(PROFILE)-sysupgrade.bin -C root .
	echo "$(PACKAGES)" > $(BIN_DIR)/openwrt.manifest
"#;

fn baked() -> Bench {
    let bench = Bench::new();
    bench.build(&["--target", "openwrt/mipsel_24kc"]).ok();
    bench
}

#[test]
fn an_overlay_is_the_packages_files_with_their_services_enabled() {
    let bench = baked();
    bench.run(&["openwrt", "overlay", IPK, "--out", "overlay.tar.gz"]).ok();
    let listed = bench.tool("tar", &["-tvzf", "overlay.tar.gz"]);
    for expected in [
        " ./usr/bin/jos\n",
        " ./etc/rc.d/S95acme-lobby -> ../init.d/acme-lobby\n",
        " ./etc/rc.d/S12acme-lobby-recover -> ../init.d/acme-lobby-recover\n",
        " ./etc/rc.d/K05acme-lobby -> ../init.d/acme-lobby\n",
    ] {
        assert!(listed.contains(expected), "{expected}\n{listed}");
    }
    let secret = listed
        .lines()
        .find(|l| l.ends_with("/etc/jos/secrets/"))
        .expect("the folder of secrets");
    assert!(secret.starts_with("drwx------"), "{secret}");
    let first = bench.read("overlay.tar.gz");
    bench.run(&["openwrt", "overlay", IPK, "--out", "overlay.tar.gz"]).ok();
    assert!(bench.read("overlay.tar.gz") == first, "equal packages give equal bytes");
}

#[test]
fn an_imagebuilder_makes_its_image_with_the_package_and_gets_its_folder_back_as_it_was() {
    let bench = baked();
    bench.write("builder/Makefile", MAKEFILE);
    bench.write("builder/packages/README", "");
    bench.write("more/etc/extra", "extra\n");
    let words = [
        "openwrt",
        "image",
        IPK,
        "--imagebuilder",
        "builder",
        "--profile",
        "a-router",
        "--files",
        "more",
    ];
    let said = bench.run(&[&words[..], &["--out", "flash"]].concat()).ok();
    assert!(said.contains("flash/openwrt-a-router-sysupgrade.bin"), "{said}");
    let listed = bench.tool("tar", &["-tf", "flash/openwrt-a-router-sysupgrade.bin"]);
    for expected in ["./usr/bin/jos\n", "./etc/init.d/acme-lobby\n", "./etc/extra\n"] {
        assert!(listed.contains(expected), "{expected}\n{listed}");
    }
    assert_eq!(bench.read("flash/openwrt.manifest"), b"lobby-printer\n");
    assert_eq!(bench.names("builder/packages"), ["README"]);
    assert_eq!(
        bench.names("flash"),
        ["openwrt-a-router-sysupgrade.bin", "openwrt.manifest"]
    );

    // A package that is there already is used where it lies, and stays; another under its name is no one's to replace.
    let own = format!("builder/packages/{}", IPK.rsplit('/').next().expect("a name"));
    bench.write(&own, bench.read(IPK));
    let mut again = words;
    again[2] = &own;
    bench.run(&[&again[..], &["--out", "flash"]].concat()).ok();
    assert!(bench.read(&own) == bench.read(IPK), "it is not what it was");
    bench.write(&own, "another");
    let said = bench.run(&[&words[..], &["--out", "flash"]].concat()).invalid();
    assert!(said.contains("there already, with other bytes"), "{said}");
    assert_eq!(bench.read(&own), b"another");
}

#[test]
fn what_make_would_run_or_take_apart_is_refused() {
    let bench = baked();
    bench.write("builder/Makefile", MAKEFILE);
    bench.write("builder/packages/README", "");
    for odd in ["$(shell touch ran)", "two words", "a;b"] {
        for option in ["--profile", "--package"] {
            let words = ["openwrt", "image", IPK, "--imagebuilder", "builder", "--out", "flash"];
            let said = bench.run(&[&words[..], &[option, odd]].concat()).invalid();
            assert!(said.contains("which make(1) cannot take"), "{said}");
        }
    }
    assert!(!bench.path("builder/ran").exists() && !bench.path("ran").exists());
}

#[test]
fn what_an_imagebuilder_says_when_it_fails_is_told_and_a_folder_that_is_none_is_refused() {
    let bench = baked();
    let words = ["openwrt", "image", IPK, "--imagebuilder", "builder", "--out", "flash"];
    bench.write("builder/packages/README", "");
    let said = bench.run(&words).invalid();
    assert!(said.contains("no ImageBuilder: Makefile is not there"), "{said}");
    bench.write(
        "builder/Makefile",
        "image:\n\t@echo 'Profile is not known' >&2; exit 3\n",
    );
    let ran = bench.run(&words);
    assert_eq!(ran.code(), 1);
    assert!(ran.stderr().contains("Profile is not known"), "{}", ran.stderr());
    assert_eq!(bench.names("builder/packages"), ["README"]);
    bench.write("not.ipk", "text");
    let said = bench.run(&["openwrt", "overlay", "not.ipk", "--out", "x"]).invalid();
    assert!(said.contains("not.ipk"), "{said}");
}
