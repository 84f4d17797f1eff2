"""Train for half an hour while everything around the run misbehaves, and watch what it holds.

    python benchmarks/soak.py SHARDS [--minutes 30] [--seed 0] [--workers 2] [--record FILE]
    python benchmarks/soak.py --tell FILE

SHARDS is a folder that `srae-dist shard` wrote. A server on loopback serves it and flaps: for some
seconds it answers, then it refuses (503), breaks off, alters bytes, or answers late. Reading and
syncing a file is slow now and then, in every process of the run. Loader processes, and the one that
fetches ahead, are killed. The cache is so small that fetching never ends. Every few seconds the
run's memory (resident, all its processes), open files and threads (of the trainer) are written
down. At the end it is told to stop, and then the same steps are trained from local files with no
fault at all: the weights must be equal to the last bit.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from scipy.stats import theilslopes

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from srae_dist.core import atomic  # noqa: E402
from srae_dist.core.errors import UserError  # noqa: E402
from srae_dist.runtime import checkpoint, console  # noqa: E402
from tests.data.servers import Fault, Server, http_server  # noqa: E402
from tests.engine.runs import command_line, tensors  # noqa: E402

EVERY = 5.0  # seconds between looks
FAULTS: tuple[Fault, ...] = (503, "cut", "flip")
LATE = 0.5  # seconds
SLOW = '''\
"""A slow disk: reading and syncing take long now and then."""
import os, random, time
def slow(call, share, longest):
    def called(*args):
        if random.random() < share:
            time.sleep(random.uniform(0, longest))
        return call(*args)
    return called
os.pread, os.fsync = slow(os.pread, 0.0005, 0.2), slow(os.fsync, 0.5, 0.5)
'''


@dataclass
class Watch:
    """What was seen of a run over time."""

    seconds: list[float] = field(default_factory=list)
    resident: list[float] = field(default_factory=list)  # MiB, all processes
    main: list[float] = field(default_factory=list)  # MiB, the trainer alone
    files: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    processes: list[int] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)

    def look(self, run: Path, trainer: psutil.Process, begun: float) -> None:
        """Write down one moment."""
        children = trainer.children(recursive=True)
        sizes = []
        for process in (trainer, *children):
            with contextlib.suppress(psutil.Error):
                sizes.append(process.memory_info().rss / 2**20)
        self.seconds.append(time.monotonic() - begun)
        self.resident.append(sum(sizes))
        self.main.append(sizes[0])
        self.files.append(trainer.num_fds())
        self.threads.append(trainer.num_threads())
        self.processes.append(len(sizes))
        self.steps.append(steps_of(run))


def steps_of(run: Path) -> int:
    """Steps in the run's log."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int(json.loads((run / "log.jsonl").read_bytes().splitlines()[-1])["step"])
    return 0


def flap(server: Server, seed: int, over: threading.Event, counts: Counter[str]) -> None:
    """Have the server misbehave by turns."""
    chance = random.Random(seed)
    while not over.wait(chance.uniform(2, 8)):
        kind = chance.choice([*FAULTS, "late"])
        counts[f"server: {kind}"] += 1
        if kind == "late":
            server.delay = LATE
        else:
            server.fault = lambda number, path, kind=kind: kind if path.endswith(".tar") else None
        over.wait(chance.uniform(1, 4))
        server.delay, server.fault = 0.0, lambda number, path: None


def kill(trainer: psutil.Process, seed: int, over: threading.Event, counts: Counter[str]) -> None:
    """Kill one of the trainer's helping processes now and then."""
    chance = random.Random(seed + 1)
    while not over.wait(chance.uniform(15, 45)):
        with contextlib.suppress(psutil.Error, IndexError):
            servers = [c for c in trainer.children() if "forkserver" in " ".join(c.cmdline())]
            victim = chance.choice([c for server in servers for c in server.children()])
            victim.kill()
            counts["killed: a helping process"] += 1


def start(
    folder: Path, name: str, root: str, workers: int, **values: object
) -> subprocess.Popen[bytes]:
    """Start a training run; its output goes to a file beside it."""
    recipe = folder / "soak.toml"
    recipe.write_text('[data]\nroot = "set below"\n')
    given = {
        "data.root": root,
        "data.workers": workers,
        "data.window": 64,
        "data.cache_dir": folder / f"{name}.cache",
        "train.global_batch": 32,
        "train.save_every": 200,
        "train.sample_every": 500,
        "train.log_every": 20,
        "run.dir": folder / name,
        **values,
    }
    environment = {**os.environ, "PYTHONPATH": f"{folder / name}.slow{os.pathsep}{ROOT}"}
    with (folder / f"{name}.txt").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "srae_dist.train", str(recipe), *command_line(given)],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=environment,
        )


