"""The README and the docs keep their word: commands are understood, links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from srae_dist.cli import app
from srae_dist.recipe.load import load_recipe

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "shards" / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
RECIPES = sorted(ROOT.glob("recipes/*.toml"))
MODULES = {"srae_dist.train": "train", "srae_dist.batch_translate": "batch-translate"}


def commands(text: str) -> list[list[str]]:
    """Our command lines on lines of their own, joined over trailing backslashes."""
    text = re.sub(r"\\\n\s*#?\s*", "", text)
    found = re.findall(r"^[#\s$]*(?:\S*/)?((?:srae-dist|accelerate launch) \S.*)$", text, re.M)
    lines = [re.split(r"\s{3,}| \| ", line)[0] for line in found]  # a remark may stand to the right
    return [shlex.split(line, comments=True) for line in lines]


DOCUMENTED = [
    pytest.param(words, id=f"{page.name}: {' '.join(words)[:70]}")
    for page in (*PAGES, *RECIPES, ROOT / "Makefile")
    for words in commands(page.read_text("utf-8"))
]


def test_there_are_commands_to_check() -> None:
    assert len(DOCUMENTED) > 20


@pytest.mark.parametrize("words", DOCUMENTED)
def test_a_documented_command_is_understood(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command, option, recipe and recipe key that the pages show exists."""
    monkeypatch.chdir(ROOT)
    words = words[1:] if words[0] == "srae-dist" else as_subcommand(words)
    command, parent = typer.main.get_command(app), None
    while hasattr(command, "commands"):  # each level parses its own; an unknown option raises
        context = command.make_context("srae-dist", words, parent=parent, resilient_parsing=True)
        if not context._protected_args:
            return
        name, words, parent = context._protected_args[0], context.args, context
        assert name in command.commands, name
        command = command.commands[name]
    given = command.make_context(name, words, parent=parent, resilient_parsing=True).params
    recipe = given.get("recipe")
    if recipe and not recipe.isupper():  # RECIPE stands for any
        load_recipe(Path(recipe), overrides=given.get("set_") or [])


def as_subcommand(words: list[str]) -> list[str]:
    """``accelerate launch ... -m srae_dist.train RECIPE`` as ``train RECIPE``."""
    if "--config_file" in words:
        assert (ROOT / words[words.index("--config_file") + 1]).is_file()
    place = words.index("-m") + 1
    return [MODULES[words[place]], *words[place + 1 :]]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_make_and_no_make_are_the_same_quickstart() -> None:
    """README, Makefile and recipe show the same commands for the quickstart's shards."""
    make = load_recipe(ROOT / "recipes" / "quickstart.toml").recipe.data.make
    assert make is not None
    assert make in (ROOT / "README.md").read_text("utf-8")
    assert make in (ROOT / "Makefile").read_text("utf-8")
