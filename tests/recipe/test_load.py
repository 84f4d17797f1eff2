"""Recipes are read, merged and refused as a user would wish."""

from __future__ import annotations

from pathlib import Path

import pytest

from srae_dist.core.errors import UserError
from srae_dist.recipe.load import load_recipe

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))


def write(folder: Path, text: str, name: str = "mine.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path, *overrides: str) -> str:
    with pytest.raises(UserError) as error:
        load_recipe(path, overrides=overrides)
    return str(error.value)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipe_loads_and_says_how_to_get_its_data(path: Path) -> None:
    recipe = load_recipe(path).recipe
    assert recipe.name == path.stem
    assert recipe.data.make is not None
    assert f"--out {recipe.data.root}" in recipe.data.make
    opening = path.read_text(encoding="utf-8").split("\n\n")[0]
    assert all(line.startswith("#") for line in opening.splitlines())
    command = " ".join(opening.replace("\\\n#", "").replace("#", "").split())
    for one in recipe.data.make.split(" && "):
        assert one in command  # the comment and the key say the same
    assert f"recipes/{path.name}" in opening


def test_all_six_recipes_are_shipped() -> None:
    names = {path.stem for path in RECIPES}
    assert names >= {"quickstart", "faces", "ffhq_getchu", "pneumonia", "digits", "cifar10"}


def test_quickstart_needs_no_download() -> None:
    (path,) = (path for path in RECIPES if path.stem == "quickstart")
    assert load_recipe(path).recipe.perceptual.weights == "random"


def test_every_value_knows_where_it_came_from(tmp_path: Path) -> None:
    write(tmp_path, "[train]\nsteps = 7\nlr = 0.5\n", "base.toml")
    path = write(tmp_path, 'extends = "base.toml"\n\n[train]\nsteps = 8\nsave_every = 3\n')
    loaded = load_recipe(path, overrides=["train.save_every=4"])
    train, origins = loaded.recipe.train, loaded.origins
    assert (train.steps, train.lr, train.save_every) == (8, 0.5, 4)
    assert origins["train.steps"] == f"{path}:4"
    assert origins["train.lr"] == f"{tmp_path / 'base.toml'}:3"
    assert origins["train.save_every"] == "--set"
    assert origins["train.warmup"] == "default"


def test_extends_is_relative_to_its_file_and_chains(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    write(tmp_path / "shared", "[train]\nsteps = 1\nwarmup = 1\nlog_every = 1\n", "root.toml")
    write(
        tmp_path / "shared", 'extends = "root.toml"\n[train]\nwarmup = 2\nlog_every = 2\n', "a.toml"
    )
    path = write(tmp_path, 'extends = "shared/a.toml"\n[train]\nlog_every = 3\n')
    train = load_recipe(path).recipe.train
    assert (train.steps, train.warmup, train.log_every) == (1, 2, 3)


def test_name_is_the_stem_and_is_not_inherited(tmp_path: Path) -> None:
    write(tmp_path, 'name = "other"\n', "base.toml")
    path = write(tmp_path, 'extends = "base.toml"\n')
    assert load_recipe(path).recipe.name == "mine"
    assert load_recipe(path).recipe.run_dir == "runs/mine"


def test_bare_name_is_looked_up_in_recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "recipes").mkdir()
    write(tmp_path / "recipes", "[train]\nsteps = 7\n", "tiny.toml")
    monkeypatch.chdir(tmp_path)
    assert load_recipe(Path("tiny")).recipe.train.steps == 7
    assert "Did you mean 'tiny.toml'?" in refusal(Path("tyny"))


def test_windows_byte_order_mark_and_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xef\xbb\xbf[train]\r\nsteps = 7\r\n")
    loaded = load_recipe(path)
    assert loaded.recipe.train.steps == 7
    assert loaded.origins["train.steps"] == f"{path}:2"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[train]\nstpes = 5\n", ("mine.toml:2", "train.stpes = 5", "'train.steps'")),
        ("[trian]\nsteps = 5\n", ("mine.toml:1", "trian", "no such section", "'train'")),
        ("[trian]\n", ("mine.toml:1", "no such section", "'train'")),
        ("steps = 5\n", ("mine.toml:1", "steps = 5", "'train.steps'")),
        ("[model]\nsteps = 5\n", ("mine.toml:2", "model.steps = 5", "'train.steps'")),
        ("train = 5\n", ("mine.toml:1", "train = 5", "section")),
        ('[train]\nsteps = "5"\n', ("mine.toml:2", 'train.steps = "5"', "a whole number")),
        ("[train]\nsteps = 0\n", ("mine.toml:2", "train.steps = 0", "at least 1")),
        ("[train]\nsteps = true\n", ("train.steps = true", "a whole number")),
        ("[train]\nlr = inf\n", ("train.lr = inf", "a finite number, above 0")),
        ("[train]\nlr = 1979-05-27\n", ("train.lr = 1979-05-27", "a finite number")),
        ("[train.lr]\na = 1\n", ("train.lr = {a = 1}", "a finite number")),
        ('[train]\nprecision = "fp23"\n', ("mine.toml:2", 'train.precision = "fp23"', "'fp32'")),
        ("[objective]\ndiscriminators = true\n", ("objective.discriminators = true",)),
        ("[train]\nbetas = [0.9]\n", ("train.betas = [0.9]", "a list of 2 finite numbers")),
        ("[train]\nbetas = [0.9, 1.0]\n", ("train.betas = [0.9, 1.0]", "below 1")),
        ('[perceptual]\nlayers = "relu1_2"\n', ('perceptual.layers = "relu', "a list of texts")),
        ('[data]\nimage_size = 48\n', ("data.image_size = 48 is not", "model.code_size = 4")),
        ('[data]\ndomains = ["a"]\n', ("data.domains", "at least two", "mine.toml:2")),
        ("[model]\nmax_width = 8\n", ("model.max_width = 8", "model.width from default")),
        ("[perceptual]\nlayers = []\n", ("perceptual.layers", "at least one")),
        ("[train]\nmicro_batch = 7\n", ("train.global_batch = 64", "micro_batch from")),
        ("[objective]\nq_memory = 7\n", ("objective.q_memory = 7", "dense_discriminators = 0")),
        (
            "[objective]\ncontent_cycle_weight = 0.5\n",
            ("objective.content_cycle_weight = 0.5", "objective.critic_weight = 0"),
        ),
        (
            "[objective]\nlikeness_weight = 0.5\n",
            ("objective.likeness_weight = 0.5", "objective.critic_weight = 0"),
        ),
        ("[objective]\nown_numbers = 3\n", ("objective.own_numbers = 3", "pools none")),
        ("[data]\nstretch = true\n", ("data.stretch = true", "data.crop = 0")),
        (
            '[objective]\ndomain_code = "pooled"\nown_numbers = 16\n',
            ("objective.own_numbers = 16", "model.domain_channels = 16", "at most 15"),
        ),
        ("extends = 5\n", ("mine.toml has extends = 5",)),
        ('extends = "bsae.toml"\n', ('extends = "bsae.toml"', "Did you mean 'base.toml'?")),
        ('extends = "mine.toml"\n', ('extends = "mine.toml"', "in turn")),
        ("[train\n", ("mine.toml", "line 1", "not valid TOML")),
        ("[train]\nsteps = 5\nsteps = 6\n", ("mine.toml", "line 3", "not valid TOML")),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_key_value_and_place(
    tmp_path: Path, text: str, parts: tuple[str, ...]
) -> None:
    write(tmp_path, "", "base.toml")
    message = refusal(write(tmp_path, text))
    assert all(part in message for part in parts), message
    for jargon in ("pydantic", "Input should", "validation error", "ctx", "Traceback"):
        assert jargon not in message


def test_longer_cycle_is_refused(tmp_path: Path) -> None:
    write(tmp_path, 'extends = "mine.toml"\n', "base.toml")
    assert "in turn" in refusal(write(tmp_path, 'extends = "base.toml"\n'))


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, "[train]\nstpes = 5\nlr = -1.0\n")
    message = refusal(path, "model.blocks=x")
    assert message.count("\n") == 2
    assert all(
        part in message for part in ("train.stpes", "train.lr = -1.0", "--set has model.blocks")
    )


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    write(tmp_path, "", "quickstart.toml")
    assert "Did you mean 'quickstart.toml'?" in refusal(tmp_path / "quikstart.toml")
    assert "has no recipes" in refusal(tmp_path / "nowhere" / "x.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "not a UTF-8 text file" in refusal(binary)


def test_a_folder_of_that_name_does_not_hide_a_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user's digits/ beside recipes/, or no recipes/ at all: ours are there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert load_recipe(Path("digits")).recipe.name == "digits"
    with pytest.raises(UserError, match=r"no recipe digit\. srae_dist has .*'digits\.toml'"):
        load_recipe(Path("digit"))
    write(tmp_path / "digits", "[train]\nsteps = 7\n", "recipe.toml")
    assert load_recipe(Path("digits")).recipe.train.steps == 7  # a run
