"""What a shard folder says of itself: ``manifest.json`` and one binary index a split.

A folder holds ``{split}-{number:06d}.tar`` shards, ``{split}.index.safetensors`` and, written last,
``manifest.json``. The index has a row per sample, in shard order, so that any sample's bytes are
one ``pread`` away and the order of training is arithmetic (data/order.py); and the SHA-256 of every
MiB of every shard, so that parts of a shard can be fetched from anywhere and trusted.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from srae_dist.core import atomic
from srae_dist.core.errors import UserError, did_you_mean
from srae_dist.data.store import Store, open_store

FORMAT = "srae_dist.shards"
VERSION = 2
MANIFEST = "manifest.json"
BLOCK = 1 << 20  # bytes of a shard that have a digest of their own
MAX_MANIFEST = 1 << 28  # bytes
MAX_FILE = 1 << 36  # bytes of an index
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")  # domains and splits: safe in paths
_FILE_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")

_ROW, _LONGEST_KEY = 18, 4096  # bytes of a sample in an index, without its key, and of that

Digests = np.ndarray[Any, np.dtype[np.uint8]]  # blocks x 32


@dataclass(frozen=True, slots=True)
class Shard:
    """One tar file of samples."""

    file: str  # name inside the folder
    samples: int
    bytes: int
    sha256: str
    domains: dict[str, int]  # samples of each domain, zeros included


@dataclass(frozen=True, slots=True)
class Split:
    """The shards of one split, in order."""

    shards: tuple[Shard, ...]
    index: str  # name of the index file inside the folder
    index_sha256: str

    @property
    def samples(self) -> int:
        """Number of samples in all shards."""
        return sum(shard.samples for shard in self.shards)

    def block_counts(self) -> list[int]:
        """Number of blocks of each shard: ``BLOCK`` bytes, the last one shorter."""
        return [-(-shard.bytes // BLOCK) for shard in self.shards]

    def counts(self) -> dict[str, int]:
        """Samples of each domain in all shards."""
        totals: dict[str, int] = {}
        for shard in self.shards:
            for domain, count in shard.domains.items():
                totals[domain] = totals.get(domain, 0) + count
        return totals


@dataclass(frozen=True, slots=True)
class Manifest:
    """The table of contents of a shard folder."""

    domains: tuple[str, ...]
    image_size: int | None  # pixels, square; None where an indexed foreign set has mixed sizes
    image_format: str  # "jpg", "png" or "webp"; "mixed" for foreign shards
    splits: dict[str, Split]

    def split(self, name: str, root: Path | Store) -> Split:
        """Return a split by name, or say which there are."""
        if name not in self.splits:
            meant = did_you_mean(name, self.splits)
            make = f"; add it with `srae-dist shard ... --split {name}`, or choose one of these"
            raise UserError(
                f"{open_store(root).where(MANIFEST)} has no split '{name}' "
                f"(it has {', '.join(self.splits)}){'' if meant else make}.{meant}"
            )
        return self.splits[name]

    def save(self, root: Path) -> None:
        """Write ``manifest.json`` atomically."""
        atomic.write_json(root / MANIFEST, {"format": FORMAT, "version": VERSION, **asdict(self)})


@dataclass(frozen=True, slots=True)
class Index:
    """Where every sample of a split lies; n rows in shard order, then tar order."""

    shard: np.ndarray[Any, np.dtype[np.uint32]]  # n: number of the shard in the split
    domain: np.ndarray[Any, np.dtype[np.uint16]]  # n: number of the domain in the manifest
    offset: np.ndarray[Any, np.dtype[np.uint64]]  # n: first byte of the image member's data
    size: np.ndarray[Any, np.dtype[np.uint32]]  # n: bytes of the image member
    keys: np.ndarray[Any, np.dtype[np.bytes_]]  # n: the samples' keys, fixed-width ASCII

    def __len__(self) -> int:
        return len(self.shard)

    def key(self, sample: int) -> str:
        """Return a sample's key."""
        return bytes(self.keys[sample]).decode("ascii")


def load_manifest(root: Path | Store) -> Manifest:
    """Read and check the manifest of a shard folder.

    Raises:
        UserError: it is missing, not ours, of another version, or names files outside ``root``.
    """
    store = open_store(root)
    path = store.where(MANIFEST)
    try:
        text = store.read(MANIFEST, limit=MAX_MANIFEST).decode("utf-8")
    except FileNotFoundError:
        raise UserError(
            f"{store.name} is not a shard folder: it has no {MANIFEST}; make one with "
            f"`srae-dist shard`, or with `srae-dist shard --index {store.name}` if it holds plain "
            "WebDataset shards."
        ) from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} cannot be read: {error}.") from None
    try:
        value = json.loads(text)
        if value["format"] != FORMAT:
            raise ValueError(f"its format is {value['format']!r}, not {FORMAT!r}")
        if value["version"] != VERSION:
            raise UserError(
                f"{path} has format version {value['version']}, this srae_dist reads {VERSION}; "
                "make the shards again or use the version that wrote them."
            )
        return _parse(value)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        reason = f"key {error} is missing" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{path} is damaged: {reason}; make the shards again.") from None


