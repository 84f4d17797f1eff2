"""An index of content codes on disk: a safetensors file beside the checkpoint it was built with.

It holds plain tables and, in its header, JSON that says what they were made from; faiss's own files
are not used, since they decide what is built when they are read. Everything is held against the
model and the shards at hand before it is used, so a file of a stranger can claim no more memory
than these need, and names no image that is not there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from srae_dist.core import atomic
from srae_dist.core.errors import UserError
from srae_dist.evaluation.build_index import Built, Quality
from srae_dist.evaluation.code_index import CodeIndex, Codes
from srae_dist.evaluation.content_space import NUMBERS, ContentSpace, Integers

FORMAT, VERSION = "srae_dist.neighbours", 1
HEADER_KEY = "srae_dist"  # the one key of the file's header; its value is JSON

_TYPES = {"codes": "F16", "rows": "U32", "means": "F32", "directions": "F32"}
_AGAIN = "build it again with --rebuild"


@dataclass(frozen=True, slots=True)
class Origin:
    """What an index is of; another value of any of these needs another index."""

    checkpoint: str  # SHA-256 of ema.safetensors
    shards: str  # SHA-256 of the split's index, which holds the digests of all its shards
    split: str
    domains: tuple[str, ...]  # in the model's order


@dataclass(frozen=True, slots=True)
class Stored:
    """An index as it lies on disk, ready to be searched."""

    index: CodeIndex
    quality: Quality
    unreadable: int  # images of the split that are not in it


def save(path: Path, built: Built, origin: Origin) -> None:
    """Write an index; it appears under its name when it is complete.

    Raises:
        OSError: it cannot be written.
    """
    index, space = built.index, built.index.space
    header = {
        "format": FORMAT,
        "version": VERSION,
        "origin": asdict(origin),
        "counts": list(index.counts),
        "unreadable": len(built.unreadable),
        "quality": asdict(built.quality),
    }
    tables = {  # in the order of their alignment
        "means": space.means,
        "directions": space.directions,
        "rows": index.rows,
        "codes": built.codes,
    }
    with atomic.replacing(path) as temporary, temporary.open("wb") as file:
        _write(file, tables, {HEADER_KEY: json.dumps(header, sort_keys=True)})


def _write(file: BinaryIO, tables: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file here: the library writes beside it, and leaves that if killed."""
    described: dict[str, Any] = {"__metadata__": dict(metadata)}
    begin = 0
    for name, table in tables.items():
        places = [begin, begin := begin + table.nbytes]
        described[name] = {"dtype": _TYPES[name], "shape": table.shape, "data_offsets": places}
    text = json.dumps(described).encode("utf-8")
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for table in tables.values():
        file.write(np.ascontiguousarray(table).data)


def load(
    path: Path, origin: Origin, *, width: int, domain: Integers, keys: NDArray[np.bytes_]
) -> Stored:
    """Read an index of this model and these shards.

    Args:
        origin: what it must have been built from.
        width: numbers of a whole content code of the model.
        domain: N, the domains of all images of the split.
        keys: N, as in the shards' index.

    Raises:
        UserError: it is missing or damaged, of another version, or of another model or split.
    """
    from safetensors import SafetensorError, safe_open

    try:
        file: Any = safe_open(path, framework="np")
        header = json.loads((file.metadata() or {}).get(HEADER_KEY, "null"))
        _check_origin(path, header, origin)
        quality, counts = Quality(**header["quality"]), _counts(header["counts"])
        _check_quality(quality)
        _check_tables(file, counts, width=width, images=len(domain))
        space = ContentSpace(file.get_tensor("means"), file.get_tensor("directions"))
        _check_space(space, domains=len(origin.domains))
        rows = file.get_tensor("rows")
        _check_rows(rows, counts, domain)
        if type(unreadable := header["unreadable"]) is not int:
            raise ValueError("it does not say how many images are missing")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; {_AGAIN}.") from None
    except UserError:
        raise
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{path} is damaged ({reason}); {_AGAIN}.") from None
    starts = [0, *np.cumsum(counts).tolist()]

    def part(number: int) -> Codes:
        codes: Codes = file.get_slice("codes")[starts[number] : starts[number + 1]]
        if not np.isfinite(codes).all():
            raise UserError(f"{path} is damaged (its codes are not finite); {_AGAIN}.")
        return codes

    index = CodeIndex(space, part, domains=origin.domains, counts=counts, rows=rows, keys=keys)
    return Stored(index, quality, unreadable)


