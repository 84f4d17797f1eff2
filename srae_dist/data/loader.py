"""Batches for one rank, in the order's order, whatever the number of worker processes.

The main process turns steps into rows of the index and sends these; a worker knows the shards'
names and turns rows into pixels. So nothing depends on which worker serves which request, and a
loader that begins at step k yields the tail of one that began at 0.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any
from weakref import WeakSet

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from srae_dist.core.errors import UserError
from srae_dist.core.memory import keep_freed_memory
from srae_dist.core.types import BadSample, Batch
from srae_dist.data import processes
from srae_dist.data.manifest import Index
from srae_dist.data.opened import OpenSplit
from srae_dist.data.order import Balance, Integers, Order, check_ranks
from srae_dist.data.reader import Failure, Reader, describe, take
from srae_dist.data.slots import Slots
from srae_dist.data.substitute import Substitutes

_AHEAD = 2  # batches under way in each worker
_WINDOWS = 2  # fetched ahead, at most: all lanes open their next windows at the same time

_DEATHS = 3  # of workers, one after another with no answer between

GRACE = 30  # seconds a worker serves on after SIGTERM, for the main process to finish its step

Request = tuple[Index, Integers]  # a micro-batch before it is read: rows of the index, and slots
Answer = tuple[Tensor, list[Failure]]  # uint8 N H W C, and which of them could not be read

_open: WeakSet[Generator[Batch, None, None]] = WeakSet()


def make_order(
    opened: OpenSplit,
    *,
    seed: int,
    global_batch: int,
    balance: Balance,
    lanes: int | None,
    window: int,
) -> Order:
    """Return the order of an opened split's samples.

    Raises:
        UserError: there is nothing to draw from, or ``lanes`` does not fit.
    """
    return Order(
        seed,
        domain=opened.index.domain,
        shard=opened.index.shard,
        domains=opened.manifest.domains,
        global_batch=global_batch,
        balance=balance,
        lanes=lanes,
        window=window,
    )


def make_loader(
    opened: OpenSplit,
    order: Order,
    *,
    rank: int,
    world: int,
    micro_batch: int,
    start_step: int,
    stop_step: int,
    workers: int,
    pin: bool,
    substitute: bool = False,
) -> Generator[Batch, None, None]:
    """Return one rank's micro-batches of the steps from ``start_step`` to before ``stop_step``.

    ``workers`` processes read ahead (0: none, reading happens here). They start at once; closing
    the generator, or reaching its end, stops them. ``substitute``: another sample of its domain
    takes the place of one that cannot be read, and the batch tells.

    Raises:
        UserError: here for numbers that do not fit.
        BadSampleError: later, for a sample that cannot be read and has no substitute.
    """
    per_rank = check_ranks(order, micro_batch=micro_batch, ranks=world)
    mine = range(rank * per_rank, (rank + 1) * per_rank)
    steps = range(start_step, stop_step)
    requests = _requests(order, opened.index, steps, micro_batch, mine)
    asked, expected = itertools.tee(requests)
    reader = opened.reader()
    substitutes = Substitutes(reader, opened.index, seed=order.seed) if substitute else None
    with contextlib.ExitStack() as stack:
        if opened.remote is not None:
            from srae_dist.data.lookahead import Lookahead

            later = _requests(order, opened.index, steps, micro_batch, mine)
            ahead = stack.enter_context(
                Lookahead(
                    opened.remote,
                    opened.split,
                    (rows for rows, _ in later),
                    first=order.steps_left(start_step) * per_rank,
                    most=_WINDOWS * order.window_steps() * per_rank,
                )
            )
            expected = ahead.following(expected)
        if workers:
            answers = _read_in_workers(reader, asked, workers, micro_batch=micro_batch, pin=pin)
        else:
            answers = _read_here(reader, asked, pin=pin)
        batches = _batches(expected, answers, substitutes, stack.pop_all(), pin=pin)
    _open.add(batches)
    return batches


@atexit.register
def _close_all() -> None:
    """Stop workers at exit; ``multiprocessing`` would, but they outlive its SIGTERM for a while."""
    for batches in list(_open):
        batches.close()


def _requests(
    order: Order, index: Index, steps: Iterable[int], micro_batch: int, mine: Iterable[int]
) -> Iterator[Request]:
    """Yield this rank's micro-batches, the ones numbered ``mine`` in every step."""
    for step in steps:
        for number in mine:
            part = slice(number * micro_batch, (number + 1) * micro_batch)
            yield take(index, order.batch(step, part)), order.slots(step, part)


def _read_here(
    reader: Reader, requests: Iterable[Request], *, pin: bool
) -> Generator[Answer, None, None]:
    """Answer requests in this process, when they are wanted."""
    for rows, _ in requests:
        pixels = reader.empty(len(rows))
        failures = reader.try_read(rows, pixels)
        images = torch.from_numpy(pixels)
        yield images.pin_memory() if pin else images, failures


