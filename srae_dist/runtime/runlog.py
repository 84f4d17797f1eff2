"""``log.jsonl``: one JSON object a line, readable while the run goes on, cut back on resume."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from srae_dist.core import atomic


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
            atomic.write_bytes(self.path, b"".join(line + b"\n" for line in kept))

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Append one line; a number that is not finite becomes ``null``, as JSON has none."""
        line = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in values.items()
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **line}, allow_nan=False) + "\n")


def _at(line: bytes) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return float("inf")
