//! A repository made by `jos-image repo` against a machine's real apt, over HTTP: it installs from it, and refuses each way
//! to tamper with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jos_tests::command::{Ran, run, run_within, sh};
use jos_tests::nspawn::Machine;
use jos_tests::programs::{jos, jos_hub_path, jos_image, jos_image_path, jos_path, workspace};
use jos_tests::wait;

/// Every answer comes from apt or dpkg on a busy machine.
const LONG: Duration = Duration::from_secs(300);
/// In the machine's own network nobody else is there.
const ADDRESS: &str = "127.0.0.1:8080";

/// A desk with keys and packages, a machine, and a web server that only the machine reaches.
struct Bench {
    desk: tempfile::TempDir,
    machine: Machine,
    server: Child,
}

impl Bench {
    fn new() -> Self {
        let desk = tempfile::tempdir().expect("a directory");
        let machine = Machine::boot();
        fs::create_dir(desk.path().join("site")).expect("made");
        let server = Command::new("nsenter")
            .arg(format!("--net=/proc/{}/ns/net", machine.leader()))
            .args([
                "python3",
                "-m",
                "http.server",
                "8080",
                "--bind",
                "127.0.0.1",
                "--directory",
                "site",
            ])
            .current_dir(desk.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nsenter");
        let bench = Self { desk, machine, server };
        let m = &bench.machine;
        wait::until_true("the web server answers", LONG, || {
            m.run(&["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8080"]).succeeded()
        });
        m.sh("rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*").ok();
        bench.image(&["repo", "key", "new", "--out", "keys"]);
        bench.offer("tiny", "1.0");
        bench.image(&[
            "repo",
            "build",
            "site",
            "--keys",
            "keys",
            "--name",
            "acme",
            "--title",
            "Acme",
            "--maintainer",
            "Acme <packages@acme.example>",
            "--url",
            &format!("http://{ADDRESS}"),
            "packages",
        ]);
        m.put(
            &bench.at("site/keys/acme-archive-keyring.gpg"),
            "/usr/share/keyrings/acme-archive-keyring.gpg",
        );
        m.put(
            &bench.at("site/apt/acme.sources"),
            "/etc/apt/sources.list.d/acme.sources",
        );
        bench
    }

    fn at(&self, name: &str) -> PathBuf {
        self.desk.path().join(name)
    }

    fn image(&self, words: &[&str]) {
        run(jos_image().args(words).current_dir(self.desk.path())).ok();
    }

    /// Puts a package on the desk.
    fn offer(&self, name: &str, version: &str) {
        let tree = self.at(&format!("tree-{name}-{version}"));
        fs::create_dir_all(tree.join("DEBIAN")).expect("made");
        fs::create_dir_all(tree.join("usr/share/tiny")).expect("made");
        let control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: Test <test@example>\nDescription: tiny\n"
        );
        fs::write(tree.join("DEBIAN/control"), control).expect("written");
        fs::write(tree.join(format!("usr/share/tiny/{name}")), version).expect("written");
        fs::create_dir_all(self.at("packages")).expect("made");
        let deb = self.at(&format!("packages/{name}_{version}_all.deb"));
        sh("dpkg-deb", &["--root-owner-group", "--build", path(&tree), path(&deb)]).ok();
    }

    /// `apt-get update`, which must fail where anything is wrong, and the installation after it.
    fn update(&self) -> Ran {
        self.machine.run_within(&["apt-get", "update", "--error-on=any"], LONG)
    }

    fn install(&self, name: &str) -> Ran {
        self.machine.run_within(&["apt-get", "install", "-y", name], LONG)
    }

    /// What apt would install.
    fn candidate(&self, name: &str) -> String {
        let policy = self.machine.run(&["apt-cache", "policy", name]).ok();
        let line = policy.stdout.lines().find_map(|l| l.trim().strip_prefix("Candidate: "));
        line.unwrap_or("(none)").to_owned()
    }

    /// Forgets all that apt has fetched, so that nothing is taken for unchanged.
    fn forget(&self) {
        self.machine
            .sh("rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb")
            .ok();
    }

    /// The repository as it is now, to be put back by [`Self::restore`].
    fn keep(&self) {
        run(Command::new("cp")
            .args(["-a", "site", "kept"])
            .current_dir(self.desk.path()))
        .ok();
    }

