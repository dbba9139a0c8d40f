"""What a program is made of, for the bill of materials: reads `cargo metadata` on standard input and writes the list that
jos-image keeps beside each program of a device (images/src/builders/crates.rs has the same rules: what is linked in,
without macros and what only build scripts need).

    cargo metadata --format-version 1 --locked --filter-platform TRIPLE | crates.py PACKAGE Cargo.lock >NAME.crates.json
"""

import json
import sys
import tomllib

graph = json.load(sys.stdin)
start, lock = sys.argv[1], tomllib.load(open(sys.argv[2], "rb"))
sums = {(one["name"], one["version"]): one.get("checksum") for one in lock["package"]}
packages = {one["id"]: one for one in graph["packages"]}
is_macro = {
    key: any("proc-macro" in target["kind"] for target in one["targets"]) for key, one in packages.items()
}
uses = {
    node["id"]: {
        used["pkg"]
        for used in node["deps"]
        if any(kind["kind"] is None for kind in used["dep_kinds"]) and not is_macro[used["pkg"]]
    }
    for node in graph["resolve"]["nodes"]
}
todo = [key for key, one in packages.items() if one["name"] == start]
if len(todo) != 1:
    sys.exit(f"expected one package {start!r}, found {len(todo)}")
seen = set()
while todo:
    key = todo.pop()
    if key not in seen:
        seen.add(key)
        todo += uses[key]
name = lambda key: [packages[key]["name"], packages[key]["version"]]
listed = []
for key in seen:
    one = {"name": name(key)[0], "version": name(key)[1]}
    if packages[key].get("license"):
        one["license"] = packages[key]["license"]
    if sums.get(tuple(name(key))):
        one["checksum"] = sums[tuple(name(key))]
    if uses[key]:
        one["uses"] = sorted(name(used) for used in uses[key])
    listed.append(one)
json.dump(sorted(listed, key=lambda one: (one["name"], one["version"])), sys.stdout, indent=2)
print()
