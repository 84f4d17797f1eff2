"""The training loop, on one page: step, report, show, save, stop."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from srae_dist.core.types import Batch
from srae_dist.engine.consensus import Consensus, News
from srae_dist.engine.step import Stepper, StepResult
from srae_dist.recipe.schema import Train
from srae_dist.runtime.signals import StopRequest


class End(Enum):
    """Why the loop ended."""

    DONE = "done"
    STOPPED = "stopped"
    FAULT = "fault"
    BAD_DATA = "bad data"


_WORST_FIRST = (End.FAULT, End.BAD_DATA, End.STOPPED)


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

    def fault(self, step: int, reason: str, keys: tuple[str, ...]) -> int:
        """Write down a skipped step; returns how many there were so far."""

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
    timeout: float,
) -> Outcome:
    """Train from ``start`` finished steps to ``train.steps``.

    Args:
        batches: micro-batches of this rank, from step ``start`` on.
        patience: skipped steps after which the run ends.
        timeout: seconds after which a silent rank is given up.
    """
    clock = Clock(batches)
    stream = iter(clock)
    talk = Consensus(stepper.accelerator, timeout=timeout)
    reported = start
    for step in range(start, train.steps):
        result = stepper.take(step, stream)
        done, last = step + 1, step + 1 == train.steps
        talk.tell(done, result, stop=stop.reason, bad=hooks.bad_met())
        logs, shows, saves = (
            last or done % every == 0
            for every in (train.log_every, train.sample_every, train.save_every)
        )
        verdict = judge(talk, done, stepper, hooks, patience, now=logs or shows or saves)
        if verdict is not None and verdict.end is End.FAULT:
            hooks.save(verdict.step)
            talk.wait()
            return verdict
        if logs:
            values = describe(stepper, result)
            hooks.report(done, values | clock.read(train.global_batch, done - reported))
            reported = done
        if shows:
            hooks.show(done)
        if saves or verdict is not None:
            hooks.save(done)
        if shows or saves or verdict is not None:
            talk.wait()  # for the main process, which draws and writes
        if verdict is not None and not (last and verdict.end is End.STOPPED):
            return verdict
    return Outcome(End.DONE, train.steps, "all steps done")


def judge(
    talk: Consensus, done: int, stepper: Stepper, hooks: Hooks, patience: int, *, now: bool
) -> Outcome | None:
    """Hear what is new of the steps ``done``, and say how the run must end, if it must.

    What is saved must all be told: a run that ends, and one that saves ``now``, hear of their last
    step too. A collective call.
    """
    verdicts: list[Outcome] = []
    for everything in (now, True):
        for news in talk.hear(everything=everything):
            verdict = weigh(news, done, stepper, hooks, patience)
            verdicts += [] if verdict is None else [verdict]
        if not verdicts:
            return None
    return min(verdicts, key=lambda verdict: _WORST_FIRST.index(verdict.end))


def weigh(news: News, done: int, stepper: Stepper, hooks: Hooks, patience: int) -> Outcome | None:
    """Write down what was wrong with one step, and say how the run must end for it, if it must."""
    fault = stepper.fault(news.result) if news.spoilt else None
    if fault is not None and hooks.fault(news.step, fault, news.result.keys) >= patience:
        # nothing changed in the faulty step, so without it the state is that of the step before
        kept = done - 1 if news.step == done else done
        return Outcome(End.FAULT, kept, f"Step {news.step:,}: {fault}")
    too_many = hooks.bad(news.step) if news.bad else None
    if too_many is not None:
        return Outcome(End.BAD_DATA, done, too_many)
    return None if news.stop is None else Outcome(End.STOPPED, done, news.stop)


def describe(stepper: Stepper, result: StepResult) -> dict[str, float]:
    """Values of one step over the global batch; a collective call."""
    values = stepper.reduce(result.measures)
    values |= {f"grad_{name}": float(norm) for name, norm in result.norms.items()}
    values["lr"] = stepper.optimizer.param_groups[0]["lr"]
    return values
