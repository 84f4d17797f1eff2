"""Exact search on whole content codes, a chunk of images at a time: what an index is held against.

Ten million whole codes would not fit in memory; a few hundred queries do, with the best that was
found for each so far.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


class ExactSearch:
    """The k most similar images of every domain, for each query; a query does not find itself."""

    def __init__(self, queries: Floats, rows: Integers, *, domains: int, k: int) -> None:
        """``queries``: Q x D, of unit length; ``rows``: Q, the images they are codes of."""
        self._queries, self._rows, self._k = queries, rows, k
        self._scores = np.full((domains, len(queries), k), -np.inf, np.float32)
        self._found = np.full((domains, len(queries), k), -1, np.int64)

    def add(self, units: Floats, rows: Integers, domain: Integers) -> None:
        """Look at more images: codes n x D of unit length, their rows n, their domains n."""
        scores = self._queries @ units.T
        scores[self._rows[:, None] == rows[None, :]] = -np.inf
        for number in np.unique(domain):
            mine = np.flatnonzero(domain == number)
            self._merge(int(number), scores[:, mine], rows[mine])

    def best(self, domain: int) -> list[Integers]:
        """The rows found in a domain, for each query, nearest first; fewer than k of a few."""
        return [found[found >= 0] for found in self._found[domain]]

    def _merge(self, domain: int, scores: Floats, rows: Integers) -> None:
        all_scores = np.concatenate([self._scores[domain], scores], axis=1)
        candidates = np.broadcast_to(rows, scores.shape)
        all_rows = np.concatenate([self._found[domain], candidates], axis=1)
        order = np.argsort(-all_scores, axis=1, kind="stable")[:, : self._k]
        self._scores[domain] = np.take_along_axis(all_scores, order, axis=1)
        kept = np.take_along_axis(all_rows, order, axis=1)
        self._found[domain] = np.where(np.isinf(self._scores[domain]), -1, kept)


def recall(exact: Integers, found: Integers) -> float:
    """Share of the truly nearest images of one query that a search found."""
    return len(np.intersect1d(exact, found)) / len(exact)
