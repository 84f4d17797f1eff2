"""A shard folder changes all at once: new files wait in ``.partial``, and the manifest comes last.

One writer at a time; what a killed one left is swept away by the next.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from srae_dist.core import atomic
from srae_dist.core.errors import UserError
from srae_dist.data.manifest import (
    MANIFEST,
    Digests,
    Index,
    Manifest,
    Shard,
    Split,
    load_manifest,
    save_index,
)

PARTIAL = ".partial"
BAD_FILES = "bad_files.jsonl"


@dataclass(frozen=True, slots=True)
class Bad:
    """An image that could not be read."""

    split: str
    domain: str
    origin: str
    reason: str


@dataclass(frozen=True, slots=True)
class Written:
    """What a writer leaves behind."""

    manifest: Manifest
    splits: tuple[str, ...]  # those written now
    bad: tuple[Bad, ...]


@contextlib.contextmanager
def workplace(out: Path) -> Iterator[Path]:
    """Lock ``out`` and yield its empty ``.partial`` folder, which is gone in the end.

    Raises:
        UserError: another process writes there, or nobody can.
    """
    partial = out / PARTIAL
    try:
        out.mkdir(parents=True, exist_ok=True)
        with FileLock(out / ".lock", timeout=0):
            shutil.rmtree(partial, ignore_errors=True)  # of a writer that was killed
            partial.mkdir()
            try:
                yield partial
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except Timeout:
        raise UserError(f"Another process is writing to {out}; wait for it, or stop it.") from None
    except OSError as error:
        raise UserError(
            f"{error.filename or out} cannot be used: {error.strerror or error}."
        ) from None


def check_free(out: Path, splits: Sequence[str], *, force: bool) -> None:
    """Refuse to overwrite a split, or a file of the same name that is not ours.

    Raises:
        UserError: there is one, and not ``force``.
    """
    if force:
        return
    there = load_manifest(out).splits if (out / MANIFEST).exists() else {}
    for split in splits:
        if split in there:
            raise UserError(
                f"{out} has a split '{split}' already; replace it with --force, "
                "name another with --split, or choose another --out."
            )
        first = out / shard_name(split, 0)
        if first.exists():
            raise UserError(
                f"{first} exists but no {MANIFEST} lists it; replace it with --force, "
                f"or keep it with `srae-dist shard --index {out}`."
            )


def publish(partial: Path, out: Path, made: Manifest) -> Manifest:
    """Move the finished files of ``made``'s splits from ``partial`` to ``out``, manifest last.

    Splits of the same names are replaced: they leave the manifest first, so that at no moment the
    manifest names a file that is missing or another than it says.
    """
    there = load_manifest(out) if (out / MANIFEST).exists() else None
    kept = {} if there is None else {k: v for k, v in there.splits.items() if k not in made.splits}
    for file in sorted(partial.iterdir()):
        atomic.sync_file(file)
    if there is not None and len(kept) < len(there.splits):
        _retire(out, there, kept)
    for file in sorted(partial.iterdir()):
        file.replace(out / file.name)
    atomic.sync_folder(out)
    manifest = replace(made, splits={**kept, **made.splits})
    manifest.save(out)
    return manifest


def save_split_index(
    folder: Path, split: str, index: Index, shards: Sequence[Shard], blocks: Sequence[Digests]
) -> Split:
    """Write a split's index file, with each shard's digests, and return its manifest entry."""
    path = folder / f"{split}.index.safetensors"
    save_index(path, index, np.concatenate([np.empty((0, 32), np.uint8), *blocks]))
    return Split(tuple(shards), path.name, atomic.sha256_file(path))


def shard_name(split: str, number: int) -> str:
    """Return the file name of a split's shard."""
    return f"{split}-{number:06d}.tar"


def list_bad(out: Path, splits: Sequence[str], bad: Sequence[Bad]) -> None:
    """Replace the lines of these splits in the list of bad files; no list where none is bad."""
    path = out / BAD_FILES
    old = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    lines = [line for line in old if json.loads(line)["split"] not in splits]
    lines += [json.dumps(asdict(item), sort_keys=True, ensure_ascii=False) for item in bad]
    if lines:
        atomic.write_text(path, "\n".join(lines) + "\n")
    else:
        path.unlink(missing_ok=True)


def _retire(out: Path, there: Manifest, kept: Mapping[str, Split]) -> None:
    """Take splits out of the manifest, and then their files off the disk."""
    if kept:
        replace(there, splits=dict(kept)).save(out)
    else:
        (out / MANIFEST).unlink()
        atomic.sync_folder(out)
    for name, split in there.splits.items():
        if name not in kept:
            for file in (*(shard.file for shard in split.shards), split.index):
                (out / file).unlink(missing_ok=True)
