#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# scripts/bench runs the programs that were named, with the options that were given.
#   bench.sh SOURCE-FOLDER
set -eu
dir=$(mktemp -d)
trap 'rm -r "$dir"' EXIT
mkdir "$dir/bench"
for name in one two fails; do
    printf '#!/bin/sh\necho "%s: $# $*"\n[ %s != fails ]\n' $name $name > "$dir/bench/bench_$name"
    chmod +x "$dir/bench/bench_$name"
done

# expect STATUS LINES ARGUMENT...: what the programs print, and only that
expect() {
    status=$1 wanted=$2
    shift 2
    got=0
    "$source/scripts/bench" "$dir" "$@" > "$dir/out" 2> "$dir/err" || got=$?
    lines=$(grep -v -e '^====' -e '^$' "$dir/out" | tr '\n' ';')
    [ "$got" = "$status" ] && [ "$lines" = "$wanted" ] && return
    echo "scripts/bench $*: exit $got, \"$lines\" instead of exit $status, \"$wanted\""
    cat "$dir/err"
    exit 1
}

source=$1
expect 1 'fails: 0 ;one: 0 ;two: 0 ;'
expect 0 'two: 0 ;one: 0 ;' two one
expect 0 'two: 1 --full;' two --full
expect 0 'two: 3 --connections 2000 5;' two --connections 2000 5
expect 1 'fails: 1 -x;' fails -x
expect 2 '' --full         # whose?
expect 2 '' one two --full
expect 2 '' on
expect 2 '' two three
grep -q 'no benchmark "three".* fails one two$' "$dir/err"
