#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that the tables of smp-server.ini in docs/operator.md name the keys of the table in
server/config_keys.c, with the same value when absent and the same mark for reload.

    config.py ROOT
"""
import pathlib
import re
import sys

# Values that follow from others.
SPECIAL = {("STORE_LOG", "restore_messages"): "as `enable`", ("TRANSPORT", "port"): "required"}


def of_source(text):
    """{(section, key): (value when absent, reload)} as the document has to say it."""
    rows = {}
    for section, key, absent, rest in re.findall(
            r'\{ "([A-Z_]+)", "(\w+)", (NULL|"[^"]*"),(.*?) \},', text, re.S):
        value = "none" if absent == "NULL" else f"`{absent[1:-1]}`"
        live = "yes" if re.search(r"\bLIVE\b", rest) else ""
        rows[section, key] = (SPECIAL.get((section, key), value), live)
    return rows


def of_document(text):
    rows = {}
    part = re.search(r"^## Configuration\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    section = None
    for line in part.group(1).splitlines() if part else []:
        if heading := re.match(r"### \[(\w+)\]", line):
            section = heading.group(1)
        elif row := re.match(r"\| `(\w+)` \| (.*?) \| *(\w*) *\|", line):
            rows[section, row.group(1)] = (row.group(2), row.group(3))
    return rows


def main():
    root = pathlib.Path(sys.argv[1])
    source = of_source((root / "server/config_keys.c").read_text(encoding="utf-8"))
    document = of_document((root / "docs/operator.md").read_text(encoding="utf-8"))
    faults = 0
    for name in sorted(set(source) | set(document)):
        if source.get(name) != document.get(name):
            print(f"[{name[0]}] {name[1]}: the source has {source.get(name)}, "
                  f"operator.md {document.get(name)}")
            faults += 1
    print(f"{len(source)} keys, {faults} faults")
    return 1 if faults or len(source) < 50 else 0


sys.exit(main())
