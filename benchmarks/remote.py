"""How much of the loader's local speed is left over HTTP, with some milliseconds a request.

    python benchmarks/remote.py SHARDS [--delay 0.02] [--rounds 7] [--workers 0] [--window 1024]

SHARDS is a folder that `srae-dist shard` wrote; it should hold more than is read in a round. A
server on loopback, in a process of its own, gives every request that delay; the cache is empty at
the start of each round. Local and remote rounds alternate. What was fetched while the time was
taken is told, too: the look-ahead may bring a small data set before that, and then only a smaller
window shows what fetching costs.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "data"))

from servers import http_server

from srae_dist.core.memory import keep_freed_memory
from srae_dist.data.loader import make_loader, make_order
from srae_dist.data.opened import OpenSplit, open_split
from srae_dist.runtime import console


def serve(root: Path, delay: float, told: multiprocessing.SimpleQueue[str]) -> None:
    with http_server(root) as server:
        server.delay = delay
        told.put(server.url)
        time.sleep(3600)


def speed(
    split: OpenSplit, *, workers: int, steps: int, skip: int, window: int
) -> tuple[float, float, float]:
    """Images, and MiB fetched here, a second after ``skip`` steps; seconds to the first batch."""
    order = make_order(
        split, seed=0, global_batch=256, balance="natural", lanes=None, window=window
    )
    loader = make_loader(
        split,
        order,
        rank=0,
        world=1,
        micro_batch=256,
        start_step=0,
        stop_step=1 << 40,
        workers=workers,
        pin=False,
    )
    begun = time.perf_counter()
    with closing(loader):
        next(loader)
        first = time.perf_counter() - begun
        for _ in itertools.islice(loader, skip):
            pass
        before = split.remote.fetched if split.remote else 0
        begun = time.perf_counter()
        count = sum(len(batch.keys) for batch in itertools.islice(loader, steps))
        took = time.perf_counter() - begun
        fetched = split.remote.fetched - before if split.remote else 0
        return count / took, fetched / took / 2**20, first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shards", type=Path)
    parser.add_argument("--delay", type=float, default=0.02)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--skip", type=int, default=20)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--window", type=int, default=1024)
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    context = multiprocessing.get_context("spawn")
    told: multiprocessing.SimpleQueue[str] = context.SimpleQueue()
    server = context.Process(target=serve, args=(given.shards, given.delay, told), daemon=True)
    server.start()
    url = told.get()
    ratios, firsts = [], []
    options = {name: getattr(given, name) for name in ("workers", "steps", "skip", "window")}
    for number in range(given.rounds):
        local, _, _ = speed(open_split(given.shards, "train"), **options)
        with tempfile.TemporaryDirectory() as cache:
            remote, fetched, first = speed(
                open_split(url, "train", cache_dir=Path(cache)), **options
            )
        ratios.append(remote / local)
        firsts.append(first)
        console.info(
            f"round {number}: local {local:,.0f}, remote {remote:,.0f} images/s while "
            f"{fetched:.0f} MiB/s were fetched, first batch after {first:.2f} s"
        )
    console.info(
        f"remote / local: median {statistics.median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f}); first batch {statistics.median(firsts):.2f} s"
    )
    server.terminate()


if __name__ == "__main__":
    main()
