"""Stopping on request: finish the step, save, say how to resume.

The first SIGINT, SIGTERM or SIGUSR1 asks; a second Ctrl-C stops at once; a second SIGTERM changes
nothing. A rank whose launcher has died (killed from outside) asks as well, since nobody would ever
stop it; a run whose shell has gone (``nohup``, a closed terminal) is its user's wish and goes on.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

_NAMES = ("SIGINT", "SIGTERM", "SIGUSR1")  # those the platform has


@contextlib.contextmanager
def ending_as_ctrl_c() -> Iterator[None]:
    """SIGTERM and SIGUSR1 raise KeyboardInterrupt in this context, where nobody handles them yet.

    So a command without a ``StopRequest`` sweeps up and ends with the exit code for being stopped.
    """
    mine: list[int] = []
    if threading.current_thread() is threading.main_thread():  # no other may set handlers
        for name in _NAMES[1:]:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) == signal.SIG_DFL:
                signal.signal(number, signal.default_int_handler)
                mine.append(number)
    try:
        with ctrl_c_kept():
            yield
    finally:
        for number in mine:
            if signal.getsignal(number) is signal.default_int_handler:
                signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def ctrl_c_kept() -> Iterator[None]:
    """Raise KeyboardInterrupt again where Python's own locks have made another error of it.

    One that reaches ``threading.Condition.wait`` while that takes its lock back ends as
    "RuntimeError: release unlocked lock", and every wait for a pool's work may be hit so.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise


def outlive_launcher_s_sigterm(*, launched: bool) -> None:
    """Ignore SIGTERM outside of a ``StopRequest``, where a launcher started this process.

    Once a rank has left, launchers send it to those that are still writing how they ended.
    """
    if launched:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


class StopRequest:
    """A context in which signals are remembered; ``reason`` says so between steps."""

    def __init__(self, *, launched: bool) -> None:
        """``launched``: the parent process is a launcher, whose death ends the run."""
        self._reason: str | None = None
        self._previous: dict[int, Any] = {}
        self._launcher = os.getppid() if launched else None

    def __enter__(self) -> StopRequest:
        for name in _NAMES:
            number = getattr(signal, name, None)
            if number is not None:
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @property
    def reason(self) -> str | None:
        """Why to stop, or None."""
        orphaned = self._launcher is not None and os.getppid() != self._launcher
        if self._reason is None and orphaned:
            self._reason = "the launcher died"
        return self._reason

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._reason is not None and number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt
        self._reason = self._reason or signal.Signals(number).name
