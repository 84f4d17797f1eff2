"""``--set section.key=value`` is read as the key's type."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srae_dist.core.errors import UserError
from srae_dist.recipe.keys import KEYS
from srae_dist.recipe.load import load_recipe


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipes") / "mine.toml"
    path.touch()
    return path


def value(path: Path, key: str, text: str) -> Any:
    loaded = load_recipe(path, overrides=[f"{key}={text}"])
    assert loaded.origins[key] == "--set"
    return KEYS[key].of(loaded.recipe)


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("train.steps", "100", 100),
        ("train.steps", " 1_000 ", 1000),
        ("train.lr", "1e-3", 1e-3),
        ("train.lr", "1", 1.0),
        ("data.flip", "false", False),
        ("run.dir", "/tmp/x", "/tmp/x"),
        ("run.dir", '"/tmp/a b"', "/tmp/a b"),
        ("run.dir", "7", "7"),
        ("run.dir", "a=b", "a=b"),
        ("run.dir", r"C:\runs\x", r"C:\runs\x"),
        ("run.dir", "none", None),
        ("data.lanes", "none", None),
        ("data.domains", "none", None),
        ("perceptual.layers", "relu1_2,relu2_2", ("relu1_2", "relu2_2")),
        ("perceptual.layers", "relu1_2, relu2_2", ("relu1_2", "relu2_2")),
        ("perceptual.layers", '["relu1_2", "relu2_2"]', ("relu1_2", "relu2_2")),
        ("perceptual.layers", "[relu1_2,relu2_2]", ("relu1_2", "relu2_2")),
        ("run.trackers", "", ()),
        ("run.trackers", "[]", ()),
        ("train.betas", "0,0.9", (0.0, 0.9)),
        ("train.precision", "fp32", "fp32"),
        ("train.precision", '"fp32"', "fp32"),
    ],
)  # fmt: skip
def test_forms(empty: Path, key: str, text: str, expected: object) -> None:
    assert value(empty, key, text) == expected


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("train.steps=abc", ('--set has train.steps = "abc"', "a whole number, at least 1")),
        ("train.steps=1.5", ("train.steps = 1.5", "a whole number")),
        ("train.steps=1\nx=2", ("train.steps", "a whole number")),
        ("train.steps=none", ("train.steps", "a whole number")),
        ("train.steps=", ("train.steps", "a whole number")),
        ("run.dir=", ('run.dir = ""', "text, not empty")),
        ("data.flip=yes", ('data.flip = "yes"', "true or false")),
        ("train.stpes=5", ("train.stpes", "Did you mean 'train.steps'?")),
        ("steps=5", ("steps", "Did you mean 'train.steps'?")),
        ("train=5", ("train", "section")),
        ("name=x", ("name", "no such key")),
        ("train.steps", ("train.steps", "section.key=value")),
        ("=5", ("section.key=value",)),
    ],
)  # fmt: skip
def test_refusals(empty: Path, override: str, parts: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as error:
        load_recipe(empty, overrides=[override])
    assert all(part in str(error.value) for part in parts), str(error.value)


def test_the_last_one_wins(empty: Path) -> None:
    assert load_recipe(empty, overrides=["train.steps=1", "train.steps=2"]).recipe.train.steps == 2


@given(st.integers(min_value=1, max_value=10**12))
def test_any_whole_number(empty: Path, number: int) -> None:
    assert value(empty, "train.steps", str(number)) == number


@given(st.floats(min_value=0, exclude_min=True, allow_infinity=False))
def test_any_number(empty: Path, number: float) -> None:
    assert math.isclose(value(empty, "train.lr", repr(number)), number, rel_tol=0)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\"'"), min_size=1))
def test_any_text_is_taken_as_it_stands(empty: Path, text: str) -> None:
    text = text.strip()
    if text and text.lower() != "none":
        assert value(empty, "run.dir", text) == text


@given(st.sampled_from(sorted(KEYS)), st.text())
def test_anything_is_accepted_or_refused_in_our_words(empty: Path, key: str, text: str) -> None:
    try:
        load_recipe(empty, overrides=[f"{key}={text}"])
    except UserError as error:
        assert key.partition(".")[0] in str(error)
