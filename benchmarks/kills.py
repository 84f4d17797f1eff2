"""Random ``kill -9`` of whole process groups: ``python benchmarks/kills.py --seed 1``.

Each kill hits a command at a random moment of its work, and what it left is looked at. The same
command is then killed again, or goes on to its end, which must be that of a run in peace: the same
bytes, nothing twice, nothing torn, nothing left over, no finished work done again. Most commands
are forks of this process, so no time goes into imports; some are launched as users launch them.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ["OMP_NUM_THREADS"] = "1"

import psutil
import safetensors.torch

from srae_dist.engine.run_hooks import RunHooks
from srae_dist.engine.step import Stepper
from srae_dist.evaluation import build_index
from srae_dist.runtime import checkpoint, console
from srae_dist.translation import job as translation
from tests.conftest import FACES
from tests.crashes.camera import Tree, look
from tests.data.tiny_shards import png, write_shards
from tests.engine.launches import TWO_RANKS
from tests.engine.runs import TIMED, command_line, write_recipe
from tests.evaluate.test_neighbours import save_run as save_run_of_shards
from tests.translation.tiny import SIZE, save_pictures, save_run

ROOT = Path(__file__).parents[1]
STEPS = 8
PHASES = ("begins or ends", "in a step", "shows grids", "saves", "writes shards", "translates")
PHASES += ("publishes", "encodes", "saves its index")


TRAINING, SHARDING, TRANSLATING, INDEXING = PHASES[1:4], PHASES[4:7:2], PHASES[5:7], PHASES[7:]


class Phase:
    """A byte that a forked child shares with this process: what it is doing."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 1)

    def __str__(self) -> str:
        return PHASES[self._shared[0]]

    def reset(self) -> None:
        self._shared[0] = 0

    def during(self, owner: Any, name: str, phase: str) -> None:
        """Have a function say that it is at work."""
        original, number = getattr(owner, name), PHASES.index(phase)

        def told(*args: Any, **options: Any) -> Any:
            before, self._shared[0] = self._shared[0], number
            try:
                return original(*args, **options)
            finally:
                self._shared[0] = before

        setattr(owner, name, told)


@dataclass
class Job:
    """A command, where it writes, and what must hold after a kill."""

    name: str
    command: list[str]  # after "python -m"
    out: Path
    kills: int
    targets: tuple[str, ...] = ()  # phases that are aimed at, besides any moment
    before: Path | None = None  # what lies in ``out`` at the beginning
    forked: bool = True
    essence: Callable[[Path], Tree] = look
    kept: Callable[[Path], set[int]] = lambda out: set()  # inodes of finished work
    sound: Callable[[Path], int] = lambda out: 0  # progress, which must never shrink
    counts: Counter[str] = field(default_factory=Counter)

    def renew(self) -> None:
        shutil.rmtree(self.out, ignore_errors=True)
        if self.before is not None:
            shutil.copytree(self.before, self.out)


def main() -> int:
    """Kill everything as often as is asked for, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of kills")
    given = parser.parse_args()
    phase, begun = Phase(), time.monotonic()
    watch(phase)
    with tempfile.TemporaryDirectory(prefix="srae-dist-kills-") as name:
        jobs = prepare(Path(name).resolve())
        for number, job in enumerate(jobs):
            job.kills = max(1, round(job.kills * given.scale))
            torment(job, phase, random.Random(f"{given.seed} {number}"))
            console.info(f"{job.name}: {dict(job.counts)}, {time.monotonic() - begun:.0f} s so far")
    rows = [(job.name, what, count) for job in jobs for what, count in sorted(job.counts.items())]
    console.table(("command", "killed while it", "kills"), rows)
    total = sum(sum(job.counts[p] for p in job.counts if p != "completed") for job in jobs)
    console.info(f"{total} kills, seed {given.seed}, {time.monotonic() - begun:.0f} s")
    return 0


def watch(phase: Phase) -> None:
    """Have the commands' parts tell what they do."""
    from srae_dist.data import packing, publish
    from srae_dist.data import writer as shards
    from srae_dist.evaluate import content_index
    from srae_dist.evaluation import index_file
    from srae_dist.translation import outputs

    phase.during(Stepper, "take", "in a step")
    phase.during(RunHooks, "show", "shows grids")
    phase.during(RunHooks, "save", "saves")
    phase.during(packing, "pack", "writes shards")
    phase.during(shards, "pack_all", "writes shards")
    phase.during(shards, "publish", "publishes")
    phase.during(publish, "complete", "publishes")
    phase.during(translation.Progress, "save", "translates")
    phase.during(outputs.FolderOutput, "collect", "translates")
    phase.during(outputs.ShardOutput, "collect", "translates")
    phase.during(outputs.FolderOutput, "publish", "publishes")
    phase.during(outputs.ShardOutput, "publish", "publishes")
    phase.during(content_index, "build", "encodes")
    phase.during(index_file, "save", "saves its index")
    assert build_index.CHUNK  # its module is in use


