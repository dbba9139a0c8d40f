#!/bin/sh
# Stands for the model server: it runs with 1 to 4 questions at a time, and not with more.
limits=@HERE@/box/limits.env
test ! -e "$limits" || grep -q '^PARALLEL=[1-4]$' "$limits"
