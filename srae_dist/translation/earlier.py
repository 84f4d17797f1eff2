"""An earlier translation in ``OUT``: what it left, and how it goes without taking anything else."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from srae_dist.core import atomic
from srae_dist.core.errors import UserError
from srae_dist.core.json_file import parse_json, read_json
from srae_dist.data.manifest import MANIFEST, load_manifest

PARTIAL = ".partial"  # the folder of all that is not finished
SUMMARY = "translation.json"
PROVENANCE = "translations.jsonl"
FAILED = "failed.jsonl"
FORMAT = "srae_dist.translation"
DOOMED = "doomed.json"  # summary of a translation that is being taken away

_LONGEST, _LONGEST_PART = 4000, 255  # characters of a path, bytes of a name in it


def keep_others_splits(out: Path, job: Mapping[str, Any], earlier: Mapping[str, Any]) -> None:
    """Check that no split would go with an earlier translation which no translation made.

    Raises:
        UserError: one would.
    """
    kinds = [_kind(job), _kind(earlier)]
    if "shards" not in kinds or not (out / MANIFEST).exists():
        return
    ours = {name.partition("/")[0] for name in _outputs(out / PROVENANCE)}
    for name, split in load_manifest(out).splits.items():
        if kinds[1] != "shards" or not any(shard.file in ours for shard in split.shards):
            raise UserError(
                f"{out} holds the split '{name}', which no translation made; choose another --out."
            )


def _kind(job: Mapping[str, Any]) -> Any:
    made = job.get("output")
    return made.get("kind") if isinstance(made, dict) else None


def remove_result(out: Path) -> None:
    """Take away what a finished translation put into ``out``, summary first.

    What is to go is written down before, so that it goes even if this is killed.
    """
    doom = out / PARTIAL / DOOMED
    summary = read(doom) or read(out / SUMMARY)
    if summary is None:
        return
    if (out / MANIFEST).exists() and _kind(summary.get("job") or {}) == "shards":
        splits = load_manifest(out).splits.values()
        doomed = [out / shard.file for split in splits for shard in split.shards]
        doomed += [out / split.index for split in splits] + [out / MANIFEST]
    else:
        doomed = [out / name for name in _outputs(out / PROVENANCE)]
    atomic.write_json(doom, summary)
    (out / SUMMARY).unlink(missing_ok=True)
    root = out.resolve()
    for path in (*doomed, out / FAILED, out / PROVENANCE):  # the lists of the others last
        if path.parent.resolve().is_relative_to(root) and not path.is_dir():
            path.unlink(missing_ok=True)
    atomic.sync_folder(out)
    doom.unlink()


def read(path: Path) -> dict[str, Any] | None:
    """Return a translation's summary or job, or None if the file says no such thing."""
    try:
        value = read_json(path)
    except (OSError, ValueError):
        return None
    if not isinstance(value, dict) or value.get("format", FORMAT) != FORMAT:
        return None
    return value if isinstance(value.get("job", {}), dict) else None


def _outputs(path: Path) -> Iterator[str]:
    """Yield the files that the lines of a translation's provenance name.

    Raises:
        UserError: they are damaged, so that nobody knows which files are the translation's.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for text in file:
            try:
                name = _named(parse_json(text))
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(
                    f"{path} is damaged ({error}); delete {path.parent} yourself, or choose "
                    "another --out."
                ) from None
            yield name


def _named(line: dict[str, Any]) -> str:
    """Return the file that a line of provenance names.

    Raises:
        ValueError, KeyError, TypeError: it names none.
    """
    name = line["output"]
    if "output_bytes" in line:  # the name is not UTF-8, which JSON cannot hold
        name = os.fsdecode(bytes.fromhex(line["output_bytes"]))
    if not isinstance(name, str) or not name or "\0" in name or len(name) > _LONGEST:
        raise ValueError("a line names no file")
    if any(len(os.fsencode(part)) > _LONGEST_PART for part in name.split("/")):
        raise ValueError("a line names no file")
    return name
