use proptest::prelude::*;

use super::*;
use crate::formats::testing::run;

const ARM64: u32 = 0x0100_000C;
const X86_64: u32 = 0x0100_0007;

/// The headers of a program: build version, and a code signature when asked for, then some bytes.
fn thin(cpu: u32, signed: bool, size: usize) -> Vec<u8> {
    let mut commands: Vec<u32> = vec![0x32, 24, 1, 11 << 16, 14 << 16 | 2 << 8, 0];
    let mut count = 1;
    if signed {
        commands.extend([0x1D, 16, size as u32 - 8, 8]);
        count += 1;
    }
    let header = [
        0xFEED_FACF,
        cpu,
        if cpu == X86_64 { 3 } else { 0 },
        2,
        count,
        commands.len() as u32 * 4,
        0x85,
        0,
    ];
    let mut out: Vec<u8> = header.iter().chain(&commands).flat_map(|w| w.to_le_bytes()).collect();
    out.resize(size, 0xAB);
    out
}

#[test]
fn file_sees_a_universal_program_of_both_cpus() {
    let dir = tempfile::tempdir().unwrap();
    let (arm, intel) = (thin(ARM64, true, 20_001), thin(X86_64, false, 9_999));
    let fat = join(&[&arm, &intel]).unwrap();
    assert_eq!(
        fat,
        join(&[&intel, &arm]).unwrap(),
        "the order of the input does not matter"
    );
    std::fs::write(dir.path().join("jos"), &fat).unwrap();
    let said = run(dir.path(), "file", &["-b", "jos"]);
    assert!(
        said.starts_with("Mach-O universal binary with 2 architectures: [x86_64"),
        "{said}"
    );
    assert!(said.contains("arm64"), "{said}");
    assert_eq!(&fat[4096..4096 + intel.len()], intel, "x86_64 at a multiple of 4 KiB");
    assert_eq!(&fat[16384..], arm, "arm64 at a multiple of 16 KiB");
}

#[test]
fn headers_read_back() {
    let fat = join(&[&thin(ARM64, true, 500), &thin(X86_64, false, 400)]).unwrap();
    let slices = read(&fat).unwrap();
    let cpus: Vec<_> = slices.iter().map(|s| (s.cpu.as_str(), s.signed, s.size)).collect();
    assert_eq!(cpus, [("x86_64", false, 400), ("arm64", true, 500)]);
    assert!(
        slices
            .iter()
            .all(|s| s.minimum_os.as_deref() == Some("11.0") && s.executable)
    );
    assert_eq!(read(&thin(ARM64, false, 500)).unwrap().len(), 1);
    assert_eq!(dotted(0x000A_0F07), "10.15.7");
}

#[test]
fn slices_a_mac_would_not_run_are_refused() {
    let said = |slices: &[&[u8]]| join(slices).unwrap_err().to_string();
    assert!(said(&[&thin(ARM64, false, 500)]).contains("not signed"));
    assert!(said(&[&thin(X86_64, false, 500), &thin(X86_64, true, 600)]).contains("two slices"));
    assert!(said(&[b"\x7fELF"]).contains("cf fa ed fe"));
    assert!(said(&[]).contains("no slice"));
    let mut library = thin(X86_64, false, 500);
    library[12] = 6;
    assert!(said(&[&library]).contains("MH_EXECUTE"));
    let mut phone = thin(ARM64, true, 500);
    phone[40] = 2;
    assert!(said(&[&phone]).contains("not macOS"));
    let mut cut = thin(ARM64, true, 500);
    cut.truncate(499);
    assert!(said(&[&cut]).contains("cut off"));
}

proptest! {
    #[test]
    fn changed_headers_never_panic(at in 0usize..300, byte: u8, length in 0usize..40_000) {
        let mut fat = join(&[&thin(ARM64, true, 500), &thin(X86_64, false, 400)]).unwrap();
        let spread = if at < 100 { at } else { 4096 + at };
        fat[spread] = byte;
        fat.truncate(length);
        let _ = read(&fat);
        let _ = join(&[&fat]);
    }
}
