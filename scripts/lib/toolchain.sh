# shellcheck shell=bash
# Which Rust compiles what. Two answers, because they differ on most machines: this machine's own programs are built by
# whatever recent toolchain is there; foreign targets need a standard library for each, which rustup has only for some
# (never for MIPS), so they are built from the library's source.

JOS_RUST_MINIMUM=1.95

# version_at_least FOUND LOWEST: compares dotted numbers.
version_at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n1)" = "$2" ]; }

# rust_version RUSTC: prints its number, or fails where it does not run (a rustup shim without a toolchain).
rust_version() {
    local words
    words=$("$1" --version 2>/dev/null) || return 1
    words=${words#rustc }
    printf '%s\n' "${words%%[ -]*}"
}

# Sets HOST_CARGO, HOST_RUSTC and HOST_KIND (path | debian), or fails.
host_toolchain() {
    local version
    if have rustc && have cargo && version=$(rust_version rustc) && version_at_least "$version" "$JOS_RUST_MINIMUM"; then
        HOST_KIND=path HOST_RUSTC=$(command -v rustc) HOST_CARGO=$(command -v cargo) HOST_VERSION=$version
    elif debian_rust; then
        HOST_KIND=debian HOST_RUSTC=/usr/bin/rustc HOST_CARGO=/usr/bin/cargo HOST_VERSION=$(rust_version /usr/bin/rustc)
    else
        return 1
    fi
    export HOST_KIND HOST_RUSTC HOST_CARGO HOST_VERSION
}

debian_rust() {
    local version
    [ -x /usr/bin/rustc ] && [ -x /usr/bin/cargo ] && version=$(rust_version /usr/bin/rustc) \
        && version_at_least "$version" "$JOS_RUST_MINIMUM"
}

# Sets CROSS_RUSTC, CROSS_CARGO and CROSS_KIND (path | joined | debian): a toolchain of which the standard library's
# source is there; `joined` is the one on PATH with Debian's source beside it (scripts/lib/library.sh). `images` makes
# the same choice in the same order when it compiles.
cross_toolchain() {
    local version='' sysroot joined
    if have rustc && have cargo && version=$(rust_version rustc) && version_at_least "$version" "$JOS_RUST_MINIMUM" \
        && sysroot=$(rustc --print sysroot 2>/dev/null) && [ -d "$sysroot/lib/rustlib/src/rust/library/std" ]; then
        CROSS_KIND=path CROSS_RUSTC=$(command -v rustc) CROSS_CARGO=$(command -v cargo) CROSS_VERSION=$version
    elif joined=$JOS_CACHE/rust/${version:-none}/bin && version_at_least "${version:-0}" "$JOS_RUST_MINIMUM" \
        && [ "$(rust_version "$joined/rustc")" = "$version" ]; then
        CROSS_KIND=joined CROSS_RUSTC=$joined/rustc CROSS_CARGO=$joined/cargo CROSS_VERSION=$version
    elif debian_rust && [ -d "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library/std" ]; then
        CROSS_KIND=debian CROSS_RUSTC=/usr/bin/rustc CROSS_CARGO=/usr/bin/cargo CROSS_VERSION=$(rust_version /usr/bin/rustc)
    else
        return 1
    fi
    export CROSS_KIND CROSS_RUSTC CROSS_CARGO CROSS_VERSION
}

# Puts the chosen host toolchain first, and keeps intermediate files in the cache: dependencies compiled by one checkout
# serve the next, while programs still appear in this checkout's target/.
use_host_toolchain() {
    host_toolchain || die "no Rust toolchain of at least $JOS_RUST_MINIMUM" "run scripts/setup --for build"
    if [ "$HOST_KIND" = debian ]; then
        PATH=/usr/bin:$PATH
        export PATH RUSTC=/usr/bin/rustc
    fi
    export CARGO_BUILD_BUILD_DIR="${CARGO_BUILD_BUILD_DIR:-$JOS_CACHE/build}"
}

# The cache of compiled files grows with each checkout's path. Past its limit it is emptied, not searched.
trim_build_cache() {
    local limit_gib=20 used
    [ -d "$JOS_CACHE/build" ] || return 0
    used=$(du -s --block-size=1G "$JOS_CACHE/build" | cut -f1)
    if [ "$used" -gt "$limit_gib" ]; then
        say "the cache of compiled files holds ${used} GiB, more than ${limit_gib}: emptied ($JOS_CACHE/build)"
        rm -rf "$JOS_CACHE/build"
    fi
}
