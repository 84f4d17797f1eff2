"""The members of a tar file by its raw headers, whatever it holds: nothing is unpacked or believed.

``tarfile`` forgives, repairs and goes on; a check should see what is there. Understood are ustar,
GNU long names and pax ``path`` and ``size``, as ``tarfile`` and webdataset read them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import BinaryIO, NamedTuple

from srae_dist.core.errors import SampleError
from srae_dist.data.tar import UNIT

_LARGEST_NAME = 1 << 16  # bytes of a member that only names the next one
_REGULAR, _FOLDER, _NO_DATA = b"\x007", b"5", b"123456"
_LONG_NAME, _LONG_LINK, _PAX, _PAX_FOR_ALL = b"L", b"K", b"xX", b"g"
_ZEROS = bytes(UNIT)
_OCTAL = re.compile(rb"[0-7]{1,12}")
_PAX_RECORD = re.compile(rb"([0-9]{1,9}) ([^=\n]+)=")


class Kind(Enum):
    """What a member is."""

    FILE = "a file"
    FOLDER = "a folder"
    OTHER = "a link or other special file"


class Member(NamedTuple):
    """One member of a tar file."""

    name: str  # what is not ASCII is escaped with a backslash
    kind: Kind
    offset: int  # first byte of its data
    size: int  # bytes


class TarDamage(SampleError):
    """The tar file cannot be followed further."""

    def __init__(self, place: int, reason: str) -> None:
        super().__init__(f"at byte {place:,}: {reason}")
        self.place = place


def walk(file: BinaryIO, *, length: int, start: int = 0) -> Iterator[Member]:
    """Yield the members of a tar file of ``length`` bytes from the header at ``start`` on.

    Raises:
        TarDamage: a header is damaged, or a member goes on beyond the file's end.
    """
    place, name, size_beyond, sparse = start, None, None, False
    while place < length:
        header = _read(file, place, UNIT)
        if header == _ZEROS:
            return
        kind, own_name, size = _parse(header, place)
        if size_beyond is not None:
            size = size_beyond
        offset = place + UNIT
        if kind in _NO_DATA:
            size = 0
        if offset + size > length:
            raise TarDamage(place, f"a member of {size:,} bytes goes on beyond the file's end")
        if kind in _LONG_NAME + _LONG_LINK + _PAX + _PAX_FOR_ALL:
            if size > _LARGEST_NAME:
                raise TarDamage(place, f"a header of {size:,} bytes is too large")
            if kind in _LONG_NAME:
                name = _text(_read(file, offset, size))
            elif kind in _PAX:
                name, size_beyond, sparse = _pax(_read(file, offset, size), place, name)
        else:
            yield Member(name or own_name, _kind(kind, own_name, sparse), offset, size)
            name, size_beyond, sparse = None, None, False
        place = offset + size + -size % UNIT


def is_safe(name: str) -> bool:
    """Tell whether a member's name is printable ASCII and stays below the folder it is put in."""
    plain = name.isascii() and name.isprintable() and "\\" not in name
    return plain and not name.startswith("/") and ".." not in name.split("/")


def split_name(name: str) -> tuple[str, str]:
    """Return key and suffix (lower case) as webdataset does: the first dot of the base name
    divides them; both are empty if there is no such dot, or nothing before it."""
    folder, slash, base = name.rpartition("/")
    stem, dot, suffix = base.partition(".")
    return (folder + slash + stem, suffix.lower()) if stem and dot else ("", "")


def _read(file: BinaryIO, place: int, size: int) -> bytes:
    file.seek(place)
    data = file.read(size)
    if len(data) < size:
        raise TarDamage(place, "the file ends within a header")
    return data


def _parse(header: bytes, place: int) -> tuple[bytes, str, int]:
    """Return a header's type, name and size."""
    checksum = _number(header[148:156], place)
    if checksum != 256 + sum(header) - sum(header[148:156]):
        raise TarDamage(place, "this is no sound tar header")
    name, prefix = _text(header[:100]), _text(header[345:500])
    return header[156:157], f"{prefix}/{name}" if prefix else name, _number(header[124:136], place)


def _number(field: bytes, place: int) -> int:
    """Read octal digits, or what GNU tar writes for numbers that do not fit."""
    if field[0] == 0x80:
        value = int.from_bytes(field[1:], "big")
        if value < 1 << 62:
            return value
    elif match := _OCTAL.fullmatch(field.partition(b"\0")[0].strip()):
        return int(match[0], 8)
    raise TarDamage(place, "a number of its header cannot be read")


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("ascii", "backslashreplace")


def _kind(kind: bytes, name: str, sparse: bool) -> Kind:
    if kind in _FOLDER or (kind == b"\0" and name.endswith("/")):
        return Kind.FOLDER
    return Kind.FILE if kind in b"0" + _REGULAR and not sparse else Kind.OTHER


def _pax(data: bytes, place: int, name: str | None) -> tuple[str | None, int | None, bool]:
    """Return name and size of the next member, where records say so, and whether it is sparse."""
    size, sparse, at = None, False, 0
    while at < len(data) and data[at]:
        match = _PAX_RECORD.match(data, at)
        end = at + int(match[1]) if match else 0
        if match is None or not match.end() < end <= len(data):
            raise TarDamage(place, "a pax header cannot be read")
        key, value = match[2], data[match.end() : end - 1]
        if key == b"path":
            name = _text(value)
        elif key == b"size":
            if not re.fullmatch(rb"[0-9]{1,18}", value):
                raise TarDamage(place, "a pax header has a size that cannot be read")
            size = int(value)
        sparse = sparse or key.startswith(b"GNU.sparse")
        at = end
    return name, size, sparse
