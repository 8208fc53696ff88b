#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Each mode of smp-load against a server of this build, and what it says when something is wrong.
#   test_smp_load.sh SMP_LOAD SMP_SERVER
set -eu
load=$1 server=$2
dir=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill "$pid"; rm -rf "$dir"' EXIT

wait_for() { # PATTERN FILE
    for _ in $(seq 600); do
        ! grep -qs "$1" "$2" || return 0
        sleep 0.1
    done
    echo "no line with $1 in $2:"
    cat "$2"
    exit 1
}

"$server" start --dir "$dir/id" --port 0 </dev/null >"$dir/log" 2>&1 &
pid=$!
wait_for '^Server address' "$dir/log"
address=$(grep -o 'smp://[^ ]*' "$dir/log" | head -n 1)

fails() { # STATUS TEXT ARGUMENT...
    want=$1 text=$2 got=0
    shift 2
    "$load" "$@" >"$dir/out" 2>&1 || got=$?
    if [ "$got" -ne "$want" ] || ! grep -q -- "$text" "$dir/out"; then
        echo "smp-load $*: status $got instead of $want, or no \"$text\" in:"
        cat "$dir/out"
        exit 1
    fi
}

for options in '-m cycle -c 4 -q 3 -w 2 --check' '-m cycle -c 8 -t 2 -n 50' \
    '-m cycle -c 2 -t 2 -w 8 --check' '-m cycle -c 6 -t 5 -q 2 -w 3 --check' \
    '-m cycle -c 4 -t 4 -n 60 --max-version 8' \
    '-m cycle -c 2 -t 2 -w 8 -b 4 --check' '-m cycle -c 8 -t 2 -w 6 -b 3 -f 7 --check' \
    '-m cycle -c 8 -f 3 --check' '-m cycle -c 8 -t 4 -q 2 -w 2 -f 3 --check' \
    '-m cycle -s 16 --max-version 6' '-m idle -c 5' '-m storm -c 5' '-m subscribe -c 2 -q 100'; do
    # shellcheck disable=SC2086
    "$load" $options -d 2 --json "$address" >"$dir/json" 2>"$dir/progress" || {
        echo "smp-load $options: status $?"
        cat "$dir/progress" "$dir/json"
        exit 1
    }
    python3 - "$dir/json" <<'PYTHON'
import json, sys
r = json.load(open(sys.argv[1]))
assert r["errors"] == 0 and r["unanswered"] == 0 and r["ready"] > 0, r
assert r["mode"] == "idle" or r["done"] > 0, r
for name, h in r["latency_us"].items():
    assert h["n"] > 0 and h["p50"] <= h["p90"] <= h["p99"] <= h["p99.9"] <= h["max"], (name, h)
PYTHON
done
grep -q running "$dir/progress"

# Interrupted it says what was measured. In files of its own: until the program in the background has
# opened them, those of the runs above are there, and tell of runs that are over.
"$load" -m cycle -c 2 -d 600 "$address" >"$dir/measured" 2>"$dir/running" &
interrupted=$!
wait_for running "$dir/running"
kill -INT "$interrupted"
wait "$interrupted" || { cat "$dir/running" "$dir/measured"; exit 1; }
grep -q 'cycles' "$dir/measured"

other=smp://AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=@127.0.0.1:${address##*:}
fails 0 'Usage: smp-load' --help
fails 0 'Usage: smp-load' -h
fails 2 'give the address' -c 2
fails 2 'is not the address' smp://nobody
fails 2 'takes a number' -c 0 "$address"
fails 2 'cycles need pairs' -c 3 "$address"
fails 2 'burst is more' -w 2 -b 3 "$address"
fails 2 '--mode is' -m fast "$address"
fails 1 'certificate is not the one' -d 1 "$other"

kill "$pid"
wait "$pid"
pid=
# Nobody listens at port 1; the server's own may be somebody else's by now.
fails 1 'cannot connect' -d 1 -T 2 "${address%:*}:1"
