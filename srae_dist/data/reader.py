"""Tar bytes to uint8 pixels: any sample by the index, or a whole split in its shards' order.

Only an image and its ``.json`` are ever read, and an image is decoded only by ``data.images``: no
member's suffix chooses a decoder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from srae_dist.core.errors import SampleError, UserError
from srae_dist.data import fast, images
from srae_dist.data.manifest import Index, load_index, load_manifest
from srae_dist.data.resize import empty_pixels
from srae_dist.data.walk import Kind, walk

LARGEST = 64 << 20  # bytes of an image file; more is damage, or an attack
_PIECE = 32  # images whose files are read before they are decoded; they stay in a core's cache

Place = tuple[int, int, int]  # shard, offset, bytes


def take(index: Index, samples: NDArray[np.int64]) -> Index:
    """Return the index's rows of some samples, in their order."""
    return Index(
        index.shard[samples],
        index.domain[samples],
        index.offset[samples],
        index.size[samples],
        index.keys[samples],
    )


class ShardBytes(Protocol):
    """Where the bytes of a split's shards are: here (data/local.py) or elsewhere (data/blocks.py).

    Light to send to another process.
    """

    def where(self, shard: int) -> str:
        """Return a shard's path or URL, for messages."""
        ...

    def read(self, shard: int, offset: int, size: int) -> bytes:
        """Return ``size`` bytes of a shard, or raise a SampleError."""
        ...

    def read_open(self, places: Sequence[Place]) -> list[bytes] | None:
        """Return the bytes of many places, if they are at hand and whole; quicker than one by one.

        None says nothing but that they have to be read one by one.
        """
        ...

    def close(self) -> None:
        """Let go of files and connections; reading takes them up again."""
        ...


class Failure(NamedTuple):
    """A sample that cannot be read."""

    place: int  # among the rows asked for
    shard: str  # path or URL
    key: str
    reason: str


class Reader:
    """Decodes images of a split by their rows of the index. Light to send to another process."""

    def __init__(self, shards: ShardBytes, *, image_size: int) -> None:
        self._shards, self.image_size = shards, image_size

    def read(self, rows: Index) -> NDArray[np.uint8]:
        """Return the decoded images, uint8 N H W C, H = W = image size.

        Raises:
            UserError: an image cannot be read; names shard and key.
        """
        pixels = self.empty(len(rows))
        failures = self.try_read(rows, pixels)
        for failure in failures:
            raise UserError(describe(failure))
        return pixels

    def read_good(self, rows: Index) -> NDArray[np.uint8]:
        """Return the decoded images without those that cannot be read."""
        pixels = self.empty(len(rows))
        failures = self.try_read(rows, pixels)
        return np.delete(pixels, [failure.place for failure in failures], axis=0)

    def empty(self, count: int) -> NDArray[np.uint8]:
        """Return memory for so many images, uint8 N H W C."""
        return empty_pixels(count, self.image_size, self.image_size, 3)

    def try_read(self, rows: Index, pixels: NDArray[np.uint8]) -> list[Failure]:
        """Decode images into ``pixels``, N H W C, black where one cannot be read; return those."""
        failures = []
        places = list(
            zip(rows.shard.tolist(), rows.offset.tolist(), rows.size.tolist(), strict=True)
        )
        for start in range(0, len(places), _PIECE):
            part = slice(start, start + _PIECE)
            for place, data, out in zip(
                range(start, len(places)), self._files(places[part]), pixels[part], strict=False
            ):
                try:
                    if isinstance(data, SampleError):
                        raise data
                    if not fast.decode_into(data, out):
                        images.decode_into(data, out)
                except SampleError as error:
                    out[:] = 0
                    where = self._shards.where(places[place][0])
                    failures.append(Failure(place, where, rows.key(place), str(error)))
        return failures

    def _files(self, places: list[Place]) -> Sequence[bytes | SampleError]:
        """Return the bytes of image files, or why they cannot be had."""
        if all(0 < size <= LARGEST for _, _, size in places):
            files = self._shards.read_open(places)
            if files is not None:
                return files
        return [self._file(*place) for place in places]

    def _file(self, shard: int, offset: int, size: int) -> bytes | SampleError:
        if not 0 < size <= LARGEST:
            return SampleError(f"the index gives it {size:,} bytes, which cannot be")
        try:
            return self._shards.read(shard, offset, size)
        except SampleError as error:
            return error

    def close(self) -> None:
        """Close all files; reading opens them again."""
        self._shards.close()


