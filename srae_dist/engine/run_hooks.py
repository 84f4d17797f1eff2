"""What happens around the loop: the log, the live line, trackers, grids and checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from torch import Tensor

from srae_dist.data.manifest import Index
from srae_dist.engine import showcase, snapshot
from srae_dist.engine.bad_samples import BadSamples
from srae_dist.engine.step import Stepper
from srae_dist.runtime import checkpoint
from srae_dist.runtime.runlog import RunLog

if TYPE_CHECKING:
    from numpy.typing import NDArray


_SAID = 5  # bad samples of a step that are shown; all are in the list


class Display(Protocol):
    """Where progress is shown."""

    def update(self, step: int, values: Mapping[str, float]) -> None:
        """Show the values of a step."""

    def say(self, text: str) -> None:
        """Show a line that stays."""


@dataclass
class RunHooks:
    """The surroundings of a run's loop. Only the main process writes."""

    run_dir: Path
    stepper: Stepper
    log: RunLog
    display: Display
    domains: Sequence[str]
    read: showcase.Read  # of the training split
    index: Index
    picks: Sequence[NDArray[np.int64]]  # samples behind the mean codes, per domain
    shown: Sequence[NDArray[np.uint8]]  # images of the grids, per domain
    metadata: Mapping[str, Any]  # of checkpoint headers
    state: Mapping[str, Any]  # of state.json, besides the counters
    keep_last: int
    bad_samples: BadSamples
    skipped: int = 0
    _last_skipped: int = field(default=0, repr=False)  # step
    _codes: tuple[int, Tensor] | None = field(default=None, repr=False)  # of a step

    def report(self, step: int, values: Mapping[str, float]) -> None:
        """Log one step's values."""
        accelerator = self.stepper.accelerator
        values = {**values, "bad_samples": len(self.bad_samples)}
        if accelerator.is_main_process:
            self.log.write(step, values)
            self.display.update(step, values)
        accelerator.log(dict(values), step=step)

    def fault(self, step: int, reason: str, keys: tuple[str, ...]) -> int:
        """Write down a skipped step with all ranks' samples; returns the count."""
        from accelerate.utils import gather_object

        self.skipped += 1
        self._last_skipped = step
        everyone: list[str] = gather_object(list(keys))
        if self.stepper.accelerator.is_main_process:
            self.log.write(step, {"skipped": reason, "keys": everyone})
            self.display.say(f"step {step}: {reason}; the update was skipped")
        return self.skipped

    def bad_met(self) -> int:
        """How many bad samples this rank has yet to tell of."""
        return self.bad_samples.met

    def bad(self, step: int) -> str | None:
        """Write down new bad samples; returns why the run must end, if it must."""
        new, bad = self.bad_samples.exchange(self.stepper.accelerator), self.bad_samples
        if self.stepper.accelerator.is_main_process:
            for item in new[:_SAID]:
                self.display.say(
                    f"step {step}: sample {item.key} of {item.shard} cannot be read: "
                    f"{item.reason}; {item.substitute} stands in"
                )
            if len(new) > _SAID:
                self.display.say(f"and {len(new) - _SAID} more, listed in {bad.log.path}")
        if len(bad) <= bad.budget:
            return None
        return f"{len(bad):,} samples cannot be read, data.bad_budget is {bad.budget:,}"

    def show(self, step: int) -> None:
        """Draw reconstructions and translations with the averaged weights."""
        if self.stepper.accelerator.is_main_process:
            folder = self.run_dir / "samples"
            showcase.write_grids(
                self.stepper.ema.module,
                self._mean_codes(step),
                self.domains,
                self.shown,
                folder,
                f"step-{step:08d}",
            )

    def save(self, step: int) -> None:
        """Write a checkpoint, then delete the oldest ones."""
        if self.stepper.accelerator.is_main_process:
            root = self.run_dir / "checkpoints"
            self.log.sync()
            self.bad_samples.log.sync()
            checkpoint.save(
                root,
                step,
                tensors=snapshot.tensors_of(self.stepper, self._mean_codes(step)),
                metadata={**self.metadata, "version": checkpoint.VERSION, "step": step},
                state={
                    **self.state,
                    "step": step,
                    # a run that ends by a fault is saved as of the step before, and takes it again
                    "skipped": self.skipped - (self._last_skipped > step),
                    "bad_samples": self.bad_samples.state(),
                    "scaler": snapshot.scaler_state(self.stepper.accelerator),
                },
            )
            checkpoint.prune(root, self.keep_last)

    def _mean_codes(self, step: int) -> Tensor:
        """The domains' mean codes under the averaged weights; computed once a step."""
        if self._codes is None or self._codes[0] != step:
            table = showcase.mean_codes(self.stepper.ema.module, self.read, self.index, self.picks)
            self._codes = (step, table)
        return self._codes[1]
