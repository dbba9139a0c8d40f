#!/bin/sh
# An agent that is a program: doubles the number of {"n": NUMBER}. One line of JSON in, lines of JSON out.
read -r job
case $job in
    *'"n":'[0-9]*) n=${job#*'"n":'} && n=${n%%[!0-9]*} ;;
    *) printf '{"fail":"input.n: expected a number"}\n'; exit 0 ;;
esac
printf '{"propose":{"kind":"advance","payload":{"events":["start","complete"],"note":%s}}}\n' "$((n * 2))"
printf '{"done":null}\n'
