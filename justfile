# The same recipes that CI calls; `just` alone lists them. Each is one script, usable without just.

_default:
    @just --list --unsorted

# install what is missing on this machine
setup purpose="test":
    scripts/setup --for {{ purpose }}

# release builds of all programs in target/release/
build:
    scripts/build

# what CI runs: format, lints, bans, unit and end-to-end tests
test *parts:
    scripts/test {{ parts }}

# from nothing to packages that install, with every step shown
quickstart:
    scripts/quickstart

# the long proofs; writes docs/proofs/
soak *parts:
    scripts/soak {{ parts }}

# figures for docs/figures.md
bench:
    scripts/bench

# known vulnerabilities in dependencies (needs the advisory database from the network)
advisories:
    cargo deny check advisories
