"""Peak memory of `srae-dist shard` over a million files.

``python benchmarks/shard_memory.py [--files N] [--part I/N]`` makes that many links to a few images
in a temporary folder, lists and plans them all, and writes the shards of one part with one process.
Printed is how far the peak of resident memory has risen since the imports.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save

from srae_dist.data import arguments, images, sources
from srae_dist.data.plan import Form
from srae_dist.data.records import shuffled
from srae_dist.data.writer import write
from srae_dist.runtime import console

A_FOLDER = 1000  # links in each; a file system has a limit of links to a file, too


def main() -> None:
    """Measure the listing, the plan, and the writing of one part."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--part", default="1/20")
    chosen = parser.parse_args()
    part = arguments.part(chosen.part, {})
    torch.set_num_threads(1)
    form = Form(64)
    images.read_square(make_image(0), form.size)  # loads what decoding and resizing need
    save({"a": np.zeros(1)})
    with tempfile.TemporaryDirectory() as folder:
        root, out = Path(folder) / "in", Path(folder) / "out"
        make_files(root, chosen.files)
        base, start, rows = peak(), time.monotonic(), []

        def note(what: str) -> None:
            rows.append((what, peak() - base, time.monotonic() - start))

        source = sources.from_root(root)
        note(f"{len(source.records):,} files listed")
        splits = shuffled(source.records, seed=0)
        note("shuffled")
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            if done in (1, 5000) or done % 20_000 == 0:
                note(f"planned; {done:,} images written")

        @contextlib.contextmanager
        def progress(total: int) -> Iterator[Callable[[int], None]]:
            yield advance

        write(out, source, splits, form=form, part=part, progress=progress)
        note("done")
    columns = ("after", "MB above the imports", "seconds")
    console.table(columns, rows, title=f"part {part}, {base:.0f} MB after the imports")


def make_files(root: Path, count: int) -> None:
    """Spread links to images over folders of two domains; a file for each folder's links."""
    for number in range(-(-count // A_FOLDER)):
        folder = root / ("photo", "anime")[number % 2] / f"{number:06d}"
        folder.mkdir(parents=True)
        first = folder / f"{number * A_FOLDER:09d}.jpg"
        first.write_bytes(make_image(number))
        for other in range(number * A_FOLDER + 1, min((number + 1) * A_FOLDER, count)):
            os.link(first, folder / f"{other:09d}.jpg")


def make_image(seed: int) -> bytes:
    """Return a JPEG of 128 x 128 pixels."""
    small = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)
    return images.encode(np.kron(small, np.ones((8, 8, 1), np.uint8)))


def peak() -> float:
    """Return this process's peak of resident memory in MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


if __name__ == "__main__":
    main()
