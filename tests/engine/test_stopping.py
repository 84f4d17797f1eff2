"""Signals to a launched run, wherever they arrive, and ranks that are lost.

All of ``MATRIX`` runs with ``SRAE_ALL=1``; otherwise what differs most.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from srae_dist.core.errors import ExitCode
from srae_dist.runtime import checkpoint
from tests.engine.launches import LAUNCH, TWO_RANKS, start, wait
from tests.engine.runs import log, train, write_recipe

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signals here")

ONE_RANK = (*LAUNCH, "accelerate_config.yaml", "-m")
ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
MATRIX = [
    *((ranks, to, number) for ranks in (1, 2) for to in ("rank", "group") for number in ASKING),
    *((ranks, "launcher", number) for ranks in (1, 2) for number in (*ASKING, signal.SIGKILL)),
]
FEW = [
    (2, "rank", signal.SIGTERM),
    (2, "group", signal.SIGINT),
    (2, "launcher", signal.SIGUSR1),
    (1, "launcher", signal.SIGTERM),
]
CASES = MATRIX if os.environ.get("SRAE_ALL") else FEW


@pytest.fixture(scope="module")
def recipe(face_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("recipes"), face_shards)


@contextlib.contextmanager
def launched(
    recipe: Path, run: Path, ranks: int, **values: Any
) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """A run that has begun to step, and its ranks' processes; none outlives the test."""
    launcher = ONE_RANK if ranks == 1 else TWO_RANKS
    process = start(recipe, run, *launcher, train__steps=100000, train__save_every=100000, **values)
    trainers: list[psutil.Process] = []
    try:
        deadline = time.monotonic() + 120
        while not (run / "log.jsonl").exists() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert process.poll() is None, process.communicate()
        trainers = sorted(
            (
                child
                for child in psutil.Process(process.pid).children(recursive=True)
                if "srae_dist.train" in child.cmdline()
            ),
            key=lambda child: int(child.environ().get("RANK", "0")),
        )
        assert len(trainers) == ranks
        yield process, trainers
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def verdict(run: Path, trainers: list[psutil.Process]) -> dict[str, Any]:
    """``exit.json`` once all ranks are gone."""
    _, alive = psutil.wait_procs(trainers, timeout=60)
    assert alive == []
    return dict(json.loads((run / "exit.json").read_text()))


@pytest.mark.parametrize(
    ("ranks", "to", "number"), CASES, ids=[f"{r}-{to}-{n.name}" for r, to, n in CASES]
)
def test_a_signal_saves_and_stops_all_ranks(
    recipe: Path, tmp_path: Path, ranks: int, to: str, number: signal.Signals
) -> None:
    run = tmp_path / "run"
    with launched(recipe, run, ranks) as (process, trainers):
        match to:
            case "rank":
                trainers[-1].send_signal(number)
            case "group":
                os.killpg(process.pid, number)
            case "launcher":
                process.send_signal(number)
        end = verdict(run, trainers)
    assert end["code"] == ExitCode.STOPPED, end
    assert [f.name for f in (run / "checkpoints").iterdir()] == [
        checkpoint.folder_name(end["step"])
    ]
    assert checkpoint.newest(run / "checkpoints") is not None
    steps = [line["step"] for line in log(run)]
    assert steps == list(range(1, end["step"] + 1))


LOST = [(0, signal.SIGKILL), (1, signal.SIGKILL), (1, signal.SIGSTOP)]
LOST = LOST if os.environ.get("SRAE_ALL") else LOST[1:2]


@pytest.mark.parametrize(("rank", "number"), LOST, ids=[f"{r}-{n.name}" for r, n in LOST])
def test_a_lost_rank_is_named_and_the_others_end(
    recipe: Path, tmp_path: Path, rank: int, number: signal.Signals
) -> None:
    run = tmp_path / "run"
    with launched(recipe, run, 2, engine__timeout=5) as (process, trainers):
        trainers[rank].send_signal(number)
        _, alive = psutil.wait_procs([trainers[1 - rank]], timeout=60)
        assert alive == []
        code, output = wait(process)
        assert code != 0
    end = json.loads((run / "exit.json").read_text())
    assert end["code"] == ExitCode.LOST
    assert end["reason"].startswith(f"Rank {rank} of 2 does not answer")
    assert end["reason"] in output
    assert "Error: [" not in output  # gloo's own words


def ask(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("during", ["save", "publish_folder", "write_grids"])
def test_a_second_sigterm_while_it_saves_or_draws_changes_nothing(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, during: str
) -> None:
    run = tmp_path / "run"
    interrupt(monkeypatch, during, signal.SIGTERM, times=2)
    code = train(recipe, run, train__steps=9, train__save_every=3, train__sample_every=3)
    assert code == ExitCode.STOPPED
    assert json.loads((run / "exit.json").read_text())["reason"] == "SIGTERM"
    assert checkpoint.newest(run / "checkpoints") is not None


def test_a_second_ctrl_c_while_it_saves_stops_at_once_and_the_run_can_go_on(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    train(recipe, run, train__steps=2)
    with monkeypatch.context() as patched:
        interrupt(patched, "publish_folder", signal.SIGINT, times=2)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, run, train__steps=9, train__save_every=3)
    newest = checkpoint.newest(run / "checkpoints")
    assert newest is not None
    assert newest.name == checkpoint.folder_name(2)
    assert train(recipe, run, train__steps=4) == ExitCode.DONE
    assert [line["step"] for line in log(run)] == [1, 2, 3, 4]


def interrupt(
    monkeypatch: pytest.MonkeyPatch, during: str, number: signal.Signals, *, times: int
) -> None:
    """Send this process a signal, some times, whenever it begins to do something."""
    from srae_dist.core import atomic
    from srae_dist.engine import showcase

    owner: Any = {"save": checkpoint, "publish_folder": atomic, "write_grids": showcase}[during]
    original = getattr(owner, during)

    def interrupted(*args: Any, **named: Any) -> Any:
        for _ in range(times):
            ask(number)
        return original(*args, **named)

    monkeypatch.setattr(owner, during, interrupted)
