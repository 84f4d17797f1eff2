"""What there is to check: manifest and indexes, read once, cut into a job for every shard."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from srae_dist.core.errors import UserError
from srae_dist.core.urls import is_url
from srae_dist.data.check.findings import Findings
from srae_dist.data.check.shard import Job
from srae_dist.data.manifest import Digests, Index, Manifest, Split, load_manifest, load_tables
from srae_dist.data.publish import BAD_FILES
from srae_dist.data.reader import take

_LARGEST_LIST = 1 << 28  # bytes of a list of bad files that is read


@dataclass(frozen=True, slots=True)
class Plan:
    """What there is to check."""

    root: Path
    manifest: Manifest
    splits: tuple[str, ...]
    jobs: tuple[Job, ...]
    problems: Findings  # found on the way
    remarks: Findings


def plan(root: str | Path, *, split: str | None = None) -> Plan:
    """Read manifest and indexes of a local shard folder; ``split`` chooses one, default all.

    Raises:
        UserError: it is a URL, no shard folder, its manifest is damaged or has no such split.
    """
    if is_url(root):
        raise UserError(f"{root} is a URL; copy the folder here first, a check reads every byte.")
    folder, problems, remarks = Path(root), Findings(), Findings()
    manifest = load_manifest(folder)
    if split is not None:
        manifest.split(split, folder)
    there = sorted(manifest.splits, key=lambda name: (name != "train", name))
    names = tuple(there) if split is None else (split,)
    _check_files(folder, manifest, problems, remarks)
    left_out = _left_out(folder)
    jobs: list[Job] = []
    for name in names:
        part = manifest.splits[name]
        try:
            index, blocks = load_tables(folder, part, len(manifest.domains))
        except UserError as error:
            problems.add("index", name, part.index, "", str(error))
            tables = None
        else:
            tables = index, blocks
            _check_keys(index, name, part, problems)
        jobs += _jobs(folder, manifest, name, tables, left_out)
    return Plan(folder, manifest, names, tuple(jobs), problems, remarks)


def _check_files(root: Path, manifest: Manifest, problems: Findings, remarks: Findings) -> None:
    """Every file belongs to one shard; tar files that no split lists are remarked on."""
    files = Counter(shard.file for part in manifest.splits.values() for shard in part.shards)
    for file, count in files.items():
        if count > 1:
            problems.add("manifest", "", file, "", f"the manifest lists it {count} times")
    for name, part in manifest.splits.items():
        for shard in part.shards:
            if unknown := sorted(shard.domains.keys() - set(manifest.domains)):
                text = f"the manifest counts images of unknown domains: {', '.join(unknown)}"
                problems.add("manifest", name, shard.file, "", text)
    for path in sorted(root.glob("*.tar")):
        if path.name not in files and not path.name.startswith("."):
            remarks.add("unlisted_file", "", path.name, "", "the manifest does not list it")


def _check_keys(index: Index, name: str, part: Split, problems: Findings) -> None:
    """Keys differ over all shards of a split."""
    keys, counts = np.unique(index.keys, return_counts=True)
    again = keys[counts > 1]
    for key in again[np.argsort(again)].tolist():
        owners = np.unique(index.shard[index.keys == key]).tolist()[:4] if len(again) < 50 else []
        where = ", ".join(part.shards[owner].file for owner in owners)
        text = f"the index has its key more than once{' (' + where + ')' if where else ''}"
        problems.add("duplicate_key", name, "", key.decode("ascii", "backslashreplace"), text)


def _jobs(
    root: Path,
    manifest: Manifest,
    name: str,
    tables: tuple[Index, Digests] | None,
    left_out: dict[str, frozenset[str]],
) -> Iterator[Job]:
    part = manifest.splits[name]
    rows = blocks = None
    if tables is not None:
        row_ends = np.searchsorted(tables[0].shard, np.arange(len(part.shards) + 1))
        block_ends = np.cumsum([0, *part.block_counts()])
    for number, shard in enumerate(part.shards):
        if tables is not None:
            rows = take(tables[0], np.arange(row_ends[number], row_ends[number + 1]))
            blocks = tables[1][block_ends[number] : block_ends[number + 1]].copy()
        yield Job(
            root,
            name,
            shard,
            manifest.domains,
            manifest.image_size,
            manifest.image_format,
            rows,
            blocks,
            left_out.get(shard.file, frozenset()),
        )


def _left_out(root: Path) -> dict[str, frozenset[str]]:
    """Return, by shard, the keys that indexing left out because their images cannot be read."""
    path = root / BAD_FILES
    found: dict[str, set[str]] = {}
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST_LIST:
            return {}
        for line in path.read_text("utf-8").splitlines():
            shard, _, key = json.loads(line)["origin"].partition("/")
            found.setdefault(shard, set()).add(key)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    return {shard: frozenset(keys) for shard, keys in found.items()}
