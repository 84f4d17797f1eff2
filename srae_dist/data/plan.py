"""Which records make which shard: known before anything is read, so that a shard can be made
anywhere, at any time, by any process, and be the same bytes."""

from __future__ import annotations

import hashlib
import heapq
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from srae_dist import __version__
from srae_dist.core.errors import UserError, did_you_mean
from srae_dist.data import images
from srae_dist.data.manifest import VERSION
from srae_dist.data.records import Record, Records

MIN_SHARDS = 64
SHARD_SAMPLES = 10_000  # at most, unless the number of shards is given
LAYOUTS = ("mixed", "domain")


@dataclass(frozen=True, slots=True)
class Form:
    """How samples are stored."""

    size: int  # pixels, square
    format: str = "jpg"  # or "png", "webp"
    quality: int = 95  # of jpg and webp
    shards: int | None = None  # per split; default: at least 64, at most 10,000 samples in each
    layout: str = "mixed"  # or "domain": every shard of one domain
    shrink: bool = False  # JPEGs may be decoded at a fraction of their size

    def __post_init__(self) -> None:
        for option, value, known in (
            ("--format", self.format, images.ENCODINGS),
            ("--layout", self.layout, LAYOUTS),
        ):
            if value not in known:
                raise UserError(
                    f"{option} '{value}' is not one of {', '.join(known)}; choose one."
                    f"{did_you_mean(value, known)}"
                )


@dataclass(frozen=True, slots=True)
class Job:
    """One shard to be made."""

    split: str
    number: int  # of the shard in the split
    first: int  # number of its first record in the split: keys count from there
    records: Sequence[Record]
    fingerprint: str  # of all that its bytes depend on, but for the images themselves

    @property
    def stem(self) -> str:
        """The shard's file name without its suffix."""
        return f"{self.split}-{self.number:06d}"

    def loaded(self) -> Job:
        """Return the job with its records at hand, to send it to another process."""
        return replace(self, records=tuple(self.records))


def plan_shards(
    splits: Mapping[str, Records], form: Form, *, domains: Sequence[str], identity: str
) -> list[Job]:
    """Cut each split's records into shards.

    ``domains`` are the manifest's; ``identity`` says what the records' reader makes of them.
    """
    fixed = [VERSION, __version__, form.size, form.format, form.quality, form.shrink]
    jobs = []
    for split, records in splits.items():
        laid, bounds = _cut(records, form, domains)
        for number, (start, stop) in enumerate(itertools.pairwise(bounds)):
            part = laid[start:stop]
            head = json.dumps([*fixed, list(domains), identity, split, number, start])
            jobs.append(Job(split, number, start, part, _fingerprint(head, part)))
    return jobs


def count_shards(samples: int, shards: int | None = None) -> int:
    """Return the number of shards of a split: as given, or enough to share among many workers."""
    wanted = shards or max(MIN_SHARDS, -(-samples // SHARD_SAMPLES))
    return min(wanted, samples)


def share_shards(counts: Sequence[int], shards: int | None = None) -> list[int]:
    """Return the number of shards of each domain, so that the largest shard is as small as can be.

    There are as many as of a split of mixed domains, but at least one for every sample's domain.
    """
    given = [min(1, count) for count in counts]
    least = sum(-(-count // SHARD_SAMPLES) for count in counts)
    wanted = min(shards or max(MIN_SHARDS, least), sum(counts))
    heap = [(-float(count), place) for place, count in enumerate(counts) if count]
    heapq.heapify(heap)
    for _ in range(wanted - sum(given)):
        place = heap[0][1]
        given[place] += 1
        heapq.heapreplace(heap, (-counts[place] / given[place], place))
    return given


def _cut(records: Records, form: Form, domains: Sequence[str]) -> tuple[Records, list[int]]:
    """Return the records in the order they are laid out in, and where each shard begins."""
    if form.layout == "mixed":
        return records, _bounds(len(records), count_shards(len(records), form.shards))
    places = {domain: place for place, domain in enumerate(domains)}
    domain = np.array([places.get(name, 0) for name in records.domains])[records.domain]
    counts = np.bincount(domain, minlength=len(domains)).tolist()
    bounds = [0]
    for count, shards in zip(counts, share_shards(counts, form.shards), strict=True):
        bounds += [bounds[-1] + end for end in _bounds(count, shards)[1:]]
    return records.take(np.argsort(domain, kind="stable")), bounds


def _bounds(count: int, shards: int) -> list[int]:
    return [count * number // shards for number in range(shards + 1)] if shards else [0]


def _fingerprint(head: str, records: Sequence[Record]) -> str:
    digest = hashlib.sha256(head.encode("utf-8"))
    for record in records:
        digest.update(f"\n{record.domain}\0{record.name}\0{record.origin}".encode())
    return digest.hexdigest()
