"""The built-in faces as a source: drawn when read, each with the factors it was drawn from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from srae_dist.core import randomness
from srae_dist.core.errors import SampleError, UserError, did_you_mean
from srae_dist.data.records import TEST, TRAIN, Content, Integers, Record, Records, Source

_BLOCK = 256  # faces rendered together


@dataclass(frozen=True, slots=True)
class FaceReader:
    """Draws the built-in faces: image i is of domain i mod m and has factors of its own."""

    domains: tuple[str, ...]
    size: int
    seed: int

    def read(self, records: Sequence[Record]) -> Iterator[Content | SampleError]:
        """Yield each face, rendered with its neighbours, and its factors."""
        for start in range(0, len(records), _BLOCK):
            yield from self._render(records[start : start + _BLOCK])

    def identity(self) -> str:
        """Say what faces are drawn."""
        return f"faces/{self.seed}/{self.size}"

    def stamp(self, records: Sequence[Record]) -> str:
        """Nothing can change."""
        return ""

    def _render(self, block: Sequence[Record]) -> Iterator[Content]:
        from srae_dist.data import faces

        rows = np.concatenate([self._factors(record.place) for record in block])
        pixels = np.empty((len(block), self.size, self.size, 3), np.uint8)
        for domain in self.domains:
            places = [i for i, record in enumerate(block) if record.domain == domain]
            if places:
                pixels[places] = faces.render(rows[places], domain, size=self.size)
        for place, row in enumerate(rows):
            # through str: the shortest number that is this float32
            factors = {
                name: float(str(value)) for name, value in zip(faces.FACTORS, row, strict=True)
            }
            yield Content(pixels[place], {"factors": factors})

    def _factors(self, place: str) -> NDArray[np.float32]:
        """Return the row of factors, in the table that the face's split alone draws from."""
        from srae_dist.data import faces

        part, _, number = place.rpartition("/")
        seed = randomness.seed_of(self.seed, "faces", part)  # so that splits share no face
        return faces.sample_factors(1, seed=seed, start=int(number))


@dataclass(frozen=True, slots=True)
class _FaceNames:
    """Names of the faces: their numbers in their splits."""

    splits: tuple[str, ...]
    split: NDArray[np.int32]
    number: Integers

    def __call__(self, row: int) -> tuple[str, str, str]:
        number, split = int(self.number[row]), self.splits[self.split[row]]
        return str(number), f"faces/{split}/{number}", f"{split}/{number}"


def from_faces(
    count: int, domains: Sequence[str], *, size: int, seed: int, split: str | None = None
) -> Source:
    """List ``count`` built-in faces to train on and a tenth as many to test, or one split alone.

    Raises:
        UserError: a domain is unknown or repeated, or there are fewer faces than domains.
    """
    from srae_dist.data.faces import DOMAINS

    for place, domain in enumerate(domains):
        if domain not in DOMAINS:
            raise UserError(
                f"--domains names '{domain}', but the built-in faces have {', '.join(DOMAINS)}; "
                "take some of these."
                f"{did_you_mean(domain, DOMAINS)}"
            )
        if domain in domains[:place]:
            raise UserError(f"--domains names '{domain}' twice.")
    if count < len(domains):
        raise UserError(f"--faces {count} is fewer than the {len(domains)} domains; give more.")
    tenth = max(len(domains), -(-count // 10))
    counts = {TRAIN: count, TEST: tenth} if split is None else {split: count}
    part = np.repeat(np.arange(len(counts), dtype=np.int32), list(counts.values()))
    numbers = np.concatenate([np.arange(number) for number in counts.values()])
    records = Records(
        _FaceNames(tuple(counts), part, numbers),
        tuple(counts),
        tuple(domains),
        part,
        (numbers % len(domains)).astype(np.int32),
        np.arange(len(numbers)),
    )
    return Source(tuple(domains), records, FaceReader(tuple(domains), size, seed))
