//! One appliance, complete and in memory: everything its packages hold but the program.
//!
//! Owns: turning a resolved profile into those bytes, and every refusal that needs a file's content (baseline, trust, CA,
//! brought files, secrets). All problems are found before anything is written.

use std::collections::BTreeMap;
use std::path::Path;

use jos_schemas::documents::declared::RuntimeConfig;
use jos_schemas::documents::desired_state::DesiredState;
use jos_schemas::documents::policy::Policy;
use jos_schemas::documents::profile::{Brand, Image, Package, Profile, ProfileFile};
use jos_schemas::node::Node;
use jos_schemas::text::Name;
use serde::Serialize;

use super::baseline::{self, Signing};
use super::{secrets, tools};
use crate::builders::Flavour;
use crate::formats::hash::sha256;
use crate::formats::tree::disk::{self, DiskOptions};
use crate::formats::{Entry, Tree};
use crate::image::{Brought, Reference};
use crate::profile::files::shown;
use crate::profile::{Invalid, Problems, Resolved, check, paths};
use crate::targets::{self, System, Target};

/// One input file of an appliance, as the manifest lists it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Input {
    /// What it is for: `profile`, `base`, `baseline`, `trust`, `hub-ca`, `logo`, `file`.
    pub role: &'static str,
    /// As the profile names it.
    pub name: String,
    /// SHA-256 of its bytes.
    pub sha256: String,
}

/// A signed baseline with what was checked of it.
#[derive(Clone, Debug)]
pub struct Baseline {
    /// The signed document as JSON.
    pub bytes: Vec<u8>,
    /// The same, typed.
    pub state: DesiredState,
}

/// What one appliance brings besides the program.
#[derive(Clone, Debug)]
pub struct Appliance {
    /// The profile's own name.
    pub profile: String,
    /// Package name, and the agent's name.
    pub name: Name,
    /// Service name.
    pub service: String,
    /// `[brand]`, complete.
    pub brand: Brand,
    /// `[package]`.
    pub package: Package,
    /// For these.
    pub targets: Vec<&'static Target>,
    /// What is granted.
    pub policy: Policy,
    /// Seconds between two looks.
    pub interval: Option<u32>,
    /// Labels of every device.
    pub labels: BTreeMap<String, String>,
    /// Tenant of every device.
    pub tenant: Option<Name>,
    /// The node of the runtime that its devices run.
    pub runtime: Option<RuntimeConfig>,
    /// The hub's address.
    pub hub: Option<String>,
    /// The hub's CA, PEM.
    pub hub_ca: Option<Vec<u8>>,
    /// The token that its devices enrol with: a line. In no list, no log, no manifest.
    pub hub_token: Option<Vec<u8>>,
    /// The passphrase of the images' wireless network. In no list, no log, no manifest.
    pub wifi_passphrase: Option<String>,
    /// Who signs the bundles of its images, where those have two roots.
    pub rauc: Option<super::rauc::Signer>,
    /// The logo with its extension.
    pub logo: Option<(String, Vec<u8>)>,
    /// The first trust root.
    pub trust: Vec<u8>,
    /// Signed baselines by system.
    pub baselines: BTreeMap<System, Baseline>,
    /// `[image]`, where the profile has one.
    pub image: Option<Image>,
    /// The disk that its image is made on, where the profile brings one.
    pub base: Option<Brought>,
    /// Whether packages are written beside images.
    pub wants_packages: bool,
    /// Brought files by system.
    pub files: BTreeMap<System, Tree>,
    /// Packages of programs; what is of an appliance is then empty.
    pub tools: Vec<tools::ToolPackage>,
    /// What went in.
    pub inputs: Vec<Input>,
    /// Signed by a throwaway key: not for devices that leave the desk.
    pub dev: bool,
    /// Time stamp of everything, seconds since 1970.
    pub epoch: u32,
}

impl Appliance {
    /// Which program it takes.
    #[must_use]
    pub fn flavour(&self) -> Flavour {
        match self.runtime {
            Some(_) => Flavour::Runtime,
            None => Flavour::Device,
        }
    }

    /// `1.4.2-1`.
    #[must_use]
    pub fn full_version(&self) -> String {
        format!("{}-{}", self.version(), self.package.release.unwrap_or(1))
    }

