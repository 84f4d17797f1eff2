"""What goes wrong before a command runs: files spoilt, missing or in the way, and odd machines.

Each takes the folder that the command runs in, whose paths are all relative to it.
"""

from __future__ import annotations

import errno
import json
import os
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

Mishap = Callable[[Path, pytest.MonkeyPatch], object]

CHECKPOINT = "runs/tiny/checkpoints/step-00000001"
SHARDS = "shards/faces"


def text(name: str, content: str) -> Mishap:
    """A text file is there."""
    return data(name, content.encode())


def data(name: str, content: bytes) -> Mishap:
    """A file of these bytes is there."""

    def make(root: Path, patch: pytest.MonkeyPatch) -> None:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    return make


def gone(name: str) -> Mishap:
    """A file is missing."""
    return lambda root, patch: (root / name).unlink()


def cut(name: str) -> Mishap:
    """The second half of a file is missing."""

    def make(root: Path, patch: pytest.MonkeyPatch) -> None:
        content = (root / name).read_bytes()
        (root / name).write_bytes(content[: len(content) // 2])

    return make


def changed(name: str, *keys: str, value: Any) -> Mishap:
    """A JSON file says something else."""

    def make(root: Path, patch: pytest.MonkeyPatch) -> None:
        whole = json.loads((root / name).read_text())
        place = whole
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        (root / name).write_text(json.dumps(whole))

    return make


def header(**values: Any) -> Mishap:
    """The header of a checkpoint's tensors says something else; its digests are right."""

    def make(root: Path, patch: pytest.MonkeyPatch) -> None:
        from srae_dist.core.atomic import sha256_file

        path = root / CHECKPOINT / "ema.safetensors"
        said = read_header(path) | values
        save_file(load_file(path), path, metadata={"srae_dist": json.dumps(said)})
        listed = json.loads((root / CHECKPOINT / "checkpoint.json").read_text())
        listed["sha256"][path.name] = sha256_file(path)
        (root / CHECKPOINT / "checkpoint.json").write_text(json.dumps(listed))

    return make


def read_header(path: Path) -> dict[str, Any]:
    """The JSON in a safetensors file's header."""
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        said: dict[str, Any] = json.loads(file.metadata()["srae_dist"])
    return said


def foreign_tensors(name: str) -> Mishap:
    """A safetensors file of another program."""

    def make(root: Path, patch: pytest.MonkeyPatch) -> None:
        import numpy as np

        save_file({"weight": np.zeros(3, np.float32)}, root / name)

    return make


def environment(**values: str) -> Mishap:
    """Environment variables are set."""

    def make(root: Path, patch: pytest.MonkeyPatch) -> None:
        for name, value in values.items():
            patch.setenv(name, value)

    return make


def launched(command: str) -> Mishap:
    """The parent process is a launcher with this command line."""

    def make(root: Path, patch: pytest.MonkeyPatch) -> None:
        from srae_dist.runtime import launch

        patch.setattr(launch, "_parent_command", command.split)

    return make


def ranks(count: int) -> Mishap:
    """The launcher has started several ranks, of which this is the first."""

    def make(root: Path, patch: pytest.MonkeyPatch) -> None:
        import dataclasses

        from srae_dist.runtime import launch

        join = launch.join_world

        def many(threads: int | None = None, *, timeout: float) -> launch.World:
            return dataclasses.replace(join(threads), size=count, local_size=count)

        patch.setattr(launch, "join_world", many)
        patch.setattr(launch, "least", lambda number, world: number)
        patch.setattr("srae_dist.engine.fit.least", lambda number, world: number)

    return make


def in_use(folder: str) -> Mishap:
    """Another process works in a folder."""

    def make(root: Path, patch: pytest.MonkeyPatch) -> object:
        from filelock import FileLock

        (root / folder).mkdir(parents=True, exist_ok=True)
        held = FileLock(root / folder / ".lock")
        held.acquire()
        patch.setattr(held, "kept", True, raising=False)  # as long as the patch
        return held

    return make


def full_disk(root: Path, patch: pytest.MonkeyPatch) -> None:
    """There is no space: what is written can not be kept."""

    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    patch.setattr(os, "fsync", refuse)


def no_network(root: Path, patch: pytest.MonkeyPatch) -> None:
    """A download comes to nothing."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise urllib.error.URLError("Name or service not known")

    import torchvision.models._api as api

    patch.setattr(api, "load_state_dict_from_url", refuse)


def unreadable_pictures(root: Path, patch: pytest.MonkeyPatch) -> None:
    """A folder a domain, with nothing in them that is an image but by its name."""
    for name in ("photo", "anime"):
        text(f"spoilt/{name}/a.png", "Buy milk.\n")(root, patch)


def indexed(root: Path, patch: pytest.MonkeyPatch) -> None:
    """The index of neighbours is there."""
    from tests.bad_use.play import call

    made = call("srae-dist neighbours pictures/photo/a.png --in anime --run runs/tiny", patch)
    assert made.code == 0, made.said


def all_of(*mishaps: Mishap) -> Mishap:
    """One after the other."""
    return lambda root, patch: [mishap(root, patch) for mishap in mishaps]


def vouch(root: Path, patch: pytest.MonkeyPatch) -> None:
    """The checkpoint's list of digests is made anew, for the files as they are."""
    from srae_dist.core.atomic import sha256_file

    folder = root / CHECKPOINT
    listed = json.loads((folder / "checkpoint.json").read_text())
    listed["sha256"] = {name: sha256_file(folder / name) for name in listed["sha256"]}
    (folder / "checkpoint.json").write_text(json.dumps(listed))


def huge_model(root: Path, patch: pytest.MonkeyPatch) -> None:
    """The checkpoint's recipe asks for layers that no machine holds."""
    said = read_header(root / CHECKPOINT / "ema.safetensors")["recipe"]
    said["model"] |= {"width": 8_000_000, "max_width": 8_000_000}
    header(recipe=said)(root, patch)


def no_runs(root: Path, patch: pytest.MonkeyPatch) -> None:
    """Nothing was trained yet."""
    (root / "runs").rename(root / "elsewhere")


def linked_tar(root: Path, patch: pytest.MonkeyPatch) -> None:
    """A tar file with a member that points at a file of the machine."""
    import tarfile

    (root / "foreign").mkdir()
    with tarfile.open(root / "foreign" / "a.tar", "w") as tar:
        member = tarfile.TarInfo("a.png")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member)


def larger_model(root: Path, patch: pytest.MonkeyPatch) -> None:
    """The checkpoint is of images of 64 x 64 pixels, with codes twice as large."""
    said = read_header(root / CHECKPOINT / "ema.safetensors")["recipe"]
    said["model"]["code_size"] *= 2
    header(recipe=said, image_size=64)(root, patch)
