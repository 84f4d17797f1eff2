"""What ranks must know of each other after every step, and when they read it.

A stop, a bad sample or a skipped step on one rank alone would hang the others, so each rank tells
after each step, and all read the same. On a GPU they read one step late: the answer of step n is
fetched when step n + 1 is under way, and the device never waits for the host. On a CPU, where
nothing runs ahead, they read at once.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor

from srae_dist.engine.step import StepResult
from srae_dist.runtime.launch import TIMEOUT, host_group

if TYPE_CHECKING:
    from accelerate import Accelerator

OTHERS = "another rank was asked to stop"


@dataclass(frozen=True, slots=True)
class News:
    """What all ranks know of one step; equal on all of them, but for the wording of ``stop``."""

    step: int  # steps done after it
    result: StepResult  # this rank's
    spoilt: bool  # the update was skipped
    stop: str | None  # why the run shall end
    bad: int  # samples that could not be read


@dataclass(frozen=True, slots=True)
class _Told:
    step: int
    result: StepResult
    stop: str | None
    spoilt: Tensor  # on its way to the host
    arrived: Any  # the event after which it is there; None on a CPU
    wishes: Tensor  # ranks that want to stop, bad samples: sums over ranks, on the host
    summed: Any  # the work that sums them; None for a single rank


class Consensus:
    """The ranks' talk about a run's steps; every rank makes every call."""

    def __init__(
        self, accelerator: Accelerator, *, timeout: float = TIMEOUT, late: bool | None = None
    ) -> None:
        """Meet the other ranks.

        Args:
            timeout: seconds after which a rank that says nothing is given up.
            late: read a step's news one step later; by default on anything but a CPU.
        """
        self.late = accelerator.device.type != "cpu" if late is None else late
        self._ranks = accelerator.num_processes
        self._told: deque[_Told] = deque()
        # a group of its own on the host: nothing said in it has to pass the device's queue
        self._group: Any = None
        if self._ranks > 1:
            self._group = host_group(timedelta(seconds=timeout))

    def tell(self, step: int, result: StepResult, *, stop: str | None, bad: int) -> None:
        """Tell the others of a step that this rank has begun; nobody waits."""
        wishes = torch.tensor([float(stop is not None), float(bad)])
        summed = None
        if self._group is not None:
            summed = dist.all_reduce(wishes, group=self._group, async_op=True)
        spoilt, arrived = _fetch(result.spoilt)
        self._told.append(_Told(step, result, stop, spoilt, arrived, wishes, summed))

    def wait(self) -> None:
        """Wait for all ranks, on the host: a signal or a lost rank is noticed meanwhile."""
        if self._group is not None:
            dist.barrier(group=self._group)

    def hear(self, *, everything: bool) -> list[News]:
        """Return the news of steps, oldest first; the newest step's too if ``everything``."""
        kept = 1 if self.late and not everything else 0
        return [_news(self._told.popleft()) for _ in range(len(self._told) - kept)]


def _fetch(flag: Tensor) -> tuple[Tensor, Any]:
    """Begin to copy a flag to the host; returns the copy and the event that completes it."""
    if flag.device.type != "cuda":
        return flag, None
    copy = torch.empty_like(flag, device="cpu", pin_memory=True)
    copy.copy_(flag, non_blocking=True)
    arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
    arrived.record()
    return copy, arrived


def _news(told: _Told) -> News:
    if told.summed is not None:
        told.summed.wait()
    if told.arrived is not None:
        told.arrived.synchronize()
    wish, bad = told.wishes.tolist()
    stop = told.stop or (OTHERS if wish else None)
    return News(told.step, told.result, bool(told.spoilt), stop, int(bad))
