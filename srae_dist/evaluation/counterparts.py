"""Built-in faces beside their true counterparts: the same factors drawn in every other domain.

What a perfect translation would be is known to the pixel, so a model's can be held against it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from srae_dist.core.errors import UserError
from srae_dist.data import faces
from srae_dist.evaluation.codec import Decode, decode_all, encode_all
from srae_dist.evaluation.encode import Encode, Floats, Pixels
from srae_dist.evaluation.encoded import Encoded

_ALIKE = 0.05  # mean absolute error that a file's compression may make; a wrong factor makes more


@dataclass(frozen=True, slots=True)
class Counterparts:
    """N faces of one domain, the same faces in another, and what the model makes of them."""

    source: str
    target: str
    factors: NDArray[np.float32]  # N, one column for each of ``faces.FACTORS``
    images: Pixels  # N H W 3: the source, as it is in the shards
    truth: Pixels  # the true counterparts, drawn from the factors
    reconstruction: Pixels  # the true counterparts, encoded and decoded
    by_true_code: Pixels  # translations with the true counterpart's own domain code
    by_mean_code: Pixels  # translations with the target domain's mean code
    by_moved_code: Pixels  # with the source's own domain code, moved by the means' difference
    content: Floats  # N k a b: the source's content codes
    truth_content: Floats  # N k a b: the true counterparts'

    def __len__(self) -> int:
        return len(self.images)


def is_built_in(encoded: Encoded) -> bool:
    """Tell whether the images have the factors and domains of the built-in faces."""
    return set(faces.FACTORS) <= encoded.factors.keys() and set(encoded.domains) <= set(
        faces.DOMAINS
    )


def counterparts(
    encoded: Encoded, *, encode: Encode, decode: Decode, mean_codes: Floats
) -> list[Counterparts]:
    """Translate every image into every other domain, beside the truth: an entry an ordered pair.

    Args:
        encoded: held-out images of the built-in faces.
        mean_codes: m j, in the order of ``encoded.domains``.

    Raises:
        UserError: these are no built-in faces, or their factors do not draw them.
    """
    check_drawn(encoded)
    return list(_each(encoded, encode, decode, mean_codes))


def check_drawn(encoded: Encoded) -> float:
    """Draw every image again from its factors; return the mean absolute error, in [0, 1].

    Raises:
        UserError: these are no built-in faces, or an image is not what its factors draw.
    """
    if not is_built_in(encoded):
        raise UserError(
            "Only the built-in faces have true counterparts, and these images lack their factors; "
            "make shards with `srae-dist shard --faces N`."
        )
    errors = np.zeros(len(encoded))
    for number, name in enumerate(encoded.domains):
        mine = encoded.domain == number
        drawn = faces.render(_rows(encoded.of(number)), name, size=encoded.pixels.shape[1])
        errors[mine] = np.abs(encoded.pixels[mine].astype(np.int16) - drawn).mean((1, 2, 3)) / 255
    worst = int(errors.argmax())
    if not errors[worst] <= _ALIKE:
        raise UserError(
            f"Image {encoded.keys[worst]} is not what its factors draw (mean error "
            f"{errors[worst]:.2f}), so its true counterpart is unknown; make the shards again with "
            "`srae-dist shard --faces N`."
        )
    return float(errors.mean())


def _each(
    encoded: Encoded, encode: Encode, decode: Decode, mean_codes: Floats
) -> Iterator[Counterparts]:
    for s, t in itertools.permutations(range(len(encoded.domains)), 2):
        source, target = encoded.of(s), encoded.domains[t]
        rows = _rows(source)
        truth = faces.render(rows, target, size=source.pixels.shape[1])
        content, codes = encode_all(encode, truth)
        yield Counterparts(
            source=encoded.domains[s],
            target=target,
            factors=rows,
            images=source.pixels,
            truth=truth,
            reconstruction=decode_all(decode, content, codes),
            by_true_code=decode_all(decode, source.content, codes),
            by_mean_code=decode_all(decode, source.content, mean_codes[t]),
            by_moved_code=decode_all(
                decode, source.content, source.domain_code - mean_codes[s] + mean_codes[t]
            ),
            content=source.content,
            truth_content=content,
        )


def _rows(encoded: Encoded) -> NDArray[np.float32]:
    return np.stack([encoded.factors[name] for name in faces.FACTORS], axis=1)
