"""Every convolution of a training step sees channels-last memory: no copies between layouts."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import Tensor, nn

from tests.objective.tiny import tiny_batch, tiny_objective


@pytest.mark.parametrize("route", ["stream", "encoder"])
@pytest.mark.parametrize("bf16", [False, True])
def test_every_convolution_sees_channels_last(route: str, bf16: bool) -> None:
    objective = tiny_objective(route=route).to(memory_format=torch.channels_last)
    wrong: list[str] = []
    seen: set[str] = set()

    def look(name: str, x: Tensor) -> None:
        seen.add(name)
        if not x.is_contiguous(memory_format=torch.channels_last):
            wrong.append(f"{name}, {tuple(x.shape)}")

    def before(name: str, module: nn.Module, given: tuple[Tensor]) -> None:
        look(name, given[0])

    for name, module in objective.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(functools.partial(before, name))
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        total, _ = objective(*tiny_batch(4), torch.ones(len(objective.term_names)))
    assert total.isfinite()
    assert wrong == []
    assert seen == {n for n, m in objective.named_modules() if isinstance(m, nn.Conv2d)}
