# shellcheck shell=bash
# A PostgreSQL for tests: a cluster in a folder of its own, reached by a socket there and by no port.

# with_postgres COMMAND…: runs it with JOS_TEST_DATABASE and JOS_TEST_POSTGRES, and ends the cluster after it.
with_postgres() {
    local folder bin as=() status=0
    bin=$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)
    [ -n "$bin" ] || bin=$(dirname "$(command -v initdb)")
    # The path of a socket has about 100 bytes.
    folder=$(mktemp -d /tmp/jos-pg-XXXXXX)
    chmod 755 "$folder"
    # PostgreSQL refuses root.
    if [ "$(id -u)" -eq 0 ]; then
        chown 65534:65534 "$folder"
        as=(setpriv --reuid=65534 --regid=65534 --clear-groups)
    fi
    # shellcheck disable=SC2064  # the names as they are now
    trap "(cd '$folder' && ${as[*]} '$bin/pg_ctl' -D '$folder/data' -m immediate stop >/dev/null 2>&1); rm -rf '$folder'" EXIT
    (
        cd "$folder"
        "${as[@]}" "$bin/initdb" -U hub -A trust -E UTF8 --no-locale -N -D "$folder/data" >/dev/null
        # Tests end processes, never the power; figures are of a database that could lose it.
        "${as[@]}" "$bin/pg_ctl" -D "$folder/data" -l "$folder/log" -w -s \
            -o "-c listen_addresses= -c fsync=${JOS_POSTGRES_FSYNC:-off} -c max_connections=400 -k $folder" start
    ) || die "PostgreSQL does not come up" "see $folder/log"
    JOS_TEST_DATABASE=postgres JOS_TEST_POSTGRES=$folder "$@" || status=$?
    return "$status"
}
