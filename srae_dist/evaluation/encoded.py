"""Codes of images, and all that is known of these images: what every measure begins with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Encoded:
    """N images of a split in the index's order, whatever the number of ranks that encoded them."""

    pixels: NDArray[np.uint8]  # N H W 3
    content: NDArray[np.float32]  # N k a b: means of the content code
    domain_code: NDArray[np.float32]  # N j: means of the domain code
    domain: NDArray[np.int64]  # N: number in ``domains``
    keys: tuple[str, ...]  # N: as in the shards
    domains: tuple[str, ...]  # the domains' names, in the model's order
    labels: Mapping[str, NDArray[np.str_]]  # content labels by name: N, "" where there is none
    factors: Mapping[str, NDArray[np.float32]]  # by name: N; empty but for the built-in faces

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, rows: NDArray[Any]) -> Encoded:
        """Return some of the images: numbers, or a mask of N."""
        numbers = np.arange(len(self))[rows]
        return replace(
            self,
            pixels=self.pixels[numbers],
            content=self.content[numbers],
            domain_code=self.domain_code[numbers],
            domain=self.domain[numbers],
            keys=tuple(self.keys[number] for number in numbers),
            labels={name: values[numbers] for name, values in self.labels.items()},
            factors={name: values[numbers] for name, values in self.factors.items()},
        )

    def of(self, domain: int) -> Encoded:
        """Return the images of a domain."""
        return self.take(self.domain == domain)

    @property
    def flat_content(self) -> NDArray[np.float32]:
        """The content codes as rows: N x k a b."""
        return self.content.reshape(len(self), -1)
