"""What is to be translated: the images of a folder or of shards, in an order of their own."""

from __future__ import annotations

import functools
import hashlib
import itertools
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from srae_dist.core.errors import SampleError, UserError, did_you_mean
from srae_dist.core.json_file import read_json
from srae_dist.core.urls import is_url
from srae_dist.data.folders import Listing, describe, list_images, printable
from srae_dist.data.images import SUFFIXES
from srae_dist.data.manifest import MANIFEST, Index, Manifest, load_manifest
from srae_dist.data.opened import open_split
from srae_dist.data.reader import LARGEST, read_shard, take
from srae_dist.data.shard_files import ShardFiles, Unreachable, files_of
from srae_dist.data.sources import read_file
from srae_dist.data.store import LocalStore, Store, open_store
from srae_dist.translation.naming import safe_key


@dataclass(frozen=True, slots=True)
class Unit:
    """A run of images that a stopped translation has either done or not."""

    number: int
    start: int  # place of its first image in the input's order
    stop: int
    split: str = ""  # of the shard it becomes, where it becomes one
    shard: str = ""

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Item:
    """One image to translate."""

    unit: Unit
    place: int  # in the input's order
    name: str  # relative path, or shard and key
    key: str  # relative path, or key: what random choices are drawn by
    domain: str | None
    image: bytes | Path | SampleError  # the image file, where it lies, or why there is none
    info: Mapping[str, Any] = field(default_factory=dict)  # what its .json says


class FolderImages:
    """The images below a folder, by relative path; or one image, as the only one of its folder."""

    kind: Literal["folder"] = "folder"

    def __init__(self, root: Path, *, domain: str | None = None) -> None:
        """List the folder; if some images lie in a folder named as ``domain``, only those.

        Raises:
            UserError: there are no images.
        """
        self._place = root
        if root.is_file() and root.suffix.lower().removeprefix(".") in SUFFIXES:
            root, listing = root.parent, Listing([root.name], Counter())
        else:
            listing = list_images(root)
        inside = [p for p in listing.images if domain in p.split("/")[:-1]]
        self.root = root
        self.paths = inside or listing.images
        self.domain, self.has_domain_folder = domain, bool(inside)
        self.digest = _digest(map(self._version, self.paths))
        self.notes = [f"{root}: {describe(listing.ignored)}."] if listing.ignored else []
        if not self.paths:
            tars = next(root.glob("*.tar"), None)
            hint = f"; its shards need `srae-dist shard --index {root}` first" if tars else ""
            raise UserError(f"{root} holds no jpg, png or webp file{hint or '; name another'}.")

    def _version(self, path: str) -> str:
        """What a file is called, how long it is and when it was written: another picture under the
        same name is translated anew."""
        try:
            status = (self.root / path).stat()
        except OSError:  # it is named with the pictures that cannot be read
            return path
        return f"{path}\0{status.st_size}\0{status.st_mtime_ns}"

    @property
    def place(self) -> str:
        """The whole path of the folder, or of the one image."""
        return str(self._place.resolve())

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, place: int) -> str:
        """Return the relative path."""
        return printable(self.paths[place])

    def data(self, place: int) -> bytes:
        """Return the file's bytes, or raise a SampleError."""
        return read_file(self.root / self.paths[place])

    def read(self, unit: Unit) -> Iterator[Item]:
        """Yield the images of a unit."""
        for place in range(unit.start, unit.stop):
            name = self.name(place)
            yield Item(unit, place, name, name, self.domain, self.root / self.paths[place])


