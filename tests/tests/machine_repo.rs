//! A repository made by `jos-image repo` against a machine's real apt, over HTTP: it installs from it, and refuses each way
//! to tamper with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jos_tests::command::{Ran, run, sh};
use jos_tests::nspawn::Machine;
use jos_tests::programs::jos_image;
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