def _read_in_workers(
    reader: Reader, requests: Iterable[Request], workers: int, *, micro_batch: int, pin: bool
) -> Generator[Answer, None, None]:
    """Answer requests by processes that read ahead; they start at once.

    When one dies, all are started anew from the first request that has no answer, so a crash costs
    some seconds and changes nothing; not if they die again and again before they answer.
    """
    unanswered: deque[Request] = deque()

    def rest() -> Iterator[Request]:
        for request in requests:
            unanswered.append(request)
            yield request

    later = rest()

    def begin() -> Generator[Answer, None, None]:
        wanted = itertools.chain(tuple(unanswered), later)
        return _start_workers(reader, wanted, workers, micro_batch=micro_batch, pin=pin)

    return _surviving(begin(), begin, unanswered)


def _surviving(
    answers: Generator[Answer, None, None],
    begin: Callable[[], Generator[Answer, None, None]],
    unanswered: deque[Request],
) -> Generator[Answer, None, None]:
    deaths = 0  # since the last answer
    while True:
        try:
            for answer in answers:
                deaths = 0
                unanswered.popleft()
                yield answer
            return
        except (RuntimeError, OSError, EOFError) as error:
            deaths += 1
            if not _is_death(error) or deaths == _DEATHS:
                raise
            said = f"A loader process died ({error}); all are started anew and read on where they "
            said += "were. Most often memory or /dev/shm is short: lower data.workers if it recurs."
            warnings.warn(said, stacklevel=3)
        finally:
            answers.close()
        answers = begin()


def _is_death(error: BaseException) -> bool:
    """Whether a worker is gone, in torch's words or those of the pipe to it."""
    return not isinstance(error, RuntimeError) or str(error).startswith("DataLoader worker")


def _start_workers(
    reader: Reader, requests: Iterable[Request], workers: int, *, micro_batch: int, pin: bool
) -> Generator[Answer, None, None]:
    """Start processes that answer requests.

    At most two batches a worker are under way, and one is being copied, so a place in the slots is
    not written again before it was copied.
    """
    slots = Slots(_AHEAD * workers + 2, images=micro_batch, size=reader.image_size)
    loader: DataLoader[list[Failure] | UserError] = DataLoader(
        _Pixels(reader, slots),
        batch_size=None,
        sampler=((rows, number) for number, (rows, _) in enumerate(requests)),
        num_workers=workers,
        prefetch_factor=_AHEAD,
        collate_fn=_as_it_is,
        worker_init_fn=_prepare_worker,
        multiprocessing_context=processes.context([__name__]),
        generator=torch.Generator(),  # else it would draw a seed from the global one
    )
    with processes.signals_held_back(), warnings.catch_warnings():
        # a rank that waits for its store may well have more workers than cores
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        return _copied(iter(loader), slots, pin=pin)


def _copied(
    answers: Iterator[list[Failure] | UserError], slots: Slots, *, pin: bool
) -> Generator[Answer, None, None]:
    try:
        for number, failures in enumerate(answers):
            if isinstance(failures, UserError):
                raise failures
            yield slots.take(number, pin=pin), failures
    finally:
        del answers  # a traceback may hold this frame; it should not keep the workers alive


class _Pixels(Dataset[list[Failure] | UserError]):
    """What a worker serves: rows in; pixels into their slot, and what was wrong, out."""

    def __init__(self, reader: Reader, slots: Slots) -> None:
        self._reader, self._slots = reader, slots

    def __getitem__(self, request: tuple[Index, int]) -> list[Failure] | UserError:
        rows, number = request
        try:
            return self._reader.try_read(rows, self._slots[number])
        except UserError as error:  # raised by the main process: torch would add a traceback to it
            return error


class BadSampleError(UserError):
    """A sample cannot be read, and nothing may stand in for it."""

    def __init__(self, failure: Failure, slot: int) -> None:
        super().__init__(describe(failure))
        self.bad = BadSample(failure.shard, failure.key, failure.reason, "")
        self.slot = slot  # its place in the endless order


def _batches(
    requests: Iterable[Request],
    answers: Generator[Answer, None, None],
    substitutes: Substitutes | None,
    resources: contextlib.ExitStack,
    *,
    pin: bool,
) -> Generator[Batch, None, None]:
    """Put each answer together with its request."""
    try:
        for (rows, slots), (images, failures) in zip(requests, answers, strict=True):
            keys = [key.decode("ascii") for key in rows.keys.tolist()]
            bad: list[BadSample] = []
            if failures:
                if substitutes is None:
                    raise BadSampleError(failures[0], int(slots[failures[0].place]))
                keys, bad = substitutes.repair(rows, images.numpy(), failures)
            domains = torch.from_numpy(rows.domain.astype(np.int64))
            batch = Batch(images, domains, torch.from_numpy(slots), tuple(keys), tuple(bad))
            yield batch.pin_memory() if pin else batch
    except (RuntimeError, OSError, EOFError) as error:
        if not _is_death(error):
            raise
        raise UserError(
            f"A loader process died ({error}), {_DEATHS} times in a row; most often "
            "memory or /dev/shm is short: lower data.workers, or train.micro_batch."
        ) from None
    finally:
        answers.close()
        resources.close()


def _as_it_is(item: Any) -> Any:
    return item


def _prepare_worker(worker: int) -> None:
    """Begin a worker: the main process needs it until the step is finished."""
    keep_freed_memory()
    processes.settle(GRACE)
