"""Checkpoints: folders of safetensors and JSON that exist whole or not at all.

``checkpoints/step-00000005/`` holds named tensor files, ``state.json`` (counters) and, written
last, ``checkpoint.json`` with the SHA-256 of every other file. The folder is filled under a hidden
name and renamed into place. Nothing in it is ever unpickled.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srae_dist.core import atomic, disk
from srae_dist.core.errors import UserError
from srae_dist.core.json_file import parse_json, read_json

if TYPE_CHECKING:
    from torch import Tensor

VERSION = 2  # 2: group norm over 16 channels instead of 8
DIGESTS = "checkpoint.json"
STATE = "state.json"
EMA = "ema.safetensors"
MEAN_CODES = "mean_codes"  # table in ema.safetensors: m x j
METADATA_KEY = "srae_dist"  # the one key of our safetensors headers; its value is JSON
_NAME = re.compile(r"step-(\d{8,})")


def folder_name(step: int) -> str:
    """``step-00000005`` for step 5."""
    return f"step-{step:08d}"


def step_of(folder: Path) -> int:
    """The step in a checkpoint folder's name, or -1."""
    match = _NAME.fullmatch(folder.name)
    return int(match[1]) if match else -1


def save(
    root: Path,
    step: int,
    *,
    tensors: Mapping[str, Mapping[str, Tensor]],
    metadata: Mapping[str, Any],
    state: Mapping[str, Any],
) -> Path:
    """Write one checkpoint and return its folder; an existing one of the same step is kept.

    What cannot be finished leaves nothing behind.

    Args:
        root: the ``checkpoints`` folder.
        step: optimizer steps done.
        tensors: file name -> name -> tensor.
        metadata: JSON value for the header of every tensor file.
        state: JSON value for ``state.json``.

    Raises:
        UserError: there is no room for it, or the disk refuses it.
    """
    final = root / folder_name(step)
    if final.exists() and is_whole(final):
        return final
    temporary = root / f".{final.name}.partial"
    with disk.told(final):
        sweep(root)
        atomic.remove_folder(final)  # damaged
        disk.check_room(root, size_of(tensors), what=f"the checkpoint of step {step:,}")
        atomic.make_folder(root)
        temporary.mkdir()
        try:
            _fill(temporary, step, tensors=tensors, metadata=metadata, state=state)
            atomic.publish_folder(temporary, final)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    return final


def _fill(
    folder: Path,
    step: int,
    *,
    tensors: Mapping[str, Mapping[str, Tensor]],
    metadata: Mapping[str, Any],
    state: Mapping[str, Any],
) -> None:
    """Write all files of a checkpoint."""
    for name, group in tensors.items():
        _write(folder / name, group, metadata)
    atomic.write_json(folder / STATE, dict(state))
    digests = {file.name: atomic.sha256_file(file) for file in sorted(folder.iterdir())}
    atomic.write_json(folder / DIGESTS, {"version": VERSION, "step": step, "sha256": digests})


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write one file as ``read_tensors`` reads it; it is there whole or not at all.

    Raises:
        UserError: there is no room for it, or the disk refuses it.
    """
    with disk.told(path):
        disk.check_room(path.parent, size_of({path.name: tensors}), what=path.name)
        with atomic.replacing(path) as temporary:
            _write(temporary, tensors, metadata)
            atomic.settle_mode(temporary)


def _write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    from safetensors.torch import save_file

    ready = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    save_file(ready, path, metadata={METADATA_KEY: json.dumps(metadata, sort_keys=True)})


def size_of(tensors: Mapping[str, Mapping[str, Tensor]]) -> int:
    """Return the bytes of a checkpoint's tensors."""
    return sum(value.nbytes for group in tensors.values() for value in group.values())


def sweep(root: Path) -> None:
    """Delete what a killed save or a killed deletion has left under ``root``: never whole."""
    for stale in root.glob(".step-*"):
        shutil.rmtree(stale)


def is_whole(folder: Path) -> bool:
    """Whether every file of a checkpoint is there with the digest it was written with.

    A folder that was renamed to another step is not what its name says, so not whole.
    """
    try:
        value = read_json(folder / DIGESTS)
        if step_of(folder) not in (-1, value["step"]):
            return False
        return bool(value["sha256"]) and all(
            Path(name).name == name
            and (folder / name).is_file()  # a pipe would be waited for
            and atomic.sha256_file(folder / name) == digest
            for name, digest in value["sha256"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def newest(root: Path) -> Path | None:
    """The whole checkpoint of the highest step under ``root``, or None."""
    if not root.is_dir():
        return None
    folders = sorted(
        (folder for folder in root.iterdir() if folder.is_dir() and step_of(folder) >= 0),
        key=step_of,
        reverse=True,
    )
    return next((folder for folder in folders if is_whole(folder)), None)


def prune(root: Path, keep: int) -> None:
    """Delete all but the ``keep`` newest checkpoints, once the newest is known to be whole."""
    folders = sorted((f for f in root.iterdir() if step_of(f) >= 0), key=step_of)
    if folders and is_whole(folders[-1]):
        for folder in folders[:-keep]:
            atomic.remove_folder(folder)


def resolve(path: Path) -> Path:
    """Return the ``ema.safetensors`` that a user's ``CHECKPOINT`` argument means.

    ``path`` is a run folder, its ``latest``, a checkpoint folder, or the file itself.

    Raises:
        UserError: none of these.
    """
    if path.is_file():
        return path
    if path.name == "latest" and not path.exists():
        path = path.parent
    if (path / DIGESTS).exists():
        if not is_whole(path):
            raise UserError(
                f"{path} is damaged: a file is missing or does not match {DIGESTS}; "
                "use another checkpoint of the run."
            )
        return path / EMA
    if path.is_dir():
        root = path / "checkpoints" if (path / "checkpoints").is_dir() else path
        folder = newest(root)
        if folder is not None:
            return folder / EMA
        raise UserError(f"{path} holds no complete checkpoint; train first, or name another run.")
    raise UserError(
        f"Checkpoint {path} does not exist; give a run folder (runs/NAME), a checkpoint folder or "
        f"an {EMA} file."
    )


def read_state(folder: Path) -> dict[str, Any]:
    """Read ``state.json`` of a checkpoint."""
    try:
        value = read_json(folder / STATE)
        if not isinstance(value, dict):
            raise ValueError("it is not a table")
        return value
    except (OSError, ValueError) as error:
        raise UserError(
            f"{folder / STATE} cannot be read: {error}; use another checkpoint of the run."
        ) from None


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a safetensors file of ours: its tensors on the CPU, and the JSON in its header.

    Raises:
        UserError: missing, damaged, not written by srae_dist, or of another version.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            header = file.metadata() or {}
            if METADATA_KEY not in header:
                raise UserError(f"{path} was not written by srae_dist: its header says nothing.")
            metadata = parse_json(header[METADATA_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(
            f"{path} is no readable safetensors file ({error}); name a checkpoint."
        ) from None
    if not isinstance(metadata, dict) or metadata.get("version") != VERSION:
        found = metadata.get("version") if isinstance(metadata, dict) else None
        raise UserError(
            f"{path} has checkpoint version {found}, this srae_dist reads {VERSION}; "
            "use the version that wrote it."
        )
    return tensors, metadata