    /// Puts it back and leaves nothing of an attempt on the machine.
    fn restore(&self) {
        // The server stands in the folder: its content is exchanged, not the folder.
        run(Command::new("sh")
            .args(["-c", "find site -mindepth 1 -delete && cp -a kept/. site"])
            .current_dir(self.desk.path()))
        .ok();
        self.forget();
    }

    /// What apt says of an attempt that it must refuse.
    fn refused(&self) -> String {
        self.forget();
        let update = self.update();
        let said = format!("{}{}", update.stdout, update.stderr);
        if update.succeeded() {
            let install = self.install("tiny");
            assert!(!install.succeeded(), "apt installed it:\n{said}{install}");
            return format!("{said}{}{}", install.stdout, install.stderr);
        }
        assert!(
            !self.install("tiny").succeeded(),
            "apt installed it in spite of:\n{said}"
        );
        said
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).expect("written");
}

#[test]
fn apt_installs_from_the_repository_upgrades_and_takes_the_keyring_package() {
    let bench = Bench::new();
    bench.update().ok();
    bench.install("tiny").ok();
    assert_eq!(bench.machine.sh("cat /usr/share/tiny/tiny").ok().text(), "1.0");
    // The file that brought the source is the package's own, so that nobody is asked anything.
    bench.install("acme-archive-keyring").ok();
    let sources = bench.machine.sh("cat /etc/apt/sources.list.d/acme.sources").ok();
    assert!(
        sources
            .text()
            .contains("Signed-By: /usr/share/keyrings/acme-archive-keyring.gpg"),
        "{sources}"
    );

    bench.offer("tiny", "1.1");
    bench.image(&["repo", "add", "site", "--keys", "keys", "packages"]);
    bench.update().ok();
    bench.install("tiny").ok();
    assert_eq!(bench.machine.sh("cat /usr/share/tiny/tiny").ok().text(), "1.1");
    bench.image(&["repo", "verify", "site"]);
}

#[test]
fn apt_refuses_an_edited_package_an_edited_index_a_wrong_key_a_missing_signature_and_an_expired_index() {
    let bench = Bench::new();
    bench.keep();
    let suite = "site/apt/dists/stable";

    flip(&bench.at("site/apt/pool/main/t/tiny/tiny_1.0_all.deb"));
    let said = bench.refused();
    assert!(said.contains("Hash Sum mismatch"), "edited package: {said}");
    bench.restore();

    for index in fs::read_dir(bench.at(&format!("{suite}/main/binary-all/by-hash/SHA256"))).expect("folder") {
        flip(&index.expect("entry").path());
    }
    let said = bench.refused();
    assert!(said.contains("Hash Sum mismatch"), "edited index: {said}");
    bench.restore();

    let inline = bench.at(&format!("{suite}/InRelease"));
    let text = fs::read_to_string(&inline).expect("text");
    fs::write(&inline, text.replace("Label: Acme", "Label: Acne")).expect("written");
    let said = bench.refused();
    assert!(
        said.contains("BADSIG") || said.contains("invalid"),
        "edited release: {said}"
    );
    bench.restore();

    bench.image(&["repo", "key", "new", "--out", "others"]);
    bench.image(&["repo", "sign", "site", "--keys", "others"]);
    let said = bench.refused();
    assert!(said.contains("NO_PUBKEY"), "wrong key: {said}");
    bench.restore();

    for file in ["InRelease", "Release.gpg"] {
        fs::remove_file(bench.at(&format!("{suite}/{file}"))).expect("removed");
    }
    let said = bench.refused();
    assert!(said.contains("is not signed"), "missing signature: {said}");
    bench.restore();

    let mut old = jos_image();
    old.args(["repo", "sign", "site", "--keys", "keys"])
        .env("SOURCE_DATE_EPOCH", "1700000000");
    run(old.current_dir(bench.desk.path())).ok();
    let said = bench.refused();
    assert!(said.contains("is expired"), "replayed old index: {said}");
    bench.restore();

    // None of it left anything behind.
    bench.update().ok();
    bench.install("tiny").ok();
}

