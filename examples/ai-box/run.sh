#!/bin/sh
# An agent on an AI box proposes a change of the box's own configuration. Without a grant it is refused; with one it is applied,
# and taken back where it makes the box unwell; both histories then replay without a model. As any user, in a new folder:
#   sh examples/ai-box/run.sh FOLDER
set -eu
from=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
mkdir "$1"
here=$(CDPATH='' cd -- "$1" && pwd -P)
cd "$here"
for file in agent.toml policy.toml grant.toml state.toml healthy.sh agents/tuner.jos; do
    mkdir -p "$(dirname -- "$file")"
    sed "s|@HERE@|$here|g" "$from/$file" >"$file"
done

# must CODE WORDS COMMAND...: runs it, shows it, and ends here unless it exits so and says these words.
must() {
    code=$1 words=$2
    shift 2
    echo "\$ $*"
    status=0
    said=$("$@" 2>&1) || status=$?
    printf '%s\n\n' "$said"
    case $status:$said in
        "$code":*"$words"*) ;;
        *) echo "expected exit code $code and \"$words\", found exit code $status" >&2 && exit 1 ;;
    esac
}

# The owner: a key, a trust root, a signed state.
mkdir secrets
jos key new --out admin.key
jos trust init --key admin.key --out trust.json
jos sign --key admin.key state.toml

# The device: the daemon, and the node that it runs.
jos runtime init --data-dir node
cp agents/tuner.jos node/agents/
JOS_LLM=${JOS_LLM:-echo} jos agent run --config agent.toml 2>daemon.log &
daemon=$!
trap 'kill "$daemon" 2>/dev/null || true; wait "$daemon" 2>/dev/null || true' EXIT

echo "== 1. no grant: the gate refuses, and says what it would take"
must 1 'needed in the policy: [agents.tuner]' \
    jos submit tuner --data-dir node --id hot-1 --input '{"degrees": 91, "parallel": 2}' --wait
test ! -e box/limits.env

echo "== 2. one file granted to this agent: applied"
cat grant.toml >>policy.toml
kill -HUP "$daemon"
must 0 '"applied"' jos submit tuner --data-dir node --id hot-2 --input '{"degrees": 91, "parallel": 2}' --wait
must 0 'PARALLEL=2' cat box/limits.env

echo "== 3. a change that makes the box unwell: taken back"
must 1 'rolled_back' jos submit tuner --data-dir node --id cold-1 --input '{"degrees": 35, "parallel": 64}' --wait
must 0 'PARALLEL=2' cat box/limits.env

echo "== 4. who did that, and both histories again, without a model"
must 0 'by agent tuner' jos blame "$here/box/limits.env" ai-box --state-dir plane
kill "$daemon"
wait "$daemon" || true
must 0 'model calls: 0' jos replay --data-dir node
must 0 '' jos replay ai-box --state-dir plane --into rebuilt
must 0 'PARALLEL=2' cat "rebuilt/tree$here/box/limits.env"
