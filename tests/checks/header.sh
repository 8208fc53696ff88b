#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Compiles one public header alone, twice included: header.sh INCLUDE_DIR HEADER LANGUAGE COMPILER...
set -eu
include=$1 header=$2 language=$3
shift 3
case $language in
c) std=c11 ;;
c++) std=c++11 ;;
esac
printf '#include <simplex/%s>\n#include <simplex/%s>\nint nothing_else;\n' "$header" "$header" |
    "$@" -x "$language" -std="$std" -Wall -Wextra -Wpedantic -Werror -I"$include" -fsyntax-only -
