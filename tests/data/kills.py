"""Kills a writer before its n-th touch of the disk, for every n, and has it go on: run by a test.

Forks itself, so it must not start a thread.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from srae_dist.data import images
from srae_dist.data.plan import Form
from tests.data.test_writer import Noise, run

KILLED = 9
SMALL = Noise(count=5, side=16, bad=frozenset((3,)))
FORM = Form(16, shards=2)

Folder = dict[str, bytes]


def main(root: Path, step: int) -> None:
    """Try every ``step``-th place: in an empty folder, and where a split is replaced."""
    (root / "empty").mkdir(parents=True)
    run(root / "full", Noise(count=9, side=16), form=Form(16, shards=5))
    run(root / "full", Noise(count=2, side=16, split="test"), form=FORM)
    for before in ("empty", "full"):
        places = try_all(root / "out", root / before, step, force=before == "full")
        print(f"{before}: {places} places")


def try_all(out: Path, before: Path, step: int, *, force: bool) -> int:
    """Return the number of places it was killed at."""

    def write() -> None:
        run(out, SMALL, form=FORM, force=force)

    renew(out, before)
    write()
    wanted = content(out)
    for place in range(0, 10_000, step):
        renew(out, before)
        if child(lambda: killed_at(place, write)) == 0:  # noqa: B023
            return place
        told = content(out).get("manifest.json") == wanted["manifest.json"]
        again = child(write)
        assert content(out) == wanted, (place, sorted(content(out)), sorted(wanted))
        assert again == 0 or told, place  # an error only where all was there: it says so
    raise AssertionError("it never ends")


def renew(out: Path, before: Path) -> None:
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(before, out)


def content(root: Path) -> Folder:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def child(work: Callable[[], object]) -> int:
    """Run it in a fork; return the fork's exit code."""
    pid = os.fork()
    if not pid:
        try:
            work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def killed_at(place: int, work: Callable[[], object]) -> None:
    """Run it, but leave without a word before the touch of that number."""
    left = place

    def touching(function: Callable[..., Any]) -> Callable[..., Any]:
        def touch(*args: Any, **options: Any) -> Any:
            nonlocal left
            if not left:
                os._exit(KILLED)
            left -= 1
            return function(*args, **options)

        return touch

    for owner, name in (
        (os, "fsync"),
        (Path, "replace"),
        (Path, "rename"),
        (Path, "unlink"),
        (Path, "mkdir"),
        (shutil, "rmtree"),
        (images, "encode"),
    ):
        setattr(owner, name, touching(getattr(owner, name)))
    work()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
