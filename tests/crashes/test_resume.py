"""In one go, or killed at any moment and resumed: equal to the last bit, on one rank and two."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from srae_dist.core import atomic
from srae_dist.core.errors import ExitCode
from srae_dist.engine import showcase, snapshot
from srae_dist.engine.step import Stepper
from srae_dist.runtime import checkpoint
from srae_dist.runtime.runlog import RESUMED, RunLog
from tests.crashes.dying_train import keys_of
from tests.engine.launches import TWO_RANKS, start, wait
from tests.engine.runs import log, tensors, train, write_recipe

STEPS = 6
VALUES: dict[str, Any] = {
    "train__steps": STEPS,
    "train__micro_batch": 2,  # four accumulated on one rank, two on two
    "train__save_every": 2,
    "train__sample_every": 3,
    "train__mean_code_images": 2,
    "objective__discriminators": 2,
    "data__crop": 0.2,
    "run__keep_last": 9,
}
# where a kill may hit: what is called there, and how often in a run, at least
PLACES: list[tuple[Any, str, int]] = [
    (Stepper, "take", 6),
    (RunLog, "write", 6),
    (RunLog, "cut", 2),
    (showcase, "write_grids", 2),
    (snapshot, "tensors_of", 3),
    (checkpoint, "save", 3),
    (checkpoint, "prune", 3),
    (atomic, "write_json", 7),
    (atomic, "publish_folder", 3),
    (atomic, "sync_folder", 16),
]


class Killed(BaseException):
    """The process ends here, as by kill -9: nothing more is written."""


@pytest.fixture(scope="module")
def recipe(face_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("recipes"), face_shards)


@pytest.fixture(scope="module")
def straight(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("straight") / "run"
    assert train(recipe, run, **VALUES) == ExitCode.DONE
    return run


def same_bits(one: Path, two: Path) -> None:
    """Weights, averages and optimizer state of the last step, and the whole log."""
    expected, got = tensors(one, STEPS), tensors(two, STEPS)
    assert expected.keys() == got.keys()
    assert {name.partition(":")[0] for name in expected} == {
        *("model.safetensors", "optimizer.safetensors", "ema.safetensors")
    }
    assert [name for name in expected if not torch.equal(expected[name], got[name])] == []
    assert log(one) == log(two)


def dying(
    patch: pytest.MonkeyPatch, owner: Any, name: str, number: int, *, after: bool
) -> Callable[[], int]:
    """Have the call of that number raise, before its work or after it; returns the calls left."""
    original, left = getattr(owner, name), number

    def fatal(*args: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        value = original(*args, **options) if left or after else None
        if left == 0:
            raise Killed
        return value

    patch.setattr(owner, name, fatal)
    return lambda: left


@settings(max_examples=8, derandomize=True, deadline=None)
@given(
    kills=st.lists(
        st.tuples(st.sampled_from(PLACES), st.integers(1, 16), st.booleans()),
        min_size=1,
        max_size=2,
    )
)
def test_killed_anywhere_and_resumed_is_never_having_stopped(
    recipe: Path,
    straight: Path,
    tmp_path_factory: pytest.TempPathFactory,
    kills: list[tuple[tuple[Any, str, int], int, bool]],
) -> None:
    run = tmp_path_factory.mktemp("killed") / "run"
    for (owner, name, calls), number, after in kills:
        with pytest.MonkeyPatch.context() as patch:
            left = dying(patch, owner, name, 1 + number % calls, after=after)
            try:
                train(recipe, run, **VALUES)
            except Killed:
                assert left() <= 0
    assert train(recipe, run, **VALUES) == ExitCode.DONE
    same_bits(straight, run)


# processes of their own, killed by the system


def launch(recipe: Path, run: Path, *launcher: str, dies_at: int, **values: Any) -> tuple[int, str]:
    environment = {"DIES_AT": str(dies_at), "KEYS": str(run.with_suffix(".keys"))}
    process = start(
        recipe,
        run,
        *launcher,
        module="tests.crashes.dying_train",
        environment=environment,
        **{**VALUES, **values},
    )
    return wait(process)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_killed_process_with_a_worker_resumes_to_the_same_bits(
    recipe: Path, straight: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    code, output = launch(recipe, run, dies_at=5, data__workers=1)
    assert code == -9, output
    assert checkpoint.newest(run / "checkpoints") == run / "checkpoints/step-00000004"
    assert [line["step"] for line in log(run)] == [1, 2, 3, 4, 5]  # cut back on resume
    code, output = launch(recipe, run, dies_at=-1, data__workers=1)
    assert code == 0, output
    assert "resumes at step 4" in output
    same_bits(straight, run)


@pytest.fixture(scope="module")
def two_ranks(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two ranks left in peace."""
    run = tmp_path_factory.mktemp("two_ranks") / "run"
    code, output = launch(recipe, run, *TWO_RANKS, dies_at=-1)
    assert code == 0, output
    return run


