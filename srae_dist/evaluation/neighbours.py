"""Nearest neighbours across domains by content code (paper Sec. 4.2, Fig. 7), as a report shows it.

Whole codes are compared, one with every other: the images of a report are few. What an index of
millions does is in ``code_index.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from srae_dist.core import randomness
from srae_dist.evaluation.code_index import check_k
from srae_dist.evaluation.content_space import Floats, Integers, unit
from srae_dist.evaluation.encoded import Encoded
from srae_dist.evaluation.neighbour_picture import Tile, neighbour_picture
from srae_dist.evaluation.section import Picture, Section, Table

QUERIES = 4  # test images of each domain that are shown
DISTANCE = "cosine distance of content codes, each domain's mean removed"

_TOGETHER = 256  # queries compared at once
_TEXT = (
    "For each of {tests:,} test images, the {k} nearest of {trains:,} training images, those of "
    "its own domain left out: by cosine distance of whole content codes, after each domain's mean "
    "over the training images is removed, by exact search. Unrelated codes are about 1 apart. "
    "Where few different images are nearest to many, the codes tell images of different domains "
    "badly apart."
)


def neighbours_section(
    test: Encoded, train: Encoded, *, k: int = 5, queries: int = QUERIES
) -> Section:
    """Find the nearest training images of other domains for every test image; show a few.

    ``values``: ``k``; ``distance``, what it is; ``of``, by the queries' domain (see ``_measure``);
    and ``queries``, those shown: ``key``, ``domain`` and ``neighbours``, each a ``key``, ``domain``
    and ``distance``.

    Args:
        test: the queries.
        train: where neighbours are looked for.
        k: neighbours of a query.
        queries: images of each domain to show.

    Raises:
        UserError: k is below 1 or above the images of the other domains, or codes are not finite.
    """
    domains = range(len(train.domains))
    means = np.stack([train.flat_content[train.domain == d].mean(axis=0) for d in domains])
    units = unit(train.flat_content, train.domain, means)
    asked = unit(test.flat_content, test.domain, means)
    measured, shown, pictures = {}, [], []
    for number, name in enumerate(train.domains):
        mine, others = np.flatnonzero(test.domain == number), np.flatnonzero(train.domain != number)
        check_k(k, f"all but {name}", len(others))
        places, distances = _nearest(asked[mine], units[others], k)
        found = Found(test.take(mine), train, others[places], distances)
        measured[name] = _measure(found, others)
        order = randomness.generator(0, "neighbours", name).permutation(len(mine))
        some = np.sort(order[:queries]).tolist()
        shown += [_values(found, query) for query in some]
        if some:
            pictures.append(_picture(found, some, name))
    return Section(
        name="neighbours",
        title="Nearest neighbours by content code",
        text=_TEXT.format(tests=len(test), k=k, trains=len(train)),
        values={"k": k, "distance": DISTANCE, "of": measured, "queries": shown},
        tables=[_table(measured)],
        pictures=pictures,
    )


@dataclass(frozen=True, slots=True)
class Found:
    """Queries of one domain, and what was found for each."""

    queries: Encoded  # Q
    train: Encoded
    rows: Integers  # Q x k, of ``train``, nearest first
    distances: Floats  # Q x k


def _nearest(queries: Floats, units: Floats, k: int) -> tuple[Integers, Floats]:
    """Return the k nearest units' places and distances, Q x k, a few queries at a time."""
    places, distances = [np.empty((0, k), np.int64)], [np.empty((0, k), np.float32)]
    for start in range(0, len(queries), _TOGETHER):
        away = 1.0 - queries[start : start + _TOGETHER] @ units.T
        order = np.argsort(away, axis=1, kind="stable")[:, :k]
        places.append(order)
        distances.append(np.clip(np.take_along_axis(away, order, axis=1), 0.0, 2.0))
    return np.concatenate(places), np.concatenate(distances)


def _measure(found: Found, others: Integers) -> dict[str, Any]:
    """Return what can be counted of one domain's queries.

    ``images``: queries; ``nearest``, ``last``: mean distances of the first and of the k-th (None
    without queries); ``distinct``: different images among the first, as a share of the queries;
    ``labels``, by name: ``same``, the share of neighbours that have the query's label, and
    ``chance``, that share among all images of the other domains.
    """
    images = len(found.queries)
    if not images:
        return {"images": 0, "nearest": None, "last": None, "distinct": None, "labels": {}}
    return {
        "images": images,
        "nearest": float(found.distances[:, 0].mean()),
        "last": float(found.distances[:, -1].mean()),
        "distinct": len(np.unique(found.rows[:, 0])) / images,
        "labels": {
            name: label
            for name in sorted(found.train.labels)
            if (label := _label(found, name, others)) is not None
        },
    }


def _label(found: Found, name: str, others: Integers) -> dict[str, float] | None:
    """Return how often neighbours have the query's label; None if either side has no labels."""
    theirs, wanted = found.train.labels[name], found.queries.labels.get(name)
    if wanted is None or not np.any(theirs[others] != ""):
        return None
    known = np.flatnonzero(wanted != "")
    if not len(known):
        return None
    same = theirs[found.rows[known]] == wanted[known][:, None]
    values, counts = np.unique(theirs[others], return_counts=True)
    share = dict(zip(values.tolist(), (counts / len(others)).tolist(), strict=True))
    chance = np.mean([share.get(label, 0.0) for label in wanted[known].tolist()])
    return {"same": float(same.mean()), "chance": float(chance)}


def _values(found: Found, query: int) -> dict[str, Any]:
    """Return what was found for one query, as JSON."""
    train = found.train
    return {
        "key": found.queries.keys[query],
        "domain": train.domains[int(found.queries.domain[query])],
        "neighbours": [
            {
                "key": train.keys[row],
                "domain": train.domains[int(train.domain[row])],
                "distance": round(distance, 4),
            }
            for row, distance in zip(
                found.rows[query].tolist(), found.distances[query].tolist(), strict=True
            )
        ],
    }


def _picture(found: Found, some: Sequence[int], name: str) -> Picture:
    """Draw a few queries of a domain and what was found for them."""
    several = len(found.train.domains) > 2
    lines = []
    for query in some:
        values = _values(found, query)
        tiles = [
            Tile(
                found.train.pixels[row],
                entry["key"],
                f"{entry['distance']:.3f}" + (f" {entry['domain']}" if several else ""),
            )
            for row, entry in zip(found.rows[query].tolist(), values["neighbours"], strict=True)
        ]
        lines.append((Tile(found.queries.pixels[query], values["key"], name), tiles))
    others = [domain for domain in found.train.domains if domain != name]
    return Picture(
        f"neighbours_{name}",
        f"Left: test images of {name}. Right: the nearest training images of "
        f"{' or '.join(others)}, with their distances (paper Fig. 7).",
        neighbour_picture(lines),
    )


def _table(measured: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return the measures as text: a row for each domain."""
    labels = sorted({label for values in measured.values() for label in values["labels"]})
    columns = ["queries of", "images", "nearest", "last", "different images among the nearest"]
    rows = []
    for name, values in measured.items():
        numbers = [_number(values["nearest"]), _number(values["last"]), _share(values["distinct"])]
        rows.append([name, f"{values['images']:,}", *numbers])
        for label in labels:
            entry = values["labels"].get(label, {})
            rows[-1] += [_share(entry.get("same")), _share(entry.get("chance"))]
    for label in labels:
        columns += [f"same {label}", "by chance"]
    return Table("Training images of other domains found for test images", columns, rows)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"
