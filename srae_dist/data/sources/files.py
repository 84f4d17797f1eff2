"""Image files as a source: folders named for each domain, or a root that holds them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from srae_dist.core.errors import SampleError, UserError, did_you_mean
from srae_dist.data import folders
from srae_dist.data.images import MAX_BYTES
from srae_dist.data.records import TRAIN, Content, Record


@dataclass(frozen=True, slots=True)
class Folders:
    """Image files in a folder per domain."""

    domains: tuple[str, ...]
    records: tuple[Record, ...]
    notes: tuple[str, ...]
    label: re.Pattern[str] | None = None  # finds labels in file names

    def read(self, records: Sequence[Record]) -> Iterator[Content | SampleError]:
        """Yield each file's bytes."""
        for record in records:
            try:
                yield Content(read_file(Path(record.place)), self._facts(record))
            except SampleError as error:
                yield error

    def _facts(self, record: Record) -> Mapping[str, Any]:
        labels = {} if self.label is None else labels_of(self.label, record.name)
        return {"labels": labels} if labels else {}


def from_domains(
    given: Mapping[str, Sequence[Path]], *, split: str, label: re.Pattern[str] | None = None
) -> Folders:
    """List the images of one or more folders for each domain, as one split.

    Raises:
        UserError: a folder is missing, empty or given twice.
    """
    records: list[Record] = []
    notes: list[str] = []
    _check_apart([root for roots in given.values() for root in roots])
    for domain, roots in given.items():
        for number, root in enumerate(roots):
            listing = folders.list_images(root)
            if listing.ignored:
                notes.append(f"{root}: {folders.describe(listing.ignored)}.")
            if not listing.images:
                raise UserError(f"{root} (domain '{domain}') holds no jpg, png or webp file.")
            base = (
                PurePosixPath(domain, str(number + 1)) if len(roots) > 1 else PurePosixPath(domain)
            )
            for image in listing.images:
                records.append(_file_record(root, image, split, domain, str(image), base / image))
    return _folders(tuple(given), records, notes, label)


def from_root(
    root: Path, *, split: str | None = None, label: re.Pattern[str] | None = None
) -> Folders:
    """List ``root/{split}/{domain}/...`` or ``root/{domain}/...``, whichever it is.

    ``split`` picks one of the splits found, or names the only one; default: all, or "train".

    Raises:
        UserError: ``root`` holds no images, or not the wanted split, or files in no domain.
    """
    listing = folders.list_images(root)
    if not listing.images:
        raise UserError(f"{root} holds no jpg, png or webp file; it needs a folder per domain.")
    notes = [f"{root}: {folders.describe(listing.ignored)}."] if listing.ignored else []
    nested = folders.by_split(root, listing.images)
    notes.insert(0, f"{root} is laid out as {'split/domain' if nested else 'domain'}/image.")
    depth = 2 if nested else 1
    records = []
    for image in listing.images:
        part = image.parts[0].lower() if nested else split or TRAIN
        name = PurePosixPath(*image.parts[depth:])
        records.append(_file_record(root, image, part, image.parts[depth - 1], str(name), image))
    if nested and split is not None:
        records = _pick(records, split, root)
    return _folders(tuple(sorted({r.domain for r in records})), records, notes, label)


def labels_of(pattern: re.Pattern[str], name: str) -> dict[str, str]:
    """Return the labels a pattern finds in a file's name: its named groups, or group 1 as "label".

    A group that took no part gives no label.
    """
    match = pattern.search(PurePosixPath(name).name)
    if match is None:
        return {}
    found = match.groupdict() if pattern.groupindex else {"label": match.group(1)}
    return {key: value for key, value in found.items() if value is not None}


def read_file(path: Path) -> bytes:
    """Return a file's bytes.

    Raises:
        SampleError: it cannot be read, is no plain file, or is larger than ``MAX_BYTES``.
    """
    try:
        if not path.is_file():
            raise SampleError("not a file, or a link that leads nowhere")
        if (size := path.stat().st_size) > MAX_BYTES:
            raise SampleError(f"{size:,} bytes are more than {MAX_BYTES:,}")
        return path.read_bytes()
    except OSError as error:
        raise SampleError(error.strerror or str(error)) from None


def _file_record(
    root: Path, image: PurePosixPath, split: str, domain: str, name: str, origin: PurePosixPath
) -> Record:
    printable = folders.printable
    return Record(split, domain, printable(name), printable(str(origin)), str(root / image))


def _folders(
    domains: tuple[str, ...],
    records: Sequence[Record],
    notes: Sequence[str],
    label: re.Pattern[str] | None,
) -> Folders:
    if label is not None:
        missed = [record for record in records if not label.search(Path(record.name).name)]
        if missed:
            raise UserError(
                f"--label-regex '{label.pattern}' does not match {len(missed)} of {len(records)} "
                f"file names, {missed[0].origin} first; change it."
            )
    return Folders(domains, tuple(records), tuple(notes), label)


def _check_apart(roots: Sequence[Path]) -> None:
    """Refuse folders that lie in one another: their images would be written twice."""
    real = [(root, root.resolve()) for root in roots]
    for place, (root, path) in enumerate(real):
        for other, other_path in real[:place]:
            if path.is_relative_to(other_path) or other_path.is_relative_to(path):
                raise UserError(f"The folders {other} and {root} overlap; keep them apart.")


def _pick(records: Sequence[Record], split: str, root: Path) -> list[Record]:
    picked = [record for record in records if record.split == split]
    if not picked:
        found = sorted({record.split for record in records})
        raise UserError(
            f"{root} has no split '{split}' (it has {', '.join(found)})."
            f"{did_you_mean(split, found)}"
        )
    return picked
