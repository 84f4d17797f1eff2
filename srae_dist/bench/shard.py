"""``srae-dist bench shard``: image files to a shard, ours beside Pillow and webdataset's writer."""

from __future__ import annotations

import functools
import json
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from srae_dist.bench.stock import stock_shards
from srae_dist.bench.timing import Timing, interleave, ratio, timed
from srae_dist.core.errors import UserError
from srae_dist.core.memory import keep_freed_memory
from srae_dist.data import images, sources
from srae_dist.data.faces import render, sample_factors
from srae_dist.data.folders import list_images
from srae_dist.data.packing import Task, pack
from srae_dist.data.plan import Form, plan_shards
from srae_dist.data.records import shuffled

FROM, TO = 256, 64  # pixels
SOURCE_QUALITY, QUALITY = 85, 95  # of the files read, and of the shards written
STOCK, OURS, SHRUNK = "stock", "ours", "ours, --fast-shrink"


@dataclass(frozen=True, slots=True)
class Result:
    """Times, and how near our pixels are to the stock path's."""

    bytes: float  # of a file read, mean
    times: dict[str, Timing]
    psnr: dict[str, float]  # dB

    @property
    def values(self) -> dict[str, Any]:
        """Return the numbers that promises are made of."""
        times = self.times
        return {
            "bytes": round(self.bytes),
            "ratio_to_stock": ratio(times[STOCK], times[OURS]),
            "ratio_to_stock_shrunk": ratio(times[STOCK], times[SHRUNK]),
            "psnr_db": self.psnr,
            "images_per_s": {name: timing.per_second for name, timing in times.items()},
            "microseconds": {name: list(timing.rounds) for name, timing in times.items()},
        }


def run(*, rounds: int, count: int, folder: Path | None, advance: Callable[[int], None]) -> Result:
    """Write one shard a round in each way, in this process and on one thread.

    Raises:
        UserError: ``folder`` holds too few images.
    """
    keep_freed_memory()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory(prefix="srae_dist-bench-") as name:
            return _measure(Path(name), rounds, count, folder, advance)
    finally:
        torch.set_num_threads(threads)


def table(result: Result) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows for people."""
    columns = ["writer", "images/s", "us/image", "quartiles", "x stock", "PSNR to stock, dB"]
    rows = [
        [
            name,
            f"{timing.per_second:,.0f}",
            f"{timing.median:,.1f}",
            f"{timing.spread:.0%}",
            f"{ratio(result.times[STOCK], timing):.2f}",
            f"{result.psnr[name]:.1f}" if name in result.psnr else "",
        ]
        for name, timing in result.times.items()
    ]
    return columns, rows


def _measure(
    work: Path, rounds: int, count: int, folder: Path | None, advance: Callable[[int], None]
) -> Result:
    files = _write_files(work / "files", _pixels(count, folder))
    paths = [path for part in files.values() for path in part]
    stock = functools.partial(stock_shards, paths, work / "stock.tar", size=TO, quality=QUALITY)
    works = {STOCK: timed(lambda: (stock(), len(paths))[1])}
    for name, shrink in ((OURS, False), (SHRUNK, True)):
        works[name] = timed(_ours(work / f"shrink-{shrink}", files, shrink=shrink))
    times = interleave(works, rounds=rounds, advance=advance)
    psnr = {
        name: _psnr(work / "stock.tar", work / f"shrink-{shrink}" / "train-000000.tar")
        for name, shrink in ((OURS, False), (SHRUNK, True))
    }
    return Result(sum(path.stat().st_size for path in paths) / len(paths), times, psnr)


def _ours(out: Path, files: dict[str, list[Path]], *, shrink: bool) -> Callable[[], int]:
    """Return the writing of one shard, as `srae-dist shard` writes each of its own."""
    out.mkdir()
    folders = {domain: [paths[0].parent] for domain, paths in files.items()}
    source = sources.from_domains(folders, split="train")
    form = Form(TO, quality=QUALITY, shards=1, shrink=shrink)
    splits = shuffled(source.records, seed=0)
    (job,) = plan_shards(splits, form, domains=source.domains, identity=source.reader.identity())
    job = job.loaded()
    task = Task(out, source.reader, form, source.domains)

    def write() -> int:
        pack(task, job)
        return len(job.records)

    return write


def _pixels(count: int, folder: Path | None) -> list[NDArray[np.uint8]]:
    """Return images of ``FROM`` pixels: of a folder, or built-in faces."""
    if folder is None:
        factors = sample_factors(count // 2, seed=0, start=0)
        return [*render(factors, "photo", size=FROM), *render(factors, "anime", size=FROM)]
    found = list_images(folder).images
    if len(found) < count:
        raise UserError(f"{folder} holds {len(found)} images, fewer than --images {count}.")
    step = len(found) // count
    chosen = [folder / path for path in found[: step * count : step]]
    return [images.read_square(path.read_bytes(), FROM)[0] for path in chosen]


def _write_files(folder: Path, pixels: Sequence[NDArray[np.uint8]]) -> dict[str, list[Path]]:
    """Write the files that are read: half of them for each of two domains."""
    files: dict[str, list[Path]] = {"one": [], "two": []}
    half = len(pixels) // 2
    for number, image in enumerate(pixels[: 2 * half]):
        domain = "one" if number < half else "two"
        path = folder / domain / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path, quality=SOURCE_QUALITY)  # half chroma, as usual
        files[domain].append(path)
    return files


def _psnr(stock: Path, ours: Path) -> float:
    """Return the peak signal-to-noise ratio of two shards' images, joined by their origin."""
    first = {Path(origin).name: pixels for origin, pixels in _shard(stock)}
    errors = [
        np.mean((pixels.astype(float) - first[Path(origin).name]) ** 2)
        for origin, pixels in _shard(ours)
    ]
    return 10 * math.log10(255**2 / float(np.mean(errors)))


def _shard(path: Path) -> list[tuple[str, NDArray[np.uint8]]]:
    from webdataset.tariterators import group_by_keys, tar_file_expander

    with path.open("rb") as stream:
        members = list(group_by_keys(tar_file_expander([{"url": "", "stream": stream}])))
    return [
        (json.loads(item["json"])["origin"], images.decode_array(item["jpg"], TO))
        for item in members
    ]
