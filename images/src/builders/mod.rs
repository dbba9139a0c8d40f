//! How the device program is compiled, or where it comes from when it is compiled already.
//!
//! Owns: the [`Builder`] trait and its four answers (zigbuild, cross, native, prebuilt), the check that a program is one
//! for the machine it is meant for, and the cache of compiled programs by content.
//! Never: packages anything.

pub mod cache;
mod cargo;
mod crates;
mod cross;
pub mod elf;
mod lent;
mod manifests;
mod native;
mod prebuilt;
pub mod sources;
pub mod toolchain;
mod turns;
mod zigbuild;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

pub use crates::Crate;
pub use cross::Cross;
pub use native::Native;
pub use prebuilt::{Brought, Prebuilt};
pub use sources::Sources;
pub use turns::Turns;
pub use zigbuild::Zigbuild;

use crate::targets::{System, Target, Triple};

/// What went wrong before there was a program.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A tool, a toolchain or the sources are not there.
    #[error("found no {what}")]
    Missing {
        /// What.
        what: String,
        /// What brings it.
        help: String,
    },
    /// This builder does not serve this target.
    #[error("the {builder} builder makes no program for {target}: {why}")]
    Unserved {
        /// Which builder.
        builder: &'static str,
        /// Which target or triple.
        target: String,
        /// What it does make.
        why: String,
        /// What to do instead.
        help: String,
    },
    /// The compiler failed.
    #[error("{what} failed with {status}:\n{tail}")]
    Failed {
        /// The command, short.
        what: String,
        /// How it ended.
        status: String,
        /// The last lines it printed.
        tail: String,
    },
    /// A program that is not one for its target.
    #[error("{}: found {found}, expected {expected}", path.display())]
    WrongProgram {
        /// Which file.
        path: PathBuf,
        /// What it is.
        found: String,
        /// What it must be.
        expected: String,
    },
    /// A file that could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl BuildError {
    pub(crate) fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io {
            path: path.into(),
            source,
        }
    }

    /// What to do next.
    #[must_use]
    pub fn help(&self) -> Option<&str> {
        match self {
            Self::Missing { help, .. } | Self::Unserved { help, .. } => Some(help),
            Self::WrongProgram { .. } => Some("build it for this triple, or name another folder"),
            Self::Failed { .. } | Self::Io { .. } => None,
        }
    }

    /// The request itself cannot be served (exit 2), rather than work that failed (exit 1).
    #[must_use]
    pub fn is_bad_use(&self) -> bool {
        matches!(self, Self::Unserved { .. })
    }
}

/// Hears how far compilations are; several may run at once.
pub trait Watch: Sync {
    /// Work on `what` begins; `units` is how many steps it took last time.
    fn begin(&self, what: &str, units: Option<u64>) -> Box<dyn Steps + '_>;
}

/// Hears how far one of them is.
pub trait Steps {
    /// One more step is done: `item`.
    fn step(&self, item: &str);
    /// It is over.
    fn end(self: Box<Self>, how: &str);
}

/// Hears nothing.
pub struct Silent;

impl Watch for Silent {
    fn begin(&self, _: &str, _: Option<u64>) -> Box<dyn Steps + '_> {
        Box::new(Silent)
    }
}

impl Steps for Silent {
    fn step(&self, _: &str) {}
    fn end(self: Box<Self>, _: &str) {}
}

/// A program for one triple.
#[derive(Clone, Debug)]
pub struct Program {
    /// The Rust target triple.
    pub triple: String,
    /// The program itself.
    pub bytes: Arc<Vec<u8>>,
    /// What the manifest says of its making.
    pub provenance: Provenance,
    /// The crates in it; none where whoever brought the program did not say.
    pub crates: Arc<Vec<Crate>>,
    /// Whether it was there already.
    pub cached: bool,
}

/// How a program came to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Which builder.
    pub builder: String,
    /// Compiler, linker and their versions; empty for a prebuilt program.
    pub toolchain: Vec<String>,
    /// Flags that the compiler was given; paths replaced by what they stand for.
    pub flags: Vec<String>,
    /// Hash of the sources; empty for a prebuilt program.
    pub sources: String,
}

/// Which program `jos`: what an appliance needs of it decides what is compiled in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flavour {
    /// The agent alone.
    #[default]
    Device,
    /// With a node of the runtime, for profiles with `[runtime]`.
    Runtime,
}

impl Flavour {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::Device, Self::Runtime];

    /// The features of `jos-agent` that it is compiled with.
    #[must_use]
    pub const fn features(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Runtime => "runtime",
        }
    }

    /// The name of its file, and that of what it is made of, in a folder of prebuilt programs.
    #[must_use]
    pub const fn files(self) -> (&'static str, &'static str) {
        match self {
            Self::Device => ("jos", cache::CRATES),
            Self::Runtime => ("jos-runtime", "crates-runtime.json"),
        }
    }

    /// Whether a target is served: routers have no room for a node, and on a Mac it was not tried.
    #[must_use]
    pub fn serves(self, target: &Target) -> bool {
        self == Self::Device || target.system == System::Debian
    }
}

/// Makes, or brings, the program `jos`.
pub trait Builder: Sync {
    /// As `--builder` names it.
    fn name(&self) -> &'static str;

    /// The triples whose programs `target` needs from this builder.
    ///
    /// # Errors
    /// [`BuildError::Unserved`].
    fn triples(&self, target: &Target) -> Result<Vec<Triple>, BuildError> {
        Ok(target.programs.to_vec())
    }

