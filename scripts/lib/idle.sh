# shellcheck shell=bash
# An agent that has nothing to do but to keep its session with its hub: memory, wake-ups, CPU time, bytes on the wire. Real
# programs, the agent in a network namespace of its own whose only link is the one that is counted. Sourced by scripts/bench.

# Both halves, and the node where there is one, from the outer one's id.
processes() {
    printf '%s ' "$1"
    pgrep -P "$1" | tr '\n' ' '
}

# wakes PID…: how often a thread of these went on after it had waited.
wakes() {
    local pid
    for pid in "$@"; do cat /proc/"$pid"/task/*/status; done | awk '/^voluntary_ctxt_switches/ { sum += $2 } END { print sum }'
}

# carried SPACE: bytes that went over its link, both ways, with all headers down to Ethernet's.
carried() {
    # shellcheck disable=SC2016  # for awk
    ip netns exec "$1" awk '/eth0:/ { sub(/^.*:/, ""); print $1 + $9 }' /proc/net/dev
}

# named AGENT PID: what a process of this agent is.
named() {
    case $(tr '\0' ' ' <"/proc/$2/cmdline") in
        *' serve --joined '*) echo 'is the node of the runtime' ;;
        *) if [ "$2" = "$1" ]; then echo 'applies'; else echo 'speaks to the hub'; fi ;;
    esac
}

# idle JOS DEVICE JOS_HUB DIR SECONDS [runtime]: rows of a Markdown table. DEVICE is the program that is measured, its settings are
# the default ones, and with `runtime` it keeps a node.
idle() {
    local jos=$1 device=$2 hub=$3 dir=$4 seconds=$5 with=${6:-} space=ji$$ port hub_pid agent_pid pids
    ip netns add "$space"
    # shellcheck disable=SC2064
    trap "kill \$(cat '$dir'/*.pid 2>/dev/null) 2>/dev/null || true; ip netns del $space 2>/dev/null || true; rm -rf '$dir'" EXIT
    ip link add "$space" type veth peer name eth0 netns "$space"
    ip addr add 10.213.7.1/24 dev "$space"
    ip link set "$space" up
    ip -n "$space" addr add 10.213.7.2/24 dev eth0
    ip -n "$space" link set eth0 up
    ip -n "$space" link set lo up
    port=$(a_free_port)
    "$hub" init --data "$dir/hub" --address "https://10.213.7.1:$port" >/dev/null
    "$hub" serve --data "$dir/hub" --listen "10.213.7.1:$port" --admin-listen 127.0.0.1:0 --json --log error >"$dir/ports" &
    hub_pid=$!
    echo "$hub_pid" >"$dir/hub.pid"
    timeout 30 sh -c "until [ -s '$dir/ports' ]; do sleep 0.1; done" || die "the hub did not come up"
    (
        cd "$dir" || exit
        "$jos" key new --out root.key >/dev/null
        "$jos" trust init --key root.key --tenant default --expires 2035-01-31 >/dev/null
        "$jos" trust add trust.json --role freshness=hub/freshness.key.pub --key root.key >/dev/null
        "$hub" trust push trust.json trust.v2.json --data hub >/dev/null
        mkdir www
        printf 'kind = "jos.policy"\n[grants.hub]\nfiles = ["%s/www/**"]\n' "$dir" >policy.toml
        printf 'name = "kiosk"\npolicy = "%s/policy.toml"\ntrust = "%s/none"\nstate_dir = "%s/state"\n' "$dir" "$dir" "$dir" >agent.toml
        [ -z "$with" ] || printf '[runtime]\ndata_dir = "%s/node"\n' "$dir" >>agent.toml
        cat >state.toml <<STATE
kind = "jos.agent.desired_state"
[meta]
name = "kiosk"
version = 1
expires = "2035-01-01T00:00:00Z"
audience = { tenant = "default" }
[[spec.apply]]
type = "file"
path = "$dir/www/motd"
content = "hello\n"
STATE
        "$jos" sign --key root.key --trust trust.v2.json state.toml >/dev/null
        "$hub" push state.json --data hub >/dev/null
        umask 077
        "$hub" token new --json --data hub | sed -n 's/.*"line": "\(.*\)",\{0,1\}$/\1/p' >given
        ip netns exec "$space" "$device" agent enrol --config agent.toml --token-file given >&2
    )
    ip netns exec "$space" "$device" agent run --config "$dir/agent.toml" 2>"$dir/agent.log" &
    agent_pid=$!
    echo "$agent_pid" >"$dir/agent.pid"
    timeout 60 sh -c "until [ -e '$dir/www/motd' ]; do sleep 0.2; done" || die "the state was not applied" "$(tail "$dir/agent.log")"
    # Until what came with the apply is over: its report, the next heartbeat.
    sleep 90
    pids=$(processes "$agent_pid")
    local before_wakes before_bytes before_ticks memory
    # shellcheck disable=SC2086  # several
    before_wakes=$(wakes $pids) before_ticks=$(ticks_of $pids)
    before_bytes=$(carried "$space")
    sleep "$seconds"
    # shellcheck disable=SC2086
    python3 - "$seconds" "$(getconf CLK_TCK)" $(($(wakes $pids) - before_wakes)) $(($(ticks_of $pids) - before_ticks)) \
        $(($(carried "$space") - before_bytes)) <<'PY'
import sys
seconds, hertz, wakes, ticks, carried = map(int, sys.argv[1:])
day = 86_400 / seconds
print(f"| wake-ups of all processes, over {seconds} s | {wakes / seconds * 60:.1f} a minute |")
print(f"| CPU time of all processes | {ticks / hertz / seconds * 1000:.2f} ms a second |")
print(f"| bytes on the wire, both ways, down to Ethernet's headers | {carried * day / 1e6:.2f} MB a day |")
PY
    for pid in $pids; do
        memory=$(awk '/^Pss:/ { print $2 }' "/proc/$pid/smaps_rollup")
        printf '| memory (PSS) of the process that %s | %s KiB |\n' "$(named "$agent_pid" "$pid")" "$memory"
    done
    kill "$agent_pid" "$hub_pid"
    wait "$agent_pid" "$hub_pid" || true
}
