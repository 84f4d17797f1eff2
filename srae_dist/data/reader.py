"""Tar bytes to uint8 pixels: any sample by the index, or a whole split in its shards' order.

Only an image and its ``.json`` are ever read, and an image is decoded only by ``data.images``: no
member's suffix chooses a decoder.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from srae_dist.core.errors import SampleError, UserError
from srae_dist.data import images
from srae_dist.data.manifest import Index, Split, load_index, load_manifest

OPEN_FILES = 128  # shards kept open by one process
LARGEST = 64 << 20  # bytes of an image file; more is damage, or an attack


def take(index: Index, samples: NDArray[np.int64]) -> Index:
    """Return the index's rows of some samples, in their order."""
    return Index(
        index.shard[samples],
        index.domain[samples],
        index.offset[samples],
        index.size[samples],
        index.keys[samples],
    )


class Reader:
    """Reads images of a split by their rows of the index.

    Files are opened when first needed, so a reader is light to send to another process.
    """

    def __init__(self, root: Path, split: Split, *, image_size: int) -> None:
        self._root, self._split, self._image_size = root, split, image_size
        self._files: OrderedDict[int, BinaryIO] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": OrderedDict()}

    def read(self, rows: Index) -> NDArray[np.uint8]:
        """Return the decoded images, uint8 N H W C, H = W = image size.

        Raises:
            UserError: an image cannot be read; names shard and key.
        """
        size = self._image_size
        pixels = np.empty((len(rows), size, size, 3), np.uint8)
        for place in range(len(rows)):
            try:
                pixels[place] = images.decode_array(self._bytes(rows, place), size)
            except SampleError as error:
                path = self._root / self._split.shards[int(rows.shard[place])].file
                raise UserError(
                    f"Sample {rows.key(place)} of {path} cannot be read: {error}; "
                    "run `srae-dist shard` again to make sound shards."
                ) from None
        return pixels

    def close(self) -> None:
        """Close all files; reading opens them again."""
        while self._files:
            self._files.popitem()[1].close()

    def _bytes(self, rows: Index, place: int) -> bytes:
        number, offset, size = (
            int(rows.shard[place]),
            int(rows.offset[place]),
            int(rows.size[place]),
        )
        if not 0 < size <= LARGEST or offset + size > self._split.shards[number].bytes:
            raise SampleError(f"the index puts {size} bytes at {offset}, which cannot be")
        try:
            data = _read_at(self._file(number), offset, size)
        except OSError as error:
            raise SampleError(str(error)) from None
        if len(data) < size:
            raise SampleError(f"the file ends before byte {offset + size}")
        return data

    def _file(self, number: int) -> BinaryIO:
        file = self._files.pop(number, None)
        if file is None:
            if len(self._files) >= OPEN_FILES:
                self._files.popitem(last=False)[1].close()
            file = (self._root / self._split.shards[number].file).open("rb", buffering=0)
        self._files[number] = file
        return file


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
        yield from read_shard(root / split.shards[number].file, rows)


def read_shard(path: Path, rows: Index) -> Iterator[Sample]:
    """Yield the samples of one shard, whose rows of the index are given, in their order.

    Raises:
        UserError: the shard is missing or damaged, or is not what its index says.
    """
    row = 0
    for members in _grouped(path):
        if row < len(rows) and members["__key__"] == rows.key(row):  # else it is not in the index
            yield _sample(path, members, int(rows.domain[row]))
            row += 1
    if row < len(rows):
        raise UserError(
            f"{path} has no sample {rows.key(row)} where its index has it; "
            "run `srae-dist shard` again to make sound shards."
        )


def _grouped(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the members of each sample by suffix, as webdataset groups them, bytes untouched."""
    import tarfile

    from webdataset.tariterators import group_by_keys, tar_file_expander

    try:
        with path.open("rb") as stream:
            source = [{"url": str(path), "stream": stream}]
            yield from group_by_keys(tar_file_expander(source, select_files=_wanted))
    except (OSError, EOFError, ValueError, tarfile.TarError) as error:
        reason = str(error if isinstance(error, OSError) else error.args[0]).partition(" @ ")[0]
        raise UserError(
            f"{path} cannot be read: {reason}; run `srae-dist shard` again to make sound shards."
        ) from None


def _wanted(name: str) -> bool:
    return name.rpartition("/")[2].partition(".")[2].lower() in (*images.SUFFIXES, "json")


def _sample(path: Path, members: dict[str, Any], domain: int) -> Sample:
    key = members["__key__"]
    suffix = next((suffix for suffix in images.SUFFIXES if suffix in members), None)
    if suffix is None:
        raise UserError(f"Sample {key} of {path} has no image; run `srae-dist shard` again.")
    try:
        info = json.loads(members.get("json", b"{}"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{key}.json of {path} is not JSON: {error}; mend it.") from None
    return Sample(key, members[suffix], suffix, domain, info if isinstance(info, dict) else {})


def _read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(file.fileno(), size, offset)
    file.seek(offset)
    return file.read(size)