    /// `1.4.2`.
    #[must_use]
    pub fn version(&self) -> &str {
        self.package.version.as_deref().unwrap_or("0")
    }

    /// The product's name.
    #[must_use]
    pub fn product(&self) -> &str {
        self.brand.product.as_deref().unwrap_or("jos")
    }

    /// The vendor's name.
    #[must_use]
    pub fn vendor(&self) -> &str {
        self.brand.vendor.as_deref().unwrap_or("")
    }
}

/// Where things lie that are too large or too fresh for a profile's own folder.
#[derive(Clone, Copy, Debug, Default)]
pub struct Folders<'a> {
    /// What was compiled for tools.
    pub built: Option<&'a Path>,
    /// Disks that images are made on.
    pub bases: Option<&'a Path>,
}

/// Reads everything that `resolved` names and signs what is to be signed, for those of its targets that are
/// `wanted` (all when empty).
///
/// # Errors
/// Everything that is wrong, by file, line and column.
pub fn assemble(
    resolved: &Resolved,
    wanted: &[&'static Target],
    signing: &Signing,
    folders: Folders<'_>,
    epoch: u32,
) -> Result<Appliance, Invalid> {
    let Resolved {
        profile, node, files, ..
    } = resolved;
    let mut problems = Problems::new(files);
    check::to_build(profile, node, &mut problems);
    let named = profile.target.clone().unwrap_or_default().targets;
    let mut list: Vec<&'static Target> = named.iter().filter_map(|t| targets::find(t)).collect();
    if !wanted.is_empty() {
        list.retain(|t| wanted.contains(t));
        if list.is_empty() {
            let asked: Vec<&str> = wanted.iter().map(|t| t.name).collect();
            let found = format!("this profile is not for {}", asked.join(" or "));
            problems.at(
                node,
                "/target/targets",
                found,
                format!("it is for {}", named.join(", ")),
            );
        }
    }
    if !problems.is_empty() {
        problems.finish()?;
    }
    let mut problems = Problems::new(files);
    let mut inputs = Vec::new();
    for (at, file) in files.all().iter().enumerate() {
        let role = if at == 0 { "profile" } else { "base" };
        let name = file.name.rsplit('/').next().unwrap_or(&file.name).to_owned();
        inputs.push(Input {
            role,
            name,
            sha256: file.sha256.clone(),
        });
    }
    let mut reader = Reader {
        resolved,
        problems: &mut problems,
        inputs: &mut inputs,
    };
    let hub_ca = reader.hub_ca(profile);
    let hub_token = reader.hub_token(profile);
    let wifi_passphrase = reader.wifi_passphrase(profile);
    let base = reader.base(profile, folders.bases);
    let logo = reader.logo(profile);
    let systems: std::collections::BTreeSet<System> = list.iter().map(|t| t.system).collect();
    let brought = systems.iter().map(|s| (*s, reader.files(profile, *s))).collect();
    let rauc = super::rauc::signer(resolved, profile, signing, &mut inputs, &mut problems);
    let tools = tools::read(resolved, &list, folders.built, &mut inputs, &mut problems);
    let signed = if profile.tools.is_empty() {
        baseline::all(resolved, &systems, signing, &mut inputs, &mut problems)
    } else {
        Some(baseline::Signed::of_tools(signing))
    };
    secrets::profile_texts(profile, node, &mut problems);
    problems.finish()?;
    let Some(signed) = signed else {
        return Err(Invalid::default());
    };
    inputs.sort();
    inputs.dedup();
    let package = profile.package.clone().unwrap_or_default();
    let name = package.name.clone().ok_or_else(Invalid::default)?;
    let agent = profile.agent.clone().unwrap_or_default();
    Ok(Appliance {
        profile: resolved.name.clone(),
        service: package.service.clone().unwrap_or_else(|| name.clone()).to_string(),
        name,
        brand: profile.brand.clone().unwrap_or_default(),
        package,
        targets: list,
        policy: profile.policy.clone().unwrap_or_default().into(),
        interval: agent.interval,
        labels: agent.labels,
        tenant: agent.tenant,
        runtime: profile.runtime.clone(),
        hub: profile.hub.clone().and_then(|h| h.url),
        hub_ca,
        hub_token,
        wifi_passphrase,
        rauc,
        logo,
        trust: signed.trust,
        baselines: signed.baselines,
        image: profile.image.clone(),
        base,
        wants_packages: profile.outputs.as_ref().is_none_or(|o| o.packages != Some(false)),
        files: brought,
        tools,
        inputs,
        dev: signed.dev,
        epoch,
    })
}

struct Reader<'a, 'p> {
    resolved: &'a Resolved,
    problems: &'a mut Problems<'p>,
    inputs: &'a mut Vec<Input>,
}

impl Reader<'_, '_> {
    fn node(&self) -> &Node {
        &self.resolved.node
    }

    fn read(&mut self, role: &'static str, pointer: &str) -> Option<(String, Vec<u8>)> {
        let (path, bytes) = paths::read(&self.resolved.files, &self.resolved.node, pointer, self.problems)?;
        let name = self
            .node()
            .pointer(pointer)
            .and_then(Node::as_str)
            .unwrap_or_default()
            .to_owned();
        self.inputs.push(Input {
            role,
            name,
            sha256: sha256(&bytes),
        });
        Some((shown(&path), bytes))
    }

    fn hub_ca(&mut self, profile: &Profile) -> Option<Vec<u8>> {
        profile.hub.as_ref()?.ca.as_ref()?;
        let pointer = "/hub/ca";
        let (shown, bytes) = self.read("hub-ca", pointer)?;
        let text = String::from_utf8_lossy(&bytes);
        if !text.contains("-----BEGIN CERTIFICATE-----") {
            let message = format!("{shown} holds no certificate");
            let help =
                "expected a PEM file with `-----BEGIN CERTIFICATE-----`: the CA that signed the hub's certificate";
            self.problems.at(&self.resolved.node, pointer, message, help);
            return None;
        }
        self.refuse_secrets(&shown, pointer, &bytes);
        Some(bytes)
    }

    /// Not one of the inputs: their hashes are in the manifest.
    fn hub_token(&mut self, profile: &Profile) -> Option<Vec<u8>> {
        profile.hub.as_ref()?.token.as_ref()?;
        let pointer = "/hub/token";
        let (path, bytes) = paths::read(&self.resolved.files, &self.resolved.node, pointer, self.problems)?;
        let text = String::from_utf8_lossy(&bytes);
        let line = text.trim();
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if !line.starts_with("jos1-") || line.len() > 8192 || !line.chars().all(plain) {
            let message = format!("{} holds no enrolment token", shown(&path));
            let help = "expected the one line that `jos-hub token new` prints: jos1-…";
            self.problems.at(&self.resolved.node, pointer, message, help);
            return None;
        }
        Some(format!("{line}\n").into_bytes())
    }

    /// Not one of the inputs, as the token is not.
    fn wifi_passphrase(&mut self, profile: &Profile) -> Option<String> {
        profile.image.as_ref()?.wifi.as_ref()?.passphrase.as_ref()?;
        let pointer = "/image/wifi/passphrase";
        let (path, bytes) = paths::read(&self.resolved.files, &self.resolved.node, pointer, self.problems)?;
        let text = String::from_utf8_lossy(&bytes);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        match crate::image::sound_passphrase(line) {
            Ok(()) => Some(line.to_owned()),
            Err(expected) => {
                let message = format!("{} holds no passphrase: {expected}", shown(&path));
                let help = "one line, as the access point has it";
                self.problems.at(&self.resolved.node, pointer, message, help);
                None
            }
        }
    }

    /// The disk that a profile brings, if it is the one that the profile pins.
    fn base(&mut self, profile: &Profile, bases: Option<&Path>) -> Option<Brought> {
        let reference = Reference::parse(profile.image.as_ref()?.base.as_ref()?).ok()?;
        let pointer = "/image/base";
        let lent = bases.map(|dir| dir.join(&reference.file)).filter(|path| path.is_file());
        let path = match lent {
            Some(path) => path,
            None => {
                let node = &self.resolved.node;
                paths::named(&self.resolved.files, node, pointer, &reference.file, self.problems)?
            }
        };
        let mut refuse = |message: String, help: String| {
            self.problems.at(&self.resolved.node, pointer, message, help);
            None
        };
        let sha256 = match crate::image::size_and_sum(&path) {
            Ok((_, sha256)) => sha256,
            Err(error) => return refuse(error.to_string(), "name a readable file".into()),
        };
        if sha256 != reference.sha256 {
            return refuse(
                format!(
                    "{}: its SHA-256 is {sha256}, expected {}",
                    shown(&path),
                    reference.sha256
                ),
                format!(
                    "is it whole, and the one that you mean? Then pin it: base = {:?}",
                    reference.with(&sha256)
                ),
            );
        }
        self.inputs.push(Input {
            role: "image-base",
            name: reference.file.clone(),
            sha256,
        });
        Some(Brought { reference, path })
    }

    fn logo(&mut self, profile: &Profile) -> Option<(String, Vec<u8>)> {
        let given = profile.brand.as_ref()?.logo.clone()?;
        let pointer = "/brand/logo";
        let (_, bytes) = self.read("logo", pointer)?;
        let extension = given
            .rsplit_once('.')
            .map(|(_, e)| e.to_ascii_lowercase())
            .unwrap_or_default();
        if !["png", "svg", "jpg", "ico"].contains(&extension.as_str()) || bytes.len() > 1 << 20 {
            let help = "use one that browsers show, 1 MiB at most";
            self.problems.at(
                &self.resolved.node,
                pointer,
                "expected a .png, .svg, .jpg or .ico file",
                help,
            );
            return None;
        }
        Some((extension, bytes))
    }

    fn files(&mut self, profile: &Profile, system: System) -> Tree {
        let mut tree = Tree::new();
        if profile
            .files
            .iter()
            .any(|f| f.mode.as_ref().is_some_and(|m| m.bits() & 0o7000 != 0))
        {
            tree.allow_special_modes();
        }
        for (i, file) in profile.files.iter().enumerate() {
            if file.systems.is_empty() || file.systems.iter().any(|s| s == system.name()) {
                self.file(file, i, &mut tree);
            }
        }
        tree
    }

    fn file(&mut self, file: &ProfileFile, index: usize, tree: &mut Tree) {
        let pointer = format!("/files/{index}");
        let path = file.path.as_str().trim_start_matches('/').to_owned();
        let mode = file.mode.as_ref().map_or(0o644, |m| m.bits());
        let entry = |bytes: Vec<u8>| {
            let entry = Entry::file(path.clone(), mode, bytes);
            if file.conffile { entry.as_conffile() } else { entry }
        };
        let added = if let Some(content) = &file.content {
            self.refuse_secrets(file.path.as_str(), &format!("{pointer}/content"), content.as_bytes());
            tree.insert(entry(content.clone().into_bytes()))
        } else {
            let pointer = format!("{pointer}/source");
            let found = paths::find(&self.resolved.files, &self.resolved.node, &pointer, self.problems);
            let Some(found) = found else { return };
            if found.is_dir() {
                match disk::read(
                    &found,
                    &DiskOptions {
                        special_modes: false,
                        max_bytes: 256 << 20,
                        max_entries: 10_000,
                    },
                ) {
                    Ok(folder) => {
                        for e in folder.entries() {
                            if let crate::formats::EntryKind::File(bytes) = &e.kind {
                                let name = format!("{}/{}", shown(&found), e.path);
                                self.inputs.push(Input {
                                    role: "file",
                                    name: e.path.clone(),
                                    sha256: sha256(bytes),
                                });
                                self.refuse_secrets(&name, &pointer, bytes);
                            }
                        }
                        tree.graft(&path, folder)
                    }
                    Err(e) => Err(e),
                }
            } else {
                let Some((shown, bytes)) = self.read("file", &pointer) else {
                    return;
                };
                self.refuse_secrets(&shown, &pointer, &bytes);
                tree.insert(entry(bytes))
            }
        };
        if let Err(e) = added {
            let help = "a package holds files, directories and links below its root, each once";
            self.problems.at(&self.resolved.node, &pointer, e.to_string(), help);
        }
    }

    fn refuse_secrets(&mut self, shown: &str, pointer: &str, bytes: &[u8]) {
        if let Some(found) = secrets::find(bytes) {
            let message = format!("{shown}:{}: found {}", found.line, found.what);
            self.problems.at(&self.resolved.node, pointer, message, secrets::HELP);
        }
    }
}
