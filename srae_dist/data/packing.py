"""One shard from start to end: read, decode, resize, encode, pack, hash; one image at a time.

A shard is two files: the tar, and beside it, written last, what the index and the manifest need to
know of it. Where the second is, the shard is finished, and whoever goes on may keep it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srae_dist.core import atomic
from srae_dist.core.errors import SampleError
from srae_dist.data import images
from srae_dist.data.manifest import Digests, Shard
from srae_dist.data.plan import Form, Job
from srae_dist.data.publish import Bad
from srae_dist.data.records import Content, Reader, Record
from srae_dist.data.tar import Tar
from srae_dist.data.workplace import DONE


@dataclass(frozen=True, slots=True)
class Task:
    """What all shards of a split folder have in common; light to send to another process."""

    folder: Path  # where shards are made
    reader: Reader
    form: Form
    domains: tuple[str, ...]  # in the manifest's order


@dataclass(frozen=True, slots=True)
class Packed:
    """A finished shard; n samples in the tar's order."""

    fingerprint: str  # of the job it was made for
    stamp: str  # of the images it was made of
    shard: Shard
    bad: tuple[Bad, ...]
    keys: NDArray[np.bytes_]  # n
    domain: NDArray[np.uint16]  # n
    offset: NDArray[np.uint64]  # n
    size: NDArray[np.uint32]  # n
    blocks: Digests


def pack(task: Task, job: Job, *, advance: Callable[[int], None] = lambda count: None) -> Packed:
    """Make a shard in ``task.folder``; ``advance`` is told of each record done.

    Equal images give equal bytes. What cannot be read is left out and listed.
    """
    stamp = task.reader.stamp(job.records)
    numbers = {domain: number for number, domain in enumerate(task.domains)}
    rows: list[tuple[str, int, int, int]] = []
    bad: list[Bad] = []
    path = task.folder / f"{job.stem}.tar"
    with atomic.replacing(path) as temporary, temporary.open("wb") as file:
        tar = Tar(file)
        contents = task.reader.read(job.records)
        for place, (record, content) in enumerate(zip(job.records, contents, strict=True)):
            try:
                data, info = encode(record, content, task.form)
            except SampleError as error:
                bad.append(Bad(record.split, record.domain, record.origin, str(error)))
            else:
                key, domain = f"{job.split}-{job.first + place:09d}", numbers[record.domain]
                rows.append((key, domain, _add(tar, key, domain, data, info, task), len(data)))
            advance(1)
        tar.end()
    keys, domains, offsets, sizes = zip(*rows, strict=True) if rows else ((), (), (), ())
    held = np.bincount(np.array(domains, np.int64), minlength=len(task.domains)).tolist()
    counts = dict(zip(task.domains, held, strict=True))
    packed = Packed(
        job.fingerprint,
        stamp,
        Shard(path.name, len(rows), tar.bytes, tar.sha256(), counts),
        tuple(bad),
        np.array([key.encode("ascii") for key in keys], np.bytes_),
        np.array(domains, np.uint16),
        np.array(offsets, np.uint64),
        np.array(sizes, np.uint32),
        tar.blocks(),
    )
    _save(path.with_suffix(DONE), packed)
    return packed


def encode(record: Record, content: Content | SampleError, form: Form) -> tuple[bytes, bytes]:
    """Return the image member and the json member of a record.

    Raises:
        SampleError: it cannot be read.
    """
    if isinstance(content, SampleError):
        raise content
    if isinstance(content.image, bytes):
        pixels, (width, height) = images.read_square(content.image, form.size, shrink=form.shrink)
    else:
        pixels = content.image
        height, width = pixels.shape[:2]
    data = images.encode(pixels, format=form.format, quality=form.quality)
    info = {"origin": record.origin, "size": [width, height], **content.facts}
    return data, json.dumps(info, sort_keys=True, ensure_ascii=False).encode("utf-8")


def stamp_of(folder: Path, job: Job) -> str | None:
    """Return the stamp of a job's shard, if it is there and was made for just this job."""
    facts = _facts(folder / f"{job.stem}{DONE}", job)
    return None if facts is None else str(facts["stamp"])


def finished(folder: Path, job: Job) -> Packed | None:
    """Return what is known of a job's shard, if it is there and was made for just this job."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = folder / f"{job.stem}{DONE}"
    facts = _facts(path, job)
    if facts is None:
        return None
    try:
        arrays = load_file(path)
        keys = arrays.pop("keys")
        return Packed(
            fingerprint=facts["fingerprint"],
            stamp=facts["stamp"],
            shard=Shard(**facts["shard"]),
            bad=tuple(Bad(**bad) for bad in facts["bad"]),
            keys=keys.view(f"S{keys.shape[1]}").reshape(-1),
            **arrays,
        )
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None  # it is made again


def _facts(path: Path, job: Job) -> dict[str, Any] | None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            facts: dict[str, Any] = json.loads(file.metadata()["packed"])
        whole = path.with_suffix(".tar").stat().st_size == facts["shard"]["bytes"]
        return facts if whole and facts["fingerprint"] == job.fingerprint else None
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None


def _save(path: Path, packed: Packed) -> None:
    from safetensors.numpy import save

    keys = packed.keys
    arrays: dict[str, NDArray[Any]] = {
        "keys": np.frombuffer(keys.tobytes(), np.uint8).reshape(len(keys), keys.dtype.itemsize),
        "domain": packed.domain,
        "offset": packed.offset,
        "size": packed.size,
        "blocks": packed.blocks,
    }
    facts = {
        "fingerprint": packed.fingerprint,
        "stamp": packed.stamp,
        "shard": asdict(packed.shard),
        "bad": [asdict(bad) for bad in packed.bad],
    }
    text = json.dumps(facts, sort_keys=True)
    made = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    atomic.write_bytes(path, save(made, metadata={"packed": text}))


def _add(tar: Tar, key: str, domain: int, data: bytes, info: bytes, task: Task) -> int:
    """Append a sample's members; return where its image's bytes begin."""
    start = tar.add(f"{key}.{task.form.format}", data)
    tar.add(f"{key}.cls", b"%d" % domain)
    tar.add(f"{key}.json", info)
    return start
