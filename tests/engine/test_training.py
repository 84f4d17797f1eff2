"""The trainer as a user meets it: what a run leaves, how it resumes, stops, refuses and fails."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch._dynamo.exc import TorchDynamoException

from srae_dist.core.errors import ExitCode, UserError
from srae_dist.engine.networks import compiling
from srae_dist.runtime import launch
from srae_dist.runtime.lock import locked
from srae_dist.train import train as train_command
from tests.conftest import FACES
from tests.engine.runs import log, tensors, train, write_recipe


@pytest.fixture(scope="module")
def recipe(face_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recipe(tmp_path_factory.mktemp("recipes"), face_shards)


@pytest.fixture(scope="module")
def straight(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six steps without interruption, two discriminators, a checkpoint every two."""
    run = tmp_path_factory.mktemp("straight") / "run"
    code = train(
        recipe,
        run,
        train__steps=6,
        train__save_every=2,
        train__sample_every=3,
        run__trackers='["tensorboard"]',
        objective__discriminators=2,
    )
    assert code == ExitCode.DONE
    return run


def test_a_run_leaves_all_it_promised(straight: Path) -> None:
    checkpoints = sorted(folder.name for folder in (straight / "checkpoints").iterdir())
    assert checkpoints == ["step-00000002", "step-00000004", "step-00000006"]
    names = {file.name for file in (straight / "checkpoints" / checkpoints[0]).iterdir()}
    assert {Path(name).suffix for name in names} == {".json", ".safetensors"}
    assert [line["step"] for line in log(straight)] == [1, 2, 3, 4, 5, 6]
    assert json.loads((straight / "exit.json").read_text())["code"] == 0
    assert list((straight / "tensorboard").glob("events*"))
    for step in (3, 6):
        for kind in ("reconstructions", "translations"):
            with Image.open(straight / "samples" / f"step-{step:08d}-{kind}.png") as picture:
                assert picture.width > 8 * 32


def test_the_log_tells_what_is_worth_watching(straight: Path) -> None:
    wanted = {"reconstruction", "pixel", "confusion", "domain", "discriminator_c", "lr"}
    wanted |= {"discriminator_d", "q_c_entropy", "q_c_accuracy", "q_d_accuracy"}
    wanted |= {"sigma_c", "sigma_d", "grad_autoencoder", "grad_q_c", "grad_q_d"}
    assert wanted <= set(log(straight)[-1])


