"""What a trained model makes of test images: what judges are shown."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from srae_dist.core import randomness
from srae_dist.evaluation.codec import Decode, decode_all
from srae_dist.evaluation.encode import Floats, Pixels
from srae_dist.evaluation.encoded import Encoded


@dataclass(frozen=True, slots=True)
class Answers:
    """Pixels in the order of the test images of a domain; domains by number."""

    reconstructed: Sequence[Pixels]  # by domain
    by_mean_code: Mapping[tuple[int, int], Pixels]  # domain s in the style of t, by (s, t)
    by_reference: Mapping[tuple[int, int], Pixels]  # each with the code of another image of t


def answers(train: Encoded, test: Encoded, *, decode: Decode, mean_codes: Floats) -> Answers:
    """Reconstruct and translate all test images.

    Args:
        train: training images, which lend their domain codes.
        mean_codes: m j, in the order of the domains.
    """
    numbers = range(len(test.domains))
    content = [test.of(number).content for number in numbers]
    return Answers(
        [decode_all(decode, content[s], test.of(s).domain_code) for s in numbers],
        {
            (s, t): decode_all(decode, content[s], mean_codes[t])
            for s, t in itertools.permutations(numbers, 2)
        },
        by_reference(train, test, decode=decode),
    )


def by_reference(
    train: Encoded, test: Encoded, *, decode: Decode, seed: int = 0
) -> dict[tuple[int, int], Pixels]:
    """Translate all test images of s, each with the domain code of a training image of t.

    Which one is drawn for each image by the seed and the domains' names.
    """
    made = {}
    for s, t in itertools.permutations(range(len(test.domains)), 2):
        content, codes = test.of(s).content, train.of(t).domain_code
        random = randomness.generator(seed, "reference", test.domains[s], test.domains[t])
        rows = random.integers(len(codes), size=len(content))
        made[s, t] = decode_all(decode, content, codes[rows])
    return made