def describe(failure: Failure) -> str:
    """Say in one sentence what cannot be read, and what to do."""
    return (
        f"Sample {failure.key} of {failure.shard} cannot be read: {failure.reason}; make sound "
        "shards with `srae-dist shard`, or go on without it with data.on_bad = substitute."
    )


class Sample(NamedTuple):
    """One sample as it lies in a shard."""

    key: str
    image: bytes  # the image file, not decoded
    suffix: str  # of the image file: "jpg", "png", ...
    domain: int  # number of the domain in the manifest
    info: dict[str, Any]  # the ``.json`` member; empty where there is none


def iterate(root: Path, split_name: str, *, rank: int = 0, world: int = 1) -> Iterator[Sample]:
    """Yield every sample of a split once, in shard order; rank r of w reads every w-th shard.

    Works on plain WebDataset shards with an index, too: other members are passed over.

    Raises:
        UserError: a shard is missing or damaged, or is not what its index says.
    """
    manifest = load_manifest(root)
    split = manifest.split(split_name, root)
    index = load_index(root, split, len(manifest.domains))
    for number in range(rank, len(split.shards), world):
        rows = take(index, np.flatnonzero(index.shard == number))
        path = root / split.shards[number].file
        yield from read_shard(_opening(path), str(path), rows)


def _opening(path: Path) -> Callable[[], BinaryIO]:
    return lambda: path.open("rb")


def read_shard(opened: Callable[[], BinaryIO], where: str, rows: Index) -> Iterator[Sample]:
    """Yield the samples of one shard, whose rows of the index are given, in their order.

    ``opened`` opens it, ``where`` is its path or URL.

    Raises:
        UserError: the shard is missing or damaged, or is not what its index says.
    """
    row = 0
    for members in _grouped(opened, where):
        if row < len(rows) and members["__key__"] == rows.key(row):  # else it is not in the index
            yield _sample(where, members, int(rows.domain[row]))
            row += 1
    if row < len(rows):
        raise UserError(
            f"{where} has no sample {rows.key(row)} where its index has it; "
            "run `srae-dist shard` again to make sound shards."
        )


def _grouped(opened: Callable[[], BinaryIO], where: str) -> Iterator[dict[str, Any]]:
    """Yield the members of each sample by suffix, as webdataset groups them, bytes untouched."""
    from webdataset.tariterators import group_by_keys

    try:
        with opened() as file:
            yield from group_by_keys(_members(where, file))
    except (OSError, ValueError, SampleError) as error:
        reason = str(error if isinstance(error, OSError) else error.args[0]).partition(" @ ")[0]
        raise UserError(
            f"{where} cannot be read: {reason}; run `srae-dist shard` again to make sound shards."
        ) from None


def _members(where: str, file: BinaryIO) -> Iterator[dict[str, Any]]:
    """Yield the wanted members (webdataset's own way unpacks, and follows any size it is told)."""
    for member in walk(file, length=file.seek(0, os.SEEK_END)):
        if member.kind is Kind.FILE and _wanted(member.name):
            if member.size > LARGEST:
                raise SampleError(f"{member.name} has {member.size:,} bytes, which cannot be")
            file.seek(member.offset)
            yield {"fname": member.name, "data": file.read(member.size), "__url__": where}


def _wanted(name: str) -> bool:
    return name.rpartition("/")[2].partition(".")[2].lower() in (*images.SUFFIXES, "json")


def _sample(where: str, members: dict[str, Any], domain: int) -> Sample:
    key = members["__key__"]
    suffix = next((suffix for suffix in images.SUFFIXES if suffix in members), None)
    if suffix is None:
        raise UserError(f"Sample {key} of {where} has no image; run `srae-dist shard` again.")
    try:
        info = json.loads(members.get("json", b"{}"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{key}.json of {where} is not JSON: {error}; mend it.") from None
    return Sample(key, members[suffix], suffix, domain, info if isinstance(info, dict) else {})
