"""Training, killed at every touch of the disk, or cut off from power there: the same command ends
with the same bytes, goes on from the newest checkpoint, and leaves nothing lying about."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from srae_dist.core.errors import ExitCode
from srae_dist.engine.step import Stepper, StepResult
from srae_dist.runtime import checkpoint
from tests.crashes.camera import Camera, Photograph, Tree, look, photographed
from tests.engine.runs import TIMED, train, write_recipe

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc, and folders that sync")

STEPS = 2
VALUES: dict[str, Any] = {
    "train__steps": STEPS,
    "train__save_every": 1,
    "train__sample_every": 2,
    "train__micro_batch": 8,
    "train__mean_code_images": 2,
    "run__keep_last": 1,
}


@pytest.fixture(scope="module")
def recipe(face_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("recipes"), face_shards)


@pytest.fixture(scope="module")
def run(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crashes") / "run"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def camera(recipe: Path, run: Path) -> Camera:
    with photographed(run, power=True) as camera:
        assert train(recipe, run, **VALUES) == ExitCode.DONE
    return camera


def essence(run: Path) -> Tree:
    """All that a run leaves, but for what depends on the clock, and on how often it began."""
    tree = look(run)
    lines = [json.loads(line) for line in (tree.pop("log.jsonl") or b"").splitlines()]
    timeless = [{k: v for k, v in line.items() if k not in TIMED} for line in lines]
    verdict = json.loads(tree.pop("exit.json") or b"")
    return {**tree, "log": repr(timeless).encode(), "exit": repr(verdict["code"]).encode()}


@contextmanager
def counted() -> Iterator[list[int]]:
    """Count the steps that are taken."""
    taken: list[int] = []
    original = Stepper.take

    def take(self: Stepper, step: int, batches: Any) -> StepResult:
        taken.append(step)
        return original(self, step, batches)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Stepper, "take", take)
        yield taken


def test_every_place_is_photographed(camera: Camera) -> None:
    names = " ".join(photograph.touch for photograph in camera.taken)
    for name in ("log.jsonl", "recipe", "checkpoint.json", "model.safetensors", "samples", "rmdir"):
        assert name in names
    assert camera.touches > 100
    assert camera.safe
    assert {photograph.event for photograph in camera.taken} == {
        *("killed", "names kept", "all lost")
    }


def test_a_run_goes_on_from_everything_that_may_be_left(
    camera: Camera, recipe: Path, run: Path
) -> None:
    wanted, reached = essence(run), dict.fromkeys(("killed", "names kept", "all lost"), 0)
    for photograph in camera.taken:
        photograph.develop(run)
        newest = checkpoint.newest(run / "checkpoints")
        step = 0 if newest is None else checkpoint.step_of(newest)
        assert step >= reached[photograph.event], photograph  # once there is one, there always is
        reached[photograph.event] = step
        with counted() as taken:
            assert train(recipe, run, **VALUES) == ExitCode.DONE, photograph
        assert taken == list(range(step, STEPS)), photograph
        assert_alike(essence(run), wanted, photograph)
    assert set(reached.values()) == {STEPS}


def assert_alike(got: Tree, wanted: Tree, photograph: Photograph) -> None:
    assert sorted(got) == sorted(wanted), photograph
    assert [name for name in wanted if got[name] != wanted[name]] == [], photograph
