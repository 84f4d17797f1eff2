"""Where the domain code of a translation comes from: a domain's mean, one reference, a reference
drawn for each image, or the image itself.

A draw is a hash of the seed and the image's key: neither ranks nor batches change it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from srae_dist.core.errors import SampleError
from srae_dist.core.randomness import seed_of
from srae_dist.data.images import Pixels, decode_array
from srae_dist.translation.inputs import Images
from srae_dist.translation.translator import Translator

TRIES = 8  # references drawn for an image before it is given up


@dataclass(frozen=True, slots=True)
class Lent:
    """What lends an image its domain code."""

    label: str  # "mean", "kept", or the reference's name
    pixels: Pixels | None = None  # of the reference, where there is one for each image
    unreadable: tuple[str, ...] = ()  # references drawn before it that cannot be read


class DomainCodes(Protocol):
    """A source of domain codes."""

    def lend(self, key: str) -> Lent:
        """Choose and read what lends its code to an image; runs in many threads.

        Raises:
            SampleError: nothing that was chosen can be read.
        """
        ...

    def codes(self, lent: Sequence[Lent], own: Tensor) -> Tensor:
        """Return domain codes N j, where ``own`` N j are those of the images themselves."""
        ...


class FixedCode:
    """One code for all images."""

    def __init__(self, code: Tensor, label: str) -> None:
        self._code, self._lent = code, Lent(label)

    def lend(self, key: str) -> Lent:
        """Name the code."""
        return self._lent

    def codes(self, lent: Sequence[Lent], own: Tensor) -> Tensor:
        """Repeat the code: N j."""
        return self._code.expand(len(lent), -1)


class KeptStyle:
    """Each image's own code, moved to the target domain."""

    def __init__(self, translator: Translator, *, to: str, source: str | None) -> None:
        self._translator, self._to, self._source = translator, to, source

    def lend(self, key: str) -> Lent:
        """Name the code."""
        return Lent("kept")

    def codes(self, lent: Sequence[Lent], own: Tensor) -> Tensor:
        """Move the codes: N j."""
        return self._translator.move_code(own, to=self._to, source=self._source)


class DrawnReferences:
    """A reference of its own for each image; one that cannot be read is drawn again."""

    def __init__(self, translator: Translator, references: Images, *, seed: int) -> None:
        self._translator, self._references, self._seed = translator, references, seed

    def lend(self, key: str) -> Lent:
        """Draw and decode a reference."""
        unreadable: tuple[str, ...] = ()
        for attempt in range(TRIES):
            place = seed_of(self._seed, "reference", attempt, key) % len(self._references)
            name = self._references.name(place)
            try:
                data = self._references.data(place)
                pixels = decode_array(data, self._translator.image_size)
            except SampleError:
                unreadable += (name,)
            else:
                return Lent(name, pixels, unreadable)
        raise SampleError(f"none of {TRIES} references drawn for it can be read ({name})")

    def codes(self, lent: Sequence[Lent], own: Tensor) -> Tensor:
        """Encode the references: N j."""
        batch = np.stack([item.pixels for item in lent if item.pixels is not None])
        return self._translator.encode(batch).domain.mean
