"""A recipe on its way out: to a file, to a checkpoint's header, and compared on resume."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from srae_dist.core.urls import redacted, without_secrets
from srae_dist.recipe.keys import KEYS, SECTIONS, toml_value
from srae_dist.recipe.schema import Recipe

WEIGHT_NAMES = ("random", "torchvision")  # values of perceptual.weights that are no path
_FREE = {  # may change while a run goes on: they alter how long, how often, where, how fast
    *("train.steps", "train.save_every", "train.log_every", "train.sample_every"),
    *("train.micro_batch", "data.root", "data.make", "data.workers"),
    *("data.on_bad", "data.bad_budget", "data.cache_dir", "data.cache_gb"),
    *(key for key in KEYS if key.startswith("engine.")),
    *(key for key in KEYS if key.startswith("run.") and key != "run.seed"),
}


def recipe_to_toml(recipe: Recipe) -> str:
    """Write every value with its meaning; ``load_recipe`` reads the same recipe back.

    Of URLs everything but user, password and query, which are nobody's business.
    """
    recipe = recipe_without_secrets(recipe)
    lines = ["# A resolved recipe: every value, defaults included.", _line("name", recipe.name)]
    for section, fields in SECTIONS.items():
        lines += ["", f"# {(fields.__doc__ or '').strip()}", f"[{section}]"]
        for key in KEYS.values():
            if key.name.startswith(f"{section}."):
                line = _line(key.name.removeprefix(f"{section}."), key.of(recipe))
                lines.append(f"{line}  # {key.meaning}")
    return "\n".join(lines) + "\n"


def recipe_without_secrets(recipe: Recipe) -> Recipe:
    """Return the recipe as it may be kept: of URLs, what gives access is left out."""
    root, make = without_secrets(recipe.data.root), recipe.data.make
    make = None if make is None else redacted(make)
    data = recipe.data.model_copy(update={"root": root, "make": make})
    return recipe.model_copy(update={"data": data})


def recipe_without_paths(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe as JSON-able values that say nothing of the machine it ran on.

    ``Recipe.model_validate`` takes them back; the run folder, the shards' place and their command
    are then the defaults, and of a path to perceptual weights the file's name is left.
    """
    values = recipe.model_dump(mode="json")
    paths = (("run", "dir"), ("data", "root"), ("data", "make"), ("data", "cache_dir"))
    for section, key in paths:
        del values[section][key]
    values["perceptual"]["weights"] = _weights_name(recipe.perceptual.weights)
    return values


def differences(old: Recipe, new: Recipe) -> list[str]:
    """List what keeps ``new`` from going on with a run of ``old``, as "key: old -> new"."""
    found = []
    for key in KEYS.values():
        before, after = key.of(old), key.of(new)
        if key.name == "perceptual.weights":  # the same file may lie elsewhere
            before, after = _weights_name(before), _weights_name(after)
        if key.name not in _FREE and before != after:
            found.append(f"{key.name}: {toml_value(before)} -> {toml_value(after)}")
    return found


def _line(name: str, value: Any) -> str:
    return f"# {name} is not set" if value is None else f"{name} = {toml_value(value)}"


def _weights_name(weights: str) -> str:
    return weights if weights in WEIGHT_NAMES else PurePath(weights.replace("\\", "/")).name
