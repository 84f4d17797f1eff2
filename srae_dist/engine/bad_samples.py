"""Samples that could not be read: written down once each, counted, and too many end the run.

Ranks meet different ones, so they tell each other, and all of them hold the same list and decide
alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from srae_dist.core.types import BadSample, Batch
from srae_dist.runtime.runlog import RunLog

if TYPE_CHECKING:
    from accelerate import Accelerator

NAME = "bad_samples.jsonl"


class BadSamples:
    """The bad samples of a run."""

    def __init__(
        self,
        run_dir: Path,
        *,
        budget: int,
        global_batch: int,
        known: Iterable[Sequence[str]] = (),
    ) -> None:
        self.log = RunLog(run_dir / NAME)
        self.budget = budget
        self._global_batch = global_batch
        self._known = {_name(shard, key) for shard, key in known}  # equal on all ranks
        self._met: dict[BadSample, int] = {}  # on this rank, since the last exchange: at which step

    def __len__(self) -> int:
        return len(self._known)

    @property
    def met(self) -> int:
        """How many this rank has met and not yet told of."""
        return len(self._met)

    def watch(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Pass batches through and take note of what was bad in them."""
        for batch in batches:
            for item in batch.bad:
                if _name(item.shard, item.key) not in self._known:
                    self._met.setdefault(item, int(batch.slots[0]) // self._global_batch + 1)
            yield batch

    def exchange(self, accelerator: Accelerator) -> list[BadSample]:
        """Tell all ranks of what each has met; returns what is new, the same on every rank.

        The main process writes it down, with the step at which it was met. A collective call.
        """
        from accelerate.utils import gather_object

        told: list[tuple[BadSample, int]] = gather_object(list(self._met.items()))
        new: dict[tuple[str, str], tuple[BadSample, int]] = {}
        for item, step in sorted(told, key=lambda pair: pair[1]):
            if (name := _name(item.shard, item.key)) not in self._known:
                new.setdefault(name, (item, step))
        if accelerator.is_main_process:
            for item, step in new.values():
                self.log.write(step, item._asdict())
        self._known |= new.keys()
        self._met = {}
        return [item for item, _ in new.values()]

    def state(self) -> list[list[str]]:
        """Return what a checkpoint keeps: shard and key of each, in an order of their own."""
        return [list(item) for item in sorted(self._known)]


def _name(shard: str, key: str) -> tuple[str, str]:
    """What a sample is known by wherever its shards are moved to."""
    return shard.rpartition("/")[2], key
