"""What a shard folder says of itself: ``manifest.json`` and one binary index a split.

A folder holds ``{split}-{number:06d}.tar`` shards, ``{split}.index.safetensors`` and, written last,
``manifest.json``. The index has a row per sample, in shard order, so that any sample's bytes are
one ``pread`` away and the order of training is arithmetic (data/order.py).
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from srae_dist.core import atomic
from srae_dist.core.errors import UserError, did_you_mean

FORMAT = "srae_dist.shards"
VERSION = 1
MANIFEST = "manifest.json"
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")  # domains and splits: safe in paths
_FILE_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")


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

    def split(self, name: str, root: Path) -> Split:
        """Return a split by name, or say which there are."""
        if name not in self.splits:
            raise UserError(
                f"{root / MANIFEST} has no split '{name}' (it has {', '.join(self.splits)})."
                f"{did_you_mean(name, self.splits)}"
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


def load_manifest(root: Path) -> Manifest:
    """Read and check ``root/manifest.json``.

    Raises:
        UserError: it is missing, not ours, of another version, or names files outside ``root``.
    """
    path = root / MANIFEST
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(
            f"{root} is not a shard folder: it has no {MANIFEST}; make one with `srae-dist shard`, "
            f"or with `srae-dist shard --index {root}` if it holds plain WebDataset shards."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
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


def save_index(path: Path, index: Index) -> None:
    """Write an index file atomically."""
    from safetensors.numpy import save

    n = len(index)
    keys = np.frombuffer(index.keys.tobytes(), np.uint8).reshape(n, index.keys.dtype.itemsize)
    arrays = {
        "shard": index.shard.astype(np.uint32),
        "domain": index.domain.astype(np.uint16),
        "offset": index.offset.astype(np.uint64),
        "size": index.size.astype(np.uint32),
        "keys": keys,
    }
    atomic.write_bytes(path, save({k: np.ascontiguousarray(v) for k, v in arrays.items()}))


def load_index(root: Path, split: Split, num_domains: int) -> Index:
    """Read a split's index and check it against the manifest's counts.

    Raises:
        UserError: the file is missing, damaged, or disagrees with the manifest.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = root / split.index
    again = f"run `srae-dist shard --index {root} --force` or make the shards again"
    try:
        arrays = load(path.read_bytes())
        keys = np.ascontiguousarray(arrays["keys"], np.uint8)
        index = Index(
            arrays["shard"].astype(np.uint32, casting="equiv"),
            arrays["domain"].astype(np.uint16, casting="equiv"),
            arrays["offset"].astype(np.uint64, casting="equiv"),
            arrays["size"].astype(np.uint32, casting="equiv"),
            keys.view(f"S{keys.shape[1]}").reshape(-1),
        )
    except FileNotFoundError:
        raise UserError(f"{path} is missing; {again}.") from None
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, IndexError) as error:
        raise UserError(f"{path} is damaged ({error}); {again}.") from None
    per_shard = np.bincount(index.shard, minlength=len(split.shards))
    expected = [shard.samples for shard in split.shards]
    if per_shard.tolist() != expected or any(
        len(column) != split.samples for column in (index.domain, index.offset, index.size, keys)
    ):
        raise UserError(f"{path} does not agree with {root / MANIFEST}; {again}.")
    if len(index) and int(np.max(index.domain)) >= num_domains:
        raise UserError(f"{path} names a domain that {root / MANIFEST} has not; {again}.")
    return index


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
