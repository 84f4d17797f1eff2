"""An index of content codes: the images of a domain whose codes are nearest to a query's.

Codes are kept as 128 numbers of 16 bits, grouped by domain, and compared one by one (faiss): a
million take about 30 ms on one core (benchmarks/neighbours-2026-11-25.md). An inverted file would
be faster to search, but has to be built at each load, 13 s for a million, and finds less.

128 numbers tell which images are near, and less well which of them is nearest. So a search may
compare the whole codes of a shortlist: its images are encoded again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from srae_dist.core.errors import UserError, did_you_mean
from srae_dist.core.machine import available_cores
from srae_dist.evaluation.content_space import ContentSpace, Floats, Integers

Codes = NDArray[np.float16]  # n x r, of unit length
Part = Callable[[int], Codes]  # a domain's codes, by its number
Whole = Callable[[Integers], NDArray[Any]]  # rows of the split -> whole content codes


class Neighbours(NamedTuple):
    """What a search found for Q queries, nearest first."""

    keys: list[list[str]]  # Q x k, as in the shards
    distances: Floats  # Q x k: cosine distance, 0 to 2
    rows: Integers  # Q x k: rows of the shards' index


class CodeIndex:
    """Reduced content codes of a split's images, grouped by domain; light until it is searched."""

    def __init__(
        self,
        space: ContentSpace,
        part: Part,
        *,
        domains: Sequence[str],
        counts: Sequence[int],
        rows: NDArray[np.unsignedinteger[Any]],
        keys: NDArray[np.bytes_],
    ) -> None:
        """Take what was built or loaded.

        Args:
            part: gives a domain's codes; asked once a domain.
            domains: names, in the model's order.
            counts: images of each domain.
            rows: of every image, grouped by domain, ascending in each: its row of ``keys``.
            keys: of all images of the split, as in the shards' index.
        """
        self.space, self.domains = space, tuple(domains)
        self.counts, self.rows = tuple(counts), rows
        self._part, self._keys = part, keys
        self._starts = [0, *np.cumsum(self.counts).tolist()]
        self._searchers: dict[int, Any] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def search(
        self,
        codes: NDArray[Any],
        *,
        own: Sequence[str] | str,
        domain: str,
        k: int = 5,
        whole: Whole | None = None,
    ) -> Neighbours:
        """Find the k images of a domain whose content codes are nearest.

        The distance is the cosine distance, 1 - cos, of content codes without their domains' means:
        0 for the same image, about 1 for unrelated ones. From reduced codes it is a little too
        large; with ``whole`` it is exact.

        Args:
            codes: whole content codes (means) of the queries: Q x D, or Q k a b.
            own: the queries' own domains, or the one of them all: whose means are removed.
            domain: where to look.
            k: images for each query.
            whole: encodes images of the split, given by their rows; with it, whole codes decide
                among the ``shortlist(k)`` that are nearest by reduced codes.

        Raises:
            UserError: an unknown domain, k below 1 or above the domain's images, or codes of
                another model.
        """
        names = [own] * len(codes) if isinstance(own, str) else own
        numbers = np.array([self.number(name) for name in names], np.int64)
        place = self.number(domain)
        self.check(domain, k)
        units = self.space.unit(codes, numbers)
        most = k if whole is None else min(shortlist(k), self.counts[place])
        scores, rows = self._scan(self.space.reduce(units), place, most)
        if whole is not None:
            scores, rows = self._compare(units, rows, place, whole)
        distances: Floats = np.clip(1.0 - scores[:, :k], 0.0, 2.0)  # rounding ends a little beyond
        return Neighbours(self.keys_of(rows[:, :k]), distances, rows[:, :k])

    def _scan(self, queries: Floats, domain: int, count: int) -> tuple[Floats, Integers]:
        """Compare reduced codes with all of a domain: scores and rows of the best, Q x count."""
        searcher = self._searcher(domain)
        with _threads(min(len(queries), available_cores())):
            scores, found = searcher.search(queries, count)
        return scores, self.rows[self._starts[domain] + found].astype(np.int64)

    def _compare(
        self, units: Floats, rows: Integers, domain: int, whole: Whole
    ) -> tuple[Floats, Integers]:
        """Put Q x s rows in the order of their whole codes."""
        wanted, places = np.unique(rows, return_inverse=True)
        listed = self.space.unit(whole(wanted), np.full(len(wanted), domain, np.int64))
        scores = np.einsum("qd,qsd->qs", units, listed[places.reshape(rows.shape)])
        order = np.argsort(-scores, axis=1, kind="stable")
        return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)

    def keys_of(self, rows: Integers) -> list[list[str]]:
        """Keys of Q x k rows."""
        return [[bytes(key).decode("ascii") for key in line] for line in self._keys[rows]]

    def number(self, domain: str) -> int:
        """Number of a domain.

        Raises:
            UserError: there is no such domain.
        """
        if domain not in self.domains:
            raise UserError(
                f"There is no domain '{domain}'; there are {', '.join(self.domains)}."
                f"{did_you_mean(domain, self.domains)}"
            )
        return self.domains.index(domain)

    def check(self, domain: str, k: int) -> None:
        """Hold k against the images there are.

        Raises:
            UserError: it is below 1 or above them.
        """
        check_k(k, domain, self.counts[self.number(domain)])

    def _searcher(self, domain: int) -> Any:
        """Build what searches a domain: a copy of its codes, in faiss's memory."""
        if domain not in self._searchers:
            import faiss

            codes, numbers = np.ascontiguousarray(self._part(domain)), self.space.numbers
            kind = faiss.ScalarQuantizer.QT_fp16
            made = faiss.IndexScalarQuantizer(numbers, kind, faiss.METRIC_INNER_PRODUCT)
            made.add_sa_codes(codes.view(np.uint8).reshape(len(codes), 2 * numbers))
            self._searchers[domain] = made
        return self._searchers[domain]


def shortlist(k: int) -> int:
    """How many images are compared by whole codes to find k."""
    return max(50, 10 * k)


def check_k(k: int, domain: str, images: int) -> None:
    """Hold the number of neighbours against a domain's images.

    Raises:
        UserError: it is below 1 or above them.
    """
    if k < 1:
        raise UserError(f"-k {k} asks for no neighbour; -k must be 1 or more.")
    if k > images:
        raise UserError(
            f"{k} neighbours cannot be found among {images:,} images of '{domain}'; "
            f"-k may be {images:,} at most."
        )


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Use so many of faiss's threads: it shares out queries, so one query needs one."""
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(max(1, count))
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
