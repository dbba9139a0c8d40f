//! `jos-image build`: profiles → programs → packages and images → folders.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread::ScopedJoinHandle;
use std::time::Instant;

use serde_json::json;

use super::ui::{Done, Failure, Progress, Ui, bytes};
use super::{images, keys};
use crate::bake::{self, Appliance, Folders, Package, Signing};
use crate::builders::{
    self, Brought, Builder, Cross, Flavour, Native, Prebuilt, Program, Sources, Turns, Zigbuild, cache, toolchain,
};
use crate::image::Made;
use crate::profile::{Finder, Invalid, check, resolve};
use crate::targets::{self, Target, Triple};
use crate::{image, manifest, output, provenance, sbom};

/// Compile, sign and package profiles
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  jos-image build captive-portal --target openwrt/mipsel_24kc --dev-key
  jos-image build profiles/*.toml --key admin.key --trust trust.json --out dist

Each profile gets a folder OUT/PROFILE with its packages, manifest.json, SHA256SUMS and SHA256SUMS.sig
(signify -V -p SHA256SUMS.pub -x SHA256SUMS.sig -m SHA256SUMS). The folder is exchanged whole or not at all.
Equal inputs give equal bytes; the time in them is SOURCE_DATE_EPOCH, else that of this release.")]
pub(super) struct Args {
    /// Profiles: files, or names looked up in --profiles DIR and ./profiles
    #[arg(required = true, value_name = "PROFILE")]
    profiles: Vec<String>,
    /// Only these of the profiles' targets (repeatable)
    #[arg(long, value_name = "TARGET")]
    target: Vec<String>,
    /// Where the folders go
    #[arg(long, value_name = "DIR", default_value = "dist")]
    out: PathBuf,
    /// zigbuild, cross, native, or prebuilt=DIR with DIR/TRIPLE/jos
    #[arg(long, value_name = "BUILDER")]
    builder: Option<String>,
    /// Sources of jos; the checkout around this folder or this program when absent
    #[arg(long, value_name = "DIR")]
    source: Option<PathBuf>,
    /// Where profiles and bases are looked up besides
    #[arg(long = "profiles", value_name = "DIR")]
    profiles_dir: Option<PathBuf>,
    /// What was compiled for profiles of tools: their `built` files
    #[arg(long, value_name = "DIR")]
    built: Option<PathBuf>,
    /// Where disks that images are made on (`[image] base`) are looked up besides the profile's folder
    #[arg(long, value_name = "DIR")]
    bases: Option<PathBuf>,
    #[command(flatten)]
    keys: keys::SigningArgs,
    /// Work on so many things at once; the number of processors when absent
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
}

/// The moment of this release of the pipeline: the time stamp in packages where SOURCE_DATE_EPOCH is not set, so that
/// equal inputs give equal bytes without it. 2026-11-21T00:00:00Z.
const RELEASED: u32 = 1_795_219_200;

pub(super) fn run(args: &Args, ui: &Ui) -> Done {
    let began = Instant::now();
    let finder = finder(args.profiles_dir.as_deref(), args.source.as_deref());
    let wanted = wanted(&args.target)?;
    let epoch = epoch()?;
    let signing = args.keys.signing()?;
    let apps = assemble_all(
        &args.profiles,
        &finder,
        &wanted,
        &signing,
        (
            Folders {
                built: args.built.as_deref(),
                bases: args.bases.as_deref(),
            },
            epoch,
        ),
    )?;
    if let Some(target) = wanted.iter().find(|t| !apps.iter().any(|a| a.targets.contains(t))) {
        let failure = Failure::invalid(format!("--target: no profile named here is for {}", target.name));
        return Err(failure.help("`jos-image explain PROFILE` shows for which targets it is"));
    }
    let with_images: Vec<&Appliance> = apps.iter().filter(|app| !images::boards(app).is_empty()).collect();
    if !with_images.is_empty() {
        image::check_tools(image::Needs {
            bases: with_images.iter().any(|app| app.base.is_none()),
            bundles: with_images.iter().any(|app| app.rauc.is_some()),
        })?;
        image::jos()?;
    }
    for app in &apps {
        output::check(&args.out.join(&app.profile))?;
    }
    let jobs = args.jobs.map(usize::from);
    let builder = for_all(&apps, args.builder.as_deref(), args.source.as_deref(), jobs)?;
    let workers = jobs
        .or_else(|| std::thread::available_parallelism().ok().map(usize::from))
        .unwrap_or(1);
    let programs = programs(builder.as_ref(), &apps, workers, ui)?;
    let mut results = Vec::new();
    for app in &apps {
        let scratch = images::Scratch::new(&args.out, &app.profile);
        let set = make(app, builder.as_ref(), &programs, workers, &scratch, ui)?;
        let folder = args.out.join(&app.profile);
        write(&set, &signing, &folder)?;
        results.push((app, folder, set.packages, set.images));
    }
    if signing.is_dev() {
        ui.note("DEVELOPMENT BUILD: signed by a throwaway key; never install these on a device that leaves the desk");
    }
    report(&results, began.elapsed().as_millis(), ui);
    Ok(0)
}

/// Looks profiles up in `--profiles`, else where the sources or an installed program keep theirs.
pub(super) fn finder(profiles: Option<&Path>, source: Option<&Path>) -> Finder {
    let installed = || {
        let own = std::env::current_exe().ok()?;
        let dir = own.parent()?.parent()?.join("share/jos/profiles");
        dir.is_dir().then_some(dir)
    };
    let sources = || {
        let root = source.map(Path::to_owned).or_else(builders::sources::default_root)?;
        let dir = root.join("profiles");
        dir.is_dir().then_some(dir)
    };
    Finder {
        profiles: profiles.map(Path::to_owned),
        shipped: sources().or_else(installed),
    }
}

pub(super) fn wanted(names: &[String]) -> Result<Vec<&'static Target>, Failure> {
    let mut all: Vec<&'static Target> = Vec::new();
    for name in names {
        match targets::find(name) {
            Some(target) if !all.contains(&target) => all.push(target),
            Some(_) => {}
            None => return Err(Failure::invalid(format!("--target: {name:?} is no target")).help(check::meant(name))),
        }
    }
    Ok(all)
}

pub(super) fn epoch() -> Result<u32, Failure> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) if !text.is_empty() => text.parse().map_err(|_| {
            Failure::invalid(format!(
                "SOURCE_DATE_EPOCH is {text:?}, expected seconds since 1970 (up to 4294967295)"
            ))
        }),
        _ => Ok(RELEASED),
    }
}

/// Every problem of every profile is found before anything is compiled.
pub(super) fn assemble_all(
    names: &[String],
    finder: &Finder,
    wanted: &[&'static Target],
    signing: &Signing,
    (folders, epoch): (Folders<'_>, u32),
) -> Result<Vec<Appliance>, Failure> {
    let mut apps: Vec<Appliance> = Vec::new();
    let mut wrong = Invalid::default();
    for name in names {
        let made = finder
            .profile(name)
            .and_then(|path| resolve(&path, finder))
            .and_then(|resolved| bake::assemble(&resolved, wanted, signing, folders, epoch));
        match made {
            Ok(app) if apps.iter().any(|a| a.profile == app.profile) => {
                return Err(Failure::invalid(format!(
                    "the profile {:?} was named twice",
                    app.profile
                )));
            }
            Ok(app) => apps.push(app),
            Err(invalid) => wrong.reports.extend(invalid.reports),
        }
    }
    if wrong.reports.is_empty() {
        Ok(apps)
    } else {
        Err(wrong.into())
    }
}

/// The builder that was asked for; where all that is built are tools, which bring their programs, none is looked for.
pub(super) fn for_all(
    apps: &[Appliance],
    given: Option<&str>,
    source: Option<&Path>,
    jobs: Option<usize>,
) -> Result<Box<dyn Builder>, Failure> {
    if given.is_none() && apps.iter().all(|app| !app.tools.is_empty()) {
        return Ok(Box::new(Brought));
    }
    choose(given, source, jobs)
}

pub(super) fn choose(
    given: Option<&str>,
    source: Option<&Path>,
    jobs: Option<usize>,
) -> Result<Box<dyn Builder>, Failure> {
    let cache = toolchain::cache_dir();
    let sources = || Sources::find(source);
    Ok(match given {
        None => match Prebuilt::installed() {
            Some(installed) if source.is_none() => Box::new(installed),
            _ => Box::new(Zigbuild::new(sources()?, &cache, jobs)?),
        },
        Some("zigbuild") => Box::new(Zigbuild::new(sources()?, &cache, jobs)?),
        Some("cross") => Box::new(Cross::new(sources()?, &cache, jobs)?),
        Some("native") => Box::new(Native::new(sources()?, &cache, jobs)?),
        Some(other) => match other.strip_prefix("prebuilt=") {
            Some(dir) if !dir.is_empty() => Box::new(Prebuilt::new(Path::new(dir))?),
            _ => {
                let help = "expected zigbuild, cross, native, or prebuilt=DIR";
                return Err(Failure::invalid(format!("--builder: {other:?} is no builder")).help(help));
            }
        },
    })
}

pub(super) type Programs = BTreeMap<(&'static str, Flavour), Program>;

/// Compiles what is not in the cache, `workers` programs at a time: most of a compilation is optimising one crate after
/// the other, which keeps one processor busy.
pub(super) fn programs(
    builder: &dyn Builder,
    apps: &[Appliance],
    workers: usize,
    ui: &Ui,
) -> Result<Programs, Failure> {
    let mut wanted: Vec<(Triple, Flavour)> = Vec::new();
    for app in apps.iter().filter(|a| a.tools.is_empty()) {
        for target in &app.targets {
            for one in builder.triples(target)?.into_iter().map(|t| (t, app.flavour())) {
                if !wanted.contains(&one) {
                    wanted.push(one);
                }
            }
        }
    }
    let progress = Progress::new(ui.json);
    let dir = cache::default_dir();
    let workers = workers.min(wanted.len());
    let queue = Mutex::new(Turns::new(wanted));
    let work = || {
        let mut made = Vec::new();
        while let Some((triple, flavour)) = queue.lock().ok().and_then(|mut queue| queue.next()) {
            let program = builders::obtain(builder, &triple, flavour, &dir, &progress);
            if let Ok(mut queue) = queue.lock() {
                queue.ended(&triple, program.is_ok());
            }
            made.push(((triple.name, flavour), program));
        }
        made
    };
    let made: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(ScopedJoinHandle::join).collect()
    });
    let mut all = BTreeMap::new();
    for one in made {
        for (name, program) in one.map_err(|_| Failure::failed("a compiling thread ended by a panic"))? {
            all.insert(name, program?);
        }
    }
    Ok(all)
}

fn of_target(
    app: &Appliance,
    target: &Target,
    builder: &dyn Builder,
    programs: &Programs,
) -> Result<Vec<Program>, Failure> {
    let triples = builder.triples(target)?;
    let own = triples.iter().filter_map(|t| programs.get(&(t.name, app.flavour())));
    Ok(own.cloned().collect())
}

fn used(app: &Appliance, builder: &dyn Builder, programs: &Programs) -> Result<Vec<Program>, Failure> {
    let mut all: Vec<Program> = Vec::new();
    for target in app.targets.iter().filter(|_| app.tools.is_empty()) {
        for program in of_target(app, target, builder, programs)? {
            if !all.iter().any(|p| p.triple == program.triple) {
                all.push(program);
            }
        }
    }
    Ok(all)
}

/// Packages every target, `workers` at a time.
fn bake_all(
    app: &Appliance,
    builder: &dyn Builder,
    programs: &Programs,
    workers: usize,
) -> Result<Vec<Package>, Failure> {
    let mut work = Vec::new();
    for target in &app.targets {
        work.push((*target, of_target(app, target, builder, programs)?));
    }
    let mut packages = Vec::new();
    for chunk in work.chunks(workers.max(1)) {
        let made: Vec<_> = std::thread::scope(|scope| {
            let running: Vec<_> = chunk
                .iter()
                .map(|(target, programs)| scope.spawn(|| bake::packages(app, target, programs)))
                .collect();
            running.into_iter().map(ScopedJoinHandle::join).collect()
        });
        for one in made {
            packages.extend(one.map_err(|_| Failure::failed("a packaging thread ended by a panic"))??);
        }
    }
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(pair) = packages.windows(2).find(|p| p[0].name == p[1].name) {
        return Err(Failure::failed(format!(
            "two targets give the same file {}",
            pair[0].name
        )));
    }
    Ok(packages)
}

/// Everything that goes into a profile's folder: names and bytes.
pub(super) struct Set {
    /// The packages.
    pub(super) packages: Vec<Package>,
    /// The images, which lie in the scratch folder.
    pub(super) images: Vec<Made>,
    /// `manifest.json`.
    pub(super) manifest: String,
    /// The bill of materials.
    pub(super) bill: String,
    /// A line for each output; none without a key.
    pub(super) statements: Vec<serde_json::Value>,
}

/// Packages, images, lists and statements of one appliance, unsigned.
pub(super) fn make(
    app: &Appliance,
    builder: &dyn Builder,
    programs: &Programs,
    workers: usize,
    scratch: &images::Scratch,
    ui: &Ui,
) -> Result<Set, Failure> {
    let packages = if app.wants_packages {
        bake_all(app, builder, programs, workers)?
    } else {
        Vec::new()
    };
    let all = used(app, builder, programs)?;
    let images = images::all(app, &all, scratch, ui)?;
    let manifest = manifest::manifest(app, &all, &packages, &images);
    let bill = sbom::sbom(app, &all, &packages, &images);
    let beside = [("manifest.json", manifest.as_str()), (sbom::FILE, bill.as_str())];
    let mut statements = Vec::new();
    for output in manifest::outputs(&packages, &images) {
        let image = images.iter().find(|image| {
            let bundle = image.bundle.as_ref().map(|bundle| bundle.name.as_str());
            image.name == output.file || bundle == Some(output.file)
        });
        let own = match targets::find(image.map_or(output.target, |image| image.board.target)) {
            Some(target) if app.tools.is_empty() => of_target(app, target, builder, programs)?,
            _ => Vec::new(),
        };
        let base = image.map(|image| image.base.as_str());
        statements.push(provenance::statement(app, &output, base, &own, &beside));
    }
    Ok(Set {
        packages,
        images,
        manifest,
        bill,
        statements,
    })
}

fn write(set: &Set, signing: &Signing, folder: &Path) -> Result<(), Failure> {
    let (packages, images) = (&set.packages, &set.images);
    let sealed: Option<String> = signing
        .key
        .as_ref()
        .map(|key| set.statements.iter().map(|one| provenance::sealed(one, key)).collect());
    let mut texts = vec![("manifest.json", set.manifest.as_str()), (sbom::FILE, &set.bill)];
    texts.extend(sealed.as_deref().map(|text| (provenance::FILE, text)));
    let sums = manifest::sums(packages, images, &texts);
    let mut files: Vec<(&str, &[u8])> = packages.iter().map(|p| (p.name.as_str(), p.bytes.as_slice())).collect();
    files.extend(texts.into_iter().map(|(name, text)| (name, text.as_bytes())));
    files.push(("SHA256SUMS", sums.as_bytes()));
    let signature = match &signing.key {
        Some(key) => {
            let signature =
                jos_trust::release::sign_file("SHA256SUMS", sums.as_bytes(), key).map_err(Failure::failed)?;
            Some((signature, jos_trust::release::public_text(&key.public())))
        }
        None => None,
    };
    if let Some((signature, public)) = &signature {
        files.push(("SHA256SUMS.sig", signature.as_bytes()));
        files.push(("SHA256SUMS.pub", public.as_bytes()));
    }
    let bundles = images.iter().filter_map(|i| i.bundle.as_ref());
    let large: Vec<(&str, &Path)> = images
        .iter()
        .map(|i| (i.name.as_str(), i.path.as_path()))
        .chain(bundles.map(|b| (b.name.as_str(), b.path.as_path())))
        .collect();
    Ok(output::publish(folder, &files, &large)?)
}

fn report(results: &[(&Appliance, PathBuf, Vec<Package>, Vec<Made>)], millis: u128, ui: &Ui) {
    let mut text = String::new();
    let mut values = Vec::new();
    for (app, folder, packages, images) in results {
        text.push_str(&format!("{} {}\n", ui.paint("1", app.product()), app.full_version()));
        let packages_and_images = manifest::outputs(packages, images);
        for output in &packages_and_images {
            let path = folder.join(output.file);
            let size = bytes(usize::try_from(output.size).unwrap_or(usize::MAX));
            text.push_str(&format!("  {:<30} {size:>9}  {}\n", output.target, path.display()));
        }
        values.push(json!({
            "profile": app.profile,
            "version": app.full_version(),
            "folder": folder,
            "dev_key": app.dev,
            "outputs": packages_and_images,
        }));
    }
    text.push_str(&format!("done in {}.{:01} s\n", millis / 1000, millis % 1000 / 100));
    ui.result(
        &json!({ "profiles": values, "milliseconds": u64::try_from(millis).unwrap_or(u64::MAX) }),
        text,
    );
}
