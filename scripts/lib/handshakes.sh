# shellcheck shell=bash
# Full TLS 1.3 handshakes with both certificates, the hub's beside nginx's: the same keys and certificates, the same client
# (openssl s_time), in turns. Sourced by scripts/bench.

# device_of JOS DIR TOKEN: a device's certificate and key as DIR/device.pem and DIR/device.key, by an enrolment.
device_of() {
    local jos=$1 dir=$2 token=$3
    (
        umask 077
        printf '%s\n' "$token" >"$dir/given"
    )
    printf 'kind = "jos.policy"\n' >"$dir/policy.toml"
    printf 'name = "simulated"\npolicy = "%s"\ntrust = "%s"\nstate_dir = "%s"\n' "$dir/policy.toml" "$dir/none" "$dir/state" \
        >"$dir/agent.toml"
    "$jos" agent enrol --config "$dir/agent.toml" --token-file "$dir/given" >&2
    # Ed25519 as PKCS #8 (RFC 8410, 7), which openssl reads.
    python3 - "$dir/state/identity" "$dir" <<'PY'
import base64, json, sys
found, out = sys.argv[1:]
open(f"{out}/device.pem", "w").write(json.load(open(f"{found}/hub.json"))["certificate"])
seed = base64.b64decode(json.load(open(f"{found}/tls.key"))["secret"])
der = base64.b64encode(bytes.fromhex("302e020100300506032b657004220420") + seed).decode()
open(f"{out}/device.key", "w").write(f"-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n")
PY
}

# connected DIR PORT SECONDS: connections that four clients made in all, each with a full handshake of its own.
connected() {
    local dir=$1 port=$2 seconds=$3 client pids=()
    for client in 1 2 3 4; do
        openssl s_time -connect "127.0.0.1:$port" -new -time "$seconds" -tls1_3 -cert "$dir/device.pem" -key "$dir/device.key" \
            -CAfile "$dir/hub/ca.pem" -verify 4 >"$dir/client.$client" 2>&1 &
        pids+=($!)
    done
    wait "${pids[@]}" || true
    # `N connections in S real seconds, …`, without which a client says why not.
    grep -h 'real seconds' "$dir"/client.[1-4] | awk '{ sum += $1 } END { if (!sum) exit 1; print sum }' \
        || die "openssl s_time made no connection to port $port" "$(tail -n 3 "$dir/client.1")"
}

# a_free_port: one that nobody listens on now.
a_free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# ticks_of PID…: user and system time of these processes, in ticks.
ticks_of() {
    local pid
    for pid in "$@"; do cat "/proc/$pid/stat"; done | awk '{ sub(/^.*\) /, ""); sum += $12 + $13 } END { print sum + 0 }'
}

# handshakes JOS JOS_HUB DIR: rows of a Markdown table, the medians of five turns.
handshakes() {
    local jos=$1 hub=$2 dir=$3 port hub_pid nginx_pid nginx_port seconds=4
    port=$(a_free_port)
    "$hub" init --data "$dir/hub" --address "https://127.0.0.1:$port" >/dev/null
    "$hub" serve --data "$dir/hub" --listen "127.0.0.1:$port" --admin-listen 127.0.0.1:0 --json --log error >"$dir/ports" &
    hub_pid=$!
    # shellcheck disable=SC2064
    trap "kill $hub_pid 2>/dev/null || true; kill \$(cat '$dir/nginx.pid' 2>/dev/null) 2>/dev/null || true; rm -rf '$dir'" EXIT
    timeout 30 sh -c "until [ -s '$dir/ports' ]; do sleep 0.1; done" || die "the hub did not come up"
    "$hub" token new --json --data "$dir/hub" >"$dir/made"
    device_of "$jos" "$dir" "$(sed -n 's/.*"line": "\(.*\)",\{0,1\}$/\1/p' "$dir/made")"
    nginx_port=$(a_free_port)
    cat >"$dir/nginx.conf" <<NGINX
pid $dir/nginx.pid;
error_log $dir/nginx.log error;
worker_processes $(nproc);
user root;
events { worker_connections 1024; }
http {
    access_log off;
    server {
        listen 127.0.0.1:$nginx_port ssl;
        ssl_certificate $dir/hub/server.pem;
        ssl_certificate_key $dir/hub/server.key;
        ssl_client_certificate $dir/hub/ca.pem;
        ssl_verify_client on;
        ssl_protocols TLSv1.3;
        ssl_session_cache off;
        ssl_session_tickets off;
        return 204;
    }
}
NGINX
    nginx -c "$dir/nginx.conf" -p "$dir"
    nginx_pid=$(cat "$dir/nginx.pid")
    local workers before
    workers=$(pgrep -P "$nginx_pid" | tr '\n' ' ')
    for _ in 1 2 3 4 5; do
        before=$(ticks_of "$hub_pid")
        printf 'hub %s ' "$(connected "$dir" "$port" "$seconds")" >>"$dir/turns"
        printf '%s\n' $(($(ticks_of "$hub_pid") - before)) >>"$dir/turns"
        # shellcheck disable=SC2086  # several
        before=$(ticks_of $workers)
        printf 'nginx %s ' "$(connected "$dir" "$nginx_port" "$seconds")" >>"$dir/turns"
        # shellcheck disable=SC2086
        printf '%s\n' $(($(ticks_of $workers) - before)) >>"$dir/turns"
    done
    python3 - "$dir/turns" "$seconds" "$(getconf CLK_TCK)" "$(nginx -v 2>&1 | sed 's|.*/||')" <<'PY'
import statistics, sys
path, seconds, hertz, version = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
rate, cost = {}, {}
for line in open(path):
    who, made, ticks = line.split()
    made = max(int(made), 1)
    rate.setdefault(who, []).append(made / seconds)
    cost.setdefault(who, []).append(int(ticks) / hertz / made * 1e6)
for who, name in (("hub", "`jos-hub`"), ("nginx", f"nginx {version}")):
    each, used = statistics.median(rate[who]), statistics.median(cost[who])
    print(f"| full handshakes, both certificates, {name}: four clients on the same cores | {each:,.0f}/s, {used:,.0f} µs CPU of the server each |")
ratio = statistics.median(h / n for h, n in zip(rate["hub"], rate["nginx"]))
print(f"| the hub's rate by nginx's, turn by turn | {ratio * 100:.0f} % |")
PY
    kill "$nginx_pid" "$hub_pid"
    wait "$hub_pid" || true
}
