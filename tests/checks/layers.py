#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks every #include of the library, the server and the examples against the layers
(docs/architecture.md): a layer includes itself and those below, and foreign headers stay where
they belong.

    layers.py ROOT
"""
import pathlib
import re
import sys

# folder: (folders of lib it may include, public headers it may include)
LAYERS = {
    "lib/base": ("base", "types"),
    "lib/crypto": ("base crypto", "types"),
    "lib/wire": ("base crypto wire", "types"),
    "lib/ratchet": ("base crypto wire ratchet", "types ratchet"),
    "lib/store": ("base crypto wire ratchet store", "types"),
    "lib/client": ("base crypto wire client", "types client"),
    "lib/agent": ("base crypto wire ratchet store client agent", "types agent"),
    "server": ("base crypto wire client", "types server"),
    "examples": ("", "types agent client ratchet server"),
    "bindings": ("", "types agent client ratchet server"),
    "include/simplex": ("", "types"), # and the parts of the header itself
}

# foreign header (a pattern): where it may be included (a pattern of the path)
FOREIGN = {
    r"openssl/": r"lib/crypto/|lib/client/tls[a-z_]*\.[ch]$",
    r"sodium(\.h|/)": r"lib/crypto/",
    r"(lib)?ntruprime": r"lib/crypto/",
    r"(sqlite3|sqlcipher)": r"lib/store/",
    r"uv(\.h|/)": r"lib/client/smp_client\.h|lib/client/(net|conn|dial)\w*\.[ch]|lib/agent/|server/",
    r"cjson/": r"lib/agent/(event_json|status)\.c$",
    r"qrencode": r"examples/|server/site_qr\.c$",
}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def fault(folder, path, quote, header):
    """What is wrong with this include, or None."""
    may_lib, may_public = LAYERS[folder]
    if header.startswith("simplex/"):
        # simplex/agent/events.h is a part of simplex/agent.h: who may have that may have the part.
        name = re.split(r"[/.]", header)[1]
        own = re.match(rf"include/simplex/{name}(\.h|/)", path) and header.count("/") > 1
        allowed = own or name in may_public.split()
        return None if allowed else f"{folder} may not include {header}"
    if quote == '"':
        top = header.split("/")[0]
        if "/" in header and top not in may_lib.split():
            return f"{folder} may not include {header}"
        return None
    for pattern, where in FOREIGN.items():
        if re.match(pattern, header) and not re.match(where, path):
            return f"{header} does not belong here"
    return None


def main():
    root = pathlib.Path(sys.argv[1])
    files = faults = 0
    for folder in LAYERS:
        for path in sorted((root / folder).rglob("*.[ch]")):
            files += 1
            relative = str(path.relative_to(root))
            for quote, header in INCLUDE.findall(path.read_text(encoding="utf-8")):
                text = fault(folder, relative, quote, header)
                if text:
                    faults += 1
                    print(f"{relative}: {text}")
    if files < 50:
        print(f"only {files} files found below {root}")
        faults += 1
    print(f"{files} files, {faults} faults")
    return 1 if faults else 0


sys.exit(main())
