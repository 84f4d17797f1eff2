"""Built-in faces as a measure gets them, and a model whose codes are the factors and the domain."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from srae_dist.data import faces
from srae_dist.evaluation.encoded import Encoded

SIZE = 32

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


class Model:
    """Encodes what it has drawn, and decodes a little too dark, by ``dark`` levels."""

    def __init__(self, domains: tuple[str, ...], *, dark: int = 0) -> None:
        self.domains, self.dark = domains, dark
        self.mean_codes = np.eye(len(domains), dtype=np.float32)
        self._drawn: dict[bytes, tuple[Floats, int]] = {}

    def images(self, count: int, *, seed: int) -> Encoded:
        """``count`` faces of each domain, each with factors of its own, domains in turn."""
        m = len(self.domains)
        rows = faces.sample_factors(count * m, seed=seed)
        domain = np.arange(count * m) % m
        pixels = np.empty((count * m, SIZE, SIZE, 3), np.uint8)
        for number, name in enumerate(self.domains):
            pixels[domain == number] = faces.render(rows[domain == number], name, size=SIZE)
        self.know(rows)
        content, codes = self.encode(pixels)
        return Encoded(
            pixels=pixels,
            content=content,
            domain_code=codes,
            domain=domain,
            keys=tuple(f"{place:04d}" for place in range(count * m)),
            domains=self.domains,
            labels={},
            factors=dict(zip(faces.FACTORS, rows.T, strict=True)),
        )

    def know(self, rows: Floats) -> None:
        """Be able to encode some faces, drawn in any domain."""
        for number, name in enumerate(self.domains):
            pictures = faces.render(rows, name, size=SIZE)
            for row, picture in zip(rows, pictures, strict=True):
                self._drawn[picture.tobytes()] = (row, number)

    def encode(self, pixels: Pixels) -> tuple[Floats, Floats]:
        known = [self._drawn[picture.tobytes()] for picture in pixels]
        content = np.stack([row for row, _ in known])[:, :, None, None]
        return content, self.mean_codes[[number for _, number in known]]

    def decode(self, content: Floats, codes: Floats) -> Pixels:
        rows, numbers = content[:, :, 0, 0], codes.argmax(axis=1)
        pixels = np.empty((len(rows), SIZE, SIZE, 3), np.uint8)
        for number, name in enumerate(self.domains):
            mine = numbers == number
            if mine.any():
                pixels[mine] = faces.render(rows[mine], name, size=SIZE)
        return np.maximum(pixels, self.dark) - np.uint8(self.dark)
