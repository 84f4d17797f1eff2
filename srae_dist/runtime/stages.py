"""The live display of a job of a few unlike parts: which one runs, and how long each took."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from types import TracebackType

from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from srae_dist.runtime import console


class Stages:
    """A context that names the running part: spinning lines in a terminal, plain ones elsewhere."""

    def __init__(self, *, shown: bool = True) -> None:
        self._shown = shown
        self._bar: Progress | None = None
        self.seconds: dict[str, float] = {}  # of each part that is over

    def __enter__(self) -> Stages:
        if self._shown and console.err.is_terminal:
            self._bar = Progress(
                SpinnerColumn(finished_text="✓"),
                TextColumn("{task.description}", markup=False),
                TimeElapsedColumn(),
                console=console.err,
            )
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    @contextlib.contextmanager
    def stage(self, label: str) -> Iterator[None]:
        """Show that a part runs; it is ticked off unless it fails."""
        begun = time.monotonic()
        task = None if self._bar is None else self._bar.add_task(label, total=1)
        yield
        self.seconds[label] = took = time.monotonic() - begun
        if self._bar is not None and task is not None:
            self._bar.update(task, completed=1)
        elif self._shown:
            console.err.print(f"{label}: {took:.1f} s", soft_wrap=True)
