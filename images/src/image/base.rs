//! The base root: what mmdebstrap makes of a list of packages, kept by its inputs.
//!
//! Owns: what is in a slot of the cache: `root.tar` and the same unpacked as `tree/`. Its key is the SHA-256 of the release,
//! the CPU, the list of packages, the sources, and what the mirrors hold at this moment (their signed `InRelease`), so a
//! security update makes another base, in place of the one before, and an unchanged world none.

use std::fs;
use std::path::{Path, PathBuf};

use jos_schemas::documents::profile::Image;

use super::board::{Board, Firmware};
use super::cache::{self, Recipe, Slot};
use super::layer::{Content, Item, Kind, Layer};
use super::{ImageError, Places, foreign, slots, tools, wifi};
use crate::bake::Appliance;
use crate::formats::control::Stanza;
use crate::formats::hash::sha256;

/// Of this recipe; a change of it is another number.
const RECIPE: &str = "jos-base-2";

/// What every image has: an init system, a network, a clock, busybox for the initial RAM disk, and what grows a
/// disk.
const PACKAGES: [&str; 16] = [
    "adduser",
    "busybox-static",
    "ca-certificates",
    "dbus",
    "e2fsprogs",
    "fdisk",
    "iproute2",
    "kmod",
    "libpam-systemd",
    "netbase",
    "procps",
    "systemd",
    "systemd-resolved",
    "systemd-sysv",
    "systemd-timesyncd",
    "udev",
];

/// Documentation and translations: a third of a small system.
const LEAN: [&str; 4] = [
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
];

/// A Debian package of a base.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Debian {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture.
    pub architecture: String,
}

/// A base in the cache.
#[derive(Clone, Debug)]
pub(super) struct Base {
    slot: Slot,
    /// SHA-256 of `root.tar`, or of the file that a vendor brought.
    pub(super) sha256: String,
    /// What is in it.
    pub(super) packages: Vec<Debian>,
}

impl Base {
    /// The root as a folder; owners are not in it.
    pub(super) fn tree(&self) -> PathBuf {
        self.slot.dir.join("tree")
    }

    /// The whole disk, where a vendor brought one.
    pub(super) fn disk(&self) -> PathBuf {
        self.slot.dir.join("disk.img")
    }

    /// Every path of it, with its owner.
    pub(super) fn layer(&self) -> Result<Layer, ImageError> {
        let at = self.slot.dir.join("root.tar");
        let file = fs::File::open(&at).map_err(ImageError::io(&at))?;
        let mut archive = tar::Archive::new(file);
        let mut layer = Layer::default();
        for entry in archive.entries_with_seek().map_err(ImageError::io(&at))? {
            let entry = entry.map_err(ImageError::io(&at))?;
            let path = entry.path().map_err(ImageError::io(&at))?;
            let path = path
                .to_string_lossy()
                .trim_start_matches("./")
                .trim_matches('/')
                .to_owned();
            if path.is_empty() {
                continue;
            }
            let kind = match entry.header().entry_type() {
                tar::EntryType::Directory => Kind::Dir,
                tar::EntryType::Symlink => {
                    let target = entry.link_name().map_err(ImageError::io(&at))?.unwrap_or_default();
                    Kind::Link(target.to_string_lossy().into_owned())
                }
                // A second name of a file becomes a file of its own.
                tar::EntryType::Regular | tar::EntryType::Link => Kind::File(Content::Disk(self.tree().join(&path))),
                // Devices are the kernel's to make.
                _ => continue,
            };
            let header = entry.header();
            let number = |n: u64| u32::try_from(n).unwrap_or_default();
            let item = Item {
                mode: header.mode().map_err(ImageError::io(&at))? & 0o7777,
                uid: number(header.uid().map_err(ImageError::io(&at))?),
                gid: number(header.gid().map_err(ImageError::io(&at))?),
                kind,
            };
            layer.put(&path, item);
        }
        Ok(layer)
    }

    /// Every path of it, sorted.
    pub(super) fn paths(&self) -> Result<Vec<String>, ImageError> {
        Ok(self.layer()?.items().map(|(path, _)| path.to_owned()).collect())
    }
}

