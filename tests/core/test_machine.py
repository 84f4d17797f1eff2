"""Cores are those that this process may use."""

from __future__ import annotations

import pytest

from srae_dist.core import machine


def test_cores_are_those_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda pid: {3, 5}, raising=False)
    assert machine.available_cores() == 2
