"""``accelerate launch -m srae_dist.train RECIPE``: settle everything a run needs, and run it.

Running the same command again resumes from the newest complete checkpoint.
"""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srae_dist.train.plan import Plan, open_data, order_of
from srae_dist.train.start import (
    check_same_domains,
    check_same_start,
    find_checkpoint,
    record_start,
    settle_threads,
)
from srae_dist.train.wiring import run_plan
from srae_dist.train.words import finish, introduce, say_finished, where_it_goes_on

if TYPE_CHECKING:
    from srae_dist.recipe.schema import Recipe
    from srae_dist.runtime.launch import World
    from srae_dist.runtime.signals import StopRequest


def train(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A recipe file, a name in recipes/, or a run.")
    ],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a value, e.g. train.steps=500."),
    ] = None,
) -> int:
    """Train an SRAE as a recipe says; the same command resumes it."""
    from srae_dist.data.open import open_shards
    from srae_dist.recipe.load import load_recipe

    loaded = load_recipe(Path(recipe), overrides=set_ or []).recipe
    open_shards(loaded.data, model=loaded.model)

    from srae_dist.runtime import exit_file, roll_call
    from srae_dist.runtime.launch import insist_on_determinism, join_world
    from srae_dist.runtime.signals import StopRequest, outlive_launcher_s_sigterm

    world = join_world(loaded.engine.threads, timeout=loaded.engine.timeout)
    if loaded.engine.deterministic:
        insist_on_determinism()
    run_dir = Path(loaded.run_dir)
    outlive_launcher_s_sigterm(launched=world.launched)
    with (
        StopRequest(launched=world.launched) as stop,
        exit_file.recording_errors(run_dir, enabled=world.is_main),
        roll_call.answering(world, resumable=lambda: where_it_goes_on(run_dir)),
    ):
        return train_run(loaded, world, stop)


def train_run(recipe: Recipe, world: World, stop: StopRequest) -> int:
    """Train to the end, or to a stop; return the exit code."""
    from srae_dist.data.order import check_ranks
    from srae_dist.engine.fit import settle_batching
    from srae_dist.engine.networks import build_networks
    from srae_dist.runtime.launch import choose_precision
    from srae_dist.runtime.lock import locked

    run_dir = Path(recipe.run_dir)
    data = open_data(recipe, recipe.data.split)
    size, order = data.image_size, order_of(recipe, data)
    precision = choose_precision(recipe.train.precision, world.device)
    with locked(run_dir) if world.is_main else contextlib.nullcontext():
        folder, state = find_checkpoint(recipe, run_dir)
        check_same_domains(run_dir, state, data.manifest.domains)
        check_same_start(run_dir, int(state.get("step", 0)), world)
        # may download the perceptual network's weights: not before it is known that the run goes on
        objective = build_networks(recipe, size, num_domains=len(data.manifest.domains))
        batching = settle_batching(
            recipe, world, objective, precision, saved=int(state.get("micro_batch", 0))
        )
        check_ranks(order, micro_batch=batching.micro_batch, ranks=world.size)
        if world.device.type == "cpu" and int(state.get("step", 0)) < recipe.train.steps:
            threads = settle_threads(recipe, world, objective, batching, precision, state)
            world = dataclasses.replace(world, threads=threads)
        plan = Plan(recipe, data, order, world, batching, precision, objective, folder, state)
        if plan.start >= recipe.train.steps:
            return say_finished(plan)
        if world.is_main:
            introduce(plan)
            record_start(plan)
        return finish(plan, run_plan(plan, stop))


def main() -> None:
    """Run as ``python -m srae_dist.train``."""
    from srae_dist.runtime.command import run

    app = typer.Typer(add_completion=False)
    app.command()(train)
    run(app)
