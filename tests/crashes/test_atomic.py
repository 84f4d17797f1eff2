"""A file and checkpoints at every touch of the disk; and without each sync, to see it missed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from srae_dist.core import atomic
from srae_dist.runtime import checkpoint
from srae_dist.runtime.runlog import RunLog
from tests.crashes.camera import Camera, look, photographed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc, and folders that sync")

OLD, NEW = b"old" * 99, b"new" * 99


def write_file(root: Path) -> Camera:
    atomic.write_bytes(root / "x", OLD)
    with photographed(root, power=True) as camera:
        atomic.write_bytes(root / "x", NEW)
    return camera


def save_checkpoints(root: Path) -> Camera:
    with photographed(root, power=True) as camera:
        for step in (1, 2, 3):
            RunLog(root / "log.jsonl").write(step, {})
            RunLog(root / "log.jsonl").sync()
            checkpoint.save(
                root / "checkpoints",
                step,
                tensors={checkpoint.EMA: {"w": torch.full((9,), float(step))}},
                metadata={"version": checkpoint.VERSION},
                state={"step": step},
            )
            checkpoint.prune(root / "checkpoints", 1)
    return camera


def file_holds(camera: Camera) -> bool:
    trees = [photograph.tree for photograph in camera.taken]
    return camera.safe and all(tree.get("x") in (OLD, NEW) for tree in trees)


def checkpoints_hold(camera: Camera) -> bool:
    """A whole one is always there once there was one, and the log reaches it."""
    reached = 0
    for photograph in camera.taken:
        photograph.develop(camera.root)
        newest = checkpoint.newest(camera.root / "checkpoints")
        step = 0 if newest is None else checkpoint.step_of(newest)
        told = len((photograph.tree.get("log.jsonl") or b"").splitlines())
        if step < reached - 1 or told < step:
            return False
        reached = max(step, reached)
    return camera.safe and reached == 3


JOBS: dict[str, tuple[Callable[[Path], Camera], Callable[[Camera], bool]]] = {
    "file": (write_file, file_holds),
    "checkpoints": (save_checkpoints, checkpoints_hold),
}


@pytest.mark.parametrize("job", JOBS)
def test_old_or_new_and_never_torn(tmp_path: Path, job: str) -> None:
    work, holds = JOBS[job]
    camera = work(tmp_path)
    assert len({p.touch for p in camera.taken}) > 2
    assert holds(camera)


@pytest.mark.parametrize(
    ("job", "broken"),
    [
        ("file", "sync_file"),
        ("file", "sync_folder"),
        ("checkpoints", "sync_file"),
        ("checkpoints", "sync_folder"),
    ],
)
def test_a_missing_sync_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: str, broken: str
) -> None:
    work, holds = JOBS[job]
    monkeypatch.setattr(atomic, broken, lambda path: None)
    assert not holds(work(tmp_path))


def test_what_a_killed_writer_left_goes_with_the_next(tmp_path: Path) -> None:
    for photograph in write_file(tmp_path / "made").taken:
        photograph.develop(tmp_path / "made")
        atomic.write_bytes(tmp_path / "made" / "x", NEW)
        assert look(tmp_path / "made") == {"x": NEW}, photograph
