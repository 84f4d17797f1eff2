"""The micro-batch is what memory holds, unless the recipe or the run's past says otherwise."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from srae_dist.core.errors import UserError
from srae_dist.engine import fit
from srae_dist.engine.batching import Batching
from srae_dist.engine.cost import Cost, step_cost
from srae_dist.engine.fit import fitting_images, settle_batching
from srae_dist.recipe.schema import Recipe, Train
from srae_dist.runtime.launch import World
from tests.objective.tiny import SIZE, tiny_objective

WORLD = World(0, 1, 1, 1, torch.device("cpu"), 0, 1, False)


def settle(
    free: float, monkeypatch: pytest.MonkeyPatch, *, saved: int = 0, **train: int
) -> Batching:
    memory = SimpleNamespace(available=free)
    monkeypatch.setattr(fit.psutil, "virtual_memory", lambda: memory)
    recipe = Recipe(name="tiny", train=Train(global_batch=24, **train))
    return settle_batching(recipe, WORLD, tiny_objective(), "fp32", saved=saved)


def test_plenty_of_memory_takes_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settle(1e12, monkeypatch) == Batching(24, 1)


def test_little_memory_accumulates(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cost = step_cost(tiny_objective(), image_size=SIZE, precision="fp32")
    free = cost.memory(7) / fit.SHARE + 1
    assert settle(free, monkeypatch) == Batching(6, 4)  # the largest divisor of 24 up to 7
    assert "Memory holds 6 images at a time instead of 24" in capsys.readouterr().out
    assert settle(0, monkeypatch) == Batching(1, 24)


def test_the_recipe_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settle(0, monkeypatch, micro_batch=12) == Batching(12, 2)


def test_a_resumed_run_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settle(1e12, monkeypatch, saved=8) == Batching(8, 3)
    assert settle(1e12, monkeypatch, saved=7) == Batching(24, 1)  # another number of ranks now


def test_ranks_of_a_machine_share_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    objective = tiny_objective()
    cost = step_cost(objective, image_size=SIZE, precision="fp32")
    memory = SimpleNamespace(available=2 * cost.memory(7) / fit.SHARE + 2)
    monkeypatch.setattr(fit.psutil, "virtual_memory", lambda: memory)
    many = {"wanted": 100, "image_size": SIZE, "device": torch.device("cpu"), "precision": "fp32"}
    assert fitting_images(objective, **many, local_ranks=2) == 7  # type: ignore[arg-type]


def test_a_gpu_is_tried_and_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def step(objective: object, *, micro_batch: int, image_size: int, precision: str) -> float:
        tried.append(micro_batch)
        if micro_batch > 40:
            raise torch.OutOfMemoryError
        return 0.0

    cost = Cost(parameters=1, flop_per_image=1.0, kept_per_image=1.0, fixed=1, gradients=1)
    monkeypatch.setattr(fit, "step_cost", lambda *_, **__: cost)
    monkeypatch.setattr(fit, "step_seconds", step)
    monkeypatch.setattr(fit.torch.cuda, "empty_cache", lambda: None)
    objective = tiny_objective()  # before torch.empty is replaced
    monkeypatch.setattr(objective, "to", lambda device: objective)
    monkeypatch.setattr(fit.torch, "empty", lambda *_, **__: None)
    found = fitting_images(
        objective,
        wanted=256,
        image_size=SIZE,
        device=torch.device("cuda"),
        precision="bf16",
        local_ranks=1,
    )
    assert (found, tried) == (32, [256, 128, 64, 32])


def test_a_gpu_too_full_for_the_networks_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(device: torch.device) -> None:
        raise torch.OutOfMemoryError

    cost = Cost(parameters=1, flop_per_image=1.0, kept_per_image=1.0, fixed=1, gradients=1)
    monkeypatch.setattr(fit, "step_cost", lambda *_, **__: cost)
    objective = tiny_objective()
    monkeypatch.setattr(objective, "to", full)
    with pytest.raises(UserError, match=r"do not fit into cuda:1's free memory.*model\.width"):
        fitting_images(
            objective,
            wanted=8,
            image_size=SIZE,
            device=torch.device("cuda:1"),
            precision="bf16",
            local_ranks=1,
        )
