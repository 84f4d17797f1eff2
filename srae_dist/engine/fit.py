"""How many images a rank takes at a time: as many as memory holds, known before DDP is built."""

from __future__ import annotations

import functools

import psutil
import torch

from srae_dist.core.errors import UserError
from srae_dist.engine.batching import Batching, cut_batch
from srae_dist.engine.cost import step_cost
from srae_dist.engine.probe import step_seconds
from srae_dist.objective.objective import Objective
from srae_dist.recipe.schema import Recipe
from srae_dist.runtime import console
from srae_dist.runtime.launch import World, least

SHARE = 0.6  # of the free memory; the loader and the system want some, too


def settle_batching(
    recipe: Recipe, world: World, objective: Objective, precision: str, *, saved: int = 0
) -> Batching:
    """Cut the global batch: as the recipe says, as a resumed run did (``saved`` images at a time),
    or as memory allows; all ranks call it together.

    Raises:
        UserError: it cannot be cut evenly.
    """
    size = objective.autoencoder.image_size
    cut = functools.partial(
        cut_batch,
        global_batch=recipe.train.global_batch,
        ranks=world.size,
        device=world.device.type,
        image_size=size,
    )
    first = cut(micro_batch=recipe.train.micro_batch)
    if recipe.train.micro_batch is not None:
        return first
    if saved and first.micro_batch * first.accumulation % saved == 0:
        return cut(micro_batch=saved)
    fitting = fitting_images(
        objective,
        wanted=first.micro_batch,
        image_size=size,
        device=world.device,
        precision=precision,
        local_ranks=world.local_size,
    )
    batching = cut(micro_batch=None, most=least(fitting, world))
    if world.is_main and batching != first:
        console.info(
            f"Memory holds {batching.micro_batch} images at a time instead of "
            f"{first.micro_batch}; the rest of a batch is accumulated."
        )
    return batching


def fitting_images(
    objective: Objective,
    *,
    wanted: int,
    image_size: int,
    device: torch.device,
    precision: str,
    local_ranks: int,
) -> int:
    """Return how many of ``wanted`` images fit into a micro-batch: 1 at least.

    On a GPU it is tried, and halved as long as memory runs out; elsewhere it is worked out.

    Raises:
        UserError: a GPU does not even hold the networks.
    """
    cost = step_cost(objective, image_size=image_size, precision=precision)
    if device.type != "cuda":
        free = psutil.virtual_memory().available / local_ranks
        return min(wanted, cost.fitting(SHARE * free))
    try:
        objective.to(device)
        # what the optimizer and the average will take
        later = torch.empty(cost.fixed, dtype=torch.uint8, device=device)
    except torch.OutOfMemoryError:
        raise UserError(
            f"The networks alone do not fit into {device}'s free memory; stop what else uses it, "
            "or lower model.width and model.max_width."
        ) from None
    while wanted > 1:
        try:
            step_seconds(objective, micro_batch=wanted, image_size=image_size, precision=precision)
            break
        except torch.OutOfMemoryError:
            objective.zero_grad()
            wanted //= 2
        finally:
            torch.cuda.empty_cache()
    del later
    torch.cuda.empty_cache()
    return wanted
