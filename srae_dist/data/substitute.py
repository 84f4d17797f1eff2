"""What stands in for a sample that cannot be read: another of its domain, chosen by its key.

The choice is a function of the seed, the key and the attempt alone, so every rank and worker makes
the same one, and no other sample's place in the order shifts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srae_dist.core.errors import UserError
from srae_dist.core.randomness import seed_of
from srae_dist.core.types import BadSample
from srae_dist.data.manifest import Index
from srae_dist.data.reader import Failure, Reader, take

ATTEMPTS = 100  # readable samples are looked for so often; more means that nearly all are bad


class Substitutes:
    """Finds a readable sample for each that is not."""

    def __init__(self, reader: Reader, index: Index, *, seed: int) -> None:
        self._reader, self._index, self._seed = reader, index, seed
        self._members: dict[int, NDArray[np.int64]] = {}

    def repair(
        self, rows: Index, pixels: NDArray[np.uint8], failures: Sequence[Failure]
    ) -> tuple[list[str], list[BadSample]]:
        """Put other samples' pixels where some failed; return all keys, and what was bad.

        Raises:
            UserError: no readable sample was found.
        """
        keys = [rows.key(place) for place in range(len(rows))]
        bad = []
        for failure in failures:
            key, image, passed = self._find(int(rows.domain[failure.place]), failure)
            pixels[failure.place] = image
            keys[failure.place] = key
            bad += [BadSample(f.shard, f.key, f.reason, key) for f in (failure, *passed)]
        return keys, bad

    def _find(self, domain: int, failure: Failure) -> tuple[str, NDArray[np.uint8], list[Failure]]:
        """Return a substitute's key and pixels, and the candidates that cannot be read either."""
        members = self._of(domain)
        passed: list[Failure] = []
        for attempt in range(ATTEMPTS):
            draw = seed_of(self._seed, "substitute", failure.key, attempt) % len(members)
            row = take(self._index, members[draw : draw + 1])
            pixels = self._reader.empty(1)
            failed = self._reader.try_read(row, pixels)
            if not failed:
                return row.key(0), pixels[0], passed
            passed += failed
        raise UserError(
            f"Sample {failure.key} of {failure.shard} cannot be read ({failure.reason}), nor can "
            f"any of {ATTEMPTS} others of its domain; make the shards again, or reach their store."
        )

    def _of(self, domain: int) -> NDArray[Any]:
        if domain not in self._members:
            self._members[domain] = np.flatnonzero(self._index.domain == domain)
        return self._members[domain]
