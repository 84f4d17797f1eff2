"""Build an index of content codes in one pass over a split: what grows with it is the index alone.

A sample of the images is encoded first. Some of them are queries; from the rest the space is found.
Then every image is encoded, a chunk at a time: its reduced code is kept, and its whole code is
looked at by the exact search for the queries, with which the finished index is compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from srae_dist.core.errors import UserError
from srae_dist.evaluation.code_index import CodeIndex, Codes, shortlist
from srae_dist.evaluation.content_space import ContentSpace, Floats, Integers, fit_space
from srae_dist.evaluation.encode import choose_rows
from srae_dist.evaluation.exact import ExactSearch, recall

SAMPLE = 16_384  # images that are encoded first, at most
QUERIES = 512  # of them, at most, and an eighth
K = 5  # neighbours that the index is judged by
CHUNK = 64  # images encoded together

# encodes rows of the split: the rows that could be read, and their content codes n x D
Encode = Callable[[Integers], tuple[Integers, Floats]]


@dataclass(frozen=True, slots=True)
class Quality:
    """How far the index can be trusted."""

    recall: float | None  # share of the k truly nearest that are found; None without queries
    recall_alone: float | None  # the same without comparing the shortlist's whole codes
    k: int
    shortlist: int
    queries: int
    fitted_on: int  # images from which means and directions were found
    kept: float  # share of whole codes' squared length that reduced codes keep


@dataclass(frozen=True, slots=True)
class Built:
    """A finished index and its quality."""

    index: CodeIndex
    codes: Codes  # N x r, grouped by domain
    quality: Quality
    unreadable: Integers  # rows that are not in it


@dataclass(frozen=True, slots=True)
class _Sample:
    """Images that were encoded first."""

    rows: Integers
    codes: Floats  # n x D
    whole: bool  # no image of the split is missing, but for those that cannot be read


def count_encodings(domain: Integers, *, domains: int, sample: int = SAMPLE) -> int:
    """How many images ``build`` will encode, those counted twice that it encodes twice."""
    each = np.minimum(np.bincount(domain, minlength=domains), _share(sample, domains))
    first = int(each.sum())
    return first if first == len(domain) else first + len(domain)


def build(
    domain: Integers,
    keys: NDArray[np.bytes_],
    *,
    domains: Sequence[str],
    split: str,
    encode: Encode,
    sample: int = SAMPLE,
) -> Built:
    """Build an index of a split's images.

    Args:
        domain: N, numbers in ``domains`` of all images.
        keys: N, as in the shards' index.
        split: its name, on which the choice of the sample depends.
        encode: reads and encodes some rows, at most ``CHUNK``.
        sample: images to be encoded first, at most; if these are all, none is encoded twice.

    Raises:
        UserError: no image of a domain can be read, or codes are not finite.
    """
    first = _encode_sample(domain, domains, split=split, encode=encode, most=sample)
    own = domain[first.rows]
    asks = _choose_queries(own, len(domains))
    space = fit_space(first.codes[~asks], own[~asks], domains=len(domains))
    units = space.unit(first.codes[asks], own[asks])
    exact = ExactSearch(units, first.rows[asks], domains=len(domains), k=K)
    order = np.argsort(domain, kind="stable")  # rows, grouped by domain
    codes, good, kept = _encode_all(domain, order, first, space, exact, encode)
    if not good.all():
        codes, order = codes[good[order]], order[good[order]]
    index = _index_of(space, codes, order, domain=domain, domains=domains, keys=keys)
    listed, alone = _judge(index, exact, first.codes[asks], first.rows[asks], own[asks])
    quality = Quality(
        recall=listed,
        recall_alone=alone,
        k=K,
        shortlist=shortlist(K),
        queries=int(asks.sum()),
        fitted_on=int((~asks).sum()),
        kept=kept / len(index),
    )
    return Built(index, codes, quality, np.flatnonzero(~good))


def _encode_sample(
    domain: Integers, domains: Sequence[str], *, split: str, encode: Encode, most: int
) -> _Sample:
    """Encode as many images of every domain, drawn from the whole split."""
    rows = choose_rows(domain, domains, per_domain=_share(most, len(domains)), split=split)
    parts = [encode(rows[start : start + CHUNK]) for start in range(0, len(rows), CHUNK)]
    good = np.concatenate([part[0] for part in parts])
    for number in np.flatnonzero(np.bincount(domain[good], minlength=len(domains)) == 0).tolist():
        raise UserError(
            f"None of the images of '{domains[number]}' that were tried can be read; make sound "
            "shards with `srae-dist shard`."
        )
    codes = np.concatenate([part[1].reshape(len(part[0]), -1) for part in parts if len(part[0])])
    return _Sample(good, codes, whole=len(rows) == len(domain))


def _share(sample: int, domains: int) -> int:
    return max(2, sample // domains)


def _choose_queries(domain: Integers, domains: int) -> NDArray[np.bool_]:
    """Choose every eighth image of each domain, up to a share of ``QUERIES``."""
    chosen = np.zeros(len(domain), np.bool_)
    for number in range(domains):
        mine = np.flatnonzero(domain == number)
        chosen[mine[1::8][: max(1, QUERIES // domains)]] = True
    return chosen


def _encode_all(
    domain: Integers,
    order: Integers,
    first: _Sample,
    space: ContentSpace,
    exact: ExactSearch,
    encode: Encode,
) -> tuple[Codes, NDArray[np.bool_], float]:
    """Encode every image; show it to the exact search.

    Returns:
        Reduced codes in the given order, N x r; which rows could be read, N; and the sum of the
        squared lengths that reduced codes have left.
    """
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    codes = np.zeros((len(order), space.numbers), np.float16)
    good, kept = np.zeros(len(order), np.bool_), 0.0
    for rows, whole in _chunks(len(order), first, encode):
        if len(rows):
            units = space.unit(whole, domain[rows])
            reduced = space.reduce(units)
            codes[place[rows]], good[rows] = reduced, True
            kept += float(np.square(reduced).sum())
            exact.add(units, rows, domain[rows])
    return codes, good, kept


def _chunks(total: int, first: _Sample, encode: Encode) -> Iterator[tuple[Integers, Floats]]:
    """Yield rows and whole codes of all images that can be read."""
    if first.whole:  # all are in memory already
        for start in range(0, len(first.rows), CHUNK):
            rows = first.rows[start : start + CHUNK]
            yield rows, first.codes[start : start + CHUNK]
        return
    for start in range(0, total, CHUNK):
        yield encode(np.arange(start, min(start + CHUNK, total)))


def _index_of(
    space: ContentSpace,
    codes: Codes,
    order: Integers,
    *,
    domain: Integers,
    domains: Sequence[str],
    keys: NDArray[np.bytes_],
) -> CodeIndex:
    counts = np.bincount(domain[order], minlength=len(domains)).tolist()
    starts = [0, *np.cumsum(counts).tolist()]
    return CodeIndex(
        space,
        lambda number: codes[starts[number] : starts[number + 1]],
        domains=domains,
        counts=counts,
        rows=order.astype(np.uint32),
        keys=keys,
    )


def _judge(
    index: CodeIndex, exact: ExactSearch, codes: Floats, rows: Integers, own: Integers
) -> tuple[float | None, float | None]:
    """Return the recall of the shortlists, and of the first ``K`` of them.

    Whole codes put the truly nearest of a shortlist first: those that are in it are found.
    """
    listed, alone = [], []
    for place, name in enumerate(index.domains):
        truth = exact.best(place)
        answered = np.array([len(best) > 0 for best in truth], np.bool_)
        # one more, since a query in its own domain finds itself
        most = min(shortlist(K) + 1, index.counts[place])
        for number, other in enumerate(index.domains):
            mine = np.flatnonzero((own == number) & answered)
            if not len(mine):
                continue
            found = index.search(codes[mine], own=other, domain=name, k=most).rows
            for query, line in zip(mine.tolist(), found, strict=True):
                others = line[line != rows[query]]
                listed.append(recall(truth[query], others[: shortlist(K)]))
                alone.append(recall(truth[query], others[:K]))
    if not listed:  # too few images for any query
        return None, None
    return float(np.mean(listed)), float(np.mean(alone))
