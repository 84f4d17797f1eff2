"""A check's report as rows for the screen, sentences, and JSON of a stable form."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from srae_dist.data.check.findings import Findings, printable
from srae_dist.data.check.statistics import Range, Sizes, Statistics
from srae_dist.data.check.summary import EQUAL, Report

FORMAT = "srae_dist.check"
VERSION = 1
COLUMNS = (
    *("split", "domain", "images", "broken", "flat", "copies"),
    *("kB", "pixels", "original"),
)
LEGEND = (
    "flat: of nearly one colour; copies: equal to another of the domain; kB: of a file, on "
    "average; original: before it was sharded; a..b..c: smallest, middle, largest."
)


def rows_of(report: Report) -> list[tuple[object, ...]]:
    """Return a row for every split and domain, of COLUMNS."""
    return [
        (
            split,
            domain,
            facts.images,
            facts.broken,
            facts.flat,
            facts.copies,
            facts.bytes_mean / 1e3,
            _sides(facts.sizes),
            _sides(facts.originals),
        )
        for split, domains in report.statistics.items()
        for domain, facts in domains.items()
    ]


def title_of(report: Report) -> str:
    """Return what the table is of."""
    size = report.manifest.image_size
    side = f"{size} x {size}" if size else "mixed sizes"
    return f"{printable(str(report.root))}: {side}, {report.manifest.image_format}"


def remarks_of(report: Report) -> Iterator[str]:
    """Yield a sentence for every kind of remark, duplicates first."""
    yield from _duplicates(report)
    for kind, count in report.remarks.counts.items():
        if kind != EQUAL:
            first = report.remarks.first[kind][0].sentence()
            yield f"{first}." if count == 1 else f"{first} (and {count - 1:,} more {kind})."


def problems_of(report: Report, *, most: int) -> Iterator[str]:
    """Yield the first problems, and how many more there are of each kind."""
    shown: Counter[str] = Counter()
    for problem in itertools.islice(report.problems, most):
        shown[problem.kind] += 1
        yield f"{problem.sentence()}."
    more = {kind: count - shown[kind] for kind, count in report.problems.counts.items()}
    if listed := ", ".join(f"{count:,} {kind}" for kind, count in more.items() if count):
        yield f"and {listed} more; --json FILE lists them."


def verdict_of(report: Report) -> str:
    """Say in a sentence whether the folder is sound."""
    images = sum(facts.images for split in report.statistics.values() for facts in split.values())
    if report.sound:
        return f"sound: {_images(images)}, all as the manifest says."
    count = report.problems.total()
    problems = "1 problem" if count == 1 else f"{count:,} problems"
    return f"not sound: {problems} in {_images(images)}; copy the folder again, or make it anew."


def json_of(report: Report) -> dict[str, Any]:
    """Return the report as a value for JSON.

    ``format`` "srae_dist.check", ``version`` 1; ``root``; ``sound`` (no problems); ``domains``,
    ``image_size``, ``image_format`` as in the manifest; ``splits``: name -> ``shards`` and
    ``domains``: name -> ``images``, ``broken``, ``flat``, ``copies``, ``bytes`` (mean, min, max,
    total), ``sizes`` and ``originals`` (null, or ``width`` and ``height`` with min, median, max;
    ``common``: the ten most frequent [width, height, images]; ``different``: how many there are);
    ``duplicates``: ``copies`` (split -> images that repeat another of their domain),
    ``across_domains`` (split -> images), ``across_splits`` (split -> other split -> images of the
    first that the other has, too); ``problems`` and ``remarks``: kind -> ``count`` and ``first``,
    at most 1,000 of ``split``, ``shard``, ``key``, ``what``. Names may be added in later versions.
    """
    manifest, found = report.manifest, report.duplicates
    numbered = list(enumerate(report.splits))
    across = {name: int(found.across_domains[number]) for number, name in numbered}
    return {
        "format": FORMAT,
        "version": VERSION,
        "root": str(report.root).encode("utf-8", "backslashreplace").decode("utf-8"),
        "sound": report.sound,
        "domains": list(manifest.domains),
        "image_size": manifest.image_size,
        "image_format": manifest.image_format,
        "splits": {
            name: {
                "shards": len(manifest.splits[name].shards),
                "domains": {
                    domain: _statistics(facts) for domain, facts in report.statistics[name].items()
                },
            }
            for name in report.splits
        },
        "duplicates": {
            "copies": {name: int(found.copies[number].sum()) for number, name in numbered},
            "across_domains": across,
            "across_splits": {
                name: {
                    other: int(found.shared[number, place])
                    for place, other in numbered
                    if place != number
                }
                for number, name in numbered
            },
        },
        "problems": _findings(report.problems),
        "remarks": _findings(report.remarks),
    }


def _duplicates(report: Report) -> Iterator[str]:
    """Yield a sentence for every way in which images are there more than once."""
    found, names = report.duplicates, report.splits
    for pair in itertools.combinations(range(len(names)), 2):
        judged, seen = sorted(pair, key=lambda number: (names[number] == "train", -number))
        if count := int(found.shared[judged, seen]):
            yield (
                f"LEAK: {_images(count)} of split {names[judged]} can be seen in split "
                f"{names[seen]}, too; what is measured on {names[judged]} then flatters."
            )
    for number, name in enumerate(names):
        if count := int(found.across_domains[number]):
            yield f"split {name}: {_images(count)} can be seen in more than one domain."
        if copies := int(found.copies[number].sum()):
            repeat = "repeats" if copies == 1 else "repeat"
            yield f"split {name}: {_images(copies)} {repeat} another of the same domain."


def _statistics(facts: Statistics) -> dict[str, Any]:
    return {
        "images": facts.images,
        "broken": facts.broken,
        "flat": facts.flat,
        "copies": facts.copies,
        "bytes": {
            "mean": facts.bytes_mean,
            "min": facts.bytes_min,
            "max": facts.bytes_max,
            "total": facts.bytes_total,
        },
        "sizes": None if facts.sizes is None else asdict(facts.sizes),
        "originals": None if facts.originals is None else asdict(facts.originals),
    }


def _findings(findings: Findings) -> dict[str, Any]:
    return {
        kind: {
            "count": count,
            "first": [
                {"split": one.split, "shard": one.shard, "key": one.key, "what": one.what}
                for one in findings.first[kind]
            ],
        }
        for kind, count in findings.counts.items()
    }


def _sides(sizes: Sizes | None) -> str:
    """Say how large images are: one size, or smallest, middle and largest width and height."""
    if sizes is None:
        return "-"
    if sizes.different == 1:
        width, height, _ = sizes.common[0]
        return f"{width} x {height}"
    return f"{_range(sizes.width)} x {_range(sizes.height)}"


def _range(values: Range) -> str:
    return f"{values.min}..{values.median:.0f}..{values.max}"


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"
