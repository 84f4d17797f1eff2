"""Where a translation goes: a path that is safe to write to, and that no other image has."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Sequence

from srae_dist.core.errors import SampleError
from srae_dist.data.images import SUFFIXES

_LONGEST = 255  # bytes of a name in a folder
KEY_LENGTH = 90  # of a key that is written to a tar: with ".json" its old format holds 100


def safe_key(key: str) -> str:
    """Return a key that names a path below a folder on every system, and nothing else.

    Raises:
        SampleError: it is absolute, climbs, has a drive, a backslash or control characters.
    """
    parts = key.split("/")
    if (
        not key.isprintable()
        or any(sign in key for sign in '\\:<>"|?*')
        or any(part.strip(" .") == "" for part in parts)
    ):
        raise SampleError(f"the key {key!r} is no safe name for a file")
    return key


def confined(key: str) -> str:
    """Return the key if it is safe, else a name of its own that is."""
    try:
        return safe_key(key)
    except SampleError:
        return f"unsafe~{_digest(key)}"


def image_names(paths: Sequence[str], suffix: str) -> list[str]:
    """Return a path for the translation of each image: the same, with another suffix.

    Where two would fall together (``a.jpg`` and ``a.png``, or ``A.png`` on a file system that holds
    them equal), each keeps its old suffix: ``a.jpg.png``, ``a.png.png``; where that does not help,
    a hash of its name tells them apart, and stands for the end of a name that would be too long for
    a file system. So a name depends on the set of paths, not on their order.
    """
    folders = {path.rpartition("/")[0] for path in paths}
    taken = {_fold(prefix) for folder in folders for prefix in _prefixes(folder)}
    forms = [0] * len(paths)
    while True:
        names = [_form(path, suffix, form) for path, form in zip(paths, forms, strict=True)]
        folded = [_fold(name) for name in names]
        counts = Counter(folded)
        clashing = [
            place
            for place, name in enumerate(folded)
            if (counts[name] > 1 or name in taken) and forms[place] < 2
        ]
        if not clashing:
            return names
        for place in clashing:
            forms[place] += 1


def _form(path: str, suffix: str, form: int) -> str:
    if form == 0:
        stem, dot, old = path.rpartition(".")
        return _fitting(stem if dot and old.lower() in SUFFIXES else path, f".{suffix}", path)
    return _fitting(path, f".{suffix}" if form == 1 else f"~{_digest(path)}.{suffix}", path)


def _fitting(stem: str, end: str, path: str) -> str:
    """Return ``stem`` and ``end`` as one path, whose last name is cut if it would be too long."""
    folder, slash, last = stem.rpartition("/")
    if len(os.fsencode(last + end)) > _LONGEST:
        end = f"~{_digest(path)}{end[end.rindex('.') :]}"
        last = os.fsencode(last)[: _LONGEST - len(end)].decode("utf-8", "ignore")
    return f"{folder}{slash}{last}{end}"


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def _prefixes(folder: str) -> list[str]:
    parts = folder.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _fold(path: str) -> str:
    """Return what the least careful file system makes of a path."""
    return unicodedata.normalize("NFC", path).casefold()
