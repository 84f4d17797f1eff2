"""Encoded images whose codes are drawn, so that it is known what they hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from srae_dist.evaluation.encoded import Encoded


def coded(
    counts: Sequence[int],
    *,
    seed: int,
    leak: float = 0.0,
    told: float = 8.0,
    labels: int = 0,
    label_gap: float = 4.0,
    factors: bool = False,
) -> Encoded:
    """Noise in both codes and, on top of it, what is asked for.

    Args:
        counts: images of each domain.
        leak: distance of the domains in the content code; ``told``: in the domain code.
        labels: classes of a label "digit" that the content code holds, ``label_gap`` apart.
        factors: "yaw", which the content code holds, and "light", which none does.
    """
    random = np.random.default_rng(seed)
    n, m = sum(counts), len(counts)
    domain = random.permutation(np.repeat(np.arange(m), counts))
    content = random.normal(size=(n, 3, 2, 2))
    domain_code = random.normal(size=(n, 4))
    content[:, 0, 0, 0] += leak * domain
    domain_code[:, 1] += told * domain
    known = {}
    if labels:
        digit = random.integers(0, labels, n)
        content[:, 1, 0, 1] += label_gap * digit
        known["digit"] = digit.astype(str)
    held = {}
    if factors:
        held = {
            "yaw": content[:, 2, 0, 0] + 0.1 * random.normal(size=n),
            "light": random.normal(size=n),
        }
    return Encoded(
        pixels=np.zeros((n, 2, 2, 3), np.uint8),
        content=content.astype(np.float32),
        domain_code=domain_code.astype(np.float32),
        domain=domain,
        keys=tuple(map(str, range(n))),
        domains=tuple(f"domain-{number}" for number in range(m)),
        labels=known,
        factors={name: values.astype(np.float32) for name, values in held.items()},
    )