def prepare(root: Path) -> list[Job]:
    """Make inputs, and every command with its number of kills."""
    subprocess.run([*FACES, "--out", str(root / "faces")], check=True, capture_output=True)
    recipe = write_recipe(root, root / "faces")
    pictures = save_pictures(root / "in", [f"{n % 4}/{n:03d}.png" for n in range(48)])
    model = save_run(root / "model")
    tiny = write_shards(root / "shards", samples=(60, 60), size=SIZE)
    indexed = save_run_of_shards(root / "indexed", tiny.root)
    (root / "query.png").write_bytes(png(tiny.images[4]))

    def train(out: Path, **values: Any) -> list[str]:
        given = {"run.dir": out, "train.steps": STEPS, "train.save_every": 2, "run.keep_last": 99}
        given |= {"train.sample_every": 2, "train.mean_code_images": 2, "train.micro_batch": 4}
        given |= {key.replace("__", "."): value for key, value in values.items()}
        return ["srae_dist.train", str(recipe), *command_line(given)]

    def shard(out: Path, processes: int) -> list[str]:
        options = ["--size", "16", "--shards", "8", "--format", "png", "--out", str(out)]
        folder = ["--domain", f"a={root / 'in/0'}", "--domain", f"b={root / 'in/1'}"]
        return ["srae_dist.shard", *folder, *options, "--processes", str(processes)]

    def translate(out: Path, kind: str) -> list[str]:
        made = ["srae_dist.batch_translate", str(model), str(pictures), "--to", "anime"]
        made += ["--out-kind", kind, "--batch", "1", "--precision", "fp32", "--out", str(out)]
        return made

    asked = [str(root / "query.png"), "--in", "clay", "--out", str(root / "answer.png")]
    index = ["srae_dist", "neighbours", *asked, "--run", str(root / "killed")]
    runs = {"essence": essence_of_run, "sound": step_of_run, "kept": kept_of_run}
    return [
        Job("shard", shard(root / "s1", 1), root / "s1", 100, SHARDING, kept=kept_of_shards),
        Job("train", train(root / "t1"), root / "t1", 160, TRAINING, **runs),
        Job(
            "batch-translate to a folder",
            translate(root / "b1", "folder"),
            root / "b1",
            60,
            TRANSLATING,
            kept=kept_of_translation,
        ),
        Job(
            "batch-translate to shards",
            translate(root / "b2", "shards"),
            root / "b2",
            60,
            TRANSLATING,
        ),
        Job("neighbours", index, root / "killed", 40, INDEXING, before=indexed),
        Job(
            "shard, 2 processes",
            shard(root / "s2", 2),
            root / "s2",
            6,
            forked=False,
            kept=kept_of_shards,
        ),
        Job(
            "train, 1 worker",
            train(root / "t2", data__workers=1, train__steps=24),
            root / "t2",
            6,
            forked=False,
            **runs,
        ),
        Job(
            "train, 2 ranks",
            [*TWO_RANKS, *train(root / "t3", train__steps=24)],
            root / "t3",
            6,
            forked=False,
            **runs,
        ),
    ]


def torment(job: Job, phase: Phase, dice: random.Random) -> None:
    """Kill a command again and again; every few kills let it come to its end, and compare."""
    job.renew()
    for _ in range(2):  # the second one is as fast as all that follow
        job.renew()
        earliest, whole = times(job, phase)
    wanted = job.essence(job.out)
    job.renew()
    kept, reached = set[int](), 0
    while sum(job.counts[p] for p in job.counts if p != "completed") < job.kills:
        if job.targets and dice.random() < 0.7:
            aim = Aim(phase, dice.choice(job.targets), dice.randint(1, 4), dice.uniform(0, 0.02))
        else:
            aim = Aim(phase, "", 1, dice.uniform(0.9 * earliest, 1.02 * whole))
        ended = kill(job, phase, aim)
        progress = job.sound(job.out)
        assert progress >= reached, f"{job.name}: from step {reached} back to {progress}"
        reached, kept = progress, kept | job.kept(job.out)
        if ended is not None or dice.random() < 0.4:
            complete = is_published(job.out, wanted)
            code = finish(job, phase) if ended is None else ended
            # a shard command that finds all its shards published refuses to replace them
            assert code == 0 or (code == 2 and complete and "shard" in job.name), (job.name, code)
            got = job.essence(job.out)
            assert sorted(got) == sorted(wanted), (job.name, sorted(got), sorted(wanted))
            different = [name for name in wanted if got[name] != wanted[name]]
            assert not different, (job.name, different)
            there = {path.stat().st_ino for path in job.out.rglob("*") if path.is_file()}
            assert kept <= there, f"{job.name}: finished work was done again"
            job.counts["completed"] += 1
            job.renew()
            kept, reached = set(), 0


def times(job: Job, phase: Phase) -> tuple[float, float]:
    """Run a command in peace; return the seconds until it works, and until it ends."""
    begun, works = time.monotonic(), None
    process = start(job, phase)
    while process.poll() is None:
        if works is None and (str(phase) != PHASES[0] if job.forked else any(job.out.glob("*"))):
            works = time.monotonic() - begun
        time.sleep(0.0005)
    assert process.returncode == 0, job.name
    return works or 0.0, time.monotonic() - begun


class Aim:
    """When to kill: some time after the start, or after a phase has begun so many times."""

    def __init__(self, phase: Phase, target: str, times: int, seconds: float) -> None:
        self._phase, self._target, self._left = phase, target, times if target else 0
        self._seconds, self._inside = seconds, False
        self._since = time.monotonic()

    def is_now(self) -> bool:
        """Tell whether the time has come; to be asked all the time."""
        if self._left:
            inside = str(self._phase) == self._target
            self._left -= inside and not self._inside
            self._inside = inside
            self._since = time.monotonic()
        return not self._left and time.monotonic() - self._since > self._seconds


def kill(job: Job, phase: Phase, aim: Aim) -> int | None:
    """Start a command and kill its group some time; return its exit code if it was over."""
    process = start(job, phase)
    while not aim.is_now():
        if process.poll() is not None:
            return process.returncode
        time.sleep(0.0002)
    what = str(phase) if job.forked else "works, by its launcher"
    tree = [process.pid] if job.forked else descendants(process.pid)
    for pid in tree:
        for send in (os.killpg, os.kill):
            try:
                send(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue
    process.wait()
    for pid in tree[1:]:
        while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.001)
    job.counts[what] += 1
    return None


def descendants(pid: int) -> list[int]:
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


def finish(job: Job, phase: Phase) -> int:
    """Run a command to its end; return its exit code."""
    return start(job, phase).wait()


class Fork:
    """A forked child that runs a command in a session of its own."""

    def __init__(self, command: list[str]) -> None:
        self.returncode: int | None = None
        self.pid = os.fork()
        if not self.pid:
            os.setsid()
            place = os.environ.get("SAID", os.devnull)  # a file, to see what they say
            quiet = os.open(place, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            os._exit(_run_here(command))

    def poll(self) -> int | None:
        return self._look(os.WNOHANG)

    def wait(self) -> int:
        code = self._look(0)
        assert code is not None
        return code

    def _look(self, options: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode


def start(job: Job, phase: Phase) -> Any:
    phase.reset()
    if job.forked:
        return Fork(job.command)
    return subprocess.Popen(
        [sys.executable, "-m", *job.command],
        cwd=ROOT,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={k: v for k, v in os.environ.items() if not k.startswith("ACCELERATE_")},
    )


def _run_here(command: list[str]) -> int:
    import importlib

    module = importlib.import_module(command[0] if command[0] != "srae_dist" else "srae_dist.cli")
    sys.argv = command
    try:
        module.main()
    except SystemExit as end:
        return int(end.code or 0)
    except BaseException:
        return 1
    return 0


# what must hold of each kind of output


def essence_of_run(out: Path) -> Tree:
    """All that a run leaves, but for what depends on the clock, and on how often it began."""
    tree = look(out)
    lines = [_parse(line) for line in (tree.pop("log.jsonl", None) or b"").splitlines()]
    timeless = [{k: v for k, v in line.items() if k not in TIMED} for line in lines]
    verdict = json.loads(tree.pop("exit.json", None) or b"{}")
    return {**tree, "log": repr(timeless).encode(), "exit": repr(verdict.get("code")).encode()}


def _parse(line: bytes) -> dict[str, Any]:
    try:
        return dict(json.loads(line))
    except ValueError:  # torn: what is compared in the end has none
        return {}


def step_of_run(out: Path) -> int:
    """Step of the newest checkpoint, every tensor of which is read."""
    newest = checkpoint.newest(out / "checkpoints")
    if newest is None:
        return 0
    for file in newest.glob("*.safetensors"):
        safetensors.torch.load_file(file)
    return checkpoint.step_of(newest)


def kept_of_run(out: Path) -> set[int]:
    root = out / "checkpoints"
    folders = root.glob("step-*") if root.is_dir() else ()
    return {file.stat().st_ino for folder in folders for file in folder.iterdir()}


def is_published(out: Path, wanted: Tree) -> bool:
    manifest = out / "manifest.json"
    return manifest.exists() and manifest.read_bytes() == wanted.get(manifest.name)


def kept_of_shards(out: Path) -> set[int]:
    done = [path.with_suffix(".tar") for path in (out / ".partial").glob("train-*.done")]
    return {path.stat().st_ino for path in (*done, *out.glob("*.tar")) if path.exists()}


def kept_of_translation(out: Path) -> set[int]:
    kept = set[int]()
    for record in (out / ".partial/units").glob("0*.json"):
        for line in json.loads(record.read_text())["done"]:
            places = (out / ".partial/files" / line["output"], out / line["output"])
            kept |= {place.stat().st_ino for place in places if place.exists()}
    return kept


if __name__ == "__main__":
    sys.exit(main())
