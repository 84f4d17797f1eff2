"""The trainer as a process: two ranks, signals, exit codes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.engine.launches import LAUNCH, TWO_RANKS, start, wait
from tests.engine.runs import log, write_recipe

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and gloo ranks")


@pytest.fixture(scope="module")
def recipe(face_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("recipes"), face_shards)


def wait_for_steps(run: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not (run / "log.jsonl").exists() or not (run / "log.jsonl").read_text():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "no step was logged"
        time.sleep(0.05)


def test_two_ranks_train_what_one_trains(recipe: Path, tmp_path: Path) -> None:
    """Twenty steps from the shipped launch file for two CPU ranks: the same losses to rounding."""
    one, two = tmp_path / "one", tmp_path / "two"
    values = {"train__steps": 20, "objective__discriminators": 2, "train__save_every": 20}
    code, output = wait(start(recipe, two, *TWO_RANKS, **values))
    assert code == 0, output
    assert "2 ranks on 1 machine" in output
    assert "deprecated" not in output and "Warning" not in output
    code, output = wait(start(recipe, one, **values))
    assert code == 0, output
    for mine, theirs in zip(log(one), log(two), strict=True):
        assert mine.keys() == theirs.keys()
        for name, value in mine.items():
            if "accuracy" not in name:  # a coin's edge may fall to either side
                assert theirs[name] == pytest.approx(value, rel=2e-3, abs=2e-5), (
                    mine["step"],
                    name,
                )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_saves_and_the_same_command_goes_on(
    recipe: Path, tmp_path: Path, number: signal.Signals
) -> None:
    run = tmp_path / "run"
    process = start(recipe, run, train__steps=100000, train__save_every=100000)
    wait_for_steps(run, process)
    process.send_signal(number)
    code, output = wait(process)
    assert code == 75, output
    assert "same command again" in output
    verdict = json.loads((run / "exit.json").read_text())
    assert verdict["code"] == 75
    assert verdict["reason"] == number.name
    stopped = verdict["step"]
    assert [f.name for f in (run / "checkpoints").iterdir()] == [f"step-{stopped:08d}"]
    if number is signal.SIGINT:  # once is enough for what is slow
        code, output = wait(start(recipe, run, train__steps=stopped + 2))
        assert code == 0, output
        assert f"resumes at step {stopped:,}" in output
        assert [line["step"] for line in log(run)] == list(range(1, stopped + 3))


def test_a_user_s_mistake_is_one_sentence_and_exit_code_2(recipe: Path, tmp_path: Path) -> None:
    process = start(recipe, tmp_path / "run", train__stepz=3)
    code, output = wait(process)
    assert code == 2
    assert output.count("\n") == 1
    assert "train.stepz" in output
    assert "train.steps" in output


def test_fewer_ranks_than_asked_for_are_refused(recipe: Path, tmp_path: Path) -> None:
    """`--cpu --num_processes 2` starts one process and says nothing."""
    launcher = (*LAUNCH[:2], "--cpu", "--num_processes", "2", "-m")
    code, output = wait(start(recipe, tmp_path / "run", *launcher, train__steps=1))
    assert code != 0
    assert "asked for 2 processes and started 1" in output
