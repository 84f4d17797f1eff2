"""Which images of a split are measured, and their codes: chunks of them, shared out over ranks.

The chunks are the same for any number of ranks, so the codes are, too: a convolution's last digits
may depend on what else is in its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from srae_dist.core import randomness

Pixels = NDArray[np.uint8]  # n H W 3
Floats = NDArray[np.float32]
Encode = Callable[[Pixels], tuple[Floats, Floats]]  # to content n k a b and domain codes n j


@dataclass(frozen=True, slots=True)
class Chunk:
    """Images that were encoded together."""

    number: int
    pixels: Pixels
    content: Floats  # n k a b
    domain_code: Floats  # n j


def choose_rows(
    domain: NDArray[np.int64], domains: Sequence[str], *, per_domain: int | None, split: str
) -> NDArray[np.int64]:
    """Choose up to ``per_domain`` rows of every domain, all for None; in the rows' order.

    They are drawn from the whole split by a permutation that depends on the names of domain and
    split alone: the images of a smaller number are among those of a larger one.

    Args:
        domain: N, numbers in ``domains``.
    """
    chosen = []
    for number, name in enumerate(domains):
        mine = np.flatnonzero(domain == number)
        if per_domain is not None:
            order = randomness.generator(0, "evaluate", split, name).permutation(len(mine))
            mine = mine[order[:per_domain]]
        chosen.append(mine)
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def encode_chunks(
    rows: NDArray[np.int64],
    *,
    read: Callable[[NDArray[np.int64]], Pixels],
    encode: Encode,
    batch: int,
    rank: int = 0,
    world: int = 1,
) -> list[Chunk]:
    """Encode this rank's share of the rows: of chunks of ``batch`` rows, every ``world``-th."""
    chunks = []
    for number in range(rank, -(-len(rows) // batch), world):
        pixels = read(rows[number * batch : (number + 1) * batch])
        content, domain_code = encode(pixels)
        chunks.append(
            Chunk(number, pixels, content.astype(np.float32), domain_code.astype(np.float32))
        )
    return chunks


def join(chunks: Iterable[Chunk]) -> tuple[Pixels, Floats, Floats]:
    """Put all ranks' chunks in order: pixels, content codes, domain codes."""
    ordered = sorted(chunks, key=lambda chunk: chunk.number)
    return (
        np.concatenate([chunk.pixels for chunk in ordered]),
        np.concatenate([chunk.content for chunk in ordered]),
        np.concatenate([chunk.domain_code for chunk in ordered]),
    )
