"""Steps whose loss or gradient is not finite: nothing changes, they are counted and named, and too
many end the run, whether the flags are read at once (CPU) or a step late (GPU)."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from srae_dist.core.errors import ExitCode, UserError
from srae_dist.engine import consensus
from srae_dist.objective import objective
from srae_dist.runtime.signals import StopRequest
from tests.engine.launches import TWO_RANKS, start, wait
from tests.engine.runs import log, tensors, train, write_recipe

BATCH = 8
Spoil = Callable[[Tensor], Tensor]


@pytest.fixture(scope="module")
def recipe(face_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("recipes"), face_shards)


@pytest.fixture(params=[False, True], ids=["read at once", "read late"])
def late(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    first = consensus.Consensus.__init__

    def told_how(self: consensus.Consensus, accelerator: Any, *, timeout: float) -> None:
        first(self, accelerator, timeout=timeout, late=request.param)

    monkeypatch.setattr(consensus.Consensus, "__init__", told_how)
    return bool(request.param)


def spoil(monkeypatch: pytest.MonkeyPatch, steps: set[int], how: Spoil) -> None:
    """Change the loss of some steps (counted from 1)."""
    forward = objective.Objective.forward

    def spoilt(
        self: Any, images: Tensor, domains: Tensor, slots: Tensor, weights: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        total, measures = forward(self, images, domains, slots, weights)
        if slots.device.type != "meta" and int(slots[0]) // BATCH + 1 in steps:
            total = how(total)
        return total, measures

    monkeypatch.setattr(objective.Objective, "forward", spoilt)


def nan(total: Tensor) -> Tensor:
    return total * float("nan")


def hidden(total: Tensor) -> Tensor:
    """Infinite, with a finite gradient."""
    return total + float("inf")


@pytest.mark.parametrize("how", [nan, hidden])
def test_a_skipped_step_changes_nothing(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: bool, how: Spoil
) -> None:
    """Weights, averages and optimizer state stay to the last bit; the step counts as done."""
    run = tmp_path / "run"
    spoil(monkeypatch, {3}, how)
    code = train(recipe, run, train__steps=3, train__save_every=1, run__patience=9)
    assert code == ExitCode.DONE
    before, after = tensors(run, 2), tensors(run, 3)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == set()
    assert json.loads((run / "checkpoints/step-00000003/state.json").read_text())["skipped"] == 1
    (line,) = [line for line in log(run) if "skipped" in line]
    assert line["step"] == 3
    assert len(line["keys"]) == BATCH
    assert "gradient of autoencoder" in line["skipped"]  # no term is at fault here


def test_after_a_skipped_step_training_goes_on(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    run = tmp_path / "run"
    spoil(monkeypatch, {2, 4}, nan)
    code = train(recipe, run, train__steps=5, train__save_every=1, run__patience=9)
    assert code == ExitCode.DONE
    assert [line["step"] for line in log(run) if "skipped" in line] == [2, 4]
    assert all(torch.isfinite(tensor).all() for tensor in tensors(run, 5).values())
    before, after = tensors(run, 4), tensors(run, 5)
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_patience_ends_the_run_with_the_step_and_the_reason(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """Read at once, the saved state is that before the faulty step, so it is tried again."""
    run = tmp_path / "run"
    spoil(monkeypatch, {2, 3}, nan)
    values = {"train__steps": 9, "train__save_every": 9, "train__log_every": 9}
    with pytest.raises(UserError, match=r"^Step 3: the gradient of autoencoder is not finite"):
        train(recipe, run, run__patience=2, **values)
    (saved,) = (run / "checkpoints").iterdir()
    assert saved.name == ("step-00000004" if late else "step-00000002")
    with pytest.raises(UserError, match=r"^Step 3: ") if not late else nullcontext():
        train(recipe, run, run__patience=2, **values)  # tried again, and counted once
    monkeypatch.undo()
    assert train(recipe, run, run__patience=3, **values) == ExitCode.DONE
    state = json.loads((run / "checkpoints" / "step-00000009" / "state.json").read_text())
    assert state["skipped"] == len([line for line in log(run) if "skipped" in line])


def test_a_late_flag_is_read_before_a_checkpoint(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    """Interrupted after every step or never: log and weights are the same."""
    spoil(monkeypatch, {2, 4, 5}, nan)
    straight, halting = tmp_path / "straight", tmp_path / "halting"
    values = {"train__save_every": 6, "train__log_every": 3, "run__patience": 9}
    train(recipe, straight, train__steps=6, **values)
    for step in range(1, 7):
        train(recipe, halting, train__steps=step, **values)
    skipped = [[line for line in log(run) if "skipped" in line] for run in (straight, halting)]
    assert skipped[0] == skipped[1]
    first, second = tensors(straight, 6), tensors(halting, 6)
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def test_a_stop_is_obeyed_at_the_step_s_end_or_one_later(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    run = tmp_path / "run"
    asked = iter([None, None, *["SIGTERM"] * 9])
    monkeypatch.setattr(StopRequest, "reason", property(lambda self: next(asked)))
    code = train(recipe, run, train__steps=9, train__log_every=9, train__save_every=9)
    assert code == ExitCode.STOPPED
    assert json.loads((run / "exit.json").read_text())["step"] == (4 if late else 3)


def test_two_ranks_skip_together_and_write_down_all_keys(recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    values = {"train__lr": 1e30, "train__warmup": 0, "run__patience": 2, "train__steps": 9}
    code, output = wait(start(recipe, run, *TWO_RANKS, **values))
    assert code != 0
    assert "term 'reconstruction' is" in output
    verdict = json.loads((run / "exit.json").read_text())
    assert verdict["code"] == ExitCode.USER
    skipped = [line for line in log(run) if "skipped" in line]
    assert len(skipped) == 2
    assert all(len(set(line["keys"])) == BATCH for line in skipped)
