"""The line that shows a run: everything worth watching, plain where nobody watches."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from srae_dist.runtime import console, live
from srae_dist.runtime.live import TrainDisplay, summary

ONE = {
    "images_per_s": 123.4,
    "data_wait": 0.015,
    "reconstruction": 0.5,
    "confusion": -0.69,
    "discriminator_c": 0.693,
    "q_c_accuracy": 0.5,
    "q_c_entropy": 0.98,
    "sigma_c": 0.125,
    "sigma_d": 0.25,
}
TWO = ONE | {
    "pixel": 0.25,
    "discriminator_d": 0.1,
    "q_d_accuracy": 1.0,
    "q_d_entropy": 0.2,
    "domain": 0.375,
    "alignment": 0.75,
    "content_prior": 1.5,
    "domain_prior": 2.5,
    "content_cycle": 0.25,
    "unlikeness": 0.5,
    "realism": 1.25,
    "critic": 0.875,
    "critic_slope": 0.0625,
    "critic_accuracy": 0.75,
}


def test_everything_worth_watching_is_said() -> None:
    said = summary(TWO)
    for part in ("123 img/s", "data wait 1.5%", "reconstruction 0.5000", "pixel 0.2500"):
        assert part in said
    for part in ("confusion -0.690", "q_c 0.693 (accuracy 50%, entropy 98% of max)"):
        assert part in said
    for part in ("q_d 0.100 (accuracy 100%", "domain +0.375", "sigma c 0.125 d 0.250"):
        assert part in said
    assert "alignment 0.7500, content_cycle 0.2500, unlikeness 0.5000, content_prior 1.5000" in said
    assert "domain_prior 2.5000" in said
    assert said.count("domain ") == 1
    assert "realism 1.250, critic 0.875 (accuracy 75%, slope 0.062)" in said


def test_what_is_off_is_not_said() -> None:
    said = summary(ONE)
    for name in ("pixel", "q_d", "alignment", "prior", "domain ", "critic", "cycle"):
        assert name not in said


def test_plain_lines_come_now_and_then_and_at_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(live.time, "monotonic", lambda: now)
    with TrainDisplay("faces", start=0, steps=100, shown=True) as display:
        for step in range(1, 101):
            now += 0.5
            display.update(step, ONE)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == [
        *("1/100", "21/100", "41/100", "61/100", "81/100", "100/100")
    ]
    assert "0:00:40 left" in lines[1].replace("0:00:39 ", "0:00:40 ")
    assert all(summary(ONE) in line for line in lines)


def test_time_left_counts_from_where_the_run_resumed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(live.time, "monotonic", lambda: now)
    with TrainDisplay("faces", start=900, steps=1000, shown=True) as display:
        now = 20.0
        display.update(910, ONE)  # two seconds a step, ninety to go
    assert "0:03:00 left" in capsys.readouterr().out


def test_other_ranks_are_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainDisplay("faces", start=0, steps=1, shown=False) as display:
        display.update(1, ONE)
        display.say("hello")
    said = capsys.readouterr()
    assert said.out == said.err == ""


def test_a_terminal_shows_a_live_panel(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=300, markup=False, highlight=False)
    monkeypatch.setattr(console, "out", terminal)
    with TrainDisplay("[red]faces", start=0, steps=10, shown=True) as display:
        for step in (1, 2, 10):
            display.update(step, TWO)
        display.say("step 3: skipped")
    said = screen.getvalue()
    assert "[red]faces" in said  # nothing is markup
    assert "step 10/10" in said
    for part in summary(TWO).replace(" (", ", ").split(", "):
        assert part in said
    assert "step 3: skipped" in said


def test_other_ranks_are_silent_on_a_terminal_too(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(console, "out", Console(file=screen, force_terminal=True))
    with TrainDisplay("faces", start=0, steps=1, shown=False) as display:
        display.update(1, ONE)
    assert screen.getvalue() == ""


def test_an_exception_ends_the_panel(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True)
    monkeypatch.setattr(console, "out", terminal)
    with (
        pytest.raises(ZeroDivisionError),
        TrainDisplay("faces", start=0, steps=10, shown=True) as display,
    ):
        display.update(1, ONE)
        raise ZeroDivisionError
    with TrainDisplay("again", start=0, steps=10, shown=True):  # rich allows one at a time
        pass
