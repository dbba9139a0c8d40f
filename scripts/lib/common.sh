# shellcheck shell=bash
# What every script here shares: where things lie, how a script speaks, how it fails, how its parts are timed.
# It is sourced, never run, and it changes nothing by being sourced.

JOS_ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
export JOS_ROOT

# Everything worth keeping from one checkout to the next (dependencies compiled, the linker's venv, test machines) lies
# outside the checkout, so that a fresh clone starts warm. Where that cannot be written, target/ serves.
# `jos-image` and the tests choose the same folder.
JOS_CACHE=${JOS_CACHE:-${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/jos}
if ! mkdir -p "$JOS_CACHE" 2>/dev/null || [ ! -w "$JOS_CACHE" ]; then
    JOS_CACHE=$JOS_ROOT/target/cache
    mkdir -p "$JOS_CACHE"
fi
export JOS_CACHE

say() { printf '%s\n' "$*" >&2; }
warn() { printf 'warning: %s\n' "$*" >&2; }
die() {
    printf 'error: %s\n' "$1" >&2
    shift
    [ $# -eq 0 ] || printf '  %s\n' "$@" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# In CI a missing tool is a failure; for a person it is a part left out, which the summary then names.
strict() { [ "${CI:-}" = true ] || [ "${CI:-}" = 1 ]; }

# --- parts: each is timed; the summary is printed whatever happens -----------------------------------------------------

JOS_PARTS=()
JOS_FAILED=0
# part NAME COMMAND…: runs it, remembers how long it took and how it ended, goes on after a failure.
part() {
    local name=$1 begin=$EPOCHREALTIME status=0
    shift
    printf '\n── %s\n' "$name" >&2
    # A subshell of its own, so that `set -e` holds inside a function used as a part.
    set +e
    (
        set -e
        "$@"
    )
    status=$?
    set -e
    local took=$((${EPOCHREALTIME/./} - ${begin/./}))
    if [ $status -ne 0 ]; then
        JOS_FAILED=$((JOS_FAILED + 1))
        say "✗ $name failed with status $status"
        JOS_PARTS+=("$took|FAILED|$name")
    else
        JOS_PARTS+=("$took|ok|$name")
    fi
}
# left_out NAME WHY: a part that a person's machine cannot run. Never taken for a pass; a failure in CI.
left_out() {
    if strict; then
        JOS_FAILED=$((JOS_FAILED + 1))
        JOS_PARTS+=("0|FAILED|$1: $2")
    else
        JOS_PARTS+=("0|left out|$1: $2")
    fi
}
summary() {
    local line took rest total=0
    printf '\n── time of each part\n'
    for line in ${JOS_PARTS[@]+"${JOS_PARTS[@]}"}; do
        took=${line%%|*}
        rest=${line#*|}
        total=$((total + took))
        printf '%8d.%01d s  %-8s  %s\n' $((took / 1000000)) $((took / 100000 % 10)) "${rest%%|*}" "${rest#*|}"
    done
    printf '%8d.%01d s  in all, %d of %d parts failed\n' $((total / 1000000)) $((total / 100000 % 10)) "$JOS_FAILED" "${#JOS_PARTS[@]}"
    [ "$JOS_FAILED" -eq 0 ]
}
