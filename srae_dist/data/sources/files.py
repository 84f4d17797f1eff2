"""Image files as a source: folders named for each domain, or a root that holds them."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from srae_dist.core.errors import SampleError, UserError, did_you_mean
from srae_dist.data import folders
from srae_dist.data.images import MAX_BYTES
from srae_dist.data.records import TRAIN, Content, Integers, Record, Records, Source

# without waiting for whoever writes to a pipe
_AT_ONCE = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True)
class FileReader:
    """Reads image files, and labels from their names."""

    label: re.Pattern[str] | None = None

    def read(self, records: Sequence[Record]) -> Iterator[Content | SampleError]:
        """Yield each file's bytes."""
        for record in records:
            try:
                yield Content(read_file(record.place), self._facts(record))
            except SampleError as error:
                yield error

    def identity(self) -> str:
        """Say which labels are taken."""
        return f"files/{'' if self.label is None else self.label.pattern}"

    def stamp(self, records: Sequence[Record]) -> str:
        """Return a hash of all files' sizes and times of change."""
        digest = hashlib.sha256()
        for record in records:
            digest.update(_stamp(record.place))
        return digest.hexdigest()

    def _facts(self, record: Record) -> Mapping[str, Any]:
        labels = {} if self.label is None else labels_of(self.label, record.name)
        return {"labels": labels} if labels else {}


@dataclass(frozen=True, slots=True)
class _Folder:
    """Where some files lie, and how they are called."""

    root: str
    paths: Sequence[str]  # below root
    above: str = ""  # what origins have before the path
    above_name: str = ""  # what names have
    cut: int = 0  # folders that names leave out


@dataclass(frozen=True, slots=True)
class _FileNames:
    """Names of the files of some folders, which are numbered on from one to the next."""

    folders: Sequence[_Folder]
    starts: Integers  # the first row of each folder

    def __call__(self, row: int) -> tuple[str, str, str]:
        number = int(np.searchsorted(self.starts, row, side="right")) - 1
        folder = self.folders[number]
        path = folder.paths[row - int(self.starts[number])]
        name = path.split("/", folder.cut)[-1] if folder.cut else path
        printable = folders.printable
        return (
            printable(folder.above_name + name),
            printable(folder.above + path),
            os.path.join(folder.root, path),  # noqa: PTH118  a Path for each would be slow
        )


def from_domains(
    given: Mapping[str, Sequence[Path]], *, split: str, label: re.Pattern[str] | None = None
) -> Source:
    """List the images of one or more folders for each domain, as one split.

    Raises:
        UserError: a folder is missing, empty or given twice.
    """
    found: list[_Folder] = []
    counts: list[int] = []
    notes: list[str] = []
    _check_apart([root for roots in given.values() for root in roots])
    for domain, roots in given.items():
        counts.append(0)
        for number, root in enumerate(roots):
            listing = folders.list_images(root)
            if listing.ignored:
                notes.append(f"{root}: {folders.describe(listing.ignored)}.")
            if not listing.images:
                raise UserError(
                    f"{root} (domain '{domain}') holds no jpg, png or webp file"
                    f"{folders.advice(listing.ignored) or '; name another'}."
                )
            above = f"{domain}/{number + 1}/" if len(roots) > 1 else f"{domain}/"
            found.append(_Folder(_absolute(root), listing.images, above))
            counts[-1] += len(listing.images)
    domains = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    records = _table(found, (split,), tuple(given), np.zeros_like(domains), domains)
    return _source(tuple(given), records, notes, label)


