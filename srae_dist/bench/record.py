"""A result on paper: what was measured, on what, by which command, when."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from srae_dist import __version__
from srae_dist.core import atomic
from srae_dist.core.machine import processor

PACKAGES = (
    *("torch", "torchvision", "webdataset", "numpy", "pillow"),
    *("simplejpeg", "imagecodecs", "opencv-python-headless"),
)


def machine() -> dict[str, str]:
    """Say what this runs on: processor, cores, memory, versions."""
    import psutil

    memory = psutil.virtual_memory().total / 2**30
    return {
        "processor": processor(),
        "cores": str(psutil.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "srae_dist": __version__,
        **{name: version(name) for name in PACKAGES},
    }


def command() -> str:
    """Return the command line that is running, as a user would type it."""
    script = Path(sys.argv[0])
    ours = script.parent.name == "benchmarks"  # a script of the repository's
    words, skip = ["python", f"benchmarks/{script.name}"] if ours else ["srae-dist"], False
    for word in sys.argv[1:]:  # where results go is nobody's business
        aside = word in ("--json", "--record")
        if not (skip or aside or word.startswith(("--json=", "--record="))):
            words.append(word)
        skip = aside
    return shlex.join(words)


def write(
    folder: Path,
    name: str,
    *,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    values: Mapping[str, Any],
    remarks: Sequence[str] = (),
) -> Path:
    """Write ``{name}-{date}.md`` for people and ``.json`` for machines; returns the first."""
    now = datetime.now().astimezone()
    facts = {"date": now.isoformat(timespec="seconds"), "command": command(), **machine()}
    lines = [f"# bench {name}, {now:%Y-%m-%d}", ""]
    lines += [
        f"- {key}: {f'`{value}`' if key == 'command' else value}" for key, value in facts.items()
    ]
    lines += ["", f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    lines += ["", *remarks]
    path = folder / f"{name}-{now:%Y-%m-%d}.md"
    atomic.write_text(path, "\n".join(lines).rstrip() + "\n")
    atomic.write_json(path.with_suffix(".json"), {**facts, **values})
    return path
