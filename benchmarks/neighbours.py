"""How fast a million content codes are searched, how they are best kept, what that takes and loses.

    python benchmarks/neighbours.py [--images 1000000] [--rounds 9] [--queries 5] [--no-ivf]

Codes are drawn at random, of unit length, with a spread over their 128 numbers that falls as that
of trained codes does. All lie in one domain, the worst case. The first table compares faiss's ways
to keep them: one query's five nearest, interleaved rounds; "found" is the share of the five that
full 32-bit comparison finds. The second is what `srae-dist neighbours` does: an index's file is
read, a domain searched for the first time, and then again.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from srae_dist.bench.timing import interleave, timed
from srae_dist.core import randomness
from srae_dist.evaluation import index_file
from srae_dist.evaluation.build_index import Built, Quality
from srae_dist.evaluation.code_index import CodeIndex
from srae_dist.evaluation.content_space import ContentSpace
from srae_dist.evaluation.index_file import Origin
from srae_dist.runtime import console

NUMBERS, WIDTH, K = 128, 1024, 5
LISTS, PROBES = 1024, (8, 32)

Floats = NDArray[np.float32]


def main() -> None:
    """Measure both and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--queries", type=int, default=5, help="a round, one after the other")
    parser.add_argument("--no-ivf", action="store_true", help="building them takes minutes")
    chosen = parser.parse_args()
    codes, queries = draw(chosen.images), draw(chosen.rounds * chosen.queries + 200, start=1)
    faiss.omp_set_num_threads(1)  # one query is one thread's work in any case
    compare(codes, queries, rounds=chosen.rounds, each=chosen.queries, ivf=not chosen.no_ivf)
    faiss.omp_set_num_threads(2)
    use(codes, queries[: chosen.rounds * chosen.queries])


def draw(count: int, *, start: int = 0) -> Floats:
    """Draw codes of unit length whose spread falls with the root of the number's place."""
    random = randomness.generator(0, "benchmark", start)
    codes = random.standard_normal((count, NUMBERS), np.float32)
    codes *= np.arange(1, NUMBERS + 1, dtype=np.float32) ** -0.5
    codes /= np.linalg.norm(codes, axis=1, keepdims=True)
    return codes


def compare(codes: Floats, queries: Floats, *, rounds: int, each: int, ivf: bool) -> None:
    """Print a row for every way to keep the codes."""
    kept: dict[str, tuple[Any, float]] = {}
    for name, make in ways(ivf).items():
        begun = time.perf_counter()
        index = make(codes)
        kept[name] = index, time.perf_counter() - begun
    exact = kept["flat, 32 bits"][0].search(queries[-200:], K)[1]
    works, rows = {}, []
    for name, (index, _) in searchers(kept):
        works[name] = timed(one_by_one(index, queries, each))
    times = interleave(works, rounds=rounds)
    for name, (index, seconds) in searchers(kept):
        low, _, high = statistics.quantiles(times[name].rounds, n=4)
        found = index(queries[-200:])
        share = np.mean([len(np.intersect1d(a, b)) / K for a, b in zip(exact, found, strict=True)])
        milliseconds = [f"{value / 1e3:.1f}" for value in (times[name].median, low, high)]
        rows.append([name, *milliseconds, f"{share:.3f}", f"{seconds:.1f}"])
    columns = ["codes kept as", "ms, median", "quartile", "quartile", "found", "built in, s"]
    console.table(columns, rows, title=f"one query among {len(codes):,} codes, one thread")


