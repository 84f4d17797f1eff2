"""`srae-dist recipe check`: is a recipe ready to train here, and what will it cost?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from srae_dist.data.manifest import Manifest
    from srae_dist.recipe.schema import Recipe

_PROBE = 10.0  # seconds


def check(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A recipe file, a name in recipes/, or a run.")
    ],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a value, e.g. train.steps=500."),
    ] = None,
    probe: Annotated[
        bool, typer.Option(help="Run some steps on blank images, for ten seconds.")
    ] = True,
) -> None:
    """Check a recipe and its shards, as training would, and say what a step costs here."""
    from srae_dist.data.open import open_shards
    from srae_dist.engine.schedule import endless_warmup
    from srae_dist.recipe.load import load_recipe
    from srae_dist.runtime import console

    loaded = load_recipe(Path(recipe), overrides=set_ or []).recipe
    manifest = open_shards(loaded.data, model=loaded.model)
    facts = describe(loaded, manifest) | costs(loaded, manifest, probe=probe)
    console.facts(f"{loaded.name} is ready to train", facts)
    if note := endless_warmup(loaded.train):
        console.warn(note)


def describe(recipe: Recipe, manifest: Manifest) -> dict[str, str]:
    """Say what would be trained, and on what."""
    from srae_dist.data.store import open_store

    data, model, train = recipe.data, recipe.model, recipe.train
    store = open_store(data.root)
    split = manifest.split(data.split, store)
    counts = split.counts()
    images = ", ".join(f"{counts[domain]:,} {domain}" for domain in manifest.domains)
    size, code = manifest.image_size, model.code_size
    return {
        "data": f"{store.name}, split {data.split}: {images}, in {len(split.shards)} shards",
        "images": f"{size} x {size} pixels, balance = {data.balance}",
        "codes": f"content {model.content_channels} x {code} x {code}, "
        f"domain {model.domain_channels}",
        "training": f"{train.steps:,} steps of {train.global_batch} images",
        "run": recipe.run_dir,
    }


def costs(recipe: Recipe, manifest: Manifest, *, probe: bool) -> dict[str, str]:
    """Say what a step costs on one rank of this machine.

    Raises:
        UserError: the perceptual network's weights are not to be had, or nothing fits together.
    """
    from srae_dist.engine.cost import step_cost
    from srae_dist.engine.fit import settle_batching
    from srae_dist.engine.networks import build_networks
    from srae_dist.engine.probe import images_per_second
    from srae_dist.model import vgg
    from srae_dist.runtime.launch import choose_precision, join_world

    weights = vgg.describe(recipe.perceptual.weights)
    if recipe.perceptual.weights == "torchvision":  # as large, and need no download
        blank = recipe.perceptual.model_copy(update={"weights": "random"})
        recipe = recipe.model_copy(update={"perceptual": blank})
    size, world = manifest.image_size, join_world(recipe.engine.threads)
    assert size is not None  # open_shards refuses mixed sizes
    precision = choose_precision(recipe.train.precision, world.device)
    objective = build_networks(recipe, size, num_domains=len(manifest.domains))
    cost = step_cost(objective, image_size=size, precision=precision)
    count = settle_batching(recipe, world, objective, precision).micro_batch
    facts = {
        "model": f"{cost.parameters / 1e6:.2f} M parameters",
        "perceptual": f"VGG-16 {', '.join(recipe.perceptual.layers)}, {weights}",
        "step": f"{cost.flop_per_image / 1e9:.1f} GFLOP and about "
        f"{cost.kept_per_image / 1e6:.0f} MB an image; micro-batches of {count}, about "
        f"{cost.memory(count) / 2**30:.1f} GiB on a rank",
        "gradients": f"{cost.gradients / 1e6:.1f} MB, averaged over the ranks once a step",
    }
    if probe:
        speed = images_per_second(
            objective.to(world.device),
            micro_batch=count,
            image_size=size,
            precision=precision,
            seconds=_PROBE,
        )
        hours = recipe.train.steps * recipe.train.global_batch / speed / 3600
        facts["speed"] = (
            f"{speed:,.0f} images/s on one {world.device.type} rank, {world.threads} threads, so "
            f"{_duration(hours)} in all"
        )
    return facts


def _duration(hours: float) -> str:
    if hours >= 48:
        return f"{hours / 24:,.0f} days"
    return f"{hours:,.1f} hours" if hours >= 1 else f"{hours * 60:.0f} minutes"