    /// What a program for `triple` would be made from: equal answers mean equal programs. `None` when there is
    /// nothing to cache.
    ///
    /// # Errors
    /// [`BuildError::Missing`] when a tool is not there.
    fn provenance(&self, triple: &Triple, flavour: Flavour) -> Result<Option<Provenance>, BuildError>;

    /// The crates that a program for `triple` is made of; none where that is not known.
    ///
    /// # Errors
    /// Any [`BuildError`].
    fn crates(&self, triple: &Triple, flavour: Flavour) -> Result<Vec<Crate>, BuildError>;

    /// Makes the program.
    ///
    /// # Errors
    /// Any [`BuildError`].
    fn build(&self, triple: &Triple, flavour: Flavour, steps: &dyn Steps) -> Result<Vec<u8>, BuildError>;
}

/// The program of one flavour for `triple`: out of the cache when the same was made before, else made and kept.
///
/// # Errors
/// Any [`BuildError`].
pub fn obtain(
    builder: &dyn Builder,
    triple: &Triple,
    flavour: Flavour,
    cache: &Path,
    watch: &dyn Watch,
) -> Result<Program, BuildError> {
    let what = match flavour {
        Flavour::Device => format!("jos for {}", triple.name),
        Flavour::Runtime => format!("jos with the runtime for {}", triple.name),
    };
    let Some(provenance) = builder.provenance(triple, flavour)? else {
        let bytes = builder.build(triple, flavour, &Silent)?;
        let provenance = Provenance {
            builder: builder.name().into(),
            toolchain: Vec::new(),
            flags: Vec::new(),
            sources: String::new(),
        };
        return Ok(Program {
            triple: triple.name.into(),
            bytes: Arc::new(bytes),
            provenance,
            crates: Arc::new(builder.crates(triple, flavour)?),
            cached: true,
        });
    };
    let slot = cache::Slot::new(cache, triple.name, &provenance);
    let finish = |bytes, provenance, cached| {
        let crates = match slot.crates() {
            Some(crates) => crates,
            None => {
                let crates = builder.crates(triple, flavour)?;
                slot.keep_crates(&crates);
                crates
            }
        };
        Ok(Program {
            triple: triple.name.into(),
            bytes: Arc::new(bytes),
            provenance,
            crates: Arc::new(crates),
            cached,
        })
    };
    if let Some(bytes) = slot.read()? {
        return finish(bytes, provenance, true);
    }
    // Two builds at once wait for each other here; the second finds what the first made.
    let _turn = slot.lock()?;
    if let Some(bytes) = slot.read()? {
        return finish(bytes, provenance, true);
    }
    let steps = watch.begin(&what, slot.units());
    let made = builder.build(triple, flavour, &*steps);
    steps.end(if made.is_ok() { "compiled" } else { "failed" });
    let bytes = made?;
    slot.write(&bytes, &provenance)?;
    finish(bytes, provenance, false)
}

/// Refuses a program that is not one for `triple`.
///
/// # Errors
/// [`BuildError::WrongProgram`].
pub fn check(path: &Path, bytes: &[u8], triple: &str) -> Result<(), BuildError> {
    let wrong = |found: String, expected: &str| BuildError::WrongProgram {
        path: path.to_owned(),
        found,
        expected: format!("{expected} for {triple}"),
    };
    if triple.contains("apple") {
        let cpu: &[u8] = if triple.starts_with("aarch64") {
            &[0x0c, 0, 0, 1]
        } else {
            &[7, 0, 0, 1]
        };
        // mach_header_64: magic 0xfeedfacf in the program's own (little) order, then cputype (mach-o/loader.h).
        return match bytes.get(..8) {
            Some(head) if head[..4] == [0xcf, 0xfa, 0xed, 0xfe] && &head[4..] == cpu => Ok(()),
            _ => Err(wrong(describe(bytes), "a 64-bit Mach-O program")),
        };
    }
    if triple.contains("windows") {
        return match pe_machine(bytes) {
            // IMAGE_FILE_MACHINE_AMD64
            Some(0x8664) => Ok(()),
            _ => Err(wrong(describe(bytes), "a 64-bit Windows program")),
        };
    }
    let Some(elf) = elf::read(bytes) else {
        return Err(wrong(describe(bytes), "an ELF program"));
    };
    if !elf.fits(triple) {
        return Err(wrong(elf.describe(), "a program"));
    }
    if elf.dynamic && triple.contains("musl") {
        return Err(wrong(
            format!("{}, which needs a dynamic loader", elf.describe()),
            "a static program",
        ));
    }
    Ok(())
}

/// The CPU of a Windows program: `MZ`, at 0x3c the place of `PE\0\0`, and behind it the machine (PE Format, COFF File Header).
fn pe_machine(bytes: &[u8]) -> Option<u16> {
    let at = bytes.get(0x3c..0x40).filter(|_| bytes.starts_with(b"MZ"))?;
    let at = u32::from_le_bytes([at[0], at[1], at[2], at[3]]) as usize;
    let head = bytes.get(at..at.checked_add(6)?)?;
    head.starts_with(b"PE\0\0")
        .then(|| u16::from_le_bytes([head[4], head[5]]))
}

fn describe(bytes: &[u8]) -> String {
    if let Some(elf) = elf::read(bytes) {
        return elf.describe();
    }
    match bytes.get(..4) {
        Some([0xcf, 0xfa, 0xed, 0xfe]) => "a Mach-O program for another CPU".into(),
        Some([b'#', b'!', ..]) => "a script".into(),
        Some([b'M', b'Z', ..]) => match pe_machine(bytes) {
            Some(machine) => format!("a Windows program for machine {machine:#06x}"),
            None => "a DOS program".into(),
        },
        _ => format!("a file of {} bytes that is no program", bytes.len()),
    }
}
