//! `jos-image repo`: a folder of packages that devices install from.

mod serve;

use std::path::{Path, PathBuf};

use serde_json::json;

use super::ui::{Done, Failure, Ui};
use crate::repo::keys::PublicKeys;
use crate::repo::{Keys, Offer, Offers, Packages, RepoError, Repository, Settings, verify};

/// Make, sign and check a repository that devices install from
#[derive(clap::Args)]
#[command(after_help = "\
One folder for any web server: opkg feeds, apk v3 repositories, an APT repository, macOS packages, and a page that
tells people what to type. All of it is made from the packages alone, so the same packages, keys and time give the same bytes.

Examples:
  jos-image repo key new --out keys
  jos-image repo build site --keys keys --name acme --title 'Acme Appliances' \\
    --maintainer 'Acme <packages@acme.example>' --url https://packages.acme.example dist
  jos-image repo add site --keys keys dist/portal/*.ipk
  jos-image repo verify site
  jos-image repo serve site

The time in it is SOURCE_DATE_EPOCH, else now. APT's index runs out after --valid-days: run `repo sign` well before.")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Make the keys that sign a repository
    Key(KeyArgs),
    /// Make a repository of packages
    Build(BuildArgs),
    /// Put more packages into one
    Add(AddArgs),
    /// Write and sign all lists of one anew
    Sign(SignArgs),
    /// Check every signature, sum and package of one
    Verify(VerifyArgs),
    /// Serve one over HTTP, for a lab
    Serve(serve::Args),
}

#[derive(clap::Args)]
struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(clap::Subcommand)]
enum KeyCommand {
    /// New keys for opkg, apk and apt
    #[command(after_help = "\
The folder then holds opkg.key, apk.pem and apt.key, mode 0600. Keep it where packages are signed and nowhere else, and a
copy where nobody reads: who has it can publish in your name, and without it devices take no more packages.

Example: jos-image repo key new --out keys")]
    New {
        /// The folder
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

#[derive(clap::Args)]
#[command(after_help = "\
Example:
  jos-image repo build site --keys keys --name acme --title 'Acme Appliances' \\
    --maintainer 'Acme <packages@acme.example>' --url https://packages.acme.example dist")]
struct BuildArgs {
    /// The repository's folder, empty or not there yet
    dir: PathBuf,
    /// Packages, and folders of them
    #[arg(required = true, value_name = "PACKAGE")]
    packages: Vec<PathBuf>,
    /// Folder of the secret keys (`jos-image repo key new`)
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    /// While keys change: the other folder of keys, which signs as well
    #[arg(long, value_name = "DIR")]
    also: Option<PathBuf>,
    /// Names files on devices, such as acme
    #[arg(long)]
    name: String,
    /// Says whose packages these are
    #[arg(long)]
    title: String,
    /// Who answers for them: `Name <address@example.org>`
    #[arg(long)]
    maintainer: String,
    /// Where devices find the folder
    #[arg(long)]
    url: String,
    /// Your colour on the page, as #1f6feb
    #[arg(long, value_name = "COLOUR")]
    accent: Option<String>,
    /// APT's suite
    #[arg(long, default_value = "stable")]
    suite: String,
    /// Days after which apt no longer believes the index
    #[arg(long, value_name = "DAYS", default_value_t = 30)]
    valid_days: u32,
    /// Also take packages built with --dev-key, for tests
    #[arg(long)]
    allow_dev: bool,
}

#[derive(clap::Args)]
#[command(after_help = "Example: jos-image repo add site --keys keys dist/portal")]
struct AddArgs {
    /// The repository's folder
    dir: PathBuf,
    /// Packages, and folders of them
    #[arg(required = true, value_name = "PACKAGE")]
    packages: Vec<PathBuf>,
    /// Folder of the secret keys
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    /// While keys change: the other folder of keys, which signs as well
    #[arg(long, value_name = "DIR")]
    also: Option<PathBuf>,
    /// Also take packages built with --dev-key, for tests
    #[arg(long)]
    allow_dev: bool,
}

#[derive(clap::Args)]
#[command(after_help = "\
Lists what lies in the folder: to renew the time of APT's index, after packages were removed by hand, or with new keys.

Keys change in three steps, each as long as machines need to take the one before:
  jos-image repo sign site --keys old --also new     both sign for apt and apk, and the keyring package brings both
  jos-image repo sign site --keys new --also old     opkg's lists, which bear one signature, are by the new one from here
  jos-image repo sign site --keys new

Example: jos-image repo sign site --keys keys")]
struct SignArgs {
    /// The repository's folder
    dir: PathBuf,
    /// Folder of the secret keys
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
    /// While keys change: the other folder of keys, which signs as well
    #[arg(long, value_name = "DIR")]
    also: Option<PathBuf>,
}

#[derive(clap::Args)]
#[command(after_help = "\
Example: jos-image repo verify site --trusted keys-published-last-year

Exit codes: 0 all agrees, 1 something does not, 2 no repository there.")]
struct VerifyArgs {
    /// The repository's folder
    dir: PathBuf,
    /// Public keys to believe: a copy of a repository's `keys` folder; this repository's own when absent
    #[arg(long, value_name = "DIR")]
    trusted: Option<PathBuf>,
}

impl From<RepoError> for Failure {
    fn from(error: RepoError) -> Self {
        match error {
            RepoError::Io { .. } | RepoError::Sign(_) => Self::failed(error),
            RepoError::Package { .. } | RepoError::Folder { .. } | RepoError::Format(_) => Self::invalid(error),
        }
    }
}

pub(super) fn run(args: &Args, ui: &Ui) -> Done {
    match &args.command {
        Command::Key(KeyArgs {
            command: KeyCommand::New { out },
        }) => new_keys(out, ui),
        Command::Build(args) => {
            let mut settings = Settings::new(&args.name, &args.title, &args.maintainer, &args.url);
            settings.suite.clone_from(&args.suite);
            settings.valid_days = args.valid_days;
            settings.accent.clone_from(&args.accent);
            settings.check().map_err(|e| Failure::invalid(format!("--{e}")))?;
            let repository = Repository::create(&args.dir, settings)?;
            publish(
                repository,
                (&args.packages, args.allow_dev),
                (&args.keys, args.also.as_deref()),
                ui,
            )
        }
        Command::Add(args) => publish(
            Repository::open(&args.dir)?,
            (&args.packages, args.allow_dev),
            (&args.keys, args.also.as_deref()),
            ui,
        ),
        Command::Sign(args) => publish(
            Repository::open(&args.dir)?,
            (&[], false),
            (&args.keys, args.also.as_deref()),
            ui,
        ),
        Command::Verify(args) => check(args, ui),
        Command::Serve(args) => serve::run(args, ui),
    }
}

fn new_keys(out: &Path, ui: &Ui) -> Done {
    let mut failed = None;
    let keys = Keys::generate(&mut |bytes| {
        if let Err(e) = getrandom::fill(bytes) {
            failed = Some(e);
        }
    });
    if let Some(e) = failed {
        return Err(Failure::failed(format!("the system gave no random bytes: {e}")));
    }
    let keys = keys?;
    keys.write(out)?;
    let apt = crate::repo::openpgp::fingerprint(&keys.apt.public());
    let opkg = jos_trust::release::key_number(&keys.opkg.public());
    let apk = keys.apk.public().id_hex();
    ui.result(
        &json!({ "folder": out, "apt": apt, "opkg": opkg, "apk": apk }),
        format!("{}\n  apt   {apt}\n  opkg  {opkg}\n  apk   {apk}\n", out.display()),
    );
    Ok(0)
}

fn publish(
    mut repository: Repository,
    (packages, dev): (&[PathBuf], bool),
    (keys, also): (&Path, Option<&Path>),
    ui: &Ui,
) -> Done {
    let mut keys = Keys::read(keys)?;
    keys.also = also.map(Keys::read).transpose()?.map(Box::new);
    let files = &found(packages)?;
    let offers = repository.publish(&Packages { files, dev }, &keys, now()?)?;
    let dir = &repository.dir;
    let mut text = format!("{}\n", ui.paint("1", &repository.settings.title));
    for (what, offer) in kinds(&offers) {
        if !offer.is_empty() {
            text.push_str(&format!(
                "  {what:<7} {} for {}\n",
                offer.names.join(", "),
                offer.architectures.join(", ")
            ));
        }
    }
    text.push_str(&format!("{}\n", dir.join("index.html").display()));
    ui.result(
        &json!({ "folder": dir, "settings": repository.settings, "offers": offers }),
        text,
    );
    Ok(0)
}

fn kinds(offers: &Offers) -> [(&'static str, &Offer); 5] {
    [
        ("apt", &offers.apt),
        ("apk", &offers.apk),
        ("opkg", &offers.opkg),
        ("macos", &offers.macos),
        ("windows", &offers.windows),
    ]
}

/// Files as they are; of folders, every package in them and below.
fn found(packages: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut all = Vec::new();
    let mut folders: Vec<PathBuf> = Vec::new();
    for path in packages {
        let meta = std::fs::metadata(path).map_err(|e| Failure::invalid(format!("{}: {e}", path.display())))?;
        if meta.is_dir() {
            folders.push(path.clone());
        } else {
            all.push(path.clone());
        }
    }
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).map_err(|e| Failure::failed(format!("{}: {e}", folder.display())))?;
        for entry in entries {
            let path = entry
                .map_err(|e| Failure::failed(format!("{}: {e}", folder.display())))?
                .path();
            let package = |e: &std::ffi::OsStr| ["deb", "ipk", "apk", "pkg", "msi"].iter().any(|known| e == *known);
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(package) {
                all.push(path);
            }
        }
    }
    all.sort();
    if all.is_empty() && !packages.is_empty() {
        return Err(
            Failure::invalid("no .deb, .ipk, .apk, .pkg or .msi lies there").help("`jos-image build` makes some")
        );
    }
    Ok(all)
}

/// A repository's time is a promise to devices: that of now, where none is set.
fn now() -> Result<u32, Failure> {
    if std::env::var_os("SOURCE_DATE_EPOCH").is_some_and(|text| !text.is_empty()) {
        return super::build::epoch();
    }
    #[expect(clippy::disallowed_methods, reason = "the one reading of now in this command")]
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.ok()
        .and_then(|now| u32::try_from(now.as_secs()).ok())
        .ok_or_else(|| Failure::failed("the clock of this machine is before 1970 or after 2106"))
}

fn check(args: &VerifyArgs, ui: &Ui) -> Done {
    let repository = Repository::open(&args.dir)?;
    let own = args.dir.join("keys");
    let keys = PublicKeys::read(args.trusted.as_deref().unwrap_or(&own), &repository.settings)?;
    let findings = verify(&repository, &keys, now()?)?;
    let mut text: String = findings
        .iter()
        .map(|f| format!("{}: {}\n", f.file, f.problem))
        .collect();
    if findings.is_empty() {
        text.push_str("every signature, sum and package agrees");
        text.push_str(match args.trusted {
            Some(_) => "\n",
            None => ", by the keys that lie in the folder itself; --trusted takes those that you know\n",
        });
    }
    ui.result(&json!({ "findings": findings }), text);
    Ok(u8::from(!findings.is_empty()))
}
