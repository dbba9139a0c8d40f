# shellcheck shell=bash
# The hub under a simulated fleet, for scripts/bench. Sourced, after scripts/lib/postgres.sh.

# hub_load JOS JOS_HUB SCRATCH DEVICES RAMP STAY INTERVAL HUBS: rows of a Markdown table (scripts/lib/load.py). HUBS is 0 for as few
# as hold so many devices. One hub stands on SQLite; several need a PostgreSQL, of which what it writes survives a power cut.
hub_load() {
    local jos=$1 hub=$2 dir=$3 devices=$4 ramp=$5 stay=$6 interval=$7 hubs=$8 files number
    for number in "$devices" "$ramp" "$stay" "$interval" "$hubs"; do
        case $number in '' | *[!0-9]*) die "found $number, expected a number" "try scripts/bench --help" ;; esac
    done
    # One connection for each device at either end; where root may, it raises the limit.
    ulimit -Hn 1048576 2>/dev/null || true
    ulimit -n "$(ulimit -Hn)"
    files=$(ulimit -n)
    [ "$files" != unlimited ] || files=1048576
    [ "$hubs" -gt 0 ] || hubs=$(((devices + files - 301) / (files - 300)))
    local words=(python3 "$JOS_ROOT/scripts/lib/load.py" --jos "$jos" --hub "$hub" --dir "$dir" --devices "$devices"
        --ramp "$ramp" --stay "$stay" --interval "$interval" --hubs "$hubs")
    if [ "$hubs" -eq 1 ]; then
        "${words[@]}"
    else
        # In a shell of its own, which ends the database with itself.
        (JOS_POSTGRES_FSYNC=on with_postgres "${words[@]}")
    fi
}