def ways(ivf: bool) -> dict[str, Callable[[Floats], Any]]:
    """What makes each index, by name."""
    bits = faiss.ScalarQuantizer

    def flat(codes: Floats) -> Any:
        return added(faiss.IndexFlatIP(NUMBERS), codes)

    def quantised(kind: int) -> Callable[[Floats], Any]:
        def make(codes: Floats) -> Any:
            index = faiss.IndexScalarQuantizer(NUMBERS, kind, faiss.METRIC_INNER_PRODUCT)
            index.train(codes[:100_000])
            return added(index, codes)

        return make

    def inverted(codes: Floats) -> Any:
        centres = faiss.IndexFlatIP(NUMBERS)
        index = faiss.IndexIVFScalarQuantizer(
            centres, NUMBERS, LISTS, bits.QT_fp16, faiss.METRIC_INNER_PRODUCT
        )
        index.own_fields, _ = True, centres.this.disown()
        index.train(codes[:100_000])
        return added(index, codes)

    found = {
        "flat, 32 bits": flat,
        "flat, 16 bits": quantised(bits.QT_fp16),
        "flat, 8 bits": quantised(bits.QT_8bit),
    }
    return {**found, **({f"{LISTS} lists, 16 bits": inverted} if ivf else {})}


def added(index: Any, codes: Floats) -> Any:
    """Add codes to an index."""
    index.add(codes)
    return index


def searchers(kept: dict[str, tuple[Any, float]]) -> list[tuple[str, tuple[Any, float]]]:
    """A search function for each index; for each number of lists looked at, of an inverted one."""
    found = []
    for name, (index, seconds) in kept.items():
        for probes in PROBES if hasattr(index, "nprobe") else (0,):

            def search(queries: Floats, index: Any = index, probes: int = probes) -> Any:
                if probes:
                    index.nprobe = probes
                return index.search(queries, K)[1]

            found.append((f"{name}, {probes} looked at" if probes else name, (search, seconds)))
    return found


def one_by_one(search: Callable[[Floats], Any], queries: Floats, each: int) -> Callable[[], int]:
    """Search for a few queries, others each time, one after the other."""
    place = 0

    def work() -> int:
        nonlocal place
        for query in range(each):
            search(queries[(place + query) % len(queries)][None])
        place += each
        return each

    return work


def use(codes: Floats, queries: Floats) -> None:
    """Save an index, read it and search it, as the command does."""
    count = len(codes)
    domain, keys = np.zeros(count, np.int64), np.array([b"train-000000000"]).repeat(count)
    # directions that lay a reduced code's numbers out in a whole one
    space = ContentSpace(np.zeros((1, WIDTH), np.float32), np.eye(WIDTH, NUMBERS, dtype=np.float32))
    halves = codes.astype(np.float16)
    rows = np.arange(count, dtype=np.uint32)
    index = CodeIndex(
        space, lambda number: halves, domains=("a",), counts=(count,), rows=rows, keys=keys
    )
    quality = Quality(None, None, K, 50, 0, 0, 1.0)
    origin = Origin("", "", "train", ("a",))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index.safetensors"
        index_file.save(path, Built(index, halves, quality, np.empty(0, np.int64)), origin)
        size = path.stat().st_size
        del index
        begun, before = time.perf_counter(), resident()
        loaded = index_file.load(path, origin, width=WIDTH, domain=domain, keys=keys).index
        opened = time.perf_counter() - begun
        whole = np.pad(queries, ((0, 0), (0, WIDTH - NUMBERS)))

        def search(query: int) -> float:
            start = time.perf_counter()
            loaded.search(whole[query : query + 1], own="a", domain="a", k=K)
            return time.perf_counter() - start

        first = search(0)
        memory = resident() - before
        times = sorted(1e3 * search(query) for query in range(len(queries)))
    low, middle, high = statistics.quantiles(times, n=4)
    rows_shown = [
        ["file", f"{size / 1e6:.0f} MB"],
        ["memory, once searched", f"{memory:.0f} MB"],
        ["read and checked", f"{opened:.2f} s"],
        ["first search", f"{first:.2f} s"],
        ["further searches", f"{middle:.1f} ms, quartiles {low:.1f} and {high:.1f}"],
        ["slowest", f"{times[-1]:.1f} ms"],
    ]
    console.table(["CodeIndex", ""], rows_shown, title=f"{count:,} images, one domain")


def resident() -> float:
    """Return this process's resident memory in MB."""
    import psutil

    return psutil.Process().memory_info().rss / 1e6


if __name__ == "__main__":
    sys.exit(main())
