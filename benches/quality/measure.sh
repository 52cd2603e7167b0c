#!/bin/sh
# The tables of docs/quality.md.
#
#   benches/quality/measure.sh FLOODMARK COLLECTIONS STATES RESULTS [NAME...]
#
# FLOODMARK: the program. COLLECTIONS: a folder of folders in the layout of BEIR. STATES: a folder for their indexes; kept, so that a
# second time nothing is embedded again. RESULTS: a folder for what each command has said, as JSON. NAME: only these collections.
set -eu
floodmark=$1 collections=$2 states=$3 results=$4
shift 4
[ $# -gt 0 ] || set -- $(ls "$collections")
mkdir -p "$states" "$results"

# result name, collection, flags...
ask() {
    result=$results/$2.$1.json collection=$2
    shift 2
    [ -s "$result" ] && return
    "$floodmark" eval "$collections/$collection" --state "$states/$collection" --json "$@" > "$result.part"
    mv "$result.part" "$result"
}

for name; do
    ask modes "$name"
    for weight in 0.5 0.7 0.8; do
        ask "weight-$weight" "$name" --mode hybrid --dense-weight $weight
    done
    ask minmax "$name" --mode hybrid --fusion minmax
    ask rrf-60 "$name" --mode hybrid --fusion rrf
    ask rrf-20 "$name" --mode hybrid --fusion rrf --rrf-k 20
    ask maxsim "$name" --mode hybrid --rerank maxsim --rerank-budget 60s --token-vectors
done
