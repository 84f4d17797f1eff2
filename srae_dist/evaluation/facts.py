"""What is known of images beside their pixels: labels and factors of their ``.json`` members.

The index says where images lie and nothing of their ``.json``. But members of a sample are adjacent
in a tar file, so a sample's lie between the images of its neighbours: nothing else is read.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srae_dist.core.errors import SampleError, UserError
from srae_dist.data.manifest import Index, Split
from srae_dist.data.reader import ShardBytes
from srae_dist.data.tar import UNIT
from srae_dist.data.walk import Kind, split_name, walk

_LARGEST = 1 << 20  # bytes of a .json; more is damage, or an attack


def read_infos(
    rows: NDArray[np.int64], *, index: Index, split: Split, shards: ShardBytes
) -> list[dict[str, Any]]:
    """Return the ``.json`` of some samples, given by their rows of the index; {} for none.

    Raises:
        UserError: one cannot be read; names shard and key.
    """
    lengths = [shard.bytes for shard in split.shards]
    return [_read_info(int(row), index, lengths, shards) for row in rows]


def labels_of(infos: Sequence[Mapping[str, Any]]) -> dict[str, NDArray[np.str_]]:
    """Return every content label by name: N texts, "" where a sample has none.

    A member "labels" that is no table of names is another program's, and passed over.
    """
    tables = [_table(info, "labels") for info in infos]
    return {
        name: np.array(["" if table.get(name) is None else str(table[name]) for table in tables])
        for name in _names(tables)
    }


def factors_of(infos: Sequence[Mapping[str, Any]]) -> dict[str, NDArray[np.float32]]:
    """Return every factor by name: N numbers, NaN where a sample has none."""
    tables = [
        {name: value for name, value in _table(info, "factors").items() if _is_number(value)}
        for info in infos
    ]
    return {
        name: np.array([table.get(name, np.nan) for table in tables], np.float32)
        for name in _names(tables)
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _table(info: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = info.get(name)
    return value if isinstance(value, dict) else {}


def _names(tables: Sequence[Mapping[str, Any]]) -> list[str]:
    return sorted({name for table in tables for name in table})


class _ShardFile(io.RawIOBase):
    """A shard as a file to be walked."""

    def __init__(self, shards: ShardBytes, shard: int) -> None:
        self._shards, self._shard, self._place = shards, shard, 0

    def seek(self, place: int, whence: int = 0) -> int:
        assert whence == io.SEEK_SET
        self._place = place
        return place

    def read(self, size: int = -1) -> bytes:
        assert size >= 0
        return self._shards.read(self._shard, self._place, size)


def _read_info(
    row: int, index: Index, lengths: Sequence[int], shards: ShardBytes
) -> dict[str, Any]:
    """Look for a sample's ``.json`` between the images of its neighbours."""
    shard, key = int(index.shard[row]), index.key(row)
    start, stop = 0, lengths[shard]
    if row > 0 and index.shard[row - 1] == shard:
        end = int(index.offset[row - 1]) + int(index.size[row - 1])
        start = end + -end % UNIT
    if row + 1 < len(index) and index.shard[row + 1] == shard:
        stop = int(index.offset[row + 1]) - UNIT
    file = _ShardFile(shards, shard)
    try:
        for member in walk(file, length=stop, start=start):  # type: ignore[arg-type]
            if member.kind is Kind.FILE and split_name(member.name) == (key, "json"):
                if member.size > _LARGEST:
                    raise SampleError(f"its .json has {member.size:,} bytes, which cannot be")
                file.seek(member.offset)
                value = json.loads(file.read(member.size))
                return value if isinstance(value, dict) else {}
    except (SampleError, ValueError, RecursionError) as error:
        raise UserError(
            f"What is known of sample {key} of {shards.where(shard)} cannot be read: {error}; "
            "run `srae-dist shard` again to make sound shards."
        ) from None
    return {}
