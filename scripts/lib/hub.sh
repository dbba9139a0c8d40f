# shellcheck shell=bash
# The hub under a simulated fleet, for scripts/bench. Sourced.

# hub_load JOS JOS_HUB SCRATCH DEVICES RAMP STAY: rows of a Markdown table. The fleet comes up over RAMP seconds and stays
# for STAY, during which one state is pushed to all.
hub_load() {
    local jos=$1 hub=$2 dir=$3 devices=$4 ramp=$5 stay=$6 ports pid pushed ticks
    # One connection for each device at either end; root may raise the limit.
    ulimit -Hn 1048576 2>/dev/null || true
    ulimit -n "$(ulimit -Hn)"
    "$hub" init --data "$dir/hub" --address https://127.0.0.1:1 >/dev/null
    "$hub" serve --data "$dir/hub" --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --json --log warn >"$dir/ports" &
    pid=$!
    # shellcheck disable=SC2064
    trap "kill $pid 2>/dev/null || true; rm -rf '$dir'" EXIT
    ports=$(timeout 30 sh -c "until [ -s '$dir/ports' ]; do sleep 0.1; done; cat '$dir/ports'") || die "the hub did not come up"
    ports=${ports#*\"devices\":\"}
    ports=${ports%%\"*}
    (
        cd "$dir" || exit
        "$jos" key new --out root.key >/dev/null
        "$jos" trust init --key root.key --tenant default --expires 2035-01-31 >/dev/null
        "$jos" trust add trust.json --role freshness=hub/freshness.key.pub --key root.key >/dev/null
        "$hub" trust push trust.json trust.v2.json --data hub >/dev/null
        "$hub" token new --uses "$devices" --json --data hub >made
        sed -n 's/.*"line": "\(.*\)",\{0,1\}$/\1/p' made >token
        cat >state.toml <<'STATE'
kind = "jos.agent.desired_state"
[meta]
name = "simulated"
version = 1
expires = "2035-01-01T00:00:00Z"
audience = { tenant = "default" }
[[spec.apply]]
type = "file"
path = "/etc/motd"
content = "hello\n"
STATE
        "$jos" sign --key root.key --trust trust.v2.json state.toml >/dev/null
    )
    ticks=$(getconf CLK_TCK)
    "$hub" simulate --devices "$devices" --hub "https://$ports" --enrol-file "$dir/token" --ramp "$ramp" --for "$stay" \
        --json >"$dir/figures" &
    local fleet=$!
    sleep $((ramp + stay / 2))
    local cpu_before cpu_after
    cpu_before=$(hub_cpu "$pid")
    pushed=$(date +%s%3N)
    "$hub" push "$dir/state.json" --data "$dir/hub" >/dev/null
    sleep $((stay / 2 - 5))
    cpu_after=$(hub_cpu "$pid")
    local memory most
    memory=$(awk '/^VmRSS/ { print $2 }' "/proc/$pid/status")
    most=$(awk '/^VmHWM/ { print $2 }' "/proc/$pid/status")
    wait "$fleet"
    python3 - "$dir/figures" "$pushed" "$memory" "$most" "$(((cpu_after - cpu_before) * 1000 / ticks / (stay / 2 - 5)))" <<'PY'
import json, sys
figures, pushed, memory, most, cpu = json.load(open(sys.argv[1])), *map(int, sys.argv[2:])
times = figures["times"]
def row(what, figure):
    print(f"| {what} | {figure} |")
row("devices connected at the end", f"{figures['connected']:,}")
for name in ("connect", "enrol", "heartbeat", "report"):
    of = times[name]
    row(f"{name}: how many, p50, p99, most", f"{of['count']:,}, {of['p50_ms']:.1f}, {of['p99_ms']:.1f}, {of['max_ms']:.0f} ms")
for told in figures["told"]:
    row(f"push → {told['devices']:,} devices told, the last one", f"{told['last_at_unix_ms'] - pushed} ms after the push began")
row("the hub's memory, resident: at the end, most", f"{memory:,} KiB, {most:,} KiB")
row("the hub's CPU time in the second half", f"{cpu} ms a second")
row("errors", json.dumps(figures["errors"]) if figures["errors"] else "none")
PY
    kill -TERM "$pid"
    wait "$pid" || true
}

# User and system time of a process, in ticks.
hub_cpu() {
    awk '{ sub(/^.*\) /, ""); print $12 + $13 }' "/proc/$1/stat"
}
