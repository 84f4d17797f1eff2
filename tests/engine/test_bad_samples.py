"""Shards with bad samples: named, counted, substituted within a budget, on one rank and on two."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srae_dist.core.errors import ExitCode, UserError
from srae_dist.data.manifest import load_index, load_manifest
from tests.engine.runs import log, tensors, train, write_recipe
from tests.engine.test_processes import LAUNCH, start, wait

BAD = 5  # samples whose images are zeros


@pytest.fixture(scope="module")
def broken(face_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    """The built-in faces with some images overwritten, and these samples' keys."""
    root = tmp_path_factory.mktemp("broken") / "shards"
    shutil.copytree(face_shards, root)
    manifest = load_manifest(root)
    split = manifest.splits["train"]
    index = load_index(root, split, 2)
    rows = np.linspace(0, len(index) - 1, BAD).astype(int).tolist()
    for row in rows:
        with (root / split.shards[int(index.shard[row])].file).open("r+b") as file:
            file.seek(int(index.offset[row]))
            file.write(bytes(int(index.size[row])))
    return root, {index.key(row) for row in rows}


@pytest.fixture(scope="module")
def recipe(broken: tuple[Path, set[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("recipes"), broken[0])


def listed(run: Path) -> list[dict[str, Any]]:
    lines = (run / "bad_samples.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_by_default_the_first_bad_sample_stops_the_run_and_is_written_down(
    recipe: Path, broken: tuple[Path, set[str]], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"Sample train-\d+ of .*\.tar cannot be read"):
        train(recipe, tmp_path / "run", train__steps=40, train__mean_code_images=1)
    (line,) = listed(tmp_path / "run")
    assert line["key"] in broken[1] and line["shard"].endswith(".tar") and line["reason"]
    assert line["step"] == len(log(tmp_path / "run")) + 1


def test_substituted_samples_are_named_once_and_counted(
    recipe: Path, broken: tuple[Path, set[str]], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    # 96 images, 8 a step: two epochs and some more
    code = train(recipe, run, train__steps=30, train__save_every=30, data__on_bad="substitute")
    assert code == ExitCode.DONE
    lines = listed(run)
    assert {line["key"] for line in lines} == broken[1] and len(lines) == BAD
    assert all(line["substitute"] not in broken[1] for line in lines)
    counted = [line["bad_samples"] for line in log(run)]
    assert counted == sorted(counted) and counted[-1] == BAD
    first = {line["step"] for line in lines}
    assert all(counted[step - 1] > (counted[step - 2] if step > 1 else 0) for step in first)


def test_a_sample_counts_once_wherever_its_shards_are(
    recipe: Path, broken: tuple[Path, set[str]], tmp_path: Path
) -> None:
    run, moved = tmp_path / "run", tmp_path / "moved"
    shutil.copytree(broken[0], moved)
    train(recipe, run, train__steps=15, data__on_bad="substitute")
    train(recipe, run, train__steps=30, data__on_bad="substitute", data__root=moved)
    assert sorted(line["key"] for line in listed(run)) == sorted(broken[1])


def test_the_budget_stops_the_run_and_a_larger_one_goes_on_as_if_nothing_had_been(
    recipe: Path, tmp_path: Path
) -> None:
    values = {"train__steps": 30, "train__save_every": 30, "data__on_bad": "substitute"}
    stopped, straight = tmp_path / "stopped", tmp_path / "straight"
    with pytest.raises(UserError, match=r"Step \d+: . samples .*data\.bad_budget is 2.*jsonl"):
        train(recipe, stopped, data__bad_budget=2, **values)
    assert 3 <= len(listed(stopped)) < BAD
    assert train(recipe, stopped, **values) == ExitCode.DONE
    assert train(recipe, straight, **values) == ExitCode.DONE
    assert listed(stopped) == listed(straight)
    first, second = tensors(stopped, 30), tensors(straight, 30)
    assert first.keys() == second.keys()
    assert all((first[name] == second[name]).all() for name in first)


def test_two_ranks_count_together_and_stop_together(recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    launcher = (*LAUNCH, "docs/launch/cpu_2_ranks.yaml", "--main_process_port", "0", "-m")
    values = {"train__steps": 30, "data__on_bad": "substitute", "data__bad_budget": BAD - 1}
    code, output = wait(start(recipe, run, *launcher, **values))
    assert code != 0 and f"{BAD} samples cannot be read" in output
    assert json.loads((run / "exit.json").read_text())["code"] == 2
    assert len({line["key"] for line in listed(run)}) == len(listed(run)) == BAD
