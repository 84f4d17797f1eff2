"""The work itself: units through the machine, each written down once it is complete."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from srae_dist.core import disk
from srae_dist.core.errors import UserError
from srae_dist.core.machine import available_cores
from srae_dist.data.shard_files import Unreachable
from srae_dist.translation.inputs import Images, Item, Unit
from srae_dist.translation.job import Progress
from srae_dist.translation.outputs import Output
from srae_dist.translation.pipeline import Machine, Work

_MOST_THREADS = 16  # of one rank's codecs


def codec_threads(local_ranks: int) -> int:
    """Return how many threads of a rank decode and encode."""
    return max(2, min(_MOST_THREADS, available_cores() // local_ranks))


def run_units(
    machine: Machine,
    output: Output,
    inputs: Images,
    progress: Progress,
    units: Sequence[Unit],
    *,
    threads: int,
    stopped: Callable[[], bool],
    advance: Callable[[int], None],
) -> None:
    """Translate units, and write down each that is complete, until ``stopped`` says so.

    Raises:
        Unreachable: an input cannot be had now; what was read before it is written down.
    """
    lost: list[Unreachable] = []

    def items() -> Iterator[Item]:
        try:
            for unit in units:
                for item in inputs.read(unit):
                    if stopped():
                        return
                    yield item
        except Unreachable as error:
            lost.append(error)

    works = machine.run(items(), threads=threads)
    for unit, group in itertools.groupby(works, key=lambda work: work.item.unit):
        record = output.collect(unit, _counted(group, advance))
        if len(record) == len(unit):  # else it was cut short
            progress.save(unit, record)
    if lost:
        raise lost[0]


def _counted(works: Iterable[Work], advance: Callable[[int], None]) -> Iterator[Work]:
    for work in works:
        advance(1)
        yield work


@contextlib.contextmanager
def writing(out: Path) -> Iterator[None]:
    """Tell a full disk, or a folder that may not be written to, in one sentence."""
    try:
        yield
    except OSError as error:
        raise UserError(disk.refusal(error, Path(error.filename or out))) from None
