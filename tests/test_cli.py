"""The command line: light to start, one sentence for a mistake, an exit code for every end."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from srae_dist import __version__
from srae_dist.cli import app
from srae_dist.core.errors import ExitCode
from srae_dist.runtime.command import run

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "200")


def call(*args: str) -> int:
    with pytest.raises(SystemExit) as end:
        run(app, args)
    return int(end.value.code or 0)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--version") == ExitCode.DONE
    assert capsys.readouterr().out.strip() == f"srae-dist {__version__}"


@pytest.mark.parametrize("command", ["shard", "train", "batch-translate", "recipe"])
def test_help_names_every_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--help") == ExitCode.DONE
    assert command in capsys.readouterr().out
    assert call(command, "--help") == ExitCode.DONE


def test_help_of_evaluate_names_every_measure(capsys: pytest.CaptureFixture[str]) -> None:
    from srae_dist.evaluate.plan import MEASURES

    assert call("evaluate", "--help") == ExitCode.DONE
    out = capsys.readouterr().out
    assert [one.name for one in MEASURES if one.name not in out] == []


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "sys.argv = ['srae-dist', '--help']\n"
        "from srae_dist.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'PIL', 'datasets', 'webdataset', 'accelerate', 'pydantic'}\n"
        "print(sorted(heavy & sys.modules.keys()), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.stderr.strip() == "[]", result.stderr
    assert "recipe" in result.stdout


def test_recipe_show(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("recipe", "show", "quickstart", "--set", "train.steps=1234") == ExitCode.DONE
    out = capsys.readouterr().out
    assert all(text in out for text in ("1234", "--set", "recipes/quickstart.toml:", "[engine]"))


def test_recipe_check_without_shards_says_how_to_make_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "none"
    code = call("recipe", "check", "recipes/ffhq_getchu.toml", "--set", f"data.root={root}")
    captured = capsys.readouterr()
    assert code == ExitCode.USER
    assert captured.out == ""
    assert "srae-dist shard --domain human=FFHQ_DIR" in captured.err
    assert f"--out {root}" in captured.err


def test_recipe_check_with_shards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from srae_dist.data.manifest import Manifest, Shard, Split

    (tmp_path / "train-000000.tar").write_bytes(b"x")
    shard = Shard("train-000000.tar", 7, 1, "0" * 64, {"photo": 3, "anime": 4})
    splits = {"train": Split((shard,), "train.index.safetensors", "0" * 64)}
    Manifest(("photo", "anime"), 32, "png", splits).save(tmp_path)
    where = ("--set", f"data.root={tmp_path}")
    code = call("recipe", "check", "quickstart", *where, "--no-probe", "--set", "train.steps=60")
    captured = capsys.readouterr()
    out = captured.out
    assert "is not below train.steps = 60" in captured.err
    assert "12.2 MB, averaged over the ranks" in out
    assert "2.97 M parameters" in out and "1.5 GFLOP" in out and "images/s" not in out
    assert code == ExitCode.DONE
    assert "3 photo, 4 anime" in out
    assert "32 x 32" in out
    assert "VGG-16 relu1_2, relu2_2, RANDOM weights" in out


@pytest.mark.parametrize(("there", "said"), [(False, "528 MB, which training"), (True, "on this")])
def test_it_is_said_whether_weights_must_be_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool, said: str
) -> None:
    from srae_dist.model import vgg

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    if there:
        (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
        (tmp_path / "hub" / "checkpoints" / "vgg16-397923af.pth").touch()
    assert said in vgg.describe("torchvision")


def test_recipe_check_probes_the_speed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from srae_dist import recipe_check
    from srae_dist.data.manifest import Manifest
    from srae_dist.recipe.load import load_recipe

    monkeypatch.setattr(recipe_check, "_PROBE", 0.0)
    small = ["model.width=8", "model.max_width=8", "train.global_batch=2", "engine.threads=1"]
    recipe = load_recipe(Path("quickstart"), overrides=small).recipe
    facts = recipe_check.costs(recipe, Manifest(("photo", "anime"), 32, "png", {}), probe=True)
    assert "images/s on one cpu rank" in facts["speed"]


@pytest.mark.parametrize("command", [("recipe", "show"), ("recipe", "check"), ("train",)])
def test_a_mistake_is_one_sentence_and_exit_code_2(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*command, "quickstart", "--set", "train.stpes=5") == ExitCode.USER
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Did you mean 'train.steps'?" in captured.err
    assert "Traceback" not in captured.err
    assert len(captured.err.splitlines()) == 1


@pytest.mark.parametrize("args", [("nonsense",), ("recipe", "shwo"), ("recipe", "show")])
def test_wrong_usage_is_exit_code_2(args: tuple[str, ...]) -> None:
    assert call(*args) == ExitCode.USER


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda p: p.stem)
def test_a_recipe_s_command_has_only_options_that_shard_has(path: Path) -> None:
    from srae_dist.recipe.load import load_recipe

    group = typer.main.get_command(app)
    known = {option for param in group.commands["shard"].params for option in param.opts}  # type: ignore[attr-defined]
    program, command, *words = shlex.split(load_recipe(path).recipe.data.make or "")
    assert (program, command) == ("srae-dist", "shard")
    assert {word for word in words if word.startswith("--")} <= known
