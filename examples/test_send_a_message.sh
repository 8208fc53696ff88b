#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs the programs of the README: smp-server, receive_a_message, send_a_message.
#   test_send_a_message.sh SMP_SERVER SEND_A_MESSAGE RECEIVE_A_MESSAGE
set -eu
server=$(realpath "$1") send=$(realpath "$2") receive=$(realpath "$3")
dir=$(mktemp -d)
server_pid='' receive_pid=''
trap 'kill $server_pid $receive_pid 2>/dev/null || true; rm -rf "$dir"' EXIT
cd "$dir"

# wait_for FILE PATTERN: the first line that matches, without what the pattern covers
wait_for() {
    for _ in $(seq 300); do
        line=$(sed -n "s|^$2||p" "$1" 2>/dev/null | head -n 1)
        [ -z "$line" ] || { echo "$line"; return; }
        sleep 0.1
    done
    echo "no line with $2 in $1:" >&2
    cat "$1" >&2
    return 1
}

"$server" --port 0 --dir "$dir/certs" >server.out 2>&1 &
server_pid=$!
address=$(wait_for server.out 'Server address: ')
"$receive" "$address" >receive.out 2>&1 &
receive_pid=$!
link=$(wait_for receive.out 'link ')
"$send" "$address" "$link" 'The quick brown fox' >send.out 2>&1 || { cat send.out; exit 1; }
grep -qx SENT send.out
wait "$receive_pid"
receive_pid=''
grep -qx 'joined: hello' receive.out
grep -qx 'message The quick brown fox' receive.out
echo ok
