#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks what the shared libraries export: exactly the functions of tests/unit/symbols.txt, which
are exactly those that the public headers declare, each with a comment that says what it does.

    exports.py ROOT NAME=SHARED_LIBRARY...
"""
import pathlib
import re
import subprocess
import sys

HEADERS = {
    "libsimplex": ["agent.h", "client.h", "ratchet.h", "types.h"],
    "libsimplex-server": ["server.h", "types.h"],
}
FUNCTION = re.compile(r"SIMPLEX_API\b[^;{]*?\b(simplex_\w+)\s*\(")

faults = []


def with_parts(folder, headers):
    """These headers, and those in a folder of the same name: agent.h, agent/events.h."""
    for header in headers:
        yield folder / header
        yield from sorted((folder / header).with_suffix("").glob("*.h"))


def declared(text):
    """Functions of a header, without those in comments."""
    return FUNCTION.findall(re.sub(r"/\*.*?\*/", "", text, flags=re.S))


def undocumented(text):
    """A declaration is documented by a comment right before it or at the end of its lines, or
    stands in a block of declarations whose first has one."""
    names = []
    for block in re.split(r"\n[ \t]*\n", text):
        if "/*" not in block and "SIMPLEX_API" in block:
            names += FUNCTION.findall(block)
    return names


def exported(library):
    out = subprocess.run(["nm", "-D", "--defined-only", library], check=True, text=True,
                         capture_output=True).stdout
    names = [line.split()[-1].split("@")[0] for line in out.splitlines() if " A " not in line]
    hidden = [n for n in names if not n.startswith("simplex_")]
    # What sanitizers, coverage and the linker add is not ours.
    return [n for n in names if n not in hidden], [n for n in hidden if n.startswith("sx_")]


def compare(what, a, b):
    for name in sorted(set(a) - set(b)):
        faults.append(f"{what[0]} but not {what[1]}: {name}")
    for name in sorted(set(b) - set(a)):
        faults.append(f"{what[1]} but not {what[0]}: {name}")


def main():
    root = pathlib.Path(sys.argv[1])
    rows = [line.split() for line in
            (root / "tests/unit/symbols.txt").read_text(encoding="utf-8").splitlines()]
    total = 0
    for argument in sys.argv[2:]:
        name, library = argument.split("=", 1)
        listed = [symbol for lib, symbol in rows if lib == name]
        names, ours = exported(library)
        total += len(names)
        faults.extend(f"{name} exports the internal {n}" for n in ours)
        compare((f"exported by {name}", "in symbols.txt"), names, listed)
        in_headers = []
        for path in with_parts(root / "include/simplex", HEADERS[name]):
            text = path.read_text(encoding="utf-8")
            in_headers += declared(text)
            faults.extend(f"{path.name}: no comment for {n}" for n in undocumented(text))
        compare(("in symbols.txt", f"declared by the headers of {name}"), listed, in_headers)
    print("\n".join(faults))
    print(f"{total} exports, {len(faults)} faults")
    return 1 if faults or total == 0 else 0


sys.exit(main())