def from_root(
    root: Path, *, split: str | None = None, label: re.Pattern[str] | None = None
) -> Source:
    """List ``root/{split}/{domain}/...`` or ``root/{domain}/...``, whichever it is.

    ``split`` picks one of the splits found, or names the only one; default: all, or "train".

    Raises:
        UserError: ``root`` holds no images, or not the wanted split, or files in no domain.
    """
    listing = folders.list_images(root)
    if not listing.images:
        hint = folders.advice(listing.ignored) or "; it needs a folder per domain"
        raise UserError(f"{root} holds no jpg, png or webp file{hint}.")
    notes = [f"{root}: {folders.describe(listing.ignored)}."] if listing.ignored else []
    nested = folders.by_split(root, listing.images)
    notes.insert(0, f"{root} is laid out as {'split/domain' if nested else 'domain'}/image.")
    depth = 2 if nested else 1
    splits, domains = dict[str, int](), dict[str, int]()
    numbers = np.empty((2, len(listing.images)), np.int32)
    for row, image in enumerate(listing.images):
        parts = image.split("/", depth)
        part = parts[0].lower() if nested else split or TRAIN
        numbers[0, row] = splits.setdefault(part, len(splits))
        numbers[1, row] = domains.setdefault(parts[depth - 1], len(domains))
    folder = _Folder(_absolute(root), listing.images, cut=depth)
    records = _table([folder], tuple(splits), tuple(domains), *numbers)
    if nested and split is not None:
        records = _pick(records, split, root)
    return _source(tuple(records.held_domains()), records, notes, label)


def labels_of(pattern: re.Pattern[str], name: str) -> dict[str, str]:
    """Return the labels a pattern finds in a file's name: its named groups, or group 1 as "label".

    A group that took no part gives no label.
    """
    match = pattern.search(PurePosixPath(name).name)
    if match is None:
        return {}
    found = match.groupdict() if pattern.groupindex else {"label": match.group(1)}
    return {key: value for key, value in found.items() if value is not None}


def read_file(path: str | Path) -> bytes:
    """Return a file's bytes.

    Raises:
        SampleError: it cannot be read, is no plain file, or is larger than ``MAX_BYTES``.
    """
    try:
        descriptor = os.open(path, _AT_ONCE)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise SampleError("not a file")
            if status.st_size > MAX_BYTES:
                raise SampleError(f"{status.st_size:,} bytes are more than {MAX_BYTES:,}")
            return _read(descriptor, status.st_size)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise SampleError("not a file, or a link that leads nowhere") from None
    except OSError as error:
        raise SampleError(error.strerror or str(error)) from None


def _read(descriptor: int, size: int) -> bytes:
    """Return a file's bytes; in one call, if it has the size it said."""
    data = os.read(descriptor, size + 1)
    if len(data) == size:
        return data
    parts = [data]
    while data := os.read(descriptor, 1 << 20):
        parts.append(data)
    return b"".join(parts)


def _stamp(path: str) -> bytes:
    try:
        status = os.stat(path)  # noqa: PTH116
        return b"%d %d\n" % (status.st_size, status.st_mtime_ns)
    except OSError:
        return b"gone\n"


def _absolute(root: Path) -> str:
    return str(root.absolute())


def _table(
    found: Sequence[_Folder],
    splits: tuple[str, ...],
    domains: tuple[str, ...],
    split: Integers,
    domain: Integers,
) -> Records:
    sizes = np.array([len(folder.paths) for folder in found])
    names = _FileNames(found, np.cumsum(sizes) - sizes)
    return Records(names, splits, domains, split, domain, np.arange(len(split)))


def _source(
    domains: tuple[str, ...],
    records: Records,
    notes: Sequence[str],
    label: re.Pattern[str] | None,
) -> Source:
    if label is not None:
        missed = [r.origin for r in records if not label.search(PurePosixPath(r.name).name)]
        if missed:
            raise UserError(
                f"--label-regex '{label.pattern}' does not match {len(missed)} of {len(records)} "
                f"file names, {missed[0]} first; change it."
            )
    return Source(domains, records, FileReader(label), tuple(notes))


def _check_apart(roots: Sequence[Path]) -> None:
    """Refuse folders that lie in one another: their images would be written twice."""
    real = [(root, root.resolve()) for root in roots]
    for place, (root, path) in enumerate(real):
        for other, other_path in real[:place]:
            if path.is_relative_to(other_path) or other_path.is_relative_to(path):
                raise UserError(
                    f"--domain: {root} and {other} overlap, so images would be taken twice; name "
                    "folders that lie apart."
                )


def _pick(records: Records, split: str, root: Path) -> Records:
    found = records.held_splits()
    if split not in found:
        raise UserError(
            f"{root} has no split '{split}' (it has {', '.join(found)})."
            f"{did_you_mean(split, found)}"
        )
    return records.take(records.split == records.splits.index(split))
