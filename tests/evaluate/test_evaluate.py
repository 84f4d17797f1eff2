"""`srae-dist evaluate`: what it writes, what it refuses, and the same on two ranks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from srae_dist.core.errors import UserError
from srae_dist.evaluate import plan
from srae_dist.evaluate.taking import Taken, take_all
from srae_dist.evaluation.section import Section
from srae_dist.runtime.stages import Stages
from tests.data.tiny_shards import write_shards
from tests.evaluate.runs import evaluate, save_run

ROOT = Path(__file__).parents[2]
FAST = ("--only", "figures", "--only", "neighbours", "--only", "distances", "--per-domain", "8")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_run(tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture(scope="module")
def out(run: Path, face_shards: Path) -> Path:
    """A report of the fast measures, in its default place."""
    assert evaluate(run, face_shards, *FAST) == 0
    return run / "evaluation"


def numbers(out: Path) -> dict[str, Any]:
    """The numbers of a report, without what depends on clock, machine and command line."""
    found = json.loads((out / "report.json").read_text(encoding="utf-8"))
    return {key: found[key] for key in found.keys() - {"time", "command", "machine"}}


def test_a_report_says_what_was_measured(out: Path, run: Path, face_shards: Path) -> None:
    found = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert found.keys() == {
        *("format", "version", "srae_dist", "command", "run", "recipe", "shards", "domains"),
        *("image_size", "splits", "seeds", "machine", "packages", "headlines", "sections"),
        *("not_measured", "figures", "time"),
    }
    assert (found["format"], found["version"]) == ("srae_dist.evaluation", 1)
    assert (found["run"]["step"], found["recipe"]["name"]) == (7, "tiny")
    assert found["domains"] == ["photo", "anime"]
    assert found["splits"]["train"]["images"] == {"photo": 8, "anime": 8}
    assert found["splits"]["test"]["name"] == "test"
    assert list(found["sections"]) == ["distances", "figures", "neighbours"]  # keys are sorted
    assert set(found["not_measured"]) == {"distances.inception", "distances.lpips"}
    assert found["machine"]["ranks"] == 1


def test_a_report_is_a_page_and_pictures(out: Path) -> None:
    page = (out / "report.html").read_text(encoding="utf-8")
    figures = json.loads((out / "report.json").read_text(encoding="utf-8"))["figures"]
    assert page.count("data:image/") == len(figures) > 2
    assert {f"figures/{file.name}" for file in (out / "figures").iterdir()} == set(figures)
    assert not [file for file in out.rglob("*") if "partial" in file.name]


def test_the_same_command_finds_the_same(
    out: Path, run: Path, face_shards: Path, tmp_path: Path
) -> None:
    assert evaluate(run, face_shards, *FAST, "--out", tmp_path) == 0
    assert numbers(tmp_path) == numbers(out)


def test_the_terminal_names_the_headlines_and_the_page(
    run: Path, face_shards: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(run, face_shards, "--only", "distances", *FAST[-2:], "--out", tmp_path) == 0
    text = capfd.readouterr()
    assert "KID, photo → anime" in text.out
    assert str(tmp_path / "report.html") in text.out
    assert "distances: " in text.err  # the stage, and how long it took
    assert "note: Only 5 images of anime in split test: with fewer than 50" in text.err
    assert "Only 5 images of anime" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--only", "distnaces"], "Did you mean 'distances'?"),
        (["--train-split", "test"], "name two splits"),
        (["--test-split", "tset"], "Did you mean 'test'?"),
        (["--inception", "/nowhere"], "curl -L -o weights-inception"),
        (["--lpips", "/nowhere"], "AlexNet_Weights.IMAGENET1K_V1.url, 'alexnet"),
        (["--vgg", "/nowhere"], "--vgg"),
        (["--device", "abacus"], "--device abacus"),
    ],
)
def test_mistakes_are_told_before_anything_is_encoded(
    run: Path,
    face_shards: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    given: list[str],
    told: str,
) -> None:
    assert evaluate(run, face_shards, *given, "--out", tmp_path / "out") == 2
    text = capfd.readouterr().err
    assert told in text
    assert text.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_what_is_not_there_is_told(
    run: Path, face_shards: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(tmp_path / "none", face_shards) == 2
    assert "does not exist" in capfd.readouterr().err
    assert evaluate(run, tmp_path / "none") == 2
    assert str(tmp_path / "none") in capfd.readouterr().err


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ({"domains": ("photo", "anime", "clay")}, "clay"),
        ({"domains": ("photo", "sketch")}, "anime"),
        ({"size": 64}, "--size 64"),
    ],
)
def test_shards_must_fit_the_model(
    face_shards: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    model: dict[str, Any],
    told: str,
) -> None:
    assert evaluate(save_run(tmp_path / "run", **model), face_shards) == 2
    assert told in capfd.readouterr().err
    assert not (tmp_path / "run" / "evaluation" / "report.json").exists()


def test_shards_without_a_held_out_split_are_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = save_run(tmp_path / "run", domains=("photo", "anime", "clay"))
    shards = write_shards(tmp_path / "shards", size=32).root
    assert evaluate(run, shards) == 2
    assert "no split 'test'" in capfd.readouterr().err


def test_a_folder_that_cannot_be_written_is_told_first(
    run: Path, face_shards: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    assert evaluate(run, face_shards, "--out", tmp_path / "file" / "out") == 2
    text = capfd.readouterr().err
    assert "cannot be written" in text
    assert "encode" not in text


def test_a_bare_checkpoint_needs_a_place_for_its_report(
    run: Path, face_shards: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (file,) = run.rglob("ema.safetensors")
    bare = tmp_path / "model.safetensors"
    bare.write_bytes(file.read_bytes())
    assert evaluate(bare, face_shards) == 2
    assert "--out" in capfd.readouterr().err


def test_what_cannot_be_measured_is_listed_or_refused(
    face_shards: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """VGG's weights are not there: an error if distances are asked for by name."""
    run = save_run(tmp_path / "run", vgg="/nowhere/vgg.safetensors")
    assert evaluate(run, face_shards, "--only", "distances", "--per-domain", "4") == 2
    assert "--only distances cannot be measured" in capfd.readouterr().err


