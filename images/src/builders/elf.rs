//! What an ELF program says about itself: enough to refuse one built for another machine before it reaches a device.
//!
//! Owns: the few header fields that matter here (System V ABI, chapter 4 and 5).
//! Never: loads, changes or runs a program.

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elf {
    /// 32 or 64.
    pub bits: u8,
    /// `e_ident[EI_DATA]`: little or big endian.
    pub little: bool,
    /// `e_machine`.
    pub machine: u16,
    /// `PT_INTERP` is there: the program needs a dynamic loader.
    pub dynamic: bool,
    /// Highest `GLIBC_x.y` symbol version it asks for.
    pub glibc: Option<(u32, u32)>,
}

const EM_386: u16 = 3;
const EM_MIPS: u16 = 8;
const EM_ARM: u16 = 40;
const EM_X86_64: u16 = 62;
const EM_AARCH64: u16 = 183;
const EM_RISCV: u16 = 243;
const PT_INTERP: u32 = 3;

/// Reads the headers; `None` when these are not those of a whole ELF file.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<Elf> {
    if bytes.get(..4)? != b"\x7fELF" {
        return None;
    }
    let bits = match bytes.get(4)? {
        1 => 32,
        2 => 64,
        _ => return None,
    };
    let little = match bytes.get(5)? {
        1 => true,
        2 => false,
        _ => return None,
    };
    let half = |at: usize| {
        let b: [u8; 2] = bytes.get(at..at + 2)?.try_into().ok()?;
        Some(if little {
            u16::from_le_bytes(b)
        } else {
            u16::from_be_bytes(b)
        })
    };
    let word = |at: usize| {
        let b: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(if little {
            u32::from_le_bytes(b)
        } else {
            u32::from_be_bytes(b)
        })
    };
    let wide = |at: usize| {
        let b: [u8; 8] = bytes.get(at..at + 8)?.try_into().ok()?;
        Some(if little {
            u64::from_le_bytes(b)
        } else {
            u64::from_be_bytes(b)
        })
    };
    let machine = half(18)?;
    let (table, size, count) = if bits == 32 {
        (word(28)? as usize, half(42)? as usize, half(44)? as usize)
    } else {
        (usize::try_from(wide(32)?).ok()?, half(54)? as usize, half(56)? as usize)
    };
    let mut dynamic = false;
    for i in 0..count {
        let at = table.checked_add(i.checked_mul(size)?)?;
        dynamic |= word(at)? == PT_INTERP;
    }
    Some(Elf {
        bits,
        little,
        machine,
        dynamic,
        glibc: if dynamic { glibc(bytes) } else { None },
    })
}

impl Elf {
    /// In words, as errors print it.
    #[must_use]
    pub fn describe(&self) -> String {
        let cpu = match self.machine {
            EM_386 => "x86",
            EM_MIPS => "MIPS",
            EM_ARM => "ARM",
            EM_X86_64 => "x86-64",
            EM_AARCH64 => "AArch64",
            EM_RISCV => "RISC-V",
            _ => "an unknown CPU",
        };
        let order = if self.little { "little" } else { "big" };
        format!("an ELF program for {cpu}, {} bit, {order} endian", self.bits)
    }

    /// Whether the program is one for this Rust triple's kind of CPU.
    #[must_use]
    pub fn fits(&self, triple: &str) -> bool {
        let cpu = triple.split('-').next().unwrap_or("");
        let expected = match cpu {
            "x86_64" => (EM_X86_64, 64, true),
            "aarch64" => (EM_AARCH64, 64, true),
            "arm" | "armv7" => (EM_ARM, 32, true),
            "mipsel" => (EM_MIPS, 32, true),
            "mips" => (EM_MIPS, 32, false),
            _ => return false,
        };
        (self.machine, self.bits, self.little) == expected
    }
}

/// The program without its section table and what no segment holds, for a 32-bit little- or big-endian ELF; any other is
/// given back as it is.
///
/// A kernel loads segments (System V ABI, chapter 5) and never looks at sections. LLVM writes `.pdr`, procedure
/// descriptors that only a MIPS debugger reads, into every MIPS program, and `strip` leaves it there: 7 % of the file.
#[must_use]
pub fn without_sections(mut bytes: Vec<u8>) -> Vec<u8> {
    let Some(elf) = read(&bytes).filter(|elf| elf.bits == 32) else {
        return bytes;
    };
    let number = |at: usize, width: usize| {
        let field = bytes.get(at..at + width)?;
        let digits = |value: usize, byte: &u8| value << 8 | usize::from(*byte);
        Some(if elf.little {
            field.iter().rev().fold(0, digits)
        } else {
            field.iter().fold(0, digits)
        })
    };
    // Elf32_Ehdr: e_phoff at 28, e_phentsize at 42, e_phnum at 44. Elf32_Phdr: p_offset at 4, p_filesz at 16.
    let end = || {
        let (table, size, count) = (number(28, 4)?, number(42, 2)?, number(44, 2)?);
        let mut end = table.checked_add(size.checked_mul(count)?)?;
        for i in 0..count {
            let at = table + i * size;
            end = end.max(number(at + 4, 4)?.checked_add(number(at + 16, 4)?)?);
        }
        (end <= bytes.len()).then_some(end)
    };
    if let Some(end) = end() {
        bytes.truncate(end);
        // e_shoff at 32; e_shentsize, e_shnum and e_shstrndx from 46.
        bytes[32..36].fill(0);
        bytes[46..52].fill(0);
    }
    bytes
}

/// The highest symbol version `GLIBC_x.y` named anywhere in the program: what its `Depends: libc6 (>= x.y)` must be.
fn glibc(bytes: &[u8]) -> Option<(u32, u32)> {
    let mark = b"GLIBC_2.";
    let starts = bytes
        .windows(mark.len())
        .enumerate()
        .filter(|(_, w)| w == mark)
        .map(|(i, _)| i + mark.len());
    let minor = |at: usize| {
        let digits: String = bytes[at..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .map(|b| char::from(*b))
            .collect();
        digits.parse().ok()
    };
    starts.filter_map(minor).max().map(|minor| (2, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_program_is_recognised() {
        let own = std::fs::read(std::env::current_exe().expect("own path")).expect("own program");
        let elf = read(&own).expect("ELF");
        assert!(
            elf.fits(std::env::consts::ARCH) && elf.dynamic && elf.glibc.is_some(),
            "{elf:?}"
        );
    }

    #[test]
    fn text_and_truncated_headers_are_no_program() {
        assert_eq!(read(b"#!/bin/sh\n"), None);
        assert_eq!(read(b"\x7fELF\x02\x01\x01"), None);
    }
}
