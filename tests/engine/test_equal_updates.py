"""One global batch, cut in any way, is one update: weights and averages after twenty steps.

Noise and augmentation are functions of a sample's slot, clipping sees the averaged gradient of each
player, and the order of samples knows no ranks. So only the order of sums is left to differ.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from srae_dist.data.loader import make_loader, make_order
from srae_dist.data.opened import open_split
from srae_dist.engine.networks import build_networks
from srae_dist.engine.players import make_optimizer, players
from srae_dist.engine.step import Stepper
from srae_dist.model.ema import Ema
from srae_dist.model.pixels import normalise
from srae_dist.objective import objective, terms
from srae_dist.recipe.load import load_recipe
from srae_dist.runtime.launch import make_accelerator
from tests.engine.launches import TWO_RANKS, start, wait
from tests.engine.runs import log, sets, tensors, train, write_recipe

STEPS = 20
PLAYERS = ("autoencoder", "q_c", "q_d")
# everything that is random, and every term and player, is on; the limit is below all norms
VALUES: dict[str, Any] = {
    "train__steps": STEPS,
    "train__save_every": STEPS,
    "train__clip": 0.003,
    "objective__discriminators": 2,
    "objective__content_prior": 0.01,
    "objective__domain_prior": 0.01,
    "data__crop": 0.2,
    "data__light": 0.2,
}
# Largest difference in a tensor, as a share of its largest number. Measured over ten seeds (two
# ranks over three): 1.4e-6 to 8.8e-4 in float32, 8.5e-15 at most in float64.
ROUNDING = 2e-3
DOUBLE_ROUNDING = 1e-12


@pytest.fixture(scope="module")
def recipe(face_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("recipes"), face_shards)


@pytest.fixture(scope="module")
def whole(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One rank that takes the global batch of eight in one piece."""
    run = tmp_path_factory.mktemp("whole") / "run"
    train(recipe, run, **VALUES)
    return run


def worst(expected: Mapping[str, Tensor], got: Mapping[str, Tensor]) -> tuple[float, str]:
    """Return the largest difference, as a share of its tensor's largest number, and its tensor."""
    assert expected.keys() == got.keys()
    return max(
        (float((got[name] - tensor).abs().max() / tensor.abs().max()), name)
        for name, tensor in expected.items()
    )


def learned(run: Path) -> dict[str, Tensor]:
    """All weights and averages at the end of a run; Adam's moments are not asked for."""
    found = {k: v for k, v in tensors(run, STEPS).items() if not k.startswith("optimizer")}
    assert {name.partition(":")[0] for name in found} == {"model.safetensors", "ema.safetensors"}
    return found


def test_every_player_is_clipped_at_every_step(whole: Path) -> None:
    lines = log(whole)
    assert len(lines) == STEPS
    norms = [line[f"grad_{name}"] for line in lines for name in PLAYERS]
    assert min(norms) > VALUES["train__clip"]


def test_four_accumulated_pieces_are_one(recipe: Path, whole: Path, tmp_path: Path) -> None:
    train(recipe, tmp_path / "run", train__micro_batch=2, **VALUES)
    difference, name = worst(learned(whole), learned(tmp_path / "run"))
    assert difference < ROUNDING, name


@pytest.mark.skipif(sys.platform == "win32", reason="gloo ranks")
@pytest.mark.parametrize("micro_batch", [4, 2])
def test_two_ranks_are_one(recipe: Path, whole: Path, tmp_path: Path, micro_batch: int) -> None:
    run = tmp_path / "run"
    cut = {"train__micro_batch": micro_batch}
    code, output = wait(start(recipe, run, *TWO_RANKS, **VALUES, **cut))
    assert code == 0, output
    assert f"2 ranks x {4 // micro_batch} accumulated x {micro_batch} images" in output
    difference, name = worst(learned(whole), learned(run))
    assert difference < ROUNDING, name


def test_what_differs_is_rounding(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float64 the difference shrinks as the rounding does: no sample counts more or less."""
    monkeypatch.setattr(objective, "normalise", lambda images: normalise(images).double())
    monkeypatch.setattr(Tensor, "float", Tensor.double)  # the losses ask for full precision
    monkeypatch.setattr(terms, "mean_squared_error", functional.mse_loss)  # ours sums in float32
    torch.set_default_dtype(torch.float64)
    try:
        one, four = (stepped(recipe, tmp_path, micro_batch=size) for size in (8, 2))
    finally:
        torch.set_default_dtype(torch.float32)
    assert {tensor.dtype for tensor in one.values()} == {torch.float64}
    difference, name = worst(one, four)
    assert 0 < difference < DOUBLE_ROUNDING, name


def stepped(recipe: Path, folder: Path, *, micro_batch: int) -> dict[str, Tensor]:
    """Weights and averages after steps of the trainer's own engine, in float64."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    given = {key.replace("__", "."): value for key, value in VALUES.items()}
    loaded = load_recipe(recipe, overrides=sets(given)).recipe
    opened = open_split(loaded.data.root, "train")
    networks = build_networks(loaded, opened.image_size, num_domains=2).double()
    accumulation = loaded.train.global_batch // micro_batch
    stepper = Stepper(
        make_accelerator(precision="fp32", accumulation=accumulation, trackers=[], run_dir=folder),
        networks,
        make_optimizer(players(networks), loaded.train),
        Ema(networks.autoencoder),
        accumulation=accumulation,
        train=loaded.train,
        weights=loaded.objective,
    )
    order = make_order(
        opened, seed=0, global_batch=8, balance="domain", lanes=None, window=loaded.data.window
    )
    batches = make_loader(
        opened,
        order,
        rank=0,
        world=1,
        micro_batch=micro_batch,
        start_step=0,
        stop_step=STEPS,
        workers=0,
        pin=False,
    )
    with closing(batches):
        for step in range(STEPS):
            stepper.take(step, batches)
    named = {"model": dict(networks.named_parameters()), "ema": stepper.ema.module.state_dict()}
    return {f"{kind}:{k}": v.detach() for kind, group in named.items() for k, v in group.items()}
