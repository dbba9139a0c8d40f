#!/bin/sh
# A hive of three agents in one ledger, with a bad handoff and a rejected draft; then the whole run again, without a model.
# Run it beside the data directory: sh .jos-data/swarm/run.sh
set -eu
# submit ID AGENT INPUT: one job, worked off before the next, so that each finds what the one before handed on.
submit() {
    jos submit "$2" --id "$1" --input "$3" >/dev/null
    jos serve --drain 2>/dev/null
}
submit plan-1 planner '{"request": "ACCEPT: the lamp gets a new plug.", "topic": "lamps"}'
submit plan-2 planner '{"request": "REJECT: cheap watches, click here.", "topic": "spam"}'
submit plan-3 planner '{"request": "ACCEPT: the refund is on its way.", "topic": null}'
submit work-1 worker '{}'
submit work-2 worker '{}'
submit review-1 reviewer '{}'
submit review-2 reviewer '{}'
jos replay --data-dir "${JOS_DATA_DIR:-.jos-data}"
