"""The moving average, by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from srae_dist.model.ema import Ema, decay_at


def filled(value: float) -> nn.Linear:
    layer = nn.Linear(2, 3)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(value)
    return layer


def test_it_is_the_average_it_says() -> None:
    ema, average = Ema(filled(1.0)), 1.0
    for value, decay in ((5.0, 0.9), (-3.0, 0.5), (2.0, 0.0), (8.0, 0.99)):
        ema.update(filled(value), decay)
        average = decay * average + (1 - decay) * value
        for parameter in ema.module.parameters():
            torch.testing.assert_close(parameter, torch.full_like(parameter, average))


def test_the_copy_is_frozen_and_apart() -> None:
    module = filled(1.0).train()
    ema = Ema(module)
    assert not ema.module.training
    assert not any(p.requires_grad for p in ema.module.parameters())
    assert module.training
    assert all(p.requires_grad for p in module.parameters())
    with torch.no_grad():
        module.weight.fill_(9.0)
    assert float(ema.module.weight[0, 0]) == 1.0


def test_updating_leaves_the_module_alone() -> None:
    module = filled(4.0)
    Ema(filled(1.0)).update(module, 0.5)
    assert torch.equal(module.weight, torch.full((3, 2), 4.0))


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.999])
def test_the_decay_grows_to_its_bound(decay: float) -> None:
    decays = [decay_at(step, decay) for step in range(0, 20_000, 7)]
    assert decays == sorted(decays)
    assert 0 <= decays[0] <= 0.1
    assert decays[-1] == decay


def test_the_random_start_is_forgotten() -> None:
    """After a hundred steps less than a thousandth of the start is left."""
    start = 1.0
    for step in range(100):
        start *= decay_at(step, 0.9999)
    assert start < 1e-3
