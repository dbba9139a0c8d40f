#!/bin/sh
# Is this machine well? Asks for facts, compares them with the limits of the job's input, proposes a verdict.
# A program of the runtime: one line of JSON in, lines of JSON out; nothing else can be reached.
# limit NAME DEFAULT: a whole number out of the job.
limit() {
    case $job in
        *"\"$1\":"*) value=${job#*"\"$1\":"} && value=${value%%[!0-9]*} && found="${value:-$2}" ;;
        *) found=$2 ;;
    esac
}
# fact NAME: a whole number out of the facts, or nothing.
fact() {
    case $facts in
        *"$1 "*) value=${facts#*"$1 "} && found=${value%%[!0-9]*} ;;
        *) found= ;;
    esac
}

read -r job
printf '{"read":"facts/system"}\n'
read -r facts
case $facts in
    '{"error"'*) printf '{"fail":"the facts about the system were not granted"}\n'; exit 0 ;;
esac
limit max_load_percent 1000; most_load=$found
limit min_memory_percent 5; least_memory=$found
fact load1_percent; load=$found
fact memory_total_kib; total=$found
fact memory_available_kib; available=$found

verdict=complete note=healthy
if [ -n "$load" ] && [ "$load" -gt "$most_load" ]; then
    verdict=fail note="load $load% is above $most_load%"
elif [ -n "$total" ] && [ "$((available * 100 / total))" -lt "$least_memory" ]; then
    verdict=fail note="memory: $((available * 100 / total))% is free, expected $least_memory%"
fi
printf '{"propose":{"kind":"advance","payload":{"events":["start","%s"],"note":"%s"}}}\n' "$verdict" "$note"
printf '{"done":null}\n'
