#!/usr/bin/env python3
"""Makes a small PNG of a browser's screenshot or of an emulated screen.

    picture.py FROM TO.png [--crop]     FROM is a PNG of 8 bits a channel, or a PPM (P6) as QEMU's screendump writes it
    picture.py --lines FROM.ppm         prints how many lines of text are on an emulated screen

At most 256 colours: where there are more, the last bits of each are dropped until there are no more. --crop takes away what
is below the last line and as empty as the last row.
"""

import struct
import sys
import zlib


def ppm(data):
    words, at = [], 0
    while len(words) < 4:
        end = at
        while not data[end : end + 1].isspace():
            end += 1
        words.append(data[at:end])
        at = end + 1
    width, height = int(words[1]), int(words[2])
    return width, height, data[at : at + width * height * 3]


def png(data):
    at, body = 8, b""
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        chunk = data[at + 8 : at + 8 + size]
        at += size + 12
        if kind == b"IHDR":
            width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", chunk)
        elif kind == b"IDAT":
            body += chunk
    if depth != 8 or colour not in (2, 6) or interlaced:
        sys.exit(f"found a PNG of {depth} bits and colour type {colour}, expected 8 bits, RGB or RGBA, not interlaced")
    step = 3 if colour == 2 else 4
    raw, stride = zlib.decompress(body), width * step
    before, rows = bytearray(stride), []
    for y in range(height):
        at = y * (stride + 1)
        how, row = raw[at], bytearray(raw[at + 1 : at + 1 + stride])
        for x in range(stride) if how else ():
            left = row[x - step] if x >= step else 0
            up, corner = before[x], before[x - step] if x >= step else 0
            if how == 1:
                more = left
            elif how == 2:
                more = up
            elif how == 3:
                more = (left + up) // 2
            else:
                guess = left + up - corner
                near = (abs(guess - left), abs(guess - up), abs(guess - corner))
                more = (left, up, corner)[near.index(min(near))]
            row[x] = (row[x] + more) & 255
        before = row
        if step == 4:
            row = bytes(byte for i, byte in enumerate(row) if i % 4 != 3)
        rows.append(bytes(row))
    return width, height, b"".join(rows)


def write(path, width, height, pixels):
    for bits in range(8, 2, -1):
        mask = 256 - (1 << (8 - bits))
        kept = pixels if bits == 8 else bytes(byte & mask | byte >> bits for byte in pixels)
        cells = [kept[i : i + 3] for i in range(0, len(kept), 3)]
        palette = sorted(set(cells))
        if len(palette) <= 256:
            break
    number = {colour: i for i, colour in enumerate(palette)}
    depth = next(d for d in (1, 2, 4, 8) if len(palette) <= 1 << d)
    rows = b""
    for y in range(height):
        line, row = 0, [number[cell] for cell in cells[y * width : (y + 1) * width]]
        row += [0] * (-len(row) % (8 // depth))
        for cell in row:
            line = line << depth | cell
        rows += b"\0" + line.to_bytes(len(row) * depth // 8, "big")

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    with open(path, "wb") as out:
        out.write(b"\x89PNG\r\n\x1a\n")
        out.write(chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 3, 0, 0, 0)))
        out.write(chunk(b"PLTE", b"".join(palette)) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b""))


def lit(width, height, pixels):
    """The rows in which anything stands: those that are not as the last one is."""
    empty = pixels[(height - 1) * width * 3 :]
    return [y for y in range(height) if pixels[y * width * 3 : (y + 1) * width * 3] != empty]


def main(words):
    if words[:1] == ["--lines"]:
        width, height, pixels = ppm(open(words[1], "rb").read())
        print(len({y // 16 for y in lit(width, height, pixels)}))
        return
    data = open(words[0], "rb").read()
    width, height, pixels = ppm(data) if data.startswith(b"P6") else png(data)
    if "--crop" in words:
        height = min(height, max(lit(width, height, pixels), default=0) + 33)
        pixels = pixels[: width * height * 3]
    write(words[1], width, height, pixels)


main(sys.argv[1:])
