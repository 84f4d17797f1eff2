"""A full disk, at every touch and for real: a sentence, exit code 2, nothing lost or left, and the
same command goes on once there is room."""

from __future__ import annotations

import builtins
import contextlib
import errno
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import safetensors.torch
import torch

from srae_dist.core import disk
from srae_dist.core.errors import ExitCode, UserError
from srae_dist.data.plan import Form
from srae_dist.runtime import checkpoint
from srae_dist.runtime.runlog import RunLog
from tests.crashes.camera import Tree, look
from tests.crashes.test_train import VALUES, essence
from tests.data.test_writer import Noise
from tests.data.test_writer import run as write_noise
from tests.engine.runs import train, write_recipe
from tests.translation.tiny import save_pictures, save_run, translate


@pytest.fixture(scope="module")
def recipe(face_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("recipes"), face_shards)


class _Full:
    """A file on a disk that has no room after half of what is to be written."""

    def __init__(self, file: Any, check: Callable[[], None]) -> None:
        self._file, self._check = file, check

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _Full:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, data: Any) -> int:
        try:
            self._check()
        except OSError:
            self._file.write(data[: len(data) // 2])
            raise
        self._file.write(data)
        return len(data)


@contextlib.contextmanager
def full_from(root: Path, place: int) -> Iterator[Callable[[], int]]:
    """Let every write, sync and new folder below ``root`` fail, from the one of that number on."""
    touched = 0

    def check() -> None:
        nonlocal touched
        touched += 1
        if touched > place:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def checked(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            check()
            return function(*args, **options)

        return call

    def opening(function: Callable[..., Any]) -> Callable[..., Any]:
        def opened(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
            made = function(file, mode, *args, **options)
            below = not isinstance(file, int) and str(root) in os.fspath(file)
            return _Full(made, check) if below and set(mode) & set("wax+") else made

        return opened

    def save_file(tensors: Any, filename: Any, *args: Any, **options: Any) -> None:
        try:
            check()
        except OSError:
            Path(filename).write_bytes(b"half")
            error = "Error while serializing: I/O error: No space left on device (os error 28)"
            raise safetensors.SafetensorError(error) from None
        original(tensors, filename, *args, **options)

    original = safetensors.torch.save_file
    with contextlib.ExitStack() as stack:
        for name in ("fsync", "mkdir"):
            stack.enter_context(patch.object(os, name, checked(getattr(os, name))))
        for owner in (io, builtins):
            stack.enter_context(patch.object(owner, "open", opening(owner.open)))
        stack.enter_context(patch.object(safetensors.torch, "save_file", save_file))
        yield lambda: touched


def a_sentence(error: str) -> bool:
    return "the disk is full" in error and "MiB free" in error and disk.AGAIN in error


def littered(tree: Tree, but: str = "") -> list[str]:
    """Names of unfinished files, where nothing of a finished one is."""
    return [name for name in tree if ".partial" in (name.removeprefix(but))]


# at every touch, without a disk of its own


def test_training_at_every_touch(recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert train(recipe, run, **VALUES) == ExitCode.DONE
    wanted = essence(run)
    shutil.rmtree(run)
    reached, ended = 0, False
    for place in range(1, 999, 4):  # the disk has room for one thing more after each failure
        shutil.rmtree(run, ignore_errors=True)
        with full_from(run, place) as touched:
            try:
                ended = train(recipe, run, **VALUES) == ExitCode.DONE
            except UserError as error:
                assert a_sentence(str(error)), place
                assert len(str(error).splitlines()) == 1
        if ended:
            assert touched() <= place
            break
        assert littered(look(run)) == [], place
        newest = checkpoint.newest(run / "checkpoints")
        step = 0 if newest is None else checkpoint.step_of(newest)
        assert step >= reached, place  # the checkpoint before is whole
        reached = step
        if place % 16 == 1:
            assert train(recipe, run, **VALUES) == ExitCode.DONE
            assert essence(run) == wanted, place
    assert ended and reached == 2


def test_shards_at_every_touch(tmp_path: Path) -> None:
    noise, form, out = Noise(count=5, side=16), Form(16, shards=2), tmp_path / "out"
    write_noise(tmp_path / "wanted", noise, form=form)
    for place in range(999):
        shutil.rmtree(out, ignore_errors=True)
        with full_from(out, place):
            try:
                write_noise(out, noise, form=form)
                break
            except UserError as error:
                assert a_sentence(str(error)), place
        assert littered(look(out) if out.exists() else {}, but=".partial") == [], place
        with contextlib.suppress(UserError):  # all was there, and only the tidying failed
            write_noise(out, noise, form=form)
        assert look(out) == look(tmp_path / "wanted"), place
    assert place > 20


def test_translations_at_every_touch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = save_run(tmp_path / "run"), tmp_path / "out"
    pictures = save_pictures(tmp_path / "in", ["a.png", "b.png"])
    made = (run, pictures, "--to", "anime", "--batch", 1, "--out")
    assert translate(*made, tmp_path / "wanted") == ExitCode.DONE
    for place in range(999):
        shutil.rmtree(out, ignore_errors=True)
        capsys.readouterr()
        with full_from(out, place):
            code = translate(*made, out)
        if code == ExitCode.DONE:
            break
        said = capsys.readouterr().err
        assert code == ExitCode.USER and a_sentence(said), (place, said)
        assert "Traceback" not in said
        assert littered(look(out) if out.exists() else {}, but=".partial") == [], place
        assert translate(*made, out) == ExitCode.DONE
        assert look(out) == look(tmp_path / "wanted"), place
    assert place > 10


# what is kept, and what is asked before


def save(root: Path, step: int, numbers: int = 9) -> Path:
    return checkpoint.save(
        root,
        step,
        tensors={checkpoint.EMA: {"w": torch.full((numbers,), float(step))}},
        metadata={"version": checkpoint.VERSION},
        state={"step": step},
    )


def test_no_room_is_said_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, 1)
    monkeypatch.setattr(disk, "free", lambda place: 3 << 20)
    with pytest.raises(UserError, match=r"step 2: it takes about 5 MiB, 3 MiB are free; make room"):
        save(tmp_path, 2, numbers=1 << 20)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_a_run_that_could_not_save_does_not_begin(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "free", lambda place: 1 << 20)
    with pytest.raises(UserError, match="no room for a checkpoint of this run"):
        train(recipe, tmp_path / "run", **VALUES)
    assert not (tmp_path / "run/log.jsonl").exists()
    verdict = json.loads((tmp_path / "run/exit.json").read_text())
    assert verdict["code"] == ExitCode.USER and "no room" in verdict["reason"]


def test_old_checkpoints_stay_until_the_new_one_is_verified(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that says yes and keeps something else: nothing older is deleted then."""
    run, original = tmp_path / "run", checkpoint.save

    def spoilt(root: Path, step: int, **values: Any) -> Path:
        folder = original(root, step, **values)
        if step == 2:
            (folder / checkpoint.EMA).write_bytes(b"something else")
        return folder

    monkeypatch.setattr(checkpoint, "save", spoilt)
    train(recipe, run, **VALUES)
    assert checkpoint.newest(run / "checkpoints") == run / "checkpoints/step-00000001"


def test_a_line_of_the_log_that_has_no_room_is_told(tmp_path: Path) -> None:
    log = RunLog(tmp_path / "log.jsonl")
    log.write(1, {})
    with full_from(tmp_path, 0), pytest.raises(UserError, match=r"log\.jsonl cannot be written"):
        log.write(2, {"loss": 1.0})
    log.cut(1)
    assert (tmp_path / "log.jsonl").read_text() == '{"step": 1}\n'


# a small disk


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 6 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("this user may not mount a tmpfs")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path, *, but: int) -> Path:
    """Leave only so many bytes free; returns the file that takes the rest."""
    ballast = place / "ballast"
    ballast.write_bytes(bytes(max(0, shutil.disk_usage(place).free - but)))
    return ballast


@pytest.mark.skipif(sys.platform != "linux", reason="tmpfs")
def test_a_small_disk(
    recipe: Path, small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Train, shard and translate there, until it is full, and after room was made."""
    noise, form = Noise(count=12, side=256), Form(256, "png", shards=3)
    model = save_run(tmp_path / "model")
    pictures = save_pictures(tmp_path / "in", [f"{n}.png" for n in range(6)])
    made = (model, pictures, "--to", "anime", "--batch", 1, "--size", 128, "--out")
    assert train(recipe, tmp_path / "run", **VALUES) == ExitCode.DONE
    write_noise(tmp_path / "shards", noise, form=form)
    assert translate(*made, tmp_path / "out") == ExitCode.DONE

    assert train(recipe, small / "run", **{**VALUES, "train__steps": 1}) == ExitCode.DONE
    ballast = fill(small, but=300_000)
    with pytest.raises(UserError, match=r"has no room for .* MiB are free"):
        train(recipe, small / "run", **VALUES)
    assert checkpoint.newest(small / "run/checkpoints") is not None
    ballast.unlink()
    assert train(recipe, small / "run", **VALUES) == ExitCode.DONE
    weights = "checkpoints/step-00000002/model.safetensors"
    assert (small / "run" / weights).read_bytes() == (tmp_path / "run" / weights).read_bytes()
    shutil.rmtree(small / "run")

    ballast = fill(small, but=1_300_000)
    with pytest.raises(UserError, match="the disk is full") as told:
        write_noise(small / "shards", noise, form=form)
    assert a_sentence(str(told.value))
    assert list((small / "shards/.partial").glob("*.done"))  # what was finished waits
    ballast.unlink()
    write_noise(small / "shards", noise, form=form)
    assert look(small / "shards") == look(tmp_path / "shards")
    shutil.rmtree(small / "shards")

    ballast = fill(small, but=120_000)
    capsys.readouterr()
    assert translate(*made, small / "out") == ExitCode.USER
    assert a_sentence(capsys.readouterr().err)
    ballast.unlink()
    assert translate(*made, small / "out") == ExitCode.DONE
    assert look(small / "out") == look(tmp_path / "out")
