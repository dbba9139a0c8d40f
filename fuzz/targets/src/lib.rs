//! What is fuzzed, as plain functions: each takes any bytes and panics if, and only if, a promise of jos is broken.
//!
//! Owns: the promises ([`documents`], [`signed`], [`history`], [`system`],
//! [`wire`], [`packages`]) and the seeds ([`seeds`]). libFuzzer runs the
//! functions from `fuzz/fuzz_targets/`; `tests/replay.rs` runs them on every committed seed, with every change.
//! Never: knows libFuzzer, reads a clock or a random source; one input gives one outcome, so that what is found once is
//! found again.

pub mod documents;
pub mod history;
pub mod packages;
pub mod seeds;
pub mod signed;
pub mod system;
pub mod wire;

/// A function that libFuzzer drives, by the name of its file in `fuzz/fuzz_targets/`.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// As `cargo fuzz run NAME` takes it.
    pub name: &'static str,
    /// Takes any bytes.
    pub run: fn(&[u8]),
}

/// Every target. `tests/replay.rs` holds that each has its file and its seeds.
pub const TARGETS: [Target; 10] = [
    Target {
        name: "canonical",
        run: documents::canonical,
    },
    Target {
        name: "desired_state",
        run: signed::desired_state,
    },
    Target {
        name: "ledger",
        run: history::ledger,
    },
    Target {
        name: "link_frame",
        run: wire::link_frame,
    },
    Target {
        name: "package_inspect",
        run: packages::package_inspect,
    },
    Target {
        name: "policy",
        run: documents::policy,
    },
    Target {
        name: "profile",
        run: documents::profile,
    },
    Target {
        name: "toml",
        run: documents::toml,
    },
    Target {
        name: "trust_root",
        run: signed::trust_root,
    },
    Target {
        name: "uci",
        run: system::uci,
    },
];
