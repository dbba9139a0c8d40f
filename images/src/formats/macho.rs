//! Mach-O programs: joins one slice per CPU into a universal program, and reads what a Mac checks before it runs one.
//!
//! A universal ("fat") file is big-endian: magic 0xCAFEBABE, number of slices, then for each CPU type, CPU subtype,
//! offset, size and alignment as a power of two (`mach-o/fat.h`); the slices follow, each at a multiple of its
//! alignment. Slices keep their bytes, so their signatures stay valid.
//!
//! Reading uses the `object` crate, so that writer and reader cannot share a mistake.

#[cfg(test)]
mod tests;

use object::endian::Endianness;
use object::macho::{self, MachHeader64};
use object::read::macho::{FatArch as _, MachHeader as _, MachOFatFile32};

use super::FormatError;

/// The first bytes of a universal file.
pub const FAT_MAGIC: [u8; 4] = [0xCA, 0xFE, 0xBA, 0xBE];
/// The first bytes of a thin 64-bit little-endian file.
pub const THIN_MAGIC: [u8; 4] = [0xCF, 0xFA, 0xED, 0xFE];
/// Offsets of a fat file are 32 bits wide.
const SIZE_LIMIT: u64 = u32::MAX as u64;

/// What the headers of one slice say.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Slice {
    /// `arm64`, `x86_64`, or the CPU type as a number.
    pub cpu: String,
    /// Whether it is a program (`MH_EXECUTE`).
    pub executable: bool,
    /// Lowest macOS it runs on, `LC_BUILD_VERSION` or `LC_VERSION_MIN_MACOSX`, such as `11.0`.
    pub minimum_os: Option<String>,
    /// Whether it carries a code signature; arm64 Macs run nothing without at least an ad-hoc one.
    pub signed: bool,
    /// Bytes.
    pub size: u64,
    #[serde(skip)]
    cpu_type: u32,
    #[serde(skip)]
    cpu_subtype: u32,
}

/// Join thin programs, one per CPU, into a universal one. Slices are ordered by CPU type, as `lipo` orders them
/// (x86_64, then arm64), so the order of the input does not matter.
///
/// # Errors
/// [`FormatError::Damaged`] when a slice is no thin 64-bit program, two are for the same CPU, or an arm64 slice is not
/// signed; [`FormatError::TooLarge`] for 4 GiB or more.
pub fn join(slices: &[&[u8]]) -> Result<Vec<u8>, FormatError> {
    let mut parts = Vec::new();
    for bytes in slices {
        let slice = read_thin(bytes)?;
        if !slice.executable {
            return Err(bad(format!("the {} slice is not a program (MH_EXECUTE)", slice.cpu)));
        }
        if slice.cpu == "arm64" && !slice.signed {
            return Err(bad(
                "the arm64 slice is not signed, and Macs do not run it so: link it with an ad-hoc signature",
            ));
        }
        parts.push((slice, *bytes));
    }
    parts.sort_by_key(|(slice, _)| slice.cpu_type);
    if let Some(pair) = parts.windows(2).find(|pair| pair[0].0.cpu_type == pair[1].0.cpu_type) {
        return Err(bad(format!("two slices are for {}", pair[0].0.cpu)));
    }
    if parts.is_empty() {
        return Err(bad("there is no slice to join"));
    }
    let mut head = FAT_MAGIC.to_vec();
    head.extend((parts.len() as u32).to_be_bytes());
    let mut body = Vec::new();
    let start = 8 + 20 * parts.len();
    for (slice, bytes) in &parts {
        // Pages are 16 KiB on arm64 and 4 KiB on x86_64.
        let align: u32 = if slice.cpu == "arm64" { 14 } else { 12 };
        let at = (start + body.len()).next_multiple_of(1 << align);
        body.resize(at - start, 0);
        body.extend_from_slice(bytes);
        let end = (start + body.len()) as u64;
        if end > SIZE_LIMIT {
            return Err(FormatError::TooLarge {
                what: "universal program".into(),
                size: end,
                limit: SIZE_LIMIT,
            });
        }
        for word in [slice.cpu_type, slice.cpu_subtype, at as u32, bytes.len() as u32, align] {
            head.extend(word.to_be_bytes());
        }
    }
    head.extend(body);
    Ok(head)
}