class ShardImages:
    """The samples of one or all splits of a shard folder, here or behind a URL, by key."""

    kind: Literal["shards"] = "shards"

    def __init__(
        self,
        root: Path | str,
        *,
        split: str | None = None,
        domain: str | None = None,
        cache_dir: Path | None = None,
    ) -> None:
        """Read manifest and index; ``domain`` picks its samples, ``cache_dir`` is for a URL's.

        Raises:
            UserError: no such split or domain, or no samples, or a damaged manifest or index.
        """
        store = open_store(root)
        self.manifest: Manifest = load_manifest(store)
        self.place = str(store.root.resolve()) if isinstance(store, LocalStore) else store.name
        self.notes: list[str] = []
        self.splits = [split] if split else sorted(self.manifest.splits)
        domains = self.manifest.domains
        if domain is not None and domain not in domains:
            raise UserError(
                f"{store.name} has no domain '{domain}'; it has {', '.join(domains)}."
                f"{did_you_mean(domain, domains)}"
            )
        self.parts = [
            part
            for name in self.splits
            for part in _parts(store, self.manifest, name, domain, cache_dir)
            if len(part.wanted)
        ]
        self._starts: list[int] = np.cumsum(
            [0] + [len(part.wanted) for part in self.parts]
        ).tolist()
        if not self.parts:
            raise UserError(f"{store.name} holds no sample of what was asked for.")
        entries = [self.manifest.splits[name] for name in self.splits]
        self.digest = _digest([entry.index_sha256 for entry in entries])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def units(self) -> list[Unit]:
        """Return a unit for each shard that has wanted samples."""
        bounds = itertools.pairwise(self._starts)
        return [
            Unit(number, start, stop, part.split, part.file)
            for number, (part, (start, stop)) in enumerate(zip(self.parts, bounds, strict=True))
        ]

    def key(self, place: int) -> str:
        """Return the sample's key."""
        part, row = self._find(place)
        return part.key(row)

    def domain(self, place: int) -> str:
        """Return the sample's domain."""
        part, row = self._find(place)
        return self.manifest.domains[int(part.rows.domain[row])]

    def split(self, place: int) -> str:
        """Return the sample's split."""
        return self._find(place)[0].split

    def name(self, place: int) -> str:
        """Return shard and key."""
        part, row = self._find(place)
        return f"{part.file}/{part.key(row)}"

    def data(self, place: int) -> bytes:
        """Return the image member's bytes, or raise a SampleError (or ``Unreachable``)."""
        part, row = self._find(place)
        offset, size = int(part.rows.offset[row]), int(part.rows.size[row])
        if not 0 < size <= LARGEST:
            raise SampleError(f"the index gives it {size} bytes")
        try:
            with part.files.open(part.number) as file:
                file.seek(offset)
                return file.read(size)
        except OSError as error:
            raise SampleError(error.strerror or str(error)) from None

    def read(self, unit: Unit) -> Iterator[Item]:
        """Yield the samples of a shard; if it breaks off, the rest of them as unreadable.

        Raises:
            Unreachable: it lies elsewhere, and cannot be had now.
        """
        part = self.parts[unit.number]
        opened = functools.partial(part.files.open, part.number, in_order=True)
        wanted, place, row = set(part.wanted.tolist()), unit.start, 0
        try:
            for row, sample in enumerate(read_shard(opened, part.where, part.rows)):
                if row in wanted:
                    yield self._item(unit, place, _checked(sample.key, sample.image), sample.info)
                    place += 1
        except Unreachable:
            raise
        except UserError as error:
            reason = SampleError(str(error).partition(";")[0])
            for lost in range(place, unit.stop):
                yield self._item(unit, lost, reason, {})

    def _item(
        self, unit: Unit, place: int, image: bytes | SampleError, info: Mapping[str, Any]
    ) -> Item:
        return Item(unit, place, self.name(place), self.key(place), self.domain(place), image, info)

    def _find(self, place: int) -> tuple[_Part, int]:
        number = bisect_right(self._starts, place) - 1
        part = self.parts[number]
        return part, int(part.wanted[place - self._starts[number]])


Images = FolderImages | ShardImages


def open_images(
    root: Path | str,
    *,
    split: str | None = None,
    domain: str | None = None,
    cache_dir: Path | None = None,
) -> Images:
    """Open an image, a folder of images, or of shards if it has a manifest of ours; behind a URL
    are shards.

    ``split`` says nothing of images, ``cache_dir`` nothing of what lies here.

    Raises:
        UserError: there are no images, or not of this split or domain.
    """
    if is_url(root) or _is_shards(Path(root)):
        return ShardImages(root, split=split, domain=domain, cache_dir=cache_dir)
    return FolderImages(Path(root), domain=domain)


@dataclass(frozen=True, slots=True)
class _Part:
    """One shard, the rows of its index, and which of them are wanted."""

    files: ShardFiles  # of its split
    number: int  # among them
    file: str
    split: str
    rows: Index
    wanted: NDArray[np.int64]

    @property
    def where(self) -> str:
        return self.files.where(self.number)

    def key(self, row: int) -> str:
        return bytes(self.rows.keys[row]).decode("ascii", "backslashreplace")


def _parts(
    store: Store, manifest: Manifest, name: str, domain: str | None, cache_dir: Path | None
) -> Iterator[_Part]:
    opened = open_split(store, name, cache_dir=cache_dir)
    index, files = opened.index, files_of(opened)
    for number, shard in enumerate(opened.split.shards):
        rows = take(index, np.flatnonzero(index.shard == number))
        chosen = (
            np.ones(len(rows), np.bool_)
            if domain is None
            else rows.domain == manifest.domains.index(domain)
        )
        yield _Part(files, number, shard.file, name, rows, np.flatnonzero(chosen))


def _checked(key: str, image: bytes) -> bytes | SampleError:
    try:
        safe_key(key)
    except SampleError as error:
        return error
    return image


def _is_shards(root: Path) -> bool:
    """Whether a folder's ``manifest.json`` is ours; pictures of the web have one, too."""
    if not (root / MANIFEST).is_file():
        return False
    if next(root.glob("*.tar"), None) is not None:
        return True
    try:
        return "splits" in read_json(root / MANIFEST)
    except (OSError, ValueError, TypeError):
        return False


def _digest(names: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for name in names:
        digest.update(name.encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()
