"""A translation that survives being killed: what it is, which units are done, how it ends.

While it runs, all it has made lies in ``OUT/.partial``: ``job.json`` says what is being done, and
``units/`` has a record for each unit that is complete. A record is written last, so a unit without
one is done again. At the end everything moves to its final name, ``translation.json`` last.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from srae_dist.core import atomic
from srae_dist.core.errors import UserError
from srae_dist.core.json_file import read_json
from srae_dist.data.manifest import MANIFEST
from srae_dist.translation.earlier import (
    DOOMED,
    FAILED,
    FORMAT,
    PARTIAL,
    PROVENANCE,
    SUMMARY,
    keep_others_splits,
    read,
    remove_result,
)
from srae_dist.translation.inputs import Unit

_JOB = "job.json"
_OURS = (PARTIAL, SUMMARY, PROVENANCE, FAILED)

Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Record:
    """What became of a unit."""

    done: list[Line] = field(default_factory=list)  # provenance of each translated image
    failed: list[Line] = field(default_factory=list)
    shard: dict[str, Any] | None = None  # of shard output: its tar, and where the images lie

    def __len__(self) -> int:
        return len(self.done) + len(self.failed)


class State(Enum):
    """What a job finds in its folder."""

    NEW = "nothing"
    UNFINISHED = "a part of itself"
    FINISHED = "its own result"
    OTHER = "something that --force gives up"


def look(out: Path, job: Mapping[str, Any], *, force: bool) -> State:
    """Say what is in ``out``; writes nothing.

    Raises:
        UserError: it is something that must not be lost without ``force``, or shards that no
            translation made, or not a folder.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; choose a folder for --out.")
    doomed = read(out / PARTIAL / DOOMED)
    finished = doomed or read(out / SUMMARY)
    unfinished = read(out / PARTIAL / _JOB) if any(_units(out).glob("*.json")) else None
    if force and finished is not None:
        keep_others_splits(out, job, finished.get("job") or {})
    if finished is not None and finished.get("job") == job and doomed is None:
        return State.OTHER if force else State.FINISHED
    if unfinished == job:
        return State.UNFINISHED
    others = sorted(p.name for p in out.iterdir() if p.name not in _OURS) if out.is_dir() else []
    if unfinished is None and finished is None and not others:
        return State.NEW
    if finished is None and MANIFEST in others and job["output"]["kind"] == "shards":
        raise UserError(f"{out} holds shards that no translation made; choose another --out.")
    if force:
        return State.OTHER
    there = unfinished or (finished or {}).get("job")
    if there is None:
        raise UserError(
            f"{out} is not empty (it has {', '.join(others[:3])}); choose another --out, or write "
            "beside what is there, over files of the same names, with --force."
        )
    kind = "an unfinished" if unfinished else "another"
    raise UserError(
        f"{out} holds {kind} translation ({'; '.join(_differences(there, job))}); "
        "run it as before, choose another --out, or replace it with --force."
    )


def begin(out: Path, job: Mapping[str, Any], state: State) -> None:
    """Make ``out`` ready for the job; an earlier translation goes, other files stay."""
    if state is not State.UNFINISHED:
        for path in sorted((out / PARTIAL).iterdir()):
            if path.is_dir():
                shutil.rmtree(path)
    if state is State.OTHER:
        remove_result(out)
    if state is not State.UNFINISHED:
        atomic.write_json(out / PARTIAL / _JOB, dict(job))
        atomic.sync_folder(out)


def read_summary(out: Path) -> Mapping[str, Any]:
    """Return the summary of a finished translation."""
    return read(out / SUMMARY) or {}


class Progress:
    """The records of the units that are done."""

    def __init__(self, out: Path) -> None:
        self._folder = _units(out)

    def todo(self, units: Sequence[Unit]) -> list[Unit]:
        """Return the units without a record."""
        done = {path.name for path in self._folder.glob("*.json")}
        return [unit for unit in units if self._path(unit).name not in done]

    def save(self, unit: Unit, record: Record) -> None:
        """Write down that a unit is complete."""
        text = json.dumps(asdict(record), sort_keys=True, ensure_ascii=False)
        atomic.write_text(self._path(unit), text)

    def load(self, unit: Unit) -> Record:
        """Read a record.

        Raises:
            UserError: it is damaged.
        """
        path = self._path(unit)
        try:
            return _record(read_json(path))
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(
                f"{path} is damaged ({error}); delete it, and run the same command again."
            ) from None

    def _path(self, unit: Unit) -> Path:
        return self._folder / f"{unit.number:08d}.json"


def _record(value: Any) -> Record:
    """Make a record of what a file says.

    Raises:
        ValueError, TypeError: it says no such thing.
    """
    record = Record(**value)
    for lines in (record.done, record.failed):
        if not isinstance(lines, list) or not all(isinstance(line, dict) for line in lines):
            raise ValueError("its lines are none")
    if not isinstance(record.shard, dict | None):
        raise ValueError("its shard is none")
    return record


@dataclass(frozen=True, slots=True)
class Total:
    """What became of all units."""

    translated: int
    failed: int
    first_failed: tuple[Line, ...]
    unreadable_references: tuple[str, ...]


def conclude(
    out: Path,
    job: Mapping[str, Any],
    records: Iterator[Record],
    *,
    facts: Mapping[str, Any],
    shown: int,
) -> Total:
    """Write the provenance of all images, the list of failures and, last, the summary."""
    translated = 0
    failed: list[Line] = []
    references: dict[str, None] = {}
    with atomic.replacing(out / PROVENANCE) as path, path.open("w", encoding="utf-8") as file:
        for record in records:
            translated += len(record.done)
            failed += record.failed
            for line in record.done:
                references |= dict.fromkeys(line.get("unreadable_references", ()))
                file.write(_text(line))
    if failed:
        atomic.write_text(out / FAILED, "".join(map(_text, failed)))
    summary = {
        "format": FORMAT,
        "version": 1,
        "job": dict(job),
        **facts,
        "images": translated + len(failed),
        "translated": translated,
        "failed": len(failed),
    }
    atomic.write_json(out / SUMMARY, summary)
    return Total(translated, len(failed), tuple(failed[:shown]), tuple(sorted(references)))


def tidy(out: Path) -> None:
    """Take away what a finished translation's ``.partial`` still holds."""
    shutil.rmtree(out / PARTIAL, ignore_errors=True)


def _differences(there: Mapping[str, Any], job: Mapping[str, Any]) -> list[str]:
    """Name the values that are others than before; digests only where nothing else is."""
    old, new = _flat(there), _flat(job)
    changed = [name for name in sorted(old | new) if old.get(name) != new.get(name)]
    plain = [name for name in changed if not name.endswith(("sha256", "digest"))]
    if plain:
        return [f"{n} was {_said(old.get(n))}, is {_said(new.get(n))}" for n in plain[:4]]
    return [f"the {name.rpartition(' ')[0]} has changed since" for name in changed[:4]]


def _said(value: Any) -> str:
    return "not given" if value is None else str(value)


def _flat(value: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, item in value.items():
        if isinstance(item, Mapping):
            flat |= {f"{name} {inner}": deep for inner, deep in _flat(item).items()}
        else:
            flat[name] = item
    return flat


def _units(out: Path) -> Path:
    return out / PARTIAL / "units"


def _text(line: Line) -> str:
    return json.dumps(line, sort_keys=True, ensure_ascii=False) + "\n"
