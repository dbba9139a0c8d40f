# Sourced by scripts/quickstart: a hub and a device on loopback, from the token to a bad update that takes itself back.
#
# Needs `show`, `bold`, and stands in the folder $out; leaves fleet/ there and the dashboard's address in $dashboard. Both
# processes end with the script.
# shellcheck shell=bash disable=SC2154

export dashboard=

fleet_pids=()
fleet_stop() {
    [ ${#fleet_pids[@]} -eq 0 ] || kill "${fleet_pids[@]}" 2>/dev/null || true
    wait "${fleet_pids[@]}" 2>/dev/null || true
    fleet_pids=()
}

# until_says WHAT TEXT COMMAND…: waits at most a minute until the command's output holds TEXT.
until_says() {
    local what=$1 text=$2 end=$((SECONDS + 60)) said
    shift 2
    while :; do
        said=$("$@" 2>&1) || true
        [[ $said != *"$text"* ]] || return 0
        [ $SECONDS -lt $end ] || die "$what did not happen within a minute" "the last word was: $said"
        sleep 0.2
    done
}

fleet() {
    local port admin device first data=fleet/hub
    local at=(--data "$data")
    mkdir -p fleet/device/www
    chmod 700 fleet/device
    trap fleet_stop EXIT

    bold "8. A hub on loopback"
    # The token names the address, so the port is chosen first.
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    show "$hub" init --address "https://127.0.0.1:$port" "${at[@]}"
    mkfifo fleet/addresses
    printf '$ jos-hub serve --data %s --listen 127.0.0.1:%s &\n' "$data" "$port"
    "$hub" serve "${at[@]}" --listen "127.0.0.1:$port" --admin-listen 127.0.0.1:0 --json --log warn >fleet/addresses 2>fleet/hub.log &
    fleet_pids+=($!)
    read -r first <fleet/addresses || die "the hub did not start" "$(cat fleet/hub.log)"
    admin=$(python3 -c 'import json, sys; print(json.loads(sys.argv[1])["admins"])' "$first")
    show "$jos" trust init --key admin.key --tenant default --out fleet/trust.json
    show "$jos" trust add fleet/trust.json --role "freshness=$data/freshness.key.pub" --key admin.key
    show "$hub" trust push fleet/trust.json fleet/trust.v2.json "${at[@]}"

    bold "9. A device enrols with one line, and takes up what is pushed to it"
    cat >fleet/device/policy.toml <<TOML
kind = "jos.policy"
[grants.hub]
# code: the command below reads these files, so that whoever writes them has a say in what it does.
files = [{ path = "$out/fleet/device/www/**", code = true }]
shell = ["grep -q Welcome $out/fleet/device/www/index.html"]
TOML
    cat >fleet/device/agent.toml <<TOML
name = "kiosk"
policy = "$out/fleet/device/policy.toml"
trust = "$out/fleet/device/none.json"
state_dir = "$out/fleet/device/state"
interval = 1
TOML
    (umask 077 && "$hub" token new --label site=desk "${at[@]}" >fleet/token)
    printf '$ jos-hub token new --label site=desk\n%s…\n' "$(cut -c1-40 fleet/token)"
    show "$jos" agent enrol --config fleet/device/agent.toml --token-file fleet/token
    printf '$ jos agent run --config fleet/device/agent.toml &\n'
    "$jos" agent run --config fleet/device/agent.toml 2>fleet/device/log &
    fleet_pids+=($!)

    fleet_state 1 'Welcome\n'
    show "$jos" sign --key admin.key fleet/state-1.json
    show "$hub" push fleet/state-1.json "${at[@]}"
    device=$("$hub" device list --json "${at[@]}" | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["id"])')
    until_says "version 1" '"outcome": "applied"' fleet_reports "$device" 1
    show cat fleet/device/www/index.html

    bold "10. A bad update: its health check fails, and the device goes back by itself"
    fleet_state 2 'Oops\n'
    show "$jos" sign --key admin.key fleet/state-2.json
    show "$hub" push fleet/state-2.json "${at[@]}"
    until_says "the rollback" '"outcome": "rolled_back"' fleet_reports "$device" 2
    show cat fleet/device/www/index.html
    show "$hub" device show "$device" "${at[@]}"
    dashboard="https://$admin/"
}

# fleet_state VERSION CONTENT: a state of one page that must greet.
fleet_state() {
    cat >"fleet/state-$1.json" <<JSON
{
  "kind": "jos.agent.desired_state",
  "meta": {"name": "kiosk", "version": $1, "expires": "$(date -u -d '+1 year' +%Y-%m-%dT00:00:00Z)", "audience": {"tenant": "default"}},
  "spec": {
    "apply": [{"type": "file", "path": "$out/fleet/device/www/index.html", "content": "$2", "owner": "$(id -u):$(id -g)"}],
    "health_check": {"type": "command", "command": "grep -q Welcome $out/fleet/device/www/index.html", "retries": 1, "timeout": 5}
  }
}
JSON
}

# fleet_reports DEVICE VERSION: what the hub was told of a version.
fleet_reports() {
    "$hub" device show "$1" --json --data fleet/hub | python3 -c '
import json, sys
for report in json.load(sys.stdin)["reports"]:
    if report["version"] == int(sys.argv[1]):
        print(json.dumps(report))
' "$2"
}
