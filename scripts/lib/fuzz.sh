# shellcheck shell=bash
# The part `fuzz` of scripts/soak: every target of fuzz/seeds.txt for $JOS_FUZZ_SECONDS (600), from its seeds and from what
# earlier runs learnt. A finding ends its target, is named with the file that shows it, and fails the part.

# cargo-fuzz is a program of its own; it is compiled once and kept outside the checkout.
CARGO_FUZZ_VERSION=0.13.2
cargo_fuzz() {
    if ! "$JOS_CACHE/tools/bin/cargo-fuzz" --version 2>/dev/null | grep -qx "cargo-fuzz $CARGO_FUZZ_VERSION"; then
        CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
            CARGO_TARGET_DIR=$JOS_CACHE/tools/build \
            cargo install cargo-fuzz --version "$CARGO_FUZZ_VERSION" --locked --root "$JOS_CACHE/tools"
        rm -rf "$JOS_CACHE/tools/build"
    fi
}

fuzz() {
    local target folders logs job found=0
    cargo_fuzz
    # A stable compiler instruments code under this name alone. The instrumented files are of no use to another build.
    export RUSTC_BOOTSTRAP=1 PATH=$JOS_CACHE/tools/bin:$PATH
    unset CARGO_BUILD_BUILD_DIR CARGO_TARGET_DIR
    cargo fuzz build --sanitizer none
    logs=$(mktemp -d)
    # One target for each core at a time: a fuzzer has one thread.
    while read -r target folders; do
        case $target in '' | '#'*) continue ;; esac
        while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n || found=1; done
        # shellcheck disable=SC2086  # several folders
        fuzz_one "$logs/$target" "$target" $folders &
    done <fuzz/seeds.txt
    for job in $(jobs -p); do wait "$job" || found=1; done
    rm -rf "$logs"
    return $found
}

# fuzz_one LOG TARGET FOLDER…: a line, and what it found.
fuzz_one() {
    local log=$1 target=$2 seconds=${JOS_FUZZ_SECONDS:-600}
    shift 2
    mkdir -p "fuzz/corpus/$target"
    if cargo fuzz run --sanitizer none "$target" "fuzz/corpus/$target" "$@" -- -max_total_time="$seconds" -timeout=25 \
        -rss_limit_mb=4096 -max_len=16384 </dev/null >"$log" 2>&1; then
        printf '%-16s %s\n' "$target" "$(grep -E '^Done [0-9]+ runs' "$log")"
        return
    fi
    printf '%-16s FOUND SOMETHING\n' "$target"
    grep -vE '^#[0-9]+' "$log" | tail -n 40
    return 1
}
