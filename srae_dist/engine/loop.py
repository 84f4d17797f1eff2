"""The training loop, on one page: step, report, show, save, stop."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import torch

from srae_dist.core.types import Batch
from srae_dist.engine.step import Stepper, StepResult
from srae_dist.recipe.schema import Train
from srae_dist.runtime.signals import StopRequest


class End(Enum):
    """Why the loop ended."""

    DONE = "done"
    STOPPED = "stopped"
    FAULT = "fault"
    BAD_DATA = "bad data"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How far the run got; ``step`` updates are in the weights that were saved last."""

    end: End
    step: int
    reason: str


class Hooks(Protocol):
    """What the loop asks of its surroundings; every rank calls every hook."""

    def report(self, step: int, values: Mapping[str, float]) -> None:
        """Show and log the values of one step."""

    def fault(self, step: int, reason: str, keys: tuple[str, ...]) -> None:
        """Write down a skipped step."""

    def bad_met(self) -> int:
        """How many samples that could not be read this rank has yet to tell of."""

    def bad(self, step: int) -> str | None:
        """Write down samples that could not be read; says why the run must end, if it must."""

    def show(self, step: int) -> None:
        """Draw sample grids."""

    def save(self, step: int) -> None:
        """Write a checkpoint."""


class Clock:
    """Images per second and the share of time spent waiting for data, since the last report."""

    def __init__(self, batches: Iterator[Batch]) -> None:
        self._batches = batches
        self.restart()

    def restart(self) -> None:
        """Begin a new interval."""
        self._begin, self._waited = time.perf_counter(), 0.0

    def __iter__(self) -> Iterator[Batch]:
        while True:
            asked = time.perf_counter()
            batch = next(self._batches)
            self._waited += time.perf_counter() - asked
            yield batch

    def read(self, global_batch: int, steps: int) -> dict[str, float]:
        """Return the interval's figures and begin a new one."""
        elapsed = max(1e-9, time.perf_counter() - self._begin)
        waited = self._waited
        self.restart()
        return {"images_per_s": global_batch * steps / elapsed, "data_wait": waited / elapsed}


def run(
    stepper: Stepper,
    batches: Iterator[Batch],
    hooks: Hooks,
    stop: StopRequest,
    *,
    start: int,
    train: Train,
    patience: int,
    skipped: int,
) -> Outcome:
    """Train from ``start`` finished steps to ``train.steps``.

    Args:
        batches: micro-batches of this rank, from step ``start`` on.
        patience: skipped steps after which the run ends.
        skipped: steps skipped so far.
    """
    clock = Clock(batches)
    stream = iter(clock)
    reported = start
    for step in range(start, train.steps):
        result = stepper.take(step, stream)
        done, last = step + 1, step + 1 == train.steps
        if result.fault is not None:
            skipped += 1
            hooks.fault(done, result.fault, result.keys)
            if skipped >= patience:
                hooks.save(step)
                return Outcome(End.FAULT, step, result.fault)
        reason, bad = agree(stepper, stop.reason, hooks.bad_met())
        spoilt = hooks.bad(done) if bad else None
        if done % train.log_every == 0 or last:
            values = describe(stepper, result)
            hooks.report(done, values | clock.read(train.global_batch, done - reported))
            reported = done
        if done % train.sample_every == 0 or last:
            hooks.show(done)
        if done % train.save_every == 0 or last or reason or spoilt:
            hooks.save(done)
        if spoilt:
            return Outcome(End.BAD_DATA, done, spoilt)
        if reason and not last:
            return Outcome(End.STOPPED, done, reason)
    return Outcome(End.DONE, train.steps, "all steps done")


def describe(stepper: Stepper, result: StepResult) -> dict[str, float]:
    """Values of one step over the global batch; a collective call."""
    values = stepper.reduce(result.measures)
    values |= {f"grad_{name}": float(norm) for name, norm in result.norms.items()}
    values["lr"] = stepper.optimizer.param_groups[0]["lr"]
    return values


def agree(stepper: Stepper, reason: str | None, bad: int) -> tuple[str | None, int]:
    """Stop all ranks if any wants to, and tell how many bad samples they have met together; a stop
    or a collective call on one alone would hang the others."""
    accelerator = stepper.accelerator
    if accelerator.num_processes == 1:
        return reason, bad
    told = torch.tensor([float(reason is not None), float(bad)], device=accelerator.device)
    wish, total = accelerator.reduce(told, reduction="sum").tolist()
    return reason or ("another rank was asked to stop" if wish else None), int(total)
