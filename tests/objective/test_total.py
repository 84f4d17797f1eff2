"""The total is what the recipe's weights say, to float32's rounding."""

from __future__ import annotations

import pytest
import torch

from tests.objective.tiny import tiny_batch, tiny_objective


@pytest.mark.parametrize("bf16", [False, True])
def test_the_total_is_the_weighted_sum_of_the_terms(bf16: bool) -> None:
    objective = tiny_objective()
    weights = torch.linspace(0.1, 1.7, len(objective.term_names))
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        total, measures = objective(*tiny_batch(), weights)
    assert total.dtype == torch.float32
    pairs = zip(objective.term_names, weights.tolist(), strict=True)
    expected = sum(float(measures[name]) * weight for name, weight in pairs)
    assert float(total.detach()) == pytest.approx(expected, rel=1e-6)
