"""A recipe goes out to files and headers and comes back equal."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srae_dist.recipe.keys import KEYS
from srae_dist.recipe.load import load_recipe
from srae_dist.recipe.save import differences, recipe_to_toml, recipe_without_paths
from srae_dist.recipe.schema import Recipe

texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
positive = st.floats(min_value=1e-300, max_value=1e300)


def can_name_a_folder(text: str) -> bool:
    return not {"/", "\\", "\0"} & {*text} and text not in (".", "..")


def recipe_of(**sections: dict[str, Any]) -> Recipe:
    return Recipe.model_validate({"name": "mine", **sections})


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    return Recipe.model_validate(
        {
            "name": draw(texts.filter(can_name_a_folder)),
            "run": {"dir": draw(st.none() | texts), "trackers": draw(st.lists(texts, max_size=3))},
            "data": {
                "domains": draw(st.none() | st.lists(texts, min_size=2, max_size=4)),
                "flip": draw(st.booleans()),
            },
            "perceptual": {
                "weights": draw(texts),
                "layer_weights": draw(st.none() | st.lists(positive, min_size=3, max_size=3)),
            },
            "train": {"lr": draw(positive), "steps": draw(st.integers(1, 10**15))},
        }
    )


@given(recipes())
def test_toml_round_trip(recipe: Recipe) -> None:
    text = recipe_to_toml(recipe)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.toml"
        path.write_text(text, encoding="utf-8", newline="\n")
        assert load_recipe(path).recipe == recipe
    assert recipe_to_toml(recipe) == text


def test_toml_tells_every_key_with_its_meaning() -> None:
    lines = recipe_to_toml(recipe_of()).splitlines()
    for key in KEYS.values():
        name = key.name.partition(".")[2]
        assert any(name in line and line.endswith(key.meaning) for line in lines), key.name
        assert key.meaning


def test_what_is_not_set_may_stay_out_of_the_file() -> None:
    assert all(key.default is None for key in KEYS.values() if key.kind.optional)


def test_header_has_no_paths_and_rebuilds_the_recipe() -> None:
    recipe = recipe_of(
        run={"dir": "/home/me/run"},
        data={"root": "/home/me/shards", "make": "make /home/me/shards"},
        perceptual={"weights": "/home/me/vgg.safetensors"},
        model={"width": 64},
    )
    header = json.dumps(recipe_without_paths(recipe))
    assert "/home" not in header
    again = Recipe.model_validate(json.loads(header))
    assert again.model == recipe.model
    assert again.perceptual.weights == "vgg.safetensors"
    assert differences(again, recipe) == []


@pytest.mark.parametrize("weights", ["random", "torchvision", "vgg.safetensors"])
def test_weights_that_are_no_path_stay(weights: str) -> None:
    header = recipe_without_paths(recipe_of(perceptual={"weights": weights}))
    assert header["perceptual"]["weights"] == weights


def test_windows_paths_lose_their_folders_too() -> None:
    header = recipe_without_paths(recipe_of(perceptual={"weights": r"C:\me\vgg.safetensors"}))
    assert header["perceptual"]["weights"] == "vgg.safetensors"


def test_resuming_allows_only_what_does_not_change_the_result() -> None:
    old = recipe_of()
    free = recipe_of(
        run={"dir": "elsewhere", "keep_last": 9, "trackers": [], "patience": 5},
        data={"root": "elsewhere", "make": "x", "workers": 1},
        train={"steps": 3, "save_every": 4, "log_every": 5, "sample_every": 6, "micro_batch": 8},
        engine={"compile": "off", "channels_last": False},
    )
    assert differences(old, free) == []
    changed = recipe_of(run={"seed": 1}, train={"lr": 0.5}, data={"domains": ["a", "b"]})
    assert differences(old, changed) == [
        "run.seed: 0 -> 1",
        'data.domains: none -> ["a", "b"]',
        f"train.lr: {old.train.lr} -> 0.5",
    ]
