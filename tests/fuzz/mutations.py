"""Bytes and JSON values, changed in ways that hurt parsers; all follows from a generator."""

from __future__ import annotations

import copy
import json
import struct
import zlib
from typing import Any

import numpy as np

from srae_dist.data.tar import UNIT

NUMBERS = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)
VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 1 << 31, 1 << 32, (1 << 62) - 1, 1 << 63, 10**400, 0.5, 1e308),
    *(float("nan"), float("inf"), "", "a", ".", "..", "../x", "/etc/passwd", "pipe:id", "x" * 300),
    *("\0", "\u00e4", "\ud800", "CON", "a/b", "a\\b", "http://x/", [], {}, [[]], {"a": {}}, [1, 2]),
)


def mutate(data: bytes, random: np.random.Generator) -> bytes:
    """Change some bytes: flipped, set, cut out, doubled, moved, or all from a place on lost."""
    changed = bytearray(data)
    for _ in range(1 + int(random.integers(0, 4))):
        if not changed:
            return b""
        place = int(random.integers(0, len(changed)))
        length = int(min(len(changed) - place, random.choice((1, 2, 4, 16, 512))))
        kind = random.integers(0, 100)
        if kind < 40:
            changed[place] ^= 1 << int(random.integers(0, 8))
        elif kind < 60:
            changed[place] = int(random.choice(NUMBERS))
        elif kind < 72:
            changed[place : place + length] = random.bytes(length)
        elif kind < 80:
            changed[place : place + length] = bytes([int(random.choice(NUMBERS))]) * length
        elif kind < 86:
            del changed[place : place + length]
        elif kind < 92:
            changed[place:place] = changed[place : place + length]
        elif kind < 96:
            other = int(random.integers(0, len(changed)))
            changed[place : place + length] = changed[other : other + length]
        else:
            del changed[place:]
    return bytes(changed)


def mend_png(data: bytes) -> bytes:
    """Make the CRCs of a PNG right again, so that what is wrong with it is met further on."""
    made, place = bytearray(data), 8
    while place + 12 <= len(made):
        (length,) = struct.unpack_from(">I", made, place)
        end = place + 8 + length
        if end + 4 > len(made):
            break
        struct.pack_into(">I", made, end, zlib.crc32(made[place + 4 : end]))
        place = end + 4
    return bytes(made)


def mend_tar(data: bytes) -> bytes:
    """Make the checksums of a tar file's headers right again."""
    made = bytearray(data)
    for place in range(0, len(made) - UNIT + 1, UNIT):
        header = made[place : place + UNIT]
        if header[257:262] == b"ustar":
            header[148:156] = b" " * 8
            made[place + 148 : place + 156] = b"%06o\0 " % sum(header)
    return bytes(made)


def mutate_json(value: Any, random: np.random.Generator) -> bytes:
    """Replace, drop or repeat parts of a JSON value; sometimes its text is damaged, too."""
    made = copy.deepcopy(value)
    for _ in range(1 + int(random.integers(0, 3))):
        parents = list(_containers(made))
        if not parents:
            break
        parent = parents[int(random.integers(0, len(parents)))]
        places = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
        if not places:
            continue
        place = places[int(random.integers(0, len(places)))]
        kind = random.integers(0, 10)
        if kind < 6:
            parent[place] = copy.deepcopy(VALUES[int(random.integers(0, len(VALUES)))])
        elif kind < 8:
            del parent[place]
        elif isinstance(parent, dict):
            parent[str(VALUES[int(random.integers(0, len(VALUES)))])] = parent[place]
        else:
            parent.append(copy.deepcopy(parent[place]))
    text = json.dumps(made).encode()
    return mutate(text, random) if random.integers(0, 4) == 0 else text


def _containers(value: Any) -> Any:
    if isinstance(value, dict | list):
        yield value
        for part in value.values() if isinstance(value, dict) else value:
            yield from _containers(part)
