"""The measuring commands run, and put their numbers where it is promised; nothing is timed here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from srae_dist.bench import record
from srae_dist.bench.data import Case, make_shards
from srae_dist.bench.naive import NaiveStep
from srae_dist.bench.parts import CRITIC, NAMES, flops
from srae_dist.bench.timing import Timing, interleave, ratio
from srae_dist.bench.translate import translate, untrained
from srae_dist.cli import app
from srae_dist.core.errors import UserError
from srae_dist.data.opened import open_split
from srae_dist.recipe.load import load_recipe
from srae_dist.recipe.schema import Train
from tests.objective.tiny import tiny_batch, tiny_critic, tiny_objective


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["bench", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["/venv/bin/srae-dist", "bench", "step", "--json", "f"], "srae-dist bench step"),
        (
            ["benchmarks/ranks.py", "--record=d", "--rounds", "7"],
            "python benchmarks/ranks.py --rounds 7",
        ),
    ],
)
def test_a_record_names_its_command(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", words)
    assert record.command() == said


def test_bench_data_writes_what_it_promises(tmp_path: Path) -> None:
    file, kept = tmp_path / "numbers.json", tmp_path / "kept"
    small = ["--rounds", 7, "--images", 256]
    output = run("data", "--only", "jpg 64", *small, "--json", file, "--record", kept)
    numbers = json.loads(file.read_text())
    assert numbers["ratio_to_stock"] > 1 and numbers["ratio_to_floor"] > 0
    assert numbers["two_workers_to_one"] > 0
    assert numbers["cases"]["jpg 64"]["images_per_s"].keys() >= {"stock", "ours", "2 workers"}
    assert "(floor)" in output and "stock" in output
    (report,) = kept.glob("data-*.md")
    text = report.read_text()
    assert "processor" in text and "torch" in text and "| jpg 64" in text
    assert json.loads(report.with_suffix(".json").read_text())["cases"] == numbers["cases"]


def test_bench_shard_writes_what_it_promises(tmp_path: Path) -> None:
    file = tmp_path / "numbers.json"
    run("shard", "--rounds", 7, "--images", 64, "--json", file, "--record", tmp_path)
    numbers = json.loads(file.read_text())
    assert numbers["ratio_to_stock"] > 1
    assert numbers["psnr_db"]["ours"] > 35  # the same pictures, by another filter


def test_wrong_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--only 'jpg 65' is not one of jpg 64, jpg 256"):
        run("data", "--only", "jpg 65")
    with pytest.raises(UserError, match="--images 300 is not a multiple of 256"):
        run("data", "--images", 300)
    with pytest.raises(UserError, match=r"--json .* is a folder; name a file"):
        run("shard", "--json", tmp_path)
    with pytest.raises(UserError, match="is not a folder"):
        run("shard", "--folder", tmp_path / "none")


def test_interleaving_compares_round_by_round() -> None:
    order: list[str] = []
    seconds = {"slow": iter([9.0, 2.0, 4.0, 6.0]), "fast": iter([9.0, 1.0, 2.0, 2.0])}

    def work(name: str) -> tuple[int, float]:
        order.append(name)
        return 1000, next(seconds[name])

    times = interleave({"slow": lambda: work("slow"), "fast": lambda: work("fast")}, rounds=3)
    assert order == ["slow", "fast"] * 4
    assert times["slow"] == Timing((2000.0, 4000.0, 6000.0))  # the first round is not counted
    assert times["slow"].per_second == 250.0
    assert ratio(times["slow"], times["fast"]) == 2.0


# the naive step's discriminators look when the auto-encoder has learnt
AFTER_THE_UPDATE = {"discriminator_c", "discriminator_d", "critic", "critic_slope"}
TINY = ["--set", "model.width=8", "--set", "model.max_width=8", "--set", "engine.threads=1"]


@pytest.mark.parametrize("critic", [0.0, 0.1])
def test_bench_step_writes_what_it_promises(tmp_path: Path, critic: float) -> None:
    file = tmp_path / "numbers.json"
    judged = ["--set", f"objective.critic_weight={critic}", "--set", "model.critic_width=8"]
    small = ["--size", 32, "--batch", 4, "--steps", 1, "--rounds", 7, *TINY, *judged]
    output = run("step", *small, "--json", file, "--record", tmp_path)
    numbers = json.loads(file.read_text())
    assert numbers["ratio_to_naive"] > 0 and numbers["share_of_ceiling"] > 0
    assert 0 <= numbers["loader_wait"] < 1
    assert numbers["microseconds"].keys() == {"naive", "ours", *NAMES} - (
        set() if critic else {CRITIC}
    )
    first = numbers["first_losses"]
    steep = first.pop("critic_slope", {"naive": 0.0, "ours": 0.0})  # small differences of logits
    assert steep["naive"] == pytest.approx(steep["ours"], abs=1e-3)
    for losses in first.values():
        assert losses["naive"] == pytest.approx(losses["ours"], rel=0.02)
    assert "VGG on x_hat" in output and "times as fast as the naive step" in output


@pytest.mark.parametrize("judged", [False, True])
def test_the_naive_step_trains_on_the_same_losses(judged: bool) -> None:
    objective = tiny_objective(critic=tiny_critic() if judged else None)
    naive = NaiveStep(objective, Train(), weights=[1.0] * len(objective.term_names))
    images, domains, slots = tiny_batch()
    _, ours = objective(images, domains, slots, torch.ones(len(objective.term_names)))
    losses = naive.take(images, domains, slots)
    for name in objective.table.keys() - AFTER_THE_UPDATE:
        torch.testing.assert_close(losses[name], ours[name], rtol=1e-4, atol=1e-5)
    for _ in range(20):
        later = naive.take(images, domains, slots)
    assert later["reconstruction"] < losses["reconstruction"]
    assert later["discriminator_c"] < losses["discriminator_c"]


def test_parts_cost_what_they_should() -> None:
    layer = torch.nn.Conv2d(3, 8, 3, padding=1, bias=False)

    def work() -> None:
        layer(torch.zeros(2, 3, 16, 16))

    assert flops(work) == 2 * 2 * 256 * 3 * 8 * 9


def test_bench_translate_writes_what_it_promises(tmp_path: Path) -> None:
    file = tmp_path / "numbers.json"
    small = ["--size", 32, "--batch", 16, "--images", 64, *TINY]
    output = run("translate", *small, "--json", file, "--record", tmp_path)
    numbers = json.loads(file.read_text())
    assert numbers["ratio_to_bare"] > 0 and numbers["ratio_to_naive"] > 0
    assert numbers["images_per_s"].keys() == {"ours", "bare model", "naive"}
    assert "of the bare model" in output


def test_the_translations_of_the_bench_are_whole(tmp_path: Path) -> None:
    case = Case("translate", 32, "jpg", 80, longer=1)
    make_shards(case, tmp_path / "in", images=64, folders=None, shards=2)
    recipe = load_recipe(Path("quickstart"), overrides=["model.width=8"]).recipe
    translator = untrained(recipe, 32, torch.device("cpu"))
    images = translate(translator, tmp_path, batch=16, bf16=False)
    made = [open_split(tmp_path / "out", split) for split in ("train", "test")]
    assert images == sum(len(opened.index) for opened in made) > 64
    assert {opened.image_size for opened in made} == {32}