/// The base for an image: from the cache, or made now.
pub(super) fn obtain(
    app: &Appliance,
    image: &Image,
    board: &Board,
    places: &Places,
    say: &dyn Fn(&str),
) -> Result<Base, ImageError> {
    let suite = image.suite.as_ref().map_or("bookworm", |s| s.as_str());
    let sources = sources(image, board, suite)?;
    fs::create_dir_all(&places.cache).map_err(ImageError::io(&places.cache))?;
    let mut states = String::new();
    for source in &sources {
        states.push_str(&format!("{} {}\n", source.line(), source.state(&places.cache)?));
    }
    let kernel = image.kernel.as_ref().map_or(board.kernel, |k| k.as_str());
    let radio = image.wifi.as_ref().and(board.wifi_package);
    let loader = match board.firmware {
        // One for this CPU alone, as a kernel is.
        Firmware::Uefi { grub, .. } if slots::wanted(image) => Some(grub.0),
        _ => None,
    };
    let firmware = board.firmware_packages.iter().copied().chain(radio).chain(loader);
    let native = foreign::native();
    let of = |architecture: &str, packages: &[String], make: &dyn Fn(&Path) -> Result<(), ImageError>| {
        let family = format!("{suite}\n{architecture}\n{}", packages.join(","));
        let note = || {
            say(&format!(
                "{}: making the base root ({suite}, {architecture}, {} packages and what they need)",
                board.name,
                packages.len()
            ));
        };
        let whole = |new: &Path| {
            let tree = new.join("tree");
            fs::create_dir_all(&tree).map_err(ImageError::io(&tree))?;
            make(new)?;
            let (_, sum) = tools::size_and_sum(&new.join("root.tar"))?;
            let sums = new.join("root.tar.sha256");
            fs::write(&sums, sum).map_err(ImageError::io(&sums))
        };
        let recipe = Recipe {
            way: RECIPE,
            family: &family,
            state: &states,
        };
        let slot = cache::obtain(&places.cache, recipe, &note, &whole)?;
        let sum = slot.dir.join("root.tar.sha256");
        let sha256 = fs::read_to_string(&sum).map_err(ImageError::io(&sum))?;
        open(slot, sha256.trim().to_owned())
    };
    let mut packages = packages(app, image, board);
    let made_here = |packages: &[String]| {
        of(native, packages, &|new| {
            debootstrap(new, app, native, suite, packages, &sources)
        })
    };
    if board.architecture != native {
        let twin = made_here(&packages)?;
        let unpacked: Vec<&str> = [kernel].into_iter().chain(firmware).collect();
        packages.extend(unpacked.iter().map(|&name| name.to_owned()));
        return of(board.architecture, &packages, &|new| {
            foreign::Foreign {
                architecture: board.architecture,
                unpacked: &unpacked,
                sources: &sources,
                twin: &twin,
                epoch: app.epoch,
            }
            .make(new)
        });
    }
    packages.push(kernel.to_owned());
    packages.extend(firmware.map(str::to_owned));
    made_here(&packages)
}

/// The base in a slot.
pub(super) fn open(slot: Slot, sha256: String) -> Result<Base, ImageError> {
    let status = slot.dir.join("tree/var/lib/dpkg/status");
    let text = fs::read_to_string(&status).map_err(ImageError::io(&status))?;
    Ok(Base {
        slot,
        sha256,
        packages: installed(&text)?,
    })
}

/// The packages that dpkg's `status` lists.
fn installed(status: &str) -> Result<Vec<Debian>, ImageError> {
    let mut all = Vec::new();
    for text in status.split("\n\n").filter(|t| !t.trim().is_empty()) {
        let stanza = Stanza::parse("the base's dpkg status", text).map_err(|e| ImageError::Unfit(e.to_string()))?;
        let field = |name: &str| stanza.get(name).unwrap_or_default().to_owned();
        if field("Status").ends_with(" installed") {
            all.push(Debian {
                name: field("Package"),
                version: field("Version"),
                architecture: field("Architecture"),
            });
        }
    }
    all.sort();
    Ok(all)
}

/// What goes into the base besides its kernel, sorted: ours, and what the appliance's package depends on.
fn packages(app: &Appliance, image: &Image, board: &Board) -> Vec<String> {
    // The board's own are its loader's, where there is one root.
    let own = board.packages.iter().filter(|_| !slots::wanted(image));
    let mut all: Vec<String> = PACKAGES.iter().chain(own).map(|&name| name.to_owned()).collect();
    if image.wifi.is_some() {
        all.extend(wifi::PACKAGES.map(str::to_owned));
    }
    if slots::wanted(image) {
        all.extend(slots::PACKAGES.map(str::to_owned));
    }
    if image.users.iter().any(|u| !u.ssh_keys.is_empty()) {
        all.push("openssh-server".into());
    }
    let named = app
        .package
        .depends
        .iter()
        .chain(&app.package.depends_debian)
        .chain(&image.packages);
    for relation in named {
        // `cups (>= 2.4) | lprng`: the first is what apt would take.
        let first = relation.split('|').next().unwrap_or_default();
        let name = first.split(['(', ' ']).next().unwrap_or_default();
        if !name.is_empty() {
            all.push(name.to_owned());
        }
    }
    all.sort();
    all.dedup();
    all
}

