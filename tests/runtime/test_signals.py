"""What each signal does, the first time and the second."""

from __future__ import annotations

import os
import signal
import sys
import threading

import pytest

from srae_dist.runtime import signals
from srae_dist.runtime.signals import StopRequest, outlive_launcher_s_sigterm

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_asks(number: signal.Signals) -> None:
    with StopRequest(launched=True) as stop:
        assert stop.reason is None
        signal.raise_signal(number)
        assert stop.reason == number.name


@pytest.mark.parametrize("first", SIGNALS)
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGUSR1])
def test_a_second_request_changes_nothing(first: signal.Signals, second: signal.Signals) -> None:
    with StopRequest(launched=True) as stop:
        signal.raise_signal(first)
        signal.raise_signal(second)
        signal.raise_signal(second)
        assert stop.reason == first.name


@pytest.mark.parametrize("first", SIGNALS)
def test_a_ctrl_c_after_a_request_stops_at_once(first: signal.Signals) -> None:
    with StopRequest(launched=True):
        signal.raise_signal(first)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_the_old_handlers_come_back_whatever_happens() -> None:
    def mine(number: int, frame: object) -> None:
        pass

    before = {number: signal.signal(number, mine) for number in SIGNALS}
    try:
        with pytest.raises(ZeroDivisionError), StopRequest(launched=True):
            assert signal.getsignal(signal.SIGTERM) is not mine
            raise ZeroDivisionError
        assert [signal.getsignal(number) for number in SIGNALS] == [mine] * 3
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize("launched", [False, True])
def test_only_a_launcher_s_late_sigterm_is_outlived(launched: bool) -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        outlive_launcher_s_sigterm(launched=launched)
        with StopRequest(launched=launched) as stop:
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.reason == "SIGTERM"  # asked in time, it is obeyed
        ignored = signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        assert ignored is launched
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_orphan_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    with StopRequest(launched=True) as stop:
        assert stop.reason is None
        parent = os.getppid()
        monkeypatch.setattr(signals.os, "getppid", lambda: parent + 1)
        assert stop.reason == "the launcher died"
        signal.raise_signal(signal.SIGTERM)
        assert stop.reason == "the launcher died"


def test_an_orphan_remembers_what_it_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The launcher passes SIGTERM on, and is gone when the step ends."""
    with StopRequest(launched=True) as stop:
        signal.raise_signal(signal.SIGTERM)
        monkeypatch.setattr(signals.os, "getppid", lambda: 1)
        assert stop.reason == "SIGTERM"


def test_who_starts_a_run_by_hand_may_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    """``nohup``, or a closed terminal: the shell's death is no request."""
    with StopRequest(launched=False) as stop:
        monkeypatch.setattr(signals.os, "getppid", lambda: 1)
        assert stop.reason is None
        signal.raise_signal(signal.SIGTERM)
        assert stop.reason == "SIGTERM"


class Unlucky(threading.Condition):
    """One that a Ctrl-C hits while it takes its lock back."""

    def _acquire_restore(self, state: object) -> None:
        signal.raise_signal(signal.SIGINT)


def test_a_ctrl_c_stays_one_amid_locks() -> None:
    unlucky = Unlucky(threading.Lock())
    with pytest.raises(RuntimeError), unlucky:  # why it must be kept
        unlucky.wait(0)
    with pytest.raises(KeyboardInterrupt), signals.ending_as_ctrl_c(), unlucky:
        unlucky.wait(0)


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="mine"), signals.ctrl_c_kept():
        raise RuntimeError("mine")