#[test]
fn an_older_index_that_is_still_valid_takes_nothing_back() {
    let bench = Bench::new();
    bench.keep();
    bench.offer("tiny", "1.1");
    let now = run(Command::new("date").arg("+%s")).ok();
    let later = (now.text().parse::<u64>().expect("seconds") + 60).to_string();
    // A minute from now, so that the older index is older for certain; apt takes a clock that is a little off.
    let mut add = jos_image();
    add.args(["repo", "add", "site", "--keys", "keys", "packages"])
        .env("SOURCE_DATE_EPOCH", later);
    run(add.current_dir(bench.desk.path())).ok();
    bench
        .machine
        .sh("echo 'Acquire::Max-FutureTime \"600\";' >/etc/apt/apt.conf.d/90clock")
        .ok();
    bench.update().ok();
    assert_eq!(bench.candidate("tiny"), "1.1");
    run(Command::new("sh")
        .args(["-c", "find site -mindepth 1 -delete && cp -a kept/. site"])
        .current_dir(bench.desk.path()))
    .ok();
    let _ = bench.update();
    assert_eq!(bench.candidate("tiny"), "1.1", "the older index was believed");
}

/// The keyring that the machine believes, put back as it was.
fn believe(bench: &Bench, keyring: &str) {
    bench
        .machine
        .put(&bench.at(keyring), "/usr/share/keyrings/acme-archive-keyring.gpg");
    bench.forget();
}

#[test]
fn keys_change_in_three_steps_and_a_machine_that_takes_the_keyring_package_never_notices() {
    let bench = Bench::new();
    fs::copy(bench.at("site/keys/acme-archive-keyring.gpg"), bench.at("old.gpg")).expect("copied");
    bench.image(&["repo", "key", "new", "--out", "next"]);
    bench.update().ok();
    bench.install("acme-archive-keyring").ok();
    let sign = |words: &[&str]| {
        bench.image(&[&["repo", "sign", "site", "--keys"], words].concat());
        bench.forget();
    };

    sign(&["keys", "--also", "next"]);
    bench.update().ok();
    bench.install("acme-archive-keyring").ok();
    fs::copy(
        bench.machine.host_path("/usr/share/keyrings/acme-archive-keyring.gpg"),
        bench.at("both.gpg"),
    )
    .expect("copied");

    sign(&["next", "--also", "keys"]);
    bench.update().ok();
    // A machine that was switched off through the first step still knows the old key alone.
    believe(&bench, "old.gpg");
    bench.update().ok();
    bench.install("tiny").ok();
    believe(&bench, "both.gpg");

    sign(&["next"]);
    bench.update().ok();
    bench.install("acme-archive-keyring").ok();
    bench.forget();
    bench.update().ok();
    let packaged = fs::read(bench.machine.host_path("/usr/share/keyrings/acme-archive-keyring.gpg")).expect("read");
    let published = fs::read(bench.at("site/keys/acme-archive-keyring.gpg")).expect("read");
    assert!(packaged == published, "the machine believes exactly what is published");
    // Who slept through all of it is refused, and has to be given the key by hand.
    believe(&bench, "old.gpg");
    let update = bench.update();
    assert!(!update.succeeded(), "{update}");
    assert!(
        format!("{}{}", update.stdout, update.stderr).contains("NO_PUBKEY"),
        "{update}"
    );
}

/// The folder that `scripts/tools` lays out, of the programs under test.
fn built_tools(bench: &Bench) {
    let built = bench.at("built");
    for (name, program) in [
        ("jos", jos_path()),
        ("jos-image", jos_image_path()),
        ("jos-hub", jos_hub_path()),
    ] {
        let to = built.join("amd64").join(name);
        fs::create_dir_all(built.join("amd64")).expect("made");
        sh("strip", &["-o", path(&to), path(program)]).ok();
        let any = built.join("any").join(name);
        for part in ["man", "bash", "zsh", "fish"] {
            fs::create_dir_all(any.join(part)).expect("made");
        }
        let said = |words: &[&str]| run(Command::new(&to).args(words)).ok().stdout;
        if name == "jos" {
            said(&["man", path(&any.join("man"))]);
            for other in ["jos-image.1", "jos-hub.1"] {
                let _ = fs::remove_file(any.join("man").join(other));
            }
        } else {
            fs::write(any.join(format!("man/{name}.1")), said(&["man"])).expect("written");
        }
        fs::write(any.join("bash").join(name), said(&["completions", "bash"])).expect("written");
        fs::write(any.join(format!("zsh/_{name}")), said(&["completions", "zsh"])).expect("written");
        fs::write(any.join(format!("fish/{name}.fish")), said(&["completions", "fish"])).expect("written");
    }
    let programs = built.join("any/programs");
    let mut command = jos_image();
    command.args(["programs", path(&programs), "--target", "debian/amd64", "--source"]);
    command.arg(workspace());
    if let Some(made) = std::env::var_os("JOS_DEVICE_PROGRAMS") {
        command
            .arg("--builder")
            .arg(format!("prebuilt={}", Path::new(&made).display()));
    }
    run_within(&mut command, Duration::from_secs(1500), &[]).ok();
}

