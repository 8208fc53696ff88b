#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints the ten longest functions of the library, the server and the examples. Fails when one has
more than 100 lines, or a file, tests included, more than 1,000: split it before that. Nor may a line
of C, headers included, have more than 100 columns.

    longest.py ROOT
"""
import pathlib
import re
import sys

FUNCTION_MAX, FILE_MAX, LINE_MAX = 100, 1000, 100


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


def too_wide(root):
    for folder in ("include", "lib", "server", "examples", "tests", "bench"):
        for path in sorted((root / folder).rglob("*.[ch]")):
            for n, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                if len(line) > LINE_MAX:
                    print(f"{path.relative_to(root)}:{n} has {len(line)} columns")
                    yield path


def main():
    root = pathlib.Path(sys.argv[1])
    rows, faults = [], sum(1 for _ in too_wide(root))
    for folder in ("lib", "server", "examples", "tests"):
        for path in sorted((root / folder).rglob("*.c")):
            lines = path.read_text(encoding="utf-8").splitlines()
            if len(lines) > FILE_MAX:
                print(f"{path.relative_to(root)} has {len(lines)} lines")
                faults += 1
            if folder != "tests":
                rows += [(n, name, path.relative_to(root)) for n, name in functions(lines)]
    rows.sort(reverse=True, key=lambda row: row[0])
    for n, name, path in rows[:10]:
        print(f"{n:4d}  {name}  {path}")
    faults += sum(n > FUNCTION_MAX for n, _, _ in rows)
    print(f"{len(rows)} functions, {faults} faults")
    return 1 if faults or len(rows) < 100 else 0


sys.exit(main())