@pytest.mark.skipif(sys.platform == "win32", reason="gloo ranks")
def test_two_killed_ranks_resume_to_the_same_bits_and_samples(
    recipe: Path, two_ranks: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    code, output = launch(recipe, run, *TWO_RANKS, dies_at=3)
    assert code != 0, output
    assert checkpoint.newest(run / "checkpoints") == run / "checkpoints/step-00000002"
    code, output = launch(recipe, run, *TWO_RANKS, dies_at=-1)
    assert code == 0, output
    same_bits(two_ranks, run)
    keys = keys_of(run.with_suffix(".keys"))
    assert keys == keys_of(two_ranks.with_suffix(".keys"))
    assert keys.keys() == {(step, rank) for step in range(STEPS) for rank in (0, 1)}


def cut_back(run: Path, to: Path, step: int) -> Path:
    """Copy a run as if it had been killed after a step."""
    shutil.copytree(run, to)
    for folder in (to / "checkpoints").iterdir():
        if checkpoint.step_of(folder) > step:
            shutil.rmtree(folder)
    return to


def batches_seen(run: Path) -> dict[int, list[str]]:
    """The global batch of each step, whoever took which part."""
    found: dict[int, list[str]] = {}
    for (step, _), keys in keys_of(run.with_suffix(".keys")).items():
        found[step] = sorted([*found.get(step, []), *keys])
    return found


@pytest.mark.skipif(sys.platform == "win32", reason="gloo ranks")
@pytest.mark.parametrize("ranks", [1, 2])
def test_another_number_of_ranks_goes_on_to_rounding_and_the_log_says_so(
    recipe: Path, straight: Path, two_ranks: Path, tmp_path: Path, ranks: int
) -> None:
    before, whole = 3 - ranks, {1: straight, 2: two_ranks}
    run = cut_back(whole[before], tmp_path / "run", 2)
    RunLog(run / "log.jsonl").write(2, {RESUMED: True, "ranks": 7})  # of a resume that was killed
    code, output = launch(recipe, run, *((), TWO_RANKS)[ranks - 1], dies_at=-1)
    assert code == 0, output
    assert f"was on {before} ranks and is on {ranks} now" in output
    lines = log(run)
    said = [line for line in lines if line.get(RESUMED)]
    assert said == [{"step": 2, RESUMED: True, "ranks": ranks, "ranks_before": before}]
    assert lines[:2] == log(whole[before])[:2] and lines[2] == said[0]
    others = [line for line in lines if line not in said]
    for mine, theirs in zip(others, log(whole[before]), strict=True):
        assert mine.keys() == theirs.keys()
        for name, value in theirs.items():
            if "accuracy" not in name:  # a coin's edge may fall to either side
                assert mine[name] == pytest.approx(value, rel=2e-3, abs=2e-5), (mine, name)
    state = json.loads((run / "checkpoints/step-00000006/state.json").read_text())
    assert state["ranks"] == ranks
    seen = batches_seen(two_ranks)
    assert batches_seen(run) == {step: seen[step] for step in range(2, STEPS)}
