#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that code and names in the documents are those of the sources: programs quoted whole
equal their files, functions, constants and metrics mentioned exist, links lead somewhere.

    docs.py ROOT
"""
import pathlib
import re
import sys

QUOTED = {"README.md": ["examples/send_a_message.c"]}

faults = []


def blocks(text):
    return re.findall(r"^```c\n(.*?)^```$", text, re.M | re.S)


def check_quotes(root, path, text):
    for source in QUOTED.get(str(path.relative_to(root)), []):
        if (root / source).read_text(encoding="utf-8") not in blocks(text):
            faults.append(f"{path.name}: no code block is equal to {source}")


def known_names(root):
    text = ""
    for header in (root / "include/simplex").rglob("*.h"):
        text += header.read_text(encoding="utf-8")
    return set(re.findall(r"\b(?:simplex_|SIMPLEX_)\w+", text)) | metrics(root)


def metrics(root):
    source = (root / "server/prometheus.c").read_text(encoding="utf-8")
    return {"simplex_smp_" + name for name in re.findall(r'"([a-z][a-z0-9_]+)"', source)}


def check_names(path, text, known):
    for name in sorted(set(re.findall(r"\b(?:simplex_|SIMPLEX_)\w+", text))):
        prefix = name.endswith("_")
        if name not in known and not (prefix and any(k.startswith(name) for k in known)):
            faults.append(f"{path.name}: {name} is in no public header")


def check_links(path, text):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if "://" not in target and not (path.parent / target).exists():
            faults.append(f"{path.name}: the link to {target} leads nowhere")


def check_tests(root, path, text, section, least):
    """The tests in the second column of the table of this section exist."""
    part = re.search(rf"^## {section}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    rows = [r for r in part.group(1).splitlines() if r.startswith("| ")][2:] if part else []
    code = "".join(p.read_text(encoding="utf-8") for p in (root / "tests").glob("*/test_*.c"))
    tests = set(re.findall(r"^static void (\w+)\(void \*\*", code, re.M))
    tests |= {p.stem for p in (root / "tests/fuzz").glob("fuzz_*.c")}
    for name in re.findall(r"`([a-z]\w*_\w+)`", "".join(r.split("|")[2] for r in rows)):
        if name not in tests:
            faults.append(f"{path.name}: there is no test {name}")
    if len(rows) < least:
        faults.append(f"{path.name}: the table of \"{section}\" is not complete")


def main():
    root = pathlib.Path(sys.argv[1])
    known = known_names(root)
    paths = [root / "README.md", root / "CHANGELOG.md"] + sorted((root / "docs").glob("*.md"))
    for path in paths:
        text = path.read_text(encoding="utf-8")
        check_quotes(root, path, text)
        check_names(path, text, known)
        check_links(path, text)
        if path.name == "testing.md":
            check_tests(root, path, text, "The reference's tests", 40)
            check_tests(root, path, text, "The reference's tests of the agent", 60)
            check_tests(root, path, text, "Bad input and faults of the server", 15)
    print("\n".join(faults))
    print(f"{len(paths)} documents, {len(faults)} faults")
    return 1 if faults else 0


sys.exit(main())