def save_index(path: Path, index: Index, blocks: Digests) -> None:
    """Write an index file atomically.

    ``blocks`` are the SHA-256 of every ``BLOCK`` bytes of every shard, one shard after the other.
    """
    from safetensors.numpy import save

    n = len(index)
    keys = np.frombuffer(index.keys.tobytes(), np.uint8).reshape(n, index.keys.dtype.itemsize)
    arrays = {
        "shard": index.shard.astype(np.uint32),
        "domain": index.domain.astype(np.uint16),
        "offset": index.offset.astype(np.uint64),
        "size": index.size.astype(np.uint32),
        "keys": keys,
        "blocks": blocks,
    }
    atomic.write_bytes(path, save({k: np.ascontiguousarray(v) for k, v in arrays.items()}))


def load_index(root: Path | Store, split: Split, num_domains: int) -> Index:
    """Read a split's index and check it against the manifest's counts.

    Raises:
        UserError: the file is missing, damaged, or disagrees with the manifest.
    """
    return load_tables(root, split, num_domains)[0]


def load_tables(root: Path | Store, split: Split, num_domains: int) -> tuple[Index, Digests]:
    """Read a split's index and its blocks' digests, and check them against the manifest.

    Raises:
        UserError: the file is missing, damaged, or disagrees with the manifest.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    store = open_store(root)
    path, manifest = store.where(split.index), store.where(MANIFEST)
    again = f"run `srae-dist shard --index {store.name} --force` or make the shards again"
    try:
        data = store.read(split.index, limit=_most_bytes(split))
        if hashlib.sha256(data).hexdigest() != split.index_sha256:
            raise UserError(f"{path} is not the file that {manifest} lists; {again}.")
        arrays = load(data)
        blocks = arrays["blocks"].astype(np.uint8, casting="equiv")
        index = Index(
            arrays["shard"].astype(np.uint32, casting="equiv"),
            arrays["domain"].astype(np.uint16, casting="equiv"),
            arrays["offset"].astype(np.uint64, casting="equiv"),
            arrays["size"].astype(np.uint32, casting="equiv"),
            _as_keys(arrays["keys"].astype(np.uint8, casting="equiv")),
        )
    except FileNotFoundError:
        raise UserError(f"{path} is missing; {again}.") from None
    except (SafetensorError, KeyError, TypeError, ValueError, IndexError) as error:
        raise UserError(f"{path} is damaged ({error}); {again}.") from None
    if not _agrees(index, blocks, split):
        raise UserError(f"{path} does not agree with {manifest}; {again}.")
    if len(index) and int(np.max(index.domain)) >= num_domains:
        raise UserError(f"{path} names a domain that {manifest} has not; {again}.")
    return index, blocks


def _most_bytes(split: Split) -> int:
    """Return how many bytes the index of a split can have at most."""
    rows = split.samples * (_ROW + _LONGEST_KEY)
    return min(MAX_FILE, (1 << 20) + rows + 32 * sum(split.block_counts()))


def _as_keys(letters: np.ndarray[Any, np.dtype[np.uint8]]) -> np.ndarray[Any, np.dtype[np.bytes_]]:
    """Make fixed-width keys of a table n x width of their letters.

    Raises:
        ValueError: it is no such table, or holds anything but printable ASCII and padding.
    """
    if letters.ndim != 2 or not 0 < letters.shape[1] <= _LONGEST_KEY:
        raise ValueError(f"its keys have the shape {letters.shape}")
    if np.any((letters > 0x7E) | ((letters < 0x20) & (letters != 0))):
        raise ValueError("its keys are not printable ASCII")
    return np.ascontiguousarray(letters).view(f"S{letters.shape[1]}").reshape(-1)


def _agrees(index: Index, blocks: Digests, split: Split) -> bool:
    """Tell whether an index's tables are as long, and its samples where, the manifest says."""
    columns = (index.shard, index.domain, index.offset, index.size, index.keys)
    if any(column.shape != (split.samples,) for column in columns):
        return False
    if blocks.shape != (sum(split.block_counts()), 32):
        return False
    expected = np.array([shard.samples for shard in split.shards], np.int64)
    if not np.array_equal(index.shard, np.repeat(np.arange(len(expected)), expected)):
        return False
    ends = np.array([shard.bytes for shard in split.shards], np.uint64)[index.shard]
    inside = (index.offset <= ends) & (index.size <= ends - index.offset)
    return bool(inside.all())


def _parse(value: dict[str, Any]) -> Manifest:
    domains = tuple(_name(item, NAME_PATTERN) for item in value["domains"])
    if len(set(domains)) != len(domains) or not domains:
        raise ValueError("its domain names are missing or repeated")
    size = value["image_size"]
    if size is not None and (type(size) is not int or not 1 <= size <= 65536):
        raise ValueError(f"image_size is {size!r}")
    splits = {
        _name(name, NAME_PATTERN): _parse_split(item) for name, item in value["splits"].items()
    }
    return Manifest(domains, size, _name(value["image_format"], NAME_PATTERN), splits)


def _parse_split(value: dict[str, Any]) -> Split:
    shards = tuple(
        Shard(
            _name(item["file"], _FILE_PATTERN),
            _count(item["samples"]),
            _count(item["bytes"]),
            str(item["sha256"]),
            {str(name): _count(count) for name, count in item["domains"].items()},
        )
        for item in value["shards"]
    )
    return Split(shards, _name(value["index"], _FILE_PATTERN), str(value["index_sha256"]))


def _name(value: Any, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value) or ".." in value:
        raise ValueError(f"{value!r} is not a safe name")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise ValueError(f"{value!r} is not a count")
    return value
