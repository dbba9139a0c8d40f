"""A second reader of apk v3 files, written from the format's description alone: reader.py FILE [KEY.pem] prints what
the file holds as JSON. With a key, openssl(1) checks the signatures by it."""

import hashlib
import json
import struct
import subprocess
import sys
import tempfile
import zlib

INFO = [
    "name", "version", "hash", "description", "arch", "license", "origin", "maintainer", "url", "repo_commit",
    "build_time", "installed_size", "file_size", "provider_priority", "depends", "provides", "replaces", "install_if",
    "recommends", "layer", "tags",
]
SCRIPTS = [
    "trigger", "pre_install", "post_install", "pre_deinstall", "post_deinstall", "pre_upgrade", "post_upgrade",
]
SIGNS = {0: "=", 1: "=", 2: "<", 3: "<=", 4: ">", 5: ">=", 6: "><", 8: "~", 9: "~", 11: "<~", 13: ">~"}


def plain(data):
    if data[:4] == b"ADBd":
        return zlib.decompressobj(-15).decompress(data[4:])
    return data


def blocks(data):
    assert data[:4] == b"ADB.", data[:4]
    at = 8
    while at < len(data):
        (word,) = struct.unpack_from("<I", data, at)
        kind, size, head = word >> 30, word & 0x3FFFFFFF, 4
        if kind == 3:
            kind, head = size, 16
            (size,) = struct.unpack_from("<Q", data, at + 8)
        yield kind, data[at + head : at + size]
        at += (size + 7) // 8 * 8
    assert at == len(data)


class Tree:
    def __init__(self, data):
        assert data[0] == 0
        self.data = data
        self.root = self.value(struct.unpack_from("<I", data, 4)[0])

    def value(self, word):
        kind, rest = word >> 28, word & 0x0FFFFFFF
        if kind == 0:
            return None if rest == 0 else rest == 1
        if kind == 1:
            return rest
        if kind in (2, 3):
            return struct.unpack_from("<I" if kind == 2 else "<Q", self.data, rest)[0]
        if kind in (8, 9, 10):
            width, code = {8: (1, "<B"), 9: (2, "<H"), 10: (4, "<I")}[kind]
            (length,) = struct.unpack_from(code, self.data, rest)
            assert rest + width + length <= len(self.data)
            return self.data[rest + width : rest + width + length]
        assert kind in (13, 14), kind
        (count,) = struct.unpack_from("<I", self.data, rest)
        return [self.value(w) for w in struct.unpack_from(f"<{count - 1}I", self.data, rest + 4)]


def field(value, number):
    return value[number - 1] if value and len(value) >= number else None


def text(value):
    return (value or b"").decode()


def dependency(value):
    name, version, relation = text(field(value, 1)), text(field(value, 2)), field(value, 3) or 0
    sign = SIGNS[relation & ~16] + version if version else ""
    return ("!" if relation & 16 else "") + name + sign


def info(value):
    made = {}
    for number, name in enumerate(INFO, 1):
        here = field(value, number)
        if name in ("hash", "repo_commit"):
            here = (here or b"").hex()
        elif number in (11, 12, 13, 14, 20):
            pass
        elif 15 <= number <= 19:
            here = [dependency(one) for one in here or []]
        elif name == "tags":
            here = [text(one) for one in here or []]
        else:
            here = text(here)
        made[name] = here
    return made


def package(tree, data):
    contents = {struct.unpack_from("<II", one): one[8:] for one in data}
    files = []
    for path, one in enumerate(field(tree.root, 2) or [], 1):
        folder, acl = text(field(one, 1)), field(one, 2)
        owner = [text(field(acl, 2)), text(field(acl, 3))]
        files.append({"path": folder, "mode": oct(field(acl, 1)), "owner": owner, "kind": "dir"})
        for number, file in enumerate(field(one, 3) or [], 1):
            acl, target = field(file, 2), field(file, 6)
            row = {
                "path": (folder + "/" if folder else "") + text(field(file, 1)),
                "mode": oct(field(acl, 1)),
                "owner": [text(field(acl, 2)), text(field(acl, 3))],
                "mtime": field(file, 4),
                "size": field(file, 3),
            }
            if target:
                (mode,) = struct.unpack_from("<H", target)
                row["kind"] = {0o120000: "symlink", 0o100000: "hardlink"}[mode]
                row["target"] = target[2:].decode()
            else:
                content = contents.pop((path, number), b"")
                assert len(content) == field(file, 3)
                assert hashlib.sha256(content).digest() == field(file, 5)
                row["kind"], row["sha256"] = "file", field(file, 5).hex()
            files.append(row)
    assert not contents, "content without a file"
    whole = bytearray(tree.data)
    unique = field(field(tree.root, 1), 3)
    at = whole.find(unique)
    whole[at : at + 20] = bytes(20)
    assert hashlib.sha256(whole).digest()[:20] == unique, "unique id"
    return {
        "info": info(field(tree.root, 1)),
        "files": files,
        "scripts": {name: text(field(field(tree.root, 3), n)) for n, name in enumerate(SCRIPTS, 1)},
        "triggers": [text(one) for one in field(tree.root, 4) or []],
    }


def verified(schema, tree, signature, key):
    assert signature[:2] == b"\x00\x04"
    point = subprocess.run(
        ["openssl", "pkey", "-pubin", "-in", key, "-outform", "DER"], check=True, capture_output=True
    ).stdout[-65:]
    assert hashlib.sha512(point).digest()[:16] == signature[2:18], "key id"
    message = schema + signature[:18] + hashlib.sha512(tree).digest()
    with tempfile.NamedTemporaryFile() as file:
        file.write(signature[18:])
        file.flush()
        done = subprocess.run(
            ["openssl", "dgst", "-sha512", "-verify", key, "-signature", file.name], input=message, capture_output=True
        )
    return done.returncode == 0


def main():
    with open(sys.argv[1], "rb") as file:
        data = plain(file.read())
    all_blocks = list(blocks(data))
    assert [kind for kind, _ in all_blocks] == sorted(kind for kind, _ in all_blocks)
    tree = Tree(all_blocks[0][1])
    schema = data[4:8]
    if schema == b"pckg":
        made = package(tree, [payload for kind, payload in all_blocks if kind == 2])
    else:
        made = {
            "description": text(field(tree.root, 1)),
            "packages": [info(one) for one in field(tree.root, 2) or []],
        }
    made["tree_sha256"] = hashlib.sha256(tree.data).hexdigest()
    if len(sys.argv) > 2:
        signatures = [payload for kind, payload in all_blocks if kind == 1]
        made["verified"] = [verified(schema, tree.data, one, sys.argv[2]) for one in signatures]
    json.dump(made, sys.stdout)


main()
