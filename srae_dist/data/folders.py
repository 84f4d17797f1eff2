"""Image files below a folder, in an order of their own, and what the folders' names mean."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from srae_dist.core.errors import UserError
from srae_dist.data.images import SUFFIXES

SPLIT_NAMES = frozenset(
    ("train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval")
)
_OTHERS = {  # suffixes of images that are not read
    *(".bmp", ".gif", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jfif", ".jp2", ".jxl"),
    *(".ppm", ".pgm", ".tga"),
}
_CLUTTER = ("__MACOSX", "Thumbs.db")


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies below a folder."""

    images: list[str]  # paths relative to the folder, with "/", sorted
    ignored: Counter[str]  # other files by suffix


def list_images(root: Path) -> Listing:
    """Find all image files below ``root`` by their suffix, hidden ones and loops of links left out.

    Raises:
        UserError: ``root`` is not a folder, or a folder cannot be listed.
    """
    if not root.is_dir():
        raise UserError(f"{root} is not a folder; give a folder of images.")
    images: list[str] = []
    ignored: Counter[str] = Counter()
    for file in _files(root):
        stem, _, suffix = file.rpartition("/")[2].lower().rpartition(".")
        if stem and suffix in SUFFIXES:
            images.append(file)
        else:
            ignored[f".{suffix}" if stem and suffix else "no suffix"] += 1
    images.sort()
    return Listing(images, ignored)


def by_split(root: Path, images: Sequence[str]) -> bool:
    """Tell whether ``images`` lie as {split}/{domain}/... (else {domain}/...) below ``root``.

    They do if all first folders have the names of splits: "train", "test", "val", ...

    Raises:
        UserError: an image lies in no domain's folder, or the folders can be read both ways.
    """
    tops, flat, inner = set[str](), dict[str, str](), set[str]()
    for image in images:
        top, sign, rest = image.partition("/")
        if not sign:
            raise UserError(f"{root / image} lies in no domain's folder; move it into one.")
        tops.add(top)
        second, sign, _ = rest.partition("/")
        if sign:
            inner.add(second)
        else:
            flat[top] = image
    splits = [top for top in tops if top.lower() in SPLIT_NAMES]
    if splits and len(splits) == len(tops):
        for image in flat.values():
            raise UserError(f"{root / image} lies in no domain's folder; move it into one.")
        return True
    if any(top not in flat for top in splits):
        other = next(top for top in tops if top not in splits)
        raise UserError(
            f"{root} has the split's folder '{splits[0]}' beside '{other}'; "
            "move one of them away, or name the folders with --domain NAME=DIR."
        )
    if inner and not flat and all(name.lower() in SPLIT_NAMES for name in inner):
        domain, split = min(tops), min(inner)
        raise UserError(
            f"{root} is laid out as domain/split/image; write one split at a time, as in "
            f"--domain {domain}={root / domain / split} ... --split {split.lower()}."
        )
    return False


def describe(ignored: Counter[str]) -> str:
    """Say how many files were passed over, by suffix, and what to do about those of images."""
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(ignored.items()))
    total = sum(ignored.values())
    files = "1 file that is" if total == 1 else f"{total} files that are"
    return f"passed over {files} not jpg, png or webp ({kinds}){advice(ignored)}"


def advice(ignored: Counter[str]) -> str:
    """Say what to do about images of other kinds, if there are any; begins with a semicolon.

    They are not decoded here: each kind that strangers' files may have is one more to defend.
    """
    others = sorted(suffix for suffix in ignored if suffix in _OTHERS)
    return f"; convert {' and '.join(others)} files to png to have them taken" if others else ""


def printable(name: str) -> str:
    """Return a file name as text that UTF-8 can hold, whatever bytes it has."""
    return os.fsencode(name).decode("utf-8", "backslashreplace") if os.name == "posix" else name


def _files(root: Path) -> Iterator[str]:
    """Yield all files below ``root``, relative to it; each real folder once on every way down."""

    def fail(error: OSError) -> None:
        raise UserError(f"{error.filename} cannot be listed: {error.strerror}; mend it.")

    ways = {str(root): frozenset((_identity(root),))}
    for folder, folders, files in os.walk(root, followlinks=True, onerror=fail):
        way, kept = ways.pop(folder), []
        for name in sorted(folders):
            path = Path(folder, name)
            if not _hidden(name) and (identity := _identity(path)) not in way:
                ways[os.path.join(folder, name)] = way | {identity}  # noqa: PTH118  walk's spelling
                kept.append(name)
        folders[:] = kept
        below = Path(folder).relative_to(root).as_posix()
        start = "" if below == "." else f"{below}/"
        yield from (start + name for name in files if not _hidden(name))


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in _CLUTTER


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino
