"""The loader: the same batches for any ranks, workers, micro-batches and starting step."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator

import numpy as np
import psutil
import pytest
import torch
from tiny_shards import Tiny, corrupt, write_shards

from srae_dist.core.errors import UserError
from srae_dist.core.types import Batch
from srae_dist.data import loader as loader_module
from srae_dist.data.loader import make_loader, make_order
from srae_dist.data.opened import open_split
from srae_dist.data.order import check_ranks

STEPS = 5


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return write_shards(tmp_path_factory.mktemp("shards"), samples=(7, 12, 9, 3))


def load(
    tiny: Tiny,
    *,
    rank: int = 0,
    world: int = 1,
    micro_batch: int = 12,
    start: int = 0,
    stop: int = STEPS,
    workers: int = 0,
    substitute: bool = False,
    pin: bool = False,
) -> Generator[Batch, None, None]:
    opened = open_split(tiny.root, "train")
    return make_loader(
        opened,
        make_order(opened, seed=3, global_batch=12, balance="domain", lanes=None, window=4),
        rank=rank,
        world=world,
        micro_batch=micro_batch,
        start_step=start,
        stop_step=stop,
        workers=workers,
        pin=pin,
        substitute=substitute,
    )


def test_all_that_goes_to_a_gpu_is_page_locked(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the images alone: a copy from ordinary memory may wait for what the GPU does."""
    locked: set[int] = set()

    def lock(tensor: torch.Tensor) -> torch.Tensor:
        locked.add(tensor.data_ptr())
        return tensor

    monkeypatch.setattr(torch.Tensor, "pin_memory", lock)  # without a GPU it is an error
    batch = next(load(tiny, pin=True))
    assert locked >= {part.data_ptr() for part in (batch.images, batch.domains, batch.slots)}
    locked.clear()
    next(load(tiny))
    assert not locked


def keys_by_step(tiny: Tiny, *, world: int, micro_batch: int, workers: int) -> list[list[str]]:
    """Put the global batches together again from what each rank is given."""
    steps: list[list[str]] = [[] for _ in range(STEPS)]
    for rank in range(world):
        batches = list(load(tiny, rank=rank, world=world, micro_batch=micro_batch, workers=workers))
        keys = [key for batch in batches for key in batch.keys]
        slots = torch.cat([batch.slots for batch in batches]).tolist()
        share = 12 // world
        for step in range(STEPS):
            begin = step * share
            steps[step] += keys[begin : begin + share]
            first = step * 12 + rank * share
            assert slots[begin : begin + share] == list(range(first, first + share))
    return steps


@pytest.mark.parametrize(
    "world, micro_batch, workers",
    [(1, 4, 0), (2, 6, 0), (2, 3, 2), (4, 1, 0), (4, 3, 0), (1, 6, 2)],
)
def test_ranks_workers_and_micro_batches_change_nothing(tiny, world, micro_batch, workers):
    expected = [list(batch.keys) for batch in load(tiny)]
    assert len(expected) == STEPS
    found = keys_by_step(tiny, world=world, micro_batch=micro_batch, workers=workers)
    assert found == expected


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_what_was_written(tiny, workers):
    for batch in list(load(tiny, workers=workers, micro_batch=4)):  # all kept, none overwritten
        samples = [int(key) for key in batch.keys]
        assert (batch.images.numpy() == tiny.images[samples]).all()
        assert batch.domains.dtype == batch.slots.dtype == torch.int64
        assert batch.domains.tolist() == tiny.index.domain[samples].tolist()
        assert np.bincount(batch.domains, minlength=3).max() <= 2


def test_a_loader_that_begins_later_gives_the_tail(tiny):
    whole = [batch.keys for batch in load(tiny, micro_batch=3)]
    assert [batch.keys for batch in load(tiny, micro_batch=3, start=2)] == whole[2 * 4 :]


def test_the_global_generator_is_left_alone(tiny):
    before = torch.random.get_rng_state()
    list(load(tiny))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_reaches_the_trainer_as_one_sentence(tmp_path, workers):
    broken = write_shards(tmp_path)
    corrupt(broken, 7)
    with pytest.raises(UserError) as caught:
        list(load(broken, workers=workers))
    message = str(caught.value)
    assert "0007" in message and "train-000001.tar" in message
    assert "\n" not in message
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("world, micro_batch, workers", [(1, 12, 0), (1, 12, 1), (2, 3, 0)])
def test_a_bad_sample_is_substituted_and_nothing_else_moves(tmp_path, world, micro_batch, workers):
    sound = write_shards(tmp_path / "sound")
    broken = write_shards(tmp_path / "broken")
    (broken.root / "train-000002.tar").unlink()
    corrupt(broken, 7)
    bad = {f"{i:04d}" for i in (7, 13, 14, 15)}
    expected = [list(batch.keys) for batch in load(sound)]
    told = []
    for rank in range(world):
        batches = load(
            broken,
            rank=rank,
            world=world,
            micro_batch=micro_batch,
            workers=workers,
            substitute=True,
        )
        for number, batch in enumerate(batches):
            step, inside = divmod(number * micro_batch, 12 // world)
            wanted = expected[step][rank * (12 // world) + inside :][:micro_batch]
            found = [int(key) for key in batch.keys]
            told += batch.bad
            for want, key in zip(wanted, batch.keys, strict=True):
                assert key == want or want in bad
                assert int(key) % 3 == int(want) % 3  # of the same domain
            assert (batch.images.numpy() == sound.images[found]).all()
            assert not bad & set(batch.keys)
    drawn = [key for step in expected for key in step if key in bad]
    assert {item.key for item in told} >= set(drawn) and {item.key for item in told} <= bad
    assert all(item.reason and item.shard.endswith(".tar") for item in told)
    # the same substitutes whatever reads
    assert {(b.key, b.substitute) for b in told} == {
        (b.key, b.substitute) for batch in load(broken, substitute=True) for b in batch.bad
    }


def test_when_nothing_can_stand_in_that_is_said(tmp_path):
    broken = write_shards(tmp_path)
    for shard in broken.split.shards:
        (broken.root / shard.file).unlink()
    with pytest.raises(UserError, match=r"nor can any of 100 others"):
        list(load(broken, substitute=True))


def test_ranks_must_divide_the_lanes(tiny):
    opened = open_split(tiny.root, "train")
    order = make_order(opened, seed=0, global_batch=24, balance="natural", lanes=None, window=4)
    with pytest.raises(UserError, match=r"3 ranks cannot share the 8 lanes .*data.lanes = 6"):
        check_ranks(order, micro_batch=4, ranks=3)


def test_numbers_that_do_not_fit_are_refused_at_once(tiny):
    with pytest.raises(UserError, match="ranks"):
        load(tiny, world=5)
    with pytest.raises(UserError, match=r"train\.micro_batch = 5"):
        load(tiny, micro_batch=5)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_workers_outlive_signals_for_the_main_process_and_end_with_the_loader(tiny):
    loader, worker = load_with_worker(tiny)
    os.kill(worker.pid, signal.SIGINT)
    os.kill(worker.pid, signal.SIGTERM)
    for process in (worker.pid, psutil.Process(worker.pid).ppid()):  # Slurm leaves out none
        os.kill(process, signal.SIGUSR1)
    found = [next(loader).keys[0] for _ in range(50)]
    assert found == [key for batch in load(tiny) for key in batch.keys][1:51]
    start = time.monotonic()
    loader.close()
    assert not worker.is_alive() and time.monotonic() - start < 4  # torch would kill it after 5


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_killed_workers_cost_nothing_but_time(tiny):
    expected = [(batch.keys, batch.images) for batch in load(tiny, stop=30)]
    before = set(multiprocessing.active_children())
    loader, got = load(tiny, workers=2, stop=30), []
    for number, batch in enumerate(loader):
        got.append((batch.keys, batch.images))
        if number in (3, 4, 20):
            (*_, worker) = set(multiprocessing.active_children()) - before
            worker.kill()
    assert [keys for keys, _ in got] == [keys for keys, _ in expected]
    assert all((one == other).all() for (_, one), (_, other) in zip(got, expected, strict=True))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_a_killed_worker_is_reported_with_what_to_do(tiny):
    loader, worker = load_with_worker(tiny)
    worker.kill()
    with pytest.warns(UserWarning, match=r"loader process died .* lower data\.workers"):
        for _ in range(100):
            next(loader)
    loader.close()


def test_workers_that_die_again_and_again_end_the_run(tiny, monkeypatch):
    def dying(*args, **named):
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")
        yield

    monkeypatch.setattr(loader_module, "_start_workers", dying)
    with (
        pytest.warns(UserWarning, match="started anew"),
        pytest.raises(UserError, match=r"died .*, 3 times in a row.* lower data\.workers"),
    ):
        list(load(tiny, workers=1))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "raise SystemExit"])
def test_nothing_is_left_of_a_main_process_that_ends_early(tiny, end):
    program = f"""
import os, pathlib
from srae_dist.data.loader import make_loader, make_order
from srae_dist.data.opened import open_split
opened = open_split(pathlib.Path({str(tiny.root)!r}), "train")
order = make_order(opened, seed=0, global_batch=2, balance="natural", lanes=None, window=4)
loader = make_loader(
    opened, order, rank=0, world=1, micro_batch=1, start_step=0, stop_step=1000, workers=1,
    pin=False,
)
next(loader)
print("begun", flush=True)
{end}
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    # returns when the last process that holds the output is gone, and well before GRACE
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, timeout=25
    )
    assert done.stdout == b"begun\n"


def load_with_worker(tiny: Tiny):
    """Return a long loader that has begun, and its only worker process."""
    others = set(multiprocessing.active_children())
    loader = load(tiny, workers=1, micro_batch=1, stop=1000)
    next(loader)
    (worker,) = set(multiprocessing.active_children()) - others
    return loader, worker