/// The slices of a universal program, or the one of a thin program.
///
/// # Errors
/// [`FormatError::Damaged`] for anything else.
pub fn read(bytes: &[u8]) -> Result<Vec<Slice>, FormatError> {
    if !bytes.starts_with(&FAT_MAGIC) {
        return Ok(vec![read_thin(bytes)?]);
    }
    let fat = MachOFatFile32::parse(bytes).map_err(|e| bad(format!("universal header: {e}")))?;
    let mut slices = Vec::new();
    for arch in fat.arches() {
        let align = 1u64.checked_shl(arch.align()).unwrap_or(0);
        if align == 0 || !arch.file_range().0.is_multiple_of(align) {
            return Err(bad("a slice does not start at a multiple of its alignment"));
        }
        let data = arch.data(bytes).map_err(|e| bad(format!("universal header: {e}")))?;
        let slice = read_thin(data)?;
        if (arch.cputype().0, arch.cpusubtype().0) != (slice.cpu_type, slice.cpu_subtype) {
            return Err(bad(format!(
                "the universal header gives the {} slice another CPU",
                slice.cpu
            )));
        }
        slices.push(slice);
    }
    Ok(slices)
}

fn read_thin(bytes: &[u8]) -> Result<Slice, FormatError> {
    if !bytes.starts_with(&THIN_MAGIC) {
        return Err(bad("expected a thin 64-bit program that starts with cf fa ed fe"));
    }
    let wrong = |e: object::read::Error| bad(format!("header: {e}"));
    let header = MachHeader64::<Endianness>::parse(bytes, 0).map_err(wrong)?;
    let endian = header.endian().map_err(wrong)?;
    let mut slice = Slice {
        cpu: match header.cputype(endian) {
            macho::CPU_TYPE_ARM64 => "arm64".to_owned(),
            macho::CPU_TYPE_X86_64 => "x86_64".to_owned(),
            other => other.0.to_string(),
        },
        executable: header.filetype(endian) == macho::MH_EXECUTE,
        minimum_os: None,
        signed: false,
        size: bytes.len() as u64,
        cpu_type: header.cputype(endian).0,
        cpu_subtype: header.cpusubtype(endian).0,
    };
    let mut commands = header.load_commands(endian, bytes, 0).map_err(wrong)?;
    while let Some(command) = commands.next().map_err(wrong)? {
        match command.cmd() {
            macho::LC_BUILD_VERSION => {
                let version: &macho::BuildVersionCommand<Endianness> = command.data().map_err(wrong)?;
                if version.platform.get(endian) != macho::PLATFORM_MACOS {
                    return Err(bad(format!(
                        "is for Apple platform {}, not macOS",
                        version.platform.get(endian).0
                    )));
                }
                slice.minimum_os = Some(dotted(version.minos.get(endian).0));
            }
            macho::LC_VERSION_MIN_MACOSX => {
                let version: &macho::VersionMinCommand<Endianness> = command.data().map_err(wrong)?;
                slice.minimum_os = Some(dotted(version.version.get(endian).0));
            }
            macho::LC_CODE_SIGNATURE => {
                let place: &macho::LinkeditDataCommand<Endianness> = command.data().map_err(wrong)?;
                let end = u64::from(place.dataoff.get(endian)) + u64::from(place.datasize.get(endian));
                if end > bytes.len() as u64 {
                    return Err(bad("its code signature is cut off"));
                }
                slice.signed = place.datasize.get(endian) > 0;
            }
            _ => {}
        }
    }
    Ok(slice)
}

/// `xxxx.yy.zz` in half-words and bytes; a last part of 0 is left out, as Apple writes it.
fn dotted(version: u32) -> String {
    let (major, minor, patch) = (version >> 16, version >> 8 & 0xFF, version & 0xFF);
    if patch == 0 {
        format!("{major}.{minor}")
    } else {
        format!("{major}.{minor}.{patch}")
    }
}

fn bad(problem: impl Into<String>) -> FormatError {
    FormatError::damaged("Mach-O program", problem)
}
