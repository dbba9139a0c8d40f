#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| jos_fuzz_targets::history::ledger(data));