def _check_origin(path: Path, header: Any, origin: Origin) -> None:
    """Hold an index's header against the model and the shards at hand."""
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError("it is no index of srae_dist")
    if header["version"] != VERSION:
        found = header["version"] if type(header["version"]) is int else "unknown"
        raise UserError(
            f"{path} has index version {found}, this srae_dist reads {VERSION}; {_AGAIN}."
        )
    was, wanted = header["origin"], json.loads(json.dumps(asdict(origin)))
    names = {
        "checkpoint": "with another checkpoint",
        "shards": "from other shards, or these have changed since",
        "split": "from another split",
        "domains": "with other domains",
    }
    for name, what in names.items():
        if was[name] != wanted[name]:
            raise UserError(f"{path} was built {what}; {_AGAIN}.")


def _counts(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or any(type(n) is not int or n < 0 for n in value):
        raise ValueError("its counts are no numbers")
    return tuple(value)


def _check_quality(quality: Quality) -> None:
    for name, value in asdict(quality).items():
        if value is None and name.startswith("recall"):
            continue
        if type(value) not in (int, float) or not np.isfinite(value):
            raise ValueError(f"its {name} is no number")


def _check_tables(file: Any, counts: tuple[int, ...], *, width: int, images: int) -> None:
    """Hold names, types and shapes against what they must be; reads no table."""
    if set(file.keys()) != set(_TYPES):
        raise ValueError(f"its tables are not {', '.join(sorted(_TYPES))}")
    slices = {name: file.get_slice(name) for name in _TYPES}
    for name, wanted in _TYPES.items():
        if slices[name].get_dtype() != wanted:
            raise ValueError(f"its {name} are of type {slices[name].get_dtype()}")
    total = sum(counts)
    if total > images:
        raise ValueError(f"it has {total:,} images of {images:,}")
    shapes: Mapping[str, list[int]] = {name: s.get_shape() for name, s in slices.items()}
    numbers = shapes["directions"][-1] if shapes["directions"] else 0
    if not 1 <= numbers <= min(NUMBERS, width):
        raise ValueError(f"its codes have {numbers:,} numbers")
    expected = {
        "codes": [total, numbers],
        "rows": [total],
        "means": [len(counts), width],
        "directions": [width, numbers],
    }
    for name, shape in expected.items():
        if shapes[name] != shape:
            raise ValueError(f"its {name} have the shape {shapes[name]}, not {shape}")


def _check_space(space: ContentSpace, *, domains: int) -> None:
    if len(space.means) != domains:
        raise ValueError(f"it has means of {len(space.means)} domains")
    if not np.isfinite(space.means).all():
        raise ValueError("its means are not finite")
    # columns of length one, so that no query overflows, and the search sees finite numbers alone
    directions = space.directions
    small = bool(np.all(np.abs(directions) <= 1.001))
    if not small or not np.allclose(np.linalg.norm(directions, axis=0), 1.0, atol=1e-3):
        raise ValueError("its directions are none")


def _check_rows(
    rows: NDArray[np.uint32], counts: tuple[int, ...], domain: NDArray[np.int64]
) -> None:
    """Hold the rows against the shards' index: each image once, in its own domain, in order."""
    if len(rows) and int(rows.max()) >= len(domain):
        raise ValueError("it names images that the shards do not have")
    owners = np.repeat(np.arange(len(counts)), counts)
    same = owners[1:] == owners[:-1]
    if not np.array_equal(domain[rows], owners) or np.any(same & (rows[1:] <= rows[:-1])):
        raise ValueError("its images are not those of the shards")
