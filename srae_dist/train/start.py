"""Where a run begins: its checkpoint, its threads, and that all ranks begin alike."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srae_dist.core.errors import UserError

if TYPE_CHECKING:
    from srae_dist.engine.batching import Batching
    from srae_dist.objective.objective import Objective
    from srae_dist.recipe.schema import Recipe
    from srae_dist.runtime.launch import World
    from srae_dist.train.plan import Plan


def find_checkpoint(recipe: Recipe, run_dir: Path) -> tuple[Path | None, dict[str, Any]]:
    """Return the newest complete checkpoint and its counters, or (None, {}).

    Raises:
        UserError: the run was started with values that may not change.
    """
    from srae_dist.recipe.save import differences
    from srae_dist.recipe.schema import Recipe
    from srae_dist.runtime import checkpoint

    root = run_dir / "checkpoints"
    folder = checkpoint.newest(root)
    if folder is None:
        if root.is_dir() and any(checkpoint.step_of(path) >= 0 for path in root.iterdir()):
            raise UserError(
                f"All checkpoints in {root} are damaged, so {run_dir} cannot go on; bring one back "
                "from a copy, or start a new run with --set run.dir=DIR."
            )
        return None, {}
    state = checkpoint.read_state(folder)
    try:
        old = Recipe.model_validate_json(json.dumps(state["recipe"]))
    except (KeyError, ValueError):
        raise UserError(f"{folder} was written by another version; use a new run.dir.") from None
    changed = differences(old, recipe)
    if changed:
        raise UserError(
            f"{run_dir} was started with other values: {'; '.join(changed)}; "
            "take them back, or start a new run with --set run.dir=DIR."
        )
    return folder, state


def check_same_domains(run_dir: Path, state: dict[str, Any], domains: Sequence[str]) -> None:
    """Check that the shards' domains are those that the run began with, in their order.

    Raises:
        UserError: they are not: discriminators and codes would take one for another.
    """
    before = state.get("domains", list(domains))
    if before != list(domains):
        raise UserError(
            f"{run_dir} was started with the domains {', '.join(before)}, and the shards now have "
            f"{', '.join(domains)}; give it shards with its own domains in their order, or start a "
            "new run with --set run.dir=DIR."
        )


def check_same_start(run_dir: Path, step: int, world: World) -> None:
    """Check that all ranks found the same checkpoint; all ranks call it together.

    Raises:
        UserError: they did not, so their run folders are not one.
    """
    from srae_dist.runtime.launch import least

    first, last = least(step, world), -least(-step, world)
    if first != last:
        raise UserError(
            f"{run_dir} is at step {last:,} for some ranks and at step {first:,} for others; put "
            "run.dir on a disk that all machines share."
        )


def settle_threads(
    recipe: Recipe,
    world: World,
    objective: Objective,
    batching: Batching,
    precision: str,
    state: dict[str, Any],
) -> int:
    """Set this rank's CPU threads: the recipe's, a resumed run's, or the faster of two."""
    import torch

    from srae_dist.engine.probe import step_seconds
    from srae_dist.runtime import console
    from srae_dist.runtime.threads import choose

    settled = recipe.engine.threads or state.get("threads")
    if settled is not None:
        torch.set_num_threads(int(settled))
        return int(settled)
    if world.threads == 1:
        return 1
    best, seconds = choose(
        world.threads,
        lambda: step_seconds(
            objective,
            micro_batch=batching.micro_batch,
            image_size=objective.autoencoder.image_size,
            precision=precision,
        ),
    )
    if world.is_main and best < world.threads:
        console.info(
            f"{world.threads} threads are slower than {best} here ({seconds[world.threads]:.2f} s "
            f"against {seconds[best]:.2f} s for {batching.micro_batch} images): the cores are busy "
            "with other work. Set engine.threads to decide yourself."
        )
    return best


def record_start(plan: Plan) -> None:
    """Write the resolved recipe beside the run; what is not over has no ``exit.json``."""
    from srae_dist.core import atomic, disk
    from srae_dist.recipe.save import recipe_to_toml
    from srae_dist.runtime import exit_file

    path = plan.run_dir / "recipe.toml"
    with disk.told(path):
        atomic.write_text(path, recipe_to_toml(plan.recipe))
        (plan.run_dir / exit_file.NAME).unlink(missing_ok=True)
