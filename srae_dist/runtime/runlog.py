"""``log.jsonl``: one JSON object a line, readable while the run goes on, cut back on resume."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from srae_dist.core import atomic, disk

RESUMED = "resumed"  # true in a line on what comes after its step: each resume writes its own


class RunLog:
    """Appends lines to a file; each line carries the step it describes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def cut(self, step: int) -> None:
        """Drop lines of steps after ``step`` (and a torn last line), so that a resumed run's log
        reads like an uninterrupted one's."""
        if self.path.is_symlink() and not self.path.exists():
            self.path.unlink()  # it would be written through
        if self.path.exists():
            kept = [line for line in self.path.read_bytes().splitlines() if _at(line) <= step]
            with disk.told(self.path):
                atomic.write_bytes(self.path, b"".join(line + b"\n" for line in kept))

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Append one line; a number that is not finite becomes ``null``, as JSON has none.

        Raises:
            UserError: the disk refuses it.
        """
        line = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in values.items()
        }
        with disk.told(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **line}, allow_nan=False) + "\n")

    def sync(self) -> None:
        """Flush all lines to the disk, so that a checkpoint never outlives the lines before it.

        Raises:
            UserError: the disk refuses it.
        """
        if self.path.exists():
            with disk.told(self.path):
                atomic.sync_file(self.path)
                atomic.sync_folder(self.path.parent)


def _at(line: bytes) -> float:
    try:
        value = json.loads(line)
        return float(value["step"]) + (0.5 if value.get(RESUMED) else 0.0)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return float("inf")