def test_old_checkpoints_go_and_the_newest_stay(recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(recipe, run, train__steps=4, train__save_every=1, run__keep_last=2)
    left = sorted(folder.name for folder in (run / "checkpoints").iterdir())
    assert left == ["step-00000003", "step-00000004"]


def test_resuming_equals_never_having_stopped(recipe: Path, straight: Path, tmp_path: Path) -> None:
    """Weights, averages, optimizer state and log to the last bit."""
    run = tmp_path / "run"
    same = {"train__save_every": 2, "objective__discriminators": 2, "train__sample_every": 3}
    train(recipe, run, train__steps=3, **same)
    train(recipe, run, train__steps=6, **same)
    expected, got = tensors(straight, 6), tensors(run, 6)
    assert expected.keys() == got.keys()
    different = [name for name in expected if not torch.equal(expected[name], got[name])]
    assert different == []
    assert log(run) == log(straight)


def test_a_finished_run_says_so_and_does_nothing(
    recipe: Path, straight: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (straight / "log.jsonl").read_bytes()
    code = train(recipe, straight, train__steps=6, objective__discriminators=2)
    assert code == ExitCode.DONE
    assert "finished" in capsys.readouterr().out
    assert (straight / "log.jsonl").read_bytes() == before


def test_a_run_cannot_change_its_mind(recipe: Path, straight: Path) -> None:
    """And says so before it downloads anything."""
    with pytest.raises(UserError, match=r"(?=.*train\.lr)(?=.*perceptual\.weights)"):
        train(
            recipe,
            straight,
            train__steps=9,
            objective__discriminators=2,
            train__lr=0.1,
            perceptual__weights="torchvision",
        )


def test_a_run_folder_names_the_run(straight: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train_command(str(straight)) == ExitCode.DONE
    assert f"{straight} is finished: 6 of 6 steps" in capsys.readouterr().out


def test_a_run_that_goes_on_with_other_images_says_so(
    recipe: Path, face_shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, moved = tmp_path / "run", tmp_path / "moved"
    train(recipe, run, train__steps=1)
    shutil.copytree(face_shards, moved)
    train(recipe, run, train__steps=2, data__root=moved)
    assert "other images" not in capsys.readouterr().err  # the same in another place
    others = tmp_path / "others"
    subprocess.run([*FACES, "--seed", "1", "--out", str(others)], check=True, capture_output=True)
    train(recipe, run, train__steps=3, data__root=others)
    assert "until step 2 the run saw other images than" in capsys.readouterr().err
    swapped = [word.replace("photo,anime", "anime,photo") for word in FACES]
    subprocess.run([*swapped, "--out", tmp_path / "swapped"], check=True, capture_output=True)
    with pytest.raises(UserError, match=r"with the domains photo, anime, .* now have anime, photo"):
        train(recipe, run, train__steps=4, data__root=tmp_path / "swapped")
    (said,) = (line for line in log(run) if "images_before" in line)
    assert said["images"] != said["images_before"]


def test_ranks_with_different_run_folders_are_refused(
    recipe: Path, straight: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run folder on each machine's own disk: this rank resumes, another would begin."""
    monkeypatch.setattr(launch, "least", lambda number, world: min(number, 0))
    with pytest.raises(UserError, match=r"step 6 for some ranks and at step 0.*machines share"):
        train(recipe, straight, train__steps=9, objective__discriminators=2)


def test_two_runs_cannot_share_a_folder(recipe: Path, tmp_path: Path) -> None:
    with locked(tmp_path / "run"), pytest.raises(UserError, match="in use"):
        train(recipe, tmp_path / "run", train__steps=1)


def test_accumulation_changes_nothing_but_rounding(recipe: Path, tmp_path: Path) -> None:
    """The same global batch in one piece and in four: weights after six steps."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    train(recipe, whole, train__steps=6)
    train(recipe, cut, train__steps=6, train__micro_batch=2)
    expected, got = tensors(whole, 6), tensors(cut, 6)
    for name, tensor in expected.items():
        torch.testing.assert_close(tensor, got[name], rtol=1e-3, atol=2e-5, msg=name)


def test_a_nonfinite_step_stops_the_run_and_names_the_term(recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(UserError, match=r"Step \d+: term 'reconstruction' is (nan|inf)"):
        train(recipe, run, train__steps=9, train__lr=1e30, train__warmup=0)
    verdict = json.loads((run / "exit.json").read_text())
    assert verdict["code"] == ExitCode.USER
    skipped = [line for line in log(run) if "skipped" in line]
    assert len(skipped) == 1
    assert skipped[0]["keys"]


def test_patience_skips_and_counts(recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(UserError):
        train(recipe, run, train__steps=9, train__lr=1e30, train__warmup=0, run__patience=3)
    assert sum("skipped" in line for line in log(run)) == 3


def test_the_launch_and_the_recipe_must_agree_on_precision(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    with pytest.raises(UserError, match=r"mixed_precision bf16.*train\.precision"):
        train(recipe, tmp_path / "run", train__steps=1)


def test_deterministic_mode_gives_the_same_bits_twice(recipe: Path, tmp_path: Path) -> None:
    """And insists: a kernel without a deterministic form would raise."""
    runs = tmp_path / "first", tmp_path / "second"
    try:
        for run in runs:
            train(recipe, run, train__steps=3, engine__deterministic="true", engine__threads=2)
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(1)
    first, second = (tensors(run, 3) for run in runs)
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    assert log(runs[0]) == log(runs[1])


def test_bf16_trains(recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert train(recipe, run, train__steps=2, train__precision="bf16") == ExitCode.DONE
    weights = tensors(run, 2)
    assert {t.dtype for t in weights.values()} == {torch.float32}  # kept in full precision


def test_missing_shards_name_the_command(recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="srae-dist shard"):
        train(recipe, tmp_path / "run", data__root=tmp_path / "nowhere")


def test_what_cannot_be_compiled_here_is_told(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch._inductor.config

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))  # nothing is ready
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", (None, "no-such-compiler"))
    with pytest.raises(UserError, match=r"cannot be compiled on this machine .*compile=off"):
        train(recipe, tmp_path / "run", train__steps=1, engine__compile="on")


def test_only_faults_of_compiling_are_told_as_such() -> None:
    for compiled, error in ((True, RuntimeError("other")), (False, TorchDynamoException("x"))):
        with pytest.raises(type(error)), compiling(compiled=compiled):
            raise error
    with pytest.raises(UserError, match=r"\(no C compiler\); mend"), compiling(compiled=True):
        raise TorchDynamoException("\n \nno C compiler.\nand pages of it")
