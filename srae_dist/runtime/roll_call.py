"""Who is missing, when a run of several ranks breaks.

A rank that is killed, hangs, or fails alone breaks the others' next collective call, with a message
that names a socket at best. So all that are left answer at the launch's store, which outlives its
ranks, and the lowest of them says who did not, or what the one who failed has said.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from srae_dist.core.errors import LostRankError, SraeError

if TYPE_CHECKING:
    from srae_dist.runtime.launch import World

PATIENCE = 10.0  # seconds to wait for answers; ranks notice a broken link within moments
_VICTIM = "victim"  # the answer of one that only lost the others
_KEY = "srae_dist/roll call/{}"
_BROKEN_LINK = ("gloo", "nccl", "connection closed", "connection reset", "timed out", "c10d")
_LONGEST = 200  # letters of an answer


class Store(Protocol):
    """What is asked of the launch's store."""

    def set(self, key: str, value: str, /) -> None:
        """Keep a value."""

    def get(self, key: str, /) -> bytes:
        """Return a value that is there."""

    def check(self, keys: list[str], /) -> bool:
        """Whether all keys have values."""


@contextlib.contextmanager
def answering(
    world: World, *, resumable: Callable[[], str], patience: float = PATIENCE
) -> Iterator[None]:
    """Turn an error that a lost rank caused into a sentence that names it.

    An error of this rank's own is told to the others, and leaves this context unchanged.

    Args:
        resumable: says where the run can go on from.

    Raises:
        LostRankError: another rank failed, or is silent; empty on all but the lowest that is left.
    """
    try:
        yield
    except Exception as error:
        store = _store() if world.size > 1 else None
        if store is None:
            raise
        if not _is_broken_link(error):
            _answer(store, world.rank, f"{type(error).__name__}: {error}")
            raise
        answers = call(store, world.rank, world.size, patience=patience)
        if answers is None:
            sentence = "The launch's store does not answer: the launcher of machine 0 is gone."
        else:
            sentence = describe(answers, world.size)
            if world.rank != min(rank for rank, said in answers.items() if said == _VICTIM):
                raise LostRankError("") from None
        raise LostRankError(f"{sentence} {resumable()}") from error


def call(store: Store, rank: int, size: int, *, patience: float) -> dict[int, str] | None:
    """Answer, and return each answering rank's answer; None where the store is gone."""
    keys = {other: _KEY.format(other) for other in range(size)}
    deadline = time.monotonic() + patience
    if not _answer(store, rank, _VICTIM):
        return None
    try:
        while not store.check(list(keys.values())) and time.monotonic() < deadline:
            time.sleep(0.1)
        there = [other for other, key in keys.items() if store.check([key])]
        return {other: store.get(keys[other]).decode() for other in there}
    except (RuntimeError, OSError):
        return None


def describe(answers: dict[int, str], size: int) -> str:
    """Say which ranks are at fault: those that failed by themselves, or else the silent ones."""
    failed = {rank: said for rank, said in answers.items() if said != _VICTIM}
    silent = [rank for rank in range(size) if rank not in answers]
    said = [f"rank {rank} of {size} failed ({reason})" for rank, reason in failed.items()]
    if silent:
        does = "does not answer" if len(silent) == 1 else "do not answer"
        ranks = f"rank{'s' * (len(silent) > 1)} {', '.join(map(str, silent))} of {size}"
        said.append(f"{ranks} {does} (killed, hung, or the machine is gone)")
    if not said:  # all are here, so the link itself broke
        said = ["all ranks are here, but the connection between them broke"]
    sentence = "; ".join(said)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _answer(store: Store, rank: int, said: str) -> bool:
    try:
        store.set(_KEY.format(rank), said[:_LONGEST])
    except (RuntimeError, OSError):
        return False
    return True


def _is_broken_link(error: BaseException) -> bool:
    import torch.distributed as dist

    if isinstance(error, SraeError) or not isinstance(error, RuntimeError):
        return False
    text = str(error).lower()
    return isinstance(error, dist.DistError) or any(word in text for word in _BROKEN_LINK)


def _store() -> Any:
    """The store by which the ranks found each other; torch has no public name for it."""
    from torch.distributed import distributed_c10d

    if not distributed_c10d.is_initialized():
        return None
    return distributed_c10d._get_default_store()