#[test]
fn our_own_tools_install_from_their_repository_bake_in_an_empty_folder_and_run_a_hub() {
    let bench = Bench::new();
    built_tools(&bench);
    run(jos()
        .args(["key", "new", "--out", "admin.key"])
        .current_dir(bench.desk.path()))
    .ok();
    let profiles = workspace().join("profiles");
    let mut build = jos_image();
    build.args([
        "build",
        "jos-tools",
        "--target",
        "debian/amd64",
        "--built",
        "built",
        "--key",
        "admin.key",
    ]);
    build.arg("--profiles").arg(&profiles).current_dir(bench.desk.path());
    run_within(&mut build, Duration::from_secs(600), &[]).ok();
    for deb in fs::read_dir(bench.at("dist/jos-tools")).expect("folder").flatten() {
        let name = deb.file_name().to_string_lossy().into_owned();
        if name.ends_with(".deb") {
            sh(
                "lintian",
                &["--allow-root", "--fail-on", "error,warning", path(&deb.path())],
            )
            .ok();
        }
    }
    bench.image(&["repo", "add", "site", "--keys", "keys", "dist"]);
    let page = fs::read_to_string(bench.at("site/index.html")).expect("a page");
    for name in ["jos", "jos-image", "jos-hub"] {
        assert!(page.contains(&format!("<code>{name}</code>")), "{page}");
    }
    bench.update().ok();
    bench.install("jos-image").ok();
    bench.install("jos-hub").ok();
    let m = &bench.machine;

    // No checkout, no compiler, an empty folder: a profile of one's own, and one that was installed.
    m.sh("mkdir /root/desk; cd /root/desk; jos-image new lamp --from base/debian")
        .ok();
    m.sh("cd /root/desk; sed -i 's|debian/arm64|debian/amd64|' lamp.toml")
        .ok();
    let build = "cd /root/desk; jos-image build lamp.toml ai-box --target debian/amd64 --dev-key";
    m.run_within(&["sh", "-euc", build], LONG).ok();
    m.run_within(
        &["sh", "-euc", "cd /root/desk; jos-image verify dist/lamp --rebuild"],
        LONG,
    )
    .ok();
    let deb = m.sh("ls /root/desk/dist/lamp/*.deb").ok().text().to_owned();
    let inside = m
        .sh(&format!(
            "dpkg-deb --fsys-tarfile {deb} | tar -xOf - ./usr/bin/jos | sha256sum"
        ))
        .ok();
    let carried = m
        .sh("sha256sum </usr/lib/jos/programs/x86_64-unknown-linux-musl/jos")
        .ok();
    assert_eq!(inside.text(), carried.text(), "the program that the package carries");
    for text in [
        "man/man1/jos-hub.1.gz",
        "man/man1/jos-image.1.gz",
        "bash-completion/completions/jos-hub",
    ] {
        m.sh(&format!("test -s /usr/share/{text}")).ok();
    }

    // The hub waits for its folder, and runs as a user of its own from then on.
    assert_eq!(m.run(&["systemctl", "is-enabled", "jos-hub"]).text(), "enabled");
    assert_eq!(m.property("jos-hub", "ActiveState"), "inactive");
    m.sh("runuser -u jos-hub -- jos-hub init --data /var/lib/jos-hub --address https://127.0.0.1:8443")
        .ok();
    m.sh("systemctl start jos-hub").ok();
    wait::until_true("the hub answers", LONG, || {
        m.sh("jos-hub device list --url https://127.0.0.1:8444 --token-file /var/lib/jos-hub/admin.token")
            .succeeded()
    });
    let user = m.sh("stat -c %U /proc/$(systemctl show -P MainPID jos-hub)").ok();
    assert_eq!(user.text(), "jos-hub");
    m.sh("systemd-analyze security --threshold=20 jos-hub.service >/dev/null")
        .ok();
    // A purge takes the package's files; the fleet's authority is nobody's but the admin's.
    m.run_within(&["apt-get", "purge", "-y", "jos-hub"], LONG).ok();
    m.sh("test ! -e /usr/bin/jos-hub && test -s /var/lib/jos-hub/ca.key")
        .ok();
}