def flat(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Every number and text of nested JSON by its place."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from flat(item, f"{place}/{key}")
    else:
        yield place, value


def taken(*measures: plan.Measure, only: tuple[str, ...] = ()) -> Taken:
    return take_all(measures, None, Stages(shown=False), only=only)  # type: ignore[arg-type]


def works(name: str) -> plan.Measure:
    return plan.Measure(name, name, plan.nothing, lambda subject: Section(name, name, "", {}))


def fails(name: str) -> plan.Measure:
    def take(subject: object) -> Section:
        raise UserError("too few images.")

    return plan.Measure(name, name, plan.nothing, take)


def breaks(name: str) -> plan.Measure:
    def take(subject: object) -> Section:
        raise ZeroDivisionError("nothing\nat all")

    return plan.Measure(name, name, plan.nothing, take)


def blocked(name: str) -> plan.Measure:
    def never(subject: object) -> Section:
        pytest.fail("a measure with an obstacle was taken")

    return plan.Measure(name, name, lambda subject: "no labels.", never)


def test_a_measure_that_cannot_be_taken_leaves_the_others() -> None:
    found = taken(blocked("a"), works("b"), fails("c"), works("d"))
    assert [section.name for section in found.sections] == ["b", "d"]
    assert [(one.name, one.reason) for one in found.missing] == [
        ("a", "no labels."),
        ("c", "too few images."),
    ]
    assert found.failed == []


@pytest.mark.parametrize("make", [blocked, fails])
def test_a_measure_that_was_asked_for_and_cannot_be_taken_is_an_error(make: Any) -> None:
    with pytest.raises(UserError, match=r"no labels|too few"):
        taken(works("b"), make("a"), only=("a", "b"))


@pytest.mark.parametrize("only", [(), ("a", "b", "c")])
def test_a_measure_that_breaks_leaves_the_others(
    only: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    found = taken(works("a"), breaks("b"), works("c"), only=only)
    assert [section.name for section in found.sections] == ["a", "c"]
    assert found.failed == ["b"]
    assert [one.name for one in found.missing] == ["b"]
    assert "(ZeroDivisionError: nothing at all)" in found.missing[0].reason
    told = capfd.readouterr().err
    assert "b failed" in told and "Traceback" in told and "in take" in told


def test_where_all_that_was_measured_breaks_there_is_no_report() -> None:
    with pytest.raises(ZeroDivisionError):
        taken(breaks("a"), blocked("b"))


def test_a_report_without_the_measure_that_broke_ends_with_1(
    run: Path,
    face_shards: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    kept = [one for one in plan.MEASURES if one.name == "figures"]
    monkeypatch.setattr(plan, "MEASURES", (breaks("leakage"), *kept))
    assert evaluate(run, face_shards, *FAST[-2:], "--out", tmp_path) == 1
    found = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert list(found["sections"]) == ["figures"]
    assert "ZeroDivisionError" in found["not_measured"]["leakage"]
    assert (tmp_path / "report.html").is_file()
    assert "error: leakage failed" in capfd.readouterr().err


def test_a_plan_has_a_name_once_and_the_report_s_order() -> None:
    names = [measure.name for measure in plan.MEASURES]
    assert len(set(names)) == len(names)
    assert [m.name for m in plan.choose(names[::-1])] == names
    assert plan.choose(()) == plan.MEASURES


def launch(*args: object) -> tuple[int, str]:
    """Run the command on two ranks; return its exit code and all that it said."""
    command = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch"]
    command += ["--config_file", "docs/launch/cpu_2_ranks.yaml", "--main_process_port", "0"]
    command += ["-m", "srae_dist.evaluate", *map(str, args)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ACCELERATE_")}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=180,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="gloo ranks")
def test_two_ranks_find_what_one_finds(
    out: Path, run: Path, face_shards: Path, tmp_path: Path
) -> None:
    code, output = launch(run, face_shards, *FAST, "--out", tmp_path)
    assert code == 0, output
    assert json.loads((tmp_path / "report.json").read_text())["machine"]["ranks"] == 2
    one, two = dict(flat(numbers(out))), dict(flat(numbers(tmp_path)))
    assert one.keys() == two.keys()
    for place, value in one.items():  # the number of threads differs, so last digits may
        assert two[place] == (
            pytest.approx(value, rel=1e-4, abs=1e-5) if isinstance(value, float) else value
        ), place


@pytest.mark.skipif(sys.platform == "win32", reason="gloo ranks")
def test_a_failure_of_rank_0_ends_both_ranks(run: Path, face_shards: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    code, output = launch(run, face_shards, *FAST, "--out", tmp_path / "file" / "out")
    assert code != 0
    assert output.count("cannot be written") == 1
