"""The number of CPU threads is the faster of all and one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from srae_dist.engine.networks import build_networks
from srae_dist.engine.probe import step_seconds
from srae_dist.recipe.load import load_recipe
from srae_dist.runtime.threads import choose
from tests.objective.tiny import SIZE


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("slow", "expected"), [(1, 4), (4, 1)])
def test_the_faster_is_chosen_and_set(slow: int, expected: int) -> None:
    best, seconds = choose(4, lambda: 2.0 if torch.get_num_threads() == slow else 1.0)
    assert best == expected == torch.get_num_threads()
    assert seconds == {slow: 2.0, expected: 1.0}


def test_one_outlier_does_not_decide() -> None:
    times = iter([9.0, 1.0, 8.0, 1.0, 9.0, 2.0, 2.0, 2.0])  # each begins with a warm-up
    assert choose(2, lambda: next(times))[0] == 1


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_probe_runs_the_objective_and_leaves_nothing_behind(precision: str) -> None:
    """Not even in the memory of codes, which ordinary steps fill."""
    recipe = load_recipe(Path("builtin_plus"), overrides=["perceptual.weights=random"]).recipe
    objective = build_networks(recipe, SIZE, num_domains=2)
    before = {name: tensor.clone() for name, tensor in objective.named_buffers()}
    assert any(name.startswith("memory.") for name in before)
    assert step_seconds(objective, micro_batch=2, image_size=SIZE, precision=precision) > 0
    assert all(p.grad is None for p in objective.parameters())
    changed = [name for name, b in objective.named_buffers() if not torch.equal(before[name], b)]
    assert changed == []
