"""The live display of a training run: a few updating lines in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from types import TracebackType

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from srae_dist.runtime import console

PLAIN_EVERY = 10.0  # seconds between plain lines
LOSSES = (
    "reconstruction",
    "pixel",
    "alignment",
    "content_cycle",
    "unlikeness",
    "content_prior",
    "domain_prior",
)


class TrainDisplay:
    """A context that shows step, speed, time left and every loss."""

    def __init__(self, name: str, *, start: int, steps: int, shown: bool) -> None:
        self._name, self._start, self._steps = name, start, steps
        self._shown = shown
        self._began = time.monotonic()
        self._last_plain = float("-inf")
        self._live: Live | None = None

    def __enter__(self) -> TrainDisplay:
        if self._shown and console.out.is_terminal:
            self._live = Live(console=console.out, refresh_per_second=4, transient=False)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, step: int, values: Mapping[str, float]) -> None:
        """Show the values of a step."""
        if self._live is not None:
            self._live.update(self._panel(step, values))
            return
        now = time.monotonic()
        if self._shown and (now - self._last_plain >= PLAIN_EVERY or step == self._steps):
            self._last_plain = now
            console.info(
                f"step {step:,}/{self._steps:,}  {self._left(step)} left  {summary(values)}"
            )

    def say(self, text: str) -> None:
        """Show a line that stays."""
        if self._shown:
            console.info(text)

    def _panel(self, step: int, values: Mapping[str, float]) -> Group:
        head = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=self._steps, completed=step, width=30)
        speed, *losses = rows(values)
        head.add_row(
            Text(self._name, style="bold"),
            bar,
            f"step {step:,}/{self._steps:,}",
            Text(f"{self._left(step)} left", style="cyan"),
            " · ".join(speed),
        )
        return Group(head, *(Text("  " + "   ".join(row), style="dim") for row in losses))

    def _left(self, step: int) -> str:
        done = max(1, step - self._start)
        seconds = (time.monotonic() - self._began) / done * (self._steps - step)
        return str(timedelta(seconds=round(seconds)))


def summary(values: Mapping[str, float]) -> str:
    """One line of everything worth watching."""
    return ", ".join(part for row in rows(values) for part in row)


def rows(values: Mapping[str, float]) -> list[list[str]]:
    """Speed, losses, and a row per discriminator."""
    table = [
        [f"{values['images_per_s']:.0f} img/s", f"data wait {values['data_wait']:.1%}"],
        [f"{name} {values[name]:.4f}" for name in LOSSES if name in values],
    ]
    table[1].append(f"sigma c {values['sigma_c']:.3f} d {values['sigma_d']:.3f}")
    for q, term in (("c", "confusion"), ("d", "domain")):
        if term in values:
            table.append(
                [
                    f"{term} {values[term]:+.3f}",
                    f"q_{q} {values[f'discriminator_{q}']:.3f} (accuracy "
                    f"{values[f'q_{q}_accuracy']:.0%}, entropy "
                    f"{values[f'q_{q}_entropy']:.0%} of max)",
                ]
            )
    if "critic" in values:
        table.append(
            [
                f"realism {values['realism']:.3f}",
                f"critic {values['critic']:.3f} (accuracy {values['critic_accuracy']:.0%}, "
                f"slope {values['critic_slope']:.3f})",
            ]
        )
    return table
