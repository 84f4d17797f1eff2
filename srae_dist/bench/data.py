"""``srae-dist bench data``: shards to float batches: ours, stock, and the floors."""

from __future__ import annotations

import functools
import itertools
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from srae_dist.bench.floors import decode_all, decoders
from srae_dist.bench.stock import stock_batches
from srae_dist.bench.timing import Timing, Work, interleave, ratio, timed
from srae_dist.core.errors import UserError
from srae_dist.core.memory import keep_freed_memory
from srae_dist.core.types import Batch
from srae_dist.data.loader import make_loader, make_order
from srae_dist.data.manifest import Index
from srae_dist.data.opened import OpenSplit, open_split
from srae_dist.data.order import Order
from srae_dist.data.reader import take
from srae_dist.model.pixels import normalise

BATCH = 256
WORKERS = (1, 2)
_FOREVER = 1 << 40  # steps


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of shards."""

    name: str
    size: int
    suffix: str
    quality: int
    longer: int  # times the stock pipeline's images, so that what is faster runs about as long
    workers: bool = False  # whether worker processes are measured, too


CASES = (
    Case("jpg 64", 64, "jpg", 80, longer=16, workers=True),  # about 2 kB an image
    Case("jpg 256", 256, "jpg", 80, longer=4),
    Case("png 64", 64, "png", 95, longer=6),
    Case("webp 64", 64, "webp", 80, longer=6),
)


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured of a case."""

    case: Case
    bytes: float  # of an image file, mean
    times: dict[str, Timing]
    floor: str  # the fastest library's name

    @property
    def values(self) -> dict[str, Any]:
        """Return the numbers that promises are made of."""
        ours, times = self.times["ours"], self.times
        values = {
            "bytes": round(self.bytes),
            "floor": self.floor,
            "ratio_to_stock": ratio(times["stock"], ours),
            "ratio_to_floor": ratio(times[self.floor], ours),
            "images_per_s": {name: timing.per_second for name, timing in times.items()},
            "microseconds": {name: list(timing.rounds) for name, timing in times.items()},
        }
        if self.case.workers:
            values["two_workers_to_one"] = ratio(times["1 worker"], times["2 workers"])
        return values


def measure(
    case: Case, root: Path, *, rounds: int, images: int, advance: Callable[[int], None]
) -> Result:
    """Measure a case on the shards of ``root``, ``images`` (a multiple of 256) a round each."""
    opened = open_split(root, "train")
    files = _files(opened, images)
    batches = images // BATCH
    with ExitStack() as stack:
        works: dict[str, Work] = {
            "stock": _stock(opened, case, batches),
            "ours": _ours(stack, opened, 0, case.longer * batches),
        }
        for name, decode in decoders(case.suffix).items():
            works[name] = timed(
                functools.partial(decode_all, decode, case.longer * files, case.size)
            )
        works["read only"] = timed(functools.partial(_read_all, opened, images))
        if case.workers:
            for workers in WORKERS:
                works[_workers(workers)] = _ours(stack, opened, workers, case.longer * batches)
        times = interleave(works, rounds=rounds, advance=advance)
    floor = min(decoders(case.suffix), key=lambda name: times[name].median)
    return Result(case, float(np.mean([len(data) for data in files])), times, floor)


def count_works(case: Case) -> int:
    """Return how many things are measured in a round of a case."""
    return 3 + len(decoders(case.suffix)) + len(WORKERS) * case.workers


def make_shards(
    case: Case, out: Path, *, images: int, folders: Path | None, shards: int | None = None
) -> None:
    """Write a case's shards, of the built-in faces or of the images of a folder, as a user would.

    Raises:
        UserError: `srae-dist shard` failed.
    """
    source = ["--faces", str(images), "--domains", "photo,anime"]
    if folders is not None:
        source = ["--folders", str(folders)]
    form = ["--size", str(case.size), "--format", case.suffix, "--quality", str(case.quality)]
    if shards is not None:
        form += ["--shards", str(shards)]
    command = [sys.executable, "-m", "srae_dist.shard", *source, *form, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"No shards to measure on: {done.stderr.strip().splitlines()[-1]}")


def table(results: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows for people."""
    columns = ["shards", "pipeline", "images/s", "us/image", "quartiles", "x stock", "of the floor"]
    rows = []
    for result in results:
        case, times = result.case, result.times
        title = f"{case.name}, {result.bytes / 1000:.1f} kB"
        for name, timing in times.items():
            shown = f"{name} (floor)" if name == result.floor else name
            rows.append(
                [
                    title,
                    shown,
                    f"{timing.per_second:,.0f}",
                    f"{timing.median:,.1f}",
                    f"{timing.spread:.0%}",
                    f"{ratio(times['stock'], timing):.2f}",
                    f"{ratio(times[result.floor], timing):.2f}",
                ]
            )
    return columns, rows


def _workers(count: int) -> str:
    return f"{count} worker{'s' * (count > 1)}"


def _files(opened: OpenSplit, count: int) -> list[bytes]:
    """Return the bytes of ``count`` image files, in training's order."""
    order = _order(opened)
    steps = range(-(-count // BATCH))
    rows = [take(opened.index, order.batch(step)) for step in steps]
    return [data for part in rows for data in _bytes(opened, part)][:count]


def _bytes(opened: OpenSplit, rows: Index) -> list[bytes]:
    places = zip(rows.shard.tolist(), rows.offset.tolist(), rows.size.tolist(), strict=True)
    return [opened.shards.read(*place) for place in places]


def _read_all(opened: OpenSplit, count: int) -> int:
    return len(_files(opened, count))


def _order(opened: OpenSplit) -> Order:
    return make_order(
        opened, seed=0, global_batch=BATCH, balance="natural", lanes=None, window=1024
    )


def _stock(opened: OpenSplit, case: Case, batches: int) -> Work:
    shards = [Path(opened.shards.where(number)) for number in range(len(opened.split.shards))]
    stream = stock_batches(shards, suffix=case.suffix, batch=BATCH)
    return timed(lambda: sum(len(images) for images in itertools.islice(stream, batches)))


def _ours(stack: ExitStack, opened: OpenSplit, workers: int, batches: int) -> Work:
    """Return the loader's work: uint8 batches, made float, channels-last and normalised if this
    process alone does it all."""
    loader: Generator[Batch, None, None] = stack.enter_context(
        closing(
            make_loader(
                opened,
                _order(opened),
                rank=0,
                world=1,
                micro_batch=BATCH,
                start_step=0,
                stop_step=_FOREVER,
                workers=workers,
                pin=False,
            )
        )
    )

    def load() -> int:
        part = itertools.islice(loader, batches)
        if workers:  # up to what goes to the device: two workers and a third process fill two cores
            return sum(len(batch.images) for batch in part)
        return sum(len(normalise(batch.images)) for batch in part)

    def portion() -> tuple[int, float]:
        for _ in itertools.islice(loader, 2 * workers + 1):  # what workers prepared between rounds
            pass
        return timed(load)()

    return portion


def run(
    cases: Sequence[Case],
    *,
    rounds: int,
    images: int,
    folders: Path | None,
    advance: Callable[[int], None],
) -> list[Result]:
    """Make each case's shards in a temporary folder and measure it, on one thread a process."""
    keep_freed_memory()  # as training does
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        results = []
        with tempfile.TemporaryDirectory(prefix="srae_dist-bench-") as name:
            for case in cases:
                root = Path(name, case.name.replace(" ", "-"))
                make_shards(case, root, images=images, folders=folders)
                results.append(measure(case, root, rounds=rounds, images=images, advance=advance))
        return results
    finally:
        torch.set_num_threads(threads)
