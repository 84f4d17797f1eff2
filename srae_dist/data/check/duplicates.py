"""Images that are there twice, byte for byte: in one domain, in two domains, or in two splits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_GROUPS = 1000  # of equal images that are named
_MOST_NAMED = 8  # images of a group


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Counts of exact duplicates; S splits, D + 1 domains, the last of which is unknown."""

    copies: NDArray[np.int64]  # S x D+1: images beyond the first of equal ones in split and domain
    across_domains: NDArray[np.int64]  # S: images of a split that other domains of it have, too
    shared: NDArray[np.int64]  # S x S: [a, b]: images of split a that split b has, too
    groups: tuple[tuple[int, ...], ...]  # numbers of equal images; the first groups and images


def find_duplicates(
    digests: NDArray[np.uint64],
    splits: NDArray[np.int64],
    domains: NDArray[np.int64],
    *,
    num_splits: int,
    num_domains: int,
) -> Duplicates:
    """Find equal rows of ``digests``, n x 2; ``splits`` and ``domains``, n, number what has them.

    Domain -1 is unknown.
    """
    order = np.lexsort((digests[:, 1], digests[:, 0]))  # stable: equal images keep their order
    ordered = digests[order]
    new = np.ones(len(order), bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    group = np.cumsum(new) - 1
    many = np.bincount(group, minlength=1)[group] > 1 if len(group) else new
    rows, group = order[many], np.cumsum(new[many]) - 1
    split, domain = splits[rows], domains[rows] % (num_domains + 1)
    place = split * (num_domains + 1) + domain
    kinds = num_splits * (num_domains + 1)
    count = int(group[-1]) + 1 if len(group) else 0

    places = np.unique(group * kinds + place)  # each (group, split, domain) once
    copies = np.bincount(place, minlength=kinds) - np.bincount(places % kinds, minlength=kinds)
    in_splits = places // (num_domains + 1)  # (group, split), once for each of its domains
    domains_there = np.bincount(in_splits, minlength=count * num_splits)
    across = np.bincount(split[domains_there[group * num_splits + split] > 1], minlength=num_splits)
    shared = np.zeros((num_splits, num_splits), np.int64)
    for other in range(num_splits):
        has = domains_there.reshape(-1, num_splits)[:, other] > 0
        shared[:, other] = np.bincount(split[has[group]], minlength=num_splits)
    np.fill_diagonal(shared, 0)
    return Duplicates(
        copies.reshape(num_splits, num_domains + 1), across, shared, _named(rows, group)
    )


def _named(rows: NDArray[np.int64], group: NDArray[np.int64]) -> tuple[tuple[int, ...], ...]:
    """Return the first groups, those first that begin first."""
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    ends = np.append(starts[1:], len(group))
    first = np.argsort(rows[starts])[:MOST_GROUPS].tolist()
    return tuple(
        tuple(rows[starts[g] : min(ends[g], starts[g] + _MOST_NAMED)].tolist()) for g in first
    )
