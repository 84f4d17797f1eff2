"""What a step costs by its shapes is what it costs."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from srae_dist.engine.cost import Cost, step_cost
from tests.objective.tiny import SIZE, tiny_batch, tiny_objective


def test_the_operations_are_those_of_a_real_step() -> None:
    objective = tiny_objective()
    cost = step_cost(objective, image_size=SIZE, precision="fp32")
    with FlopCounterMode(display=False) as counter:
        total, _ = objective(*tiny_batch(4), torch.ones(len(objective.term_names)))
        total.backward()
    assert cost.flop_per_image == pytest.approx(counter.get_total_flops() / 4, rel=1e-6)


def test_the_objective_stays_as_it_was() -> None:
    objective = tiny_objective()
    step_cost(objective, image_size=SIZE, precision="fp32")
    assert all(p.device.type == "cpu" and p.grad is None for p in objective.parameters())


def test_what_is_kept_is_what_autograd_keeps() -> None:
    objective = tiny_objective()
    own = {p.untyped_storage().data_ptr() for p in [*objective.parameters(), *objective.buffers()]}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        total, _ = objective(*tiny_batch(2), torch.ones(len(objective.term_names)))
        total.backward()
    real = sum(t.untyped_storage().nbytes() for key, t in kept.items() if key not in own) / 2
    assert step_cost(objective, image_size=SIZE, precision="fp32").kept_per_image == pytest.approx(
        real, rel=0.05
    )


def test_the_gradients_are_those_a_step_leaves() -> None:
    objective = tiny_objective()
    total, _ = objective(*tiny_batch(2), torch.ones(len(objective.term_names)))
    total.backward()
    left = sum(p.grad.nbytes for p in objective.parameters() if p.grad is not None)
    assert step_cost(objective, image_size=SIZE, precision="bf16").gradients == left


def test_bf16_keeps_half() -> None:
    whole, half = (
        step_cost(tiny_objective(), image_size=SIZE, precision=one) for one in ("fp32", "bf16")
    )
    assert half.kept_per_image == whole.kept_per_image / 2
    assert half.fixed == whole.fixed


def test_what_fits_fits() -> None:
    cost = Cost(parameters=1, flop_per_image=1.0, kept_per_image=30e6, fixed=10**9, gradients=1)
    count = cost.fitting(8e9)
    assert cost.memory(count) <= 8e9 < cost.memory(count + 1)
    assert cost.fitting(0) == 1
