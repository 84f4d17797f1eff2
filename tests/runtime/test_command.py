"""Errors become one sentence and an exit code; output is plain when nobody watches."""

from __future__ import annotations

import os
import signal

import pytest
import typer

from srae_dist.core.errors import ExitCode, SampleError, UserError
from srae_dist.runtime import console
from srae_dist.runtime.command import run


def app_of(error: BaseException | None = None, code: int | None = None) -> typer.Typer:
    app = typer.Typer(add_completion=False)

    @app.command()
    def work(number: int = 1) -> int | None:
        if error is not None:
            raise error
        return code

    return app


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (None, 0, ""),
        (UserError("x [bold] is wrong."), 2, "error: x [bold] is wrong.\n"),
        (SampleError("spoilt"), 1, "error: spoilt\n"),
        (KeyboardInterrupt(), 75, "stopped.\n"),
        (typer.Exit(3), 3, ""),
    ],
)
def test_errors(
    error: BaseException | None, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        run(app_of(error), [])
    assert end.value.code == code
    assert capsys.readouterr().err == said


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_stops_a_command_that_does_not_handle_it(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    app, swept, before = typer.Typer(add_completion=False), [], signal.getsignal(number)

    @app.command()
    def work() -> None:
        try:
            signal.raise_signal(number)
        finally:
            swept.append(number)

    with pytest.raises(SystemExit) as end:
        run(app, [])
    assert (end.value.code, capsys.readouterr().err) == (75, "stopped.\n")
    assert swept == [number]
    assert signal.getsignal(number) is before


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_handler_that_was_there_stays(capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    app = typer.Typer(add_completion=False)

    @app.command()
    def work() -> None:
        signal.raise_signal(signal.SIGTERM)

    try:
        with pytest.raises(SystemExit) as end:
            run(app, [])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (end.value.code, heard) == (0, [signal.SIGTERM])


@pytest.mark.parametrize("code", [None, ExitCode.DONE, ExitCode.SOME_FAILED, ExitCode.STOPPED])
def test_a_command_returns_its_code(code: int | None) -> None:
    with pytest.raises(SystemExit) as end:
        run(app_of(code=code), [])
    assert end.value.code == (code or 0)


@pytest.mark.parametrize("args", [["--nubmer", "1"], ["--number", "x"], ["surplus"]])
def test_wrong_usage_is_2(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        run(app_of(), args)
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert args[0] in said or "number" in said
    assert "Traceback" not in said


def test_a_fault_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run(app_of(ZeroDivisionError()), [])


def test_names_are_not_markup_and_never_cut(capsys: pytest.CaptureFixture[str]) -> None:
    long = "a/[red]" + "x" * 300 + "\udcff.png"
    console.info(long)
    console.warn(long)
    console.table(("name", "count"), [("[b]", 1234567)], title="[t]")
    console.facts("[title]", {"one": "[1]", "eleven": "11"})
    said = capsys.readouterr()
    assert said.out.splitlines()[0] == long.replace("\udcff", "\\udcff")
    assert said.err.splitlines()[0].endswith("\\udcff.png")
    for text in ("[b]", "1,234,567", "[t]", "[title]", "  one     [1]"):
        assert text in said.out


def test_names_command_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    name = "a\x1b]0;owned\x07\x1b[31m\r\x9b.png"
    console.info(name)
    console.error(name)
    console.table((name,), [(name,)], title=name)
    console.facts(name, {"one": name})
    said = capsys.readouterr()
    assert not set(said.out + said.err) & set("\x1b\x07\r\x9b")
    assert said.out.splitlines()[0] == "a\\x1b]0;owned\\x07\\x1b[31m\\x0d\\x9b.png"


def test_progress_is_sparse_when_not_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress(1000, "images") as advance:
        for _ in range(1000):
            advance(1)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("images: 1,000 of 1,000")
