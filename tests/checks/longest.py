#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints the ten longest functions of the library, the server and the examples. Fails when one has
more than 100 lines or a file more than 1,000: split it before that.

    longest.py ROOT
"""
import pathlib
import re
import sys

FUNCTION_MAX, FILE_MAX = 100, 1000


def functions(lines):
    """(lines, name) of each function: from its name to the closing brace in the first column."""
    name, start = "?", 0
    for n, line in enumerate(lines):
        found = re.match(r"^[A-Za-z_].*?(\w+)\(", line)
        if found and not line.rstrip().endswith(";"):
            name, start = found.group(1), n
        elif line.startswith("}") and not line.rstrip().endswith(";") and name != "?":
            yield n - start + 1, name
            name = "?"


def main():
    root = pathlib.Path(sys.argv[1])
    rows, faults = [], 0
    for folder in ("lib", "server", "examples"):
        for path in sorted((root / folder).rglob("*.c")):
            lines = path.read_text(encoding="utf-8").splitlines()
            if len(lines) > FILE_MAX:
                print(f"{path.relative_to(root)} has {len(lines)} lines")
                faults += 1
            rows += [(n, name, path.relative_to(root)) for n, name in functions(lines)]
    rows.sort(reverse=True, key=lambda row: row[0])
    for n, name, path in rows[:10]:
        print(f"{n:4d}  {name}  {path}")
    faults += sum(n > FUNCTION_MAX for n, _, _ in rows)
    print(f"{len(rows)} functions, {faults} faults")
    return 1 if faults or len(rows) < 100 else 0


sys.exit(main())
