#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs into a temporary folder and builds the example of the README against what is there:
# once with the shared library, once with the static one, as pkg-config says.
#   install.sh BUILD SOURCE COMPILER...
set -eu
build=$1 source=$2
shift 2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

meson install -C "$build" --no-rebuild --quiet --destdir "$dir/root"
for file in smp-server.service smp-server.conf grafana-dashboard.json; do
    [ -n "$(find "$dir/root" -name smp-server -type f)" ] || break # built without a server
    [ -s "$(find "$dir/root" -name "$file" | head -n 1)" ] || { echo "no $file"; exit 1; }
done
pc=$(find "$dir/root" -name simplex.pc)
PKG_CONFIG_PATH=$(dirname "$pc")${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
export PKG_CONFIG_PATH
for module in simplex simplex-server; do
    pkg-config --exists --print-errors "$module"
done

# The places that pkg-config names are below the temporary folder here.
flags() { pkg-config "$@" | sed "s|\\(-[IL]\\)/|\\1$dir/root/|g"; }
libs=$(dirname "$(find "$dir/root" -name libsimplex.a)")

# shellcheck disable=SC2046
"$@" -o "$dir/shared" "$source/examples/send_a_message.c" $(flags --cflags --libs simplex)
LD_LIBRARY_PATH=$libs "$dir/shared" >"$dir/help" || [ $? -eq 2 ]
grep -q '^usage' "$dir/help"

rm "$libs"/libsimplex*.so*
# shellcheck disable=SC2046
"$@" -o "$dir/static" "$source/examples/send_a_message.c" \
    $(flags --static --cflags --libs simplex)
"$dir/static" >"$dir/help" || [ $? -eq 2 ]
grep -q '^usage' "$dir/help"
