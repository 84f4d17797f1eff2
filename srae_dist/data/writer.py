"""Records to shards: read, decode, resize, encode; then pack and hash.

Encoded images first go to one spool file, so that what cannot be read is known before the images
are dealt to shards and their sizes differ by at most one. Memory holds no image but the current.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from srae_dist.core.errors import SampleError, UserError
from srae_dist.data import images
from srae_dist.data.manifest import MANIFEST, Digests, Index, Manifest, Shard, Split, load_manifest
from srae_dist.data.publish import (
    Bad,
    Written,
    check_free,
    list_bad,
    publish,
    save_split_index,
    shard_name,
    workplace,
)
from srae_dist.data.records import Content, Record, Source
from srae_dist.data.tar import Tar

MIN_SHARDS = 64
SHARD_SAMPLES = 10_000  # at most, unless the number of shards is given


@dataclass(frozen=True, slots=True)
class Sample:
    """An encoded image on its way from the spool to a shard."""

    domain: int
    offset: int  # in the spool
    size: int  # bytes
    info: bytes  # the .json member


@dataclass(frozen=True, slots=True)
class Form:
    """How samples are stored."""

    size: int  # pixels, square
    format: str = "jpg"  # or "png", "webp"
    quality: int = 95  # of jpg and webp
    shards: int | None = None  # per split; default: at least 64, at most 10,000 samples in each

    def __post_init__(self) -> None:
        if self.format not in images.ENCODINGS:
            known = ", ".join(images.ENCODINGS)
            raise UserError(f"--format '{self.format}' is not one of {known}; choose one.")


def write(
    out: Path,
    source: Source,
    splits: Mapping[str, Sequence[Record]],
    *,
    form: Form,
    force: bool = False,
    advance: Callable[[int], None] = lambda count: None,
) -> Written:
    """Write each split's records, in their order, as shards of ``out``; splits there are kept.

    Equal records and form give equal bytes. ``advance`` is told of each record done.

    Raises:
        UserError: ``out`` is in use, cannot be written, holds a split of that name and not
            ``force``, has other domains, size or format; or no image of a split can be read.
    """
    with workplace(out) as partial:
        domains = _agreed_domains(out, source.domains, form, tuple(splits))
        check_free(out, tuple(splits), force=force)
        done: dict[str, Split] = {}
        bad: list[Bad] = []
        for name, records in splits.items():
            spool = partial / "spool"
            samples, failed = _spool(spool, source, records, domains, form, advance)
            bad += failed
            if not samples:
                raise UserError(
                    f"None of the {len(records)} images of split '{name}' can be read; the first, "
                    f"{failed[0].origin}: {failed[0].reason}."
                )
            done[name] = _pack(partial, name, spool, samples, domains, form)
            spool.unlink()
        made = Manifest(domains, form.size, form.format, done)
        manifest = publish(partial, out, made)
        list_bad(out, tuple(splits), bad)
    return Written(manifest, tuple(splits), tuple(bad))


def count_shards(samples: int, shards: int | None = None) -> int:
    """Return the number of shards of a split: as given, or enough to share among many workers."""
    wanted = shards or max(MIN_SHARDS, -(-samples // SHARD_SAMPLES))
    return min(wanted, samples)


def _agreed_domains(
    out: Path, domains: tuple[str, ...], form: Form, splits: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the domains in the order the folder has them, if what it keeps is alike."""
    if not (out / MANIFEST).exists():
        return domains
    there = load_manifest(out)
    if set(there.splits) <= set(splits):
        return domains  # nothing stays that must be alike
    for what, old, new in (
        ("domains", ", ".join(sorted(there.domains)), ", ".join(sorted(domains))),
        ("image size", there.image_size, form.size),
        ("format", there.image_format, form.format),
    ):
        if old != new:
            raise UserError(
                f"{out} has the {what} {old}, the new split {new}; one folder has one {what}: "
                "make them equal, or choose another --out."
            )
    return there.domains


def _spool(
    path: Path,
    source: Source,
    records: Sequence[Record],
    domains: tuple[str, ...],
    form: Form,
    advance: Callable[[int], None],
) -> tuple[list[Sample], list[Bad]]:
    """Encode every readable record into one file, one after the other."""
    samples: list[Sample] = []
    bad: list[Bad] = []
    numbers = {domain: number for number, domain in enumerate(domains)}
    with path.open("wb") as file:
        for record, content in zip(records, source.read(records), strict=True):
            try:
                data, info = _encode(record, content, form)
            except SampleError as error:
                bad.append(Bad(record.split, record.domain, record.origin, str(error)))
            else:
                samples.append(Sample(numbers[record.domain], file.tell(), len(data), info))
                file.write(data)
            advance(1)
    return samples, bad


def _encode(record: Record, content: Content | SampleError, form: Form) -> tuple[bytes, bytes]:
    """Return the image member and the json member of a record."""
    if isinstance(content, SampleError):
        raise content
    if isinstance(content.image, bytes):
        pixels, (width, height) = images.read_square(content.image, form.size)
    else:
        pixels = content.image
        height, width = pixels.shape[:2]
    data = images.encode(pixels, format=form.format, quality=form.quality)
    info = {"origin": record.origin, "size": [width, height], **content.facts}
    return data, json.dumps(info, sort_keys=True, ensure_ascii=False).encode("utf-8")


def _pack(
    folder: Path,
    split: str,
    spool: Path,
    samples: Sequence[Sample],
    domains: tuple[str, ...],
    form: Form,
) -> Split:
    """Deal the spooled samples to tar files and write the split's index."""
    count = count_shards(len(samples), form.shards)
    bounds = [len(samples) * number // count for number in range(count + 1)]
    offsets: list[int] = []
    shards, blocks = [], []
    keys = [f"{split}-{number:09d}" for number in range(len(samples))]
    with spool.open("rb") as images_file:
        for number in range(count):
            part = slice(bounds[number], bounds[number + 1])
            path = folder / shard_name(split, number)
            shard, places, digests = _pack_shard(
                path, images_file, keys[part], samples[part], domains, form.format
            )
            shards.append(shard)
            offsets += places
            blocks.append(digests)
    index = Index(
        np.repeat(np.arange(count), np.diff(bounds)).astype(np.uint32),
        np.array([sample.domain for sample in samples], np.uint16),
        np.array(offsets, np.uint64),
        np.array([sample.size for sample in samples], np.uint32),
        np.array([key.encode("ascii") for key in keys]),
    )
    return save_split_index(folder, split, index, shards, blocks)


def _pack_shard(
    path: Path,
    spool: BinaryIO,
    keys: Sequence[str],
    samples: Sequence[Sample],
    domains: tuple[str, ...],
    suffix: str,
) -> tuple[Shard, list[int], Digests]:
    """Write one tar file; return its entry and where each image's bytes begin."""
    offsets = []
    with path.open("wb") as file:
        tar = Tar(file)
        for key, sample in zip(keys, samples, strict=True):
            spool.seek(sample.offset)
            offsets.append(tar.add(f"{key}.{suffix}", spool.read(sample.size)))
            tar.add(f"{key}.cls", str(sample.domain).encode("ascii"))
            tar.add(f"{key}.json", sample.info)
        tar.end()
    held = np.bincount([sample.domain for sample in samples], minlength=len(domains)).tolist()
    counts = dict(zip(domains, held, strict=True))
    return Shard(path.name, len(samples), tar.bytes, tar.sha256(), counts), offsets, tar.blocks()
