# shellcheck shell=bash
# A part of scripts/bench: a look at files that all are as they should be, by jos and by cf-agent (CFEngine 3, Debian's
# package). The same files on the same disk, commands in turns: CPU time of user and system, and the most memory held.

# converge_tree COUNT DIR KEY: DIR/root for the files, DIR/state.json, signed, for jos and DIR/policy.cf for cf-agent.
converge_tree() {
    local count=$1 dir=$2 key=$3
    mkdir -p "$dir/root/srv"
    python3 - "$count" "$dir" <<'PY'
import json, os, sys

# What cf-agent would warn of for each file is said outright.
HEAD = """body common control { bundlesequence => { "main" }; }
body perms m(mode) { mode => "$(mode)"; rxdirs => "false"; }
body edit_defaults empty { empty_file_before_editing => "true"; edit_backup => "false"; }
bundle edit_line text(t) { insert_lines: "$(t)" insert_type => "preserve_block"; }
bundle agent main
{
files:
"""
count, where = int(sys.argv[1]), sys.argv[2]
files = {f"/srv/{n:04}.conf": f"# file {n}\n" + f"option_{n} = value\n" * 20 for n in range(count)}
steps = [{"type": "file", "path": path, "content": text, "mode": "0644"} for path, text in files.items()]
state = {"kind": "jos.agent.desired_state", "meta": {"name": "bench", "version": 1}, "spec": {"apply": steps}}
json.dump(state, open(f"{where}/state.json", "w"))
with open(f"{where}/policy.toml", "w") as policy:
    policy.write('kind = "jos.policy"\n[ledger]\ncontent = 16777216\n[grants.local]\nfiles = ["/srv/**"]\n')
with open(f"{where}/policy.cf", "w") as policy:
    policy.write(HEAD)
    for path, text in files.items():
        quoted = text.rstrip("\n").replace("\\", "\\\\").replace('"', '\\"')
        policy.write(f'  "{where}/root{path}" create => "true", perms => m("0644"), edit_defaults => empty, edit_line => text("{quoted}");\n')
    policy.write("}\n")
os.chmod(f"{where}/policy.cf", 0o600)
PY
    jos sign --key "$key" "$dir/state.json" >/dev/null
}

# looked PROGRAM FILES COMMAND: reads wall and CPU time, prints a row with the most memory that COMMAND held, in KiB. GNU time
# is small itself, so that what a program was before it was that program does not count.
looked() {
    local wall cpu most
    read -r wall cpu
    # shellcheck disable=SC2086  # the words of a command
    most=$(/usr/bin/time --quiet -f %M $3 2>&1 >/dev/null | tail -n 1)
    printf '| %s | %s | %s ms | %s ms | %s KiB |\n' "$2" "$1" "$wall" "$cpu" "$most"
}

# converge SCRATCH: the table.
converge() {
    local key=$1/converge.key trust=$1/converge.trust count dir ours theirs times version
    jos key new --out "$key" >/dev/null
    jos trust init --key "$key" --out "$trust" >/dev/null
    version=$(dpkg-query -Wf '${Version}' cfengine3)
    printf '\nA look at files of 20 lines that are as they should be, user and system CPU time:\n\n'
    printf '| files | program | wall | CPU | most memory |\n|---|---|---|---|---|\n'
    for count in 100 1000; do
        dir=$1/converge-$count
        converge_tree "$count" "$dir" "$key"
        ours="jos agent apply $dir/state.json --trust $trust --policy $dir/policy.toml --root $dir/root --state-dir $dir/data"
        theirs="cf-agent --no-lock --file $dir/policy.cf"
        # The first run of each writes the files, or finds them: what is timed has nothing to do.
        $ours >/dev/null
        $theirs >/dev/null
        times=$(measure "$ours" "$theirs") || die "could not time a look at $count files"
        {
            looked "\`jos agent apply\`" "$count" "$ours"
            looked "\`cf-agent\` $version" "$count" "$theirs"
        } <<<"$times"
    done
}