/// One line of apt's sources.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Source {
    uri: String,
    release: String,
    components: String,
}

impl Source {
    pub(super) fn line(&self) -> String {
        format!("deb {} {} {}", self.uri, self.release, self.components)
    }

    /// SHA-256 of what the mirror signed last.
    fn state(&self, scratch: &Path) -> Result<String, ImageError> {
        let uri = format!("{}/dists/{}/InRelease", self.uri.trim_end_matches('/'), self.release);
        let to = scratch.join(format!("InRelease-{}", std::process::id()));
        let helper = "/usr/lib/apt/apt-helper";
        let got = tools::run(
            tools::command(helper).args(["-q", "download-file", &uri]).arg(&to),
            None,
            "is the mirror reached from here? `mirror` under [image] names another",
        );
        let bytes = got.and_then(|_| fs::read(&to).map_err(ImageError::io(&to)));
        drop(fs::remove_file(&to));
        Ok(sha256(&bytes?))
    }
}

/// The profile's mirror, else those that this machine's own apt has for Debian; with the component that firmware
/// is in, whether this machine itself takes packages from them or not.
fn sources(image: &Image, board: &Board, suite: &str) -> Result<Vec<Source>, ImageError> {
    // Radios want firmware that Debian may give away and not change.
    let components = if board.firmware_packages.is_empty() && image.wifi.is_none() {
        "main".to_owned()
    } else {
        "main non-free-firmware".to_owned()
    };
    if let Some(mirror) = &image.mirror {
        return Ok(vec![Source {
            uri: mirror.clone(),
            release: suite.to_owned(),
            components,
        }]);
    }
    let listed = tools::run(
        tools::command("apt-get")
            .args([
                "indextargets",
                "--format",
                "$(ORIGIN) $(REPO_URI) $(RELEASE) $(COMPONENT)",
            ])
            .arg("Created-By: Packages"),
        None,
        "write `mirror = \"https://…/debian\"` under [image]",
    )?;
    let text = String::from_utf8_lossy(&listed).into_owned();
    let mut all: Vec<Source> = text
        .lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let [origin, uri, release, component] = words[..] else {
                return None;
            };
            let debian = ["Debian", "Debian-Security"].contains(&origin);
            let ours = release == suite || release.strip_prefix(suite).is_some_and(|r| r.starts_with('-'));
            (debian && ours && component == "main").then(|| Source {
                uri: uri.to_owned(),
                release: release.to_owned(),
                components: components.clone(),
            })
        })
        .collect();
    all.sort();
    all.dedup();
    if all.iter().any(|s| s.release == suite) {
        return Ok(all);
    }
    Err(ImageError::missing(
        format!("this machine's apt has no source of Debian {suite}"),
        "write `mirror = \"https://…/debian\"` under [image], or run `apt-get update` if the lists are empty",
    ))
}

/// A root for this machine's CPU, configured by its packages' own scripts.
fn debootstrap(
    new: &Path,
    app: &Appliance,
    architecture: &str,
    suite: &str,
    packages: &[String],
    sources: &[Source],
) -> Result<(), ImageError> {
    let archive = new.join("root.tar");
    let mut command = tools::command("mmdebstrap");
    command
        .args(["--mode=auto", "--variant=minbase", "--format=tar"])
        .arg(format!("--architectures={architecture}"))
        .arg(format!("--include={}", packages.join(",")))
        .args(LEAN)
        .arg(suite)
        .arg(&archive)
        .args(sources.iter().map(Source::line))
        .env("SOURCE_DATE_EPOCH", app.epoch.to_string())
        // initramfs-tools would make an initial RAM disk that nothing here uses, with other bytes each time.
        .env("INITRD", "No");
    let help = "it needs no root: unprivileged user namespaces with newuidmap (uidmap, /etc/subuid), or fakechroot";
    tools::run(&mut command, None, help)?;
    // Owners and modes are the archive's to know; the folder only has to be readable for whoever builds.
    let unpack = [
        "--extract",
        "--no-same-owner",
        "--no-same-permissions",
        "--exclude=./dev/*",
        "--file",
    ];
    tools::run(
        tools::command("tar")
            .args(unpack)
            .arg(&archive)
            .arg("-C")
            .arg(new.join("tree")),
        None,
        "",
    )?;
    tools::run(
        tools::command("chmod").args(["-R", "u+rwX"]).arg(new.join("tree")),
        None,
        "",
    )?;
    Ok(())
}
