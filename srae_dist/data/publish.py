"""A shard folder changes all at once: new files wait in ``.partial``, and the manifest comes last.

When all is there, the manifest to come is written to ``.partial`` first. From then on the change is
decided: whoever finds it there, after a kill at any moment, does the rest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from srae_dist.core import atomic
from srae_dist.core.errors import UserError
from srae_dist.core.json_file import parse_json, read_json
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

BAD_FILES = "bad_files.jsonl"

_DOOMED = "doomed.json"  # names of files that the change takes away
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


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


def check_free(out: Path, splits: Sequence[str], *, force: bool) -> None:
    """Refuse to overwrite a split, or a file of the same name that is not ours.

    Raises:
        UserError: there is one, and not ``force``.
    """
    if force:
        return
    there = load_manifest(out).splits if (out / MANIFEST).exists() else {}
    if taken := [f"'{split}'" for split in splits if split in there]:
        have = f"a split {taken[0]}" if len(taken) == 1 else f"splits {' and '.join(taken)}"
        raise UserError(
            f"{out} has {have} already; replace {'it' if len(taken) == 1 else 'them'} with "
            "--force, name another with --split, or choose another --out."
        )
    for split in splits:
        first = out / shard_name(split, 0)
        if first.exists():
            raise UserError(
                f"{first} exists but no {MANIFEST} lists it; replace it with --force, "
                f"or keep it with `srae-dist shard --index {out}`."
            )


def publish(
    partial: Path, out: Path, made: Manifest, *, bad: Sequence[Bad] | None = None
) -> Manifest:
    """Move the finished files of ``made``'s splits from ``partial`` to ``out``, manifest last.

    Splits of the same names are replaced: they leave the manifest first, so that at no moment the
    manifest names a file that is missing or another than it says. ``bad`` replaces their lines in
    the list of bad files; None leaves it as it is. The files are on disk already (synced).
    """
    complete(partial, out)  # an earlier attempt
    there = load_manifest(out) if (out / MANIFEST).exists() else None
    old = {} if there is None else there.splits
    final = replace(made, splits={**old, **made.splits})
    listed = _files(final)
    doomed = [name for name in (_files(there) if there else ()) if name not in listed]
    atomic.write_json(partial / _DOOMED, sorted(doomed))
    if bad is not None:
        atomic.write_text(partial / BAD_FILES, _bad_lines(out, tuple(made.splits), bad))
    final.save(partial)
    complete(partial, out)
    return final


def complete(partial: Path, out: Path) -> bool:
    """Do what a decided change in ``partial`` asks for, if there is one; may be repeated."""
    if not (partial / MANIFEST).exists():
        return False
    final = load_manifest(partial)
    _retire(out, final)
    listed = _files(final)
    for name in read_json(partial / _DOOMED):
        if _PLAIN.fullmatch(name) and name not in listed:
            (out / name).unlink(missing_ok=True)
    for name in listed:
        if (partial / name).exists():
            (partial / name).replace(out / name)
    _replace_list(partial / BAD_FILES, out / BAD_FILES)
    atomic.sync_folder(out)
    final.save(out)
    return True


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


def listed_bad(out: Path, splits: Sequence[str]) -> tuple[Bad, ...]:
    """Return the bad files of some splits, as the list on disk has them."""
    try:
        lines = map(parse_json, _lines(out / BAD_FILES))
        return tuple(Bad(**line) for line in lines if line["split"] in splits)
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged_list(out, error) from None


def _bad_lines(out: Path, splits: Sequence[str], bad: Sequence[Bad]) -> str:
    """Return the list of bad files, the lines of some splits replaced."""
    try:
        there = _lines(out / BAD_FILES)
        lines = [line for line in there if parse_json(line)["split"] not in splits]
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged_list(out, error) from None
    lines += [json.dumps(asdict(item), sort_keys=True, ensure_ascii=False) for item in bad]
    return "".join(f"{line}\n" for line in lines)


def _damaged_list(out: Path, error: Exception) -> UserError:
    return UserError(f"{out / BAD_FILES} is damaged ({error}); delete it.")


def _lines(path: Path) -> list[str]:
    """Return lines as they were written: names may hold other ends of lines."""
    return path.read_text("utf-8").split("\n")[:-1] if path.exists() else []


def _replace_list(new: Path, old: Path) -> None:
    """Put the new list in place of the old; no list where nothing is bad."""
    if not new.exists():
        return
    if new.stat().st_size:
        new.replace(old)
    else:
        old.unlink(missing_ok=True)
        new.unlink()


def _retire(out: Path, final: Manifest) -> None:
    """Take the splits that change out of the manifest, while their files are still there."""
    there = load_manifest(out) if (out / MANIFEST).exists() else None
    if there is None:
        return
    kept = {name: split for name, split in there.splits.items() if final.splits.get(name) == split}
    if len(kept) == len(there.splits):
        return
    if kept:
        replace(there, splits=kept).save(out)
    else:
        (out / MANIFEST).unlink()
        atomic.sync_folder(out)


def _files(manifest: Manifest) -> dict[str, None]:
    """Return the names of all files a manifest lists."""
    names: dict[str, None] = {}
    for split in manifest.splits.values():
        names |= dict.fromkeys((*(shard.file for shard in split.shards), split.index))
    return names
