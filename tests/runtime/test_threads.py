"""The number of CPU threads is the faster of all and one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from srae_dist.engine.probe import step_seconds
from srae_dist.runtime.threads import choose
from tests.objective.tiny import SIZE, tiny_objective


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


def test_a_probe_runs_the_objective_and_leaves_nothing_behind() -> None:
    objective = tiny_objective()
    before = {name: tensor.clone() for name, tensor in objective.state_dict().items()}
    assert step_seconds(objective, micro_batch=2, image_size=SIZE, bf16=False) > 0
    assert all(p.grad is None for p in objective.parameters())
    assert all(torch.equal(before[name], t) for name, t in objective.state_dict().items())