def soak(
    folder: Path, shards: Path, *, minutes: float, seed: int, workers: int
) -> tuple[Watch, Counter[str]]:
    """Run under faults for some minutes, then stop."""
    slow = folder / "soaked.slow"
    slow.mkdir()
    (slow / "sitecustomize.py").write_text(SLOW)
    watch, counts, over = Watch(), Counter[str](), threading.Event()
    with http_server(shards) as server:
        values = {"train.steps": 10**9, "data.cache_gb": 0.02}
        process = start(folder, "soaked", server.url, workers, **values)
        trainer, begun = psutil.Process(process.pid), time.monotonic()
        while not steps_of(folder / "soaked") and process.poll() is None:
            time.sleep(0.5)
        troubles = [
            threading.Thread(target=flap, args=(server, seed, over, counts)),
            threading.Thread(target=kill, args=(trainer, seed, over, counts)),
        ]
        for trouble in troubles:
            trouble.start()
        try:
            while time.monotonic() - begun < 60 * minutes and process.poll() is None:
                watch.look(folder / "soaked", trainer, begun)
                time.sleep(EVERY)
        finally:
            over.set()
            for trouble in troubles:
                trouble.join()
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        counts["requests"] = len(server.requests)
        if process.wait(120) != 75:
            raise UserError((folder / "soaked.txt").read_text()[-2000:])
    return watch, counts


def slope(seconds: Sequence[float], values: Sequence[float]) -> str:
    """Growth per hour over the second half: median of the slopes of all pairs of looks.

    A look that falls between a helping process's death and its successor is far off; a median does
    not mind. In brackets its 95 % interval.
    """
    half = len(seconds) // 2
    found = theilslopes(np.array(values[half:]), np.array(seconds[half:]) / 3600)
    return f"{found.slope:+.1f} ({found.low_slope:+.1f} to {found.high_slope:+.1f})"


def main() -> None:
    """Soak, compare, and tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("shards", type=Path, nargs="?")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--record", type=Path, help="JSON file for the curve")
    parser.add_argument("--tell", type=Path, help="only print such a file")
    given = parser.parse_args()
    if given.tell:
        seen = json.loads(given.tell.read_bytes())
        return tell(Watch(**{k: v for k, v in seen.items() if k != "counts"}), seen["counts"])
    if given.shards is None:
        parser.error("name a folder of shards")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        how = {"minutes": given.minutes, "seed": given.seed, "workers": given.workers}
        watch, counts = soak(folder, given.shards.resolve(), **how)
        newest = checkpoint.newest(folder / "soaked" / "checkpoints")
        assert newest is not None
        step = checkpoint.step_of(newest)
        tell(watch, counts)
        console.info(f"{step:,} steps; now the same from local files, without faults")
        plain = start(folder, "plain", str(given.shards.resolve()), 0, **{"train.steps": step})
        if plain.wait():
            raise UserError((folder / "plain.txt").read_text())
        first, second = tensors(folder / "soaked", step), tensors(folder / "plain", step)
        different = [name for name in first if not (first[name] == second[name]).all()]
        console.info(f"{len(first)} tensors, {len(different)} of them different {different[:3]}")
    if given.record:
        atomic.write_json(given.record, {"counts": dict(counts), **vars(watch)})


def tell(watch: Watch, counts: Mapping[str, int]) -> None:
    """Print the curve in ten parts, the growth, and what was done to the run."""
    seen: dict[str, Sequence[float]] = {
        "trainer, MiB": watch.main,
        "all, MiB": watch.resident,
        "files": watch.files,
        "threads": watch.threads,
        "processes": watch.processes,
    }
    rows = []
    for part in filter(len, np.array_split(np.arange(len(watch.seconds)), 10)):
        first, last = (watch.seconds[part[end]] / 60 for end in (0, -1))
        parts = [np.array(values)[part] for values in seen.values()]
        found = [f"{np.median(values):,.0f} ({values.max():,.0f})" for values in parts]
        rows.append([f"{first:.0f} to {last:.0f}", f"{watch.steps[part[-1]]:,}", *found])
    console.table(["minutes", "step", *seen], rows, title="medians (maxima)")
    growth = [f"{name} {slope(watch.seconds, values)}" for name, values in seen.items()]
    console.info(f"growth over the second half, an hour: {'; '.join(growth)}")
    console.info(", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())))


if __name__ == "__main__":
    main()
