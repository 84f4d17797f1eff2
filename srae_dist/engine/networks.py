"""Everything a training step needs, built from a recipe: the same for training and measuring."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from srae_dist.core.errors import UserError
from srae_dist.core.machine import available_cores
from srae_dist.model.build import build_autoencoder
from srae_dist.objective.build import build_objective
from srae_dist.objective.objective import Objective
from srae_dist.recipe.schema import Recipe


def build_networks(recipe: Recipe, image_size: int, *, num_domains: int) -> Objective:
    """Build every network and the objective around them, on the CPU."""
    autoencoder = build_autoencoder(
        recipe.model,
        image_size=image_size,
        seed=recipe.run.seed,
        checkpoint_activations=recipe.engine.checkpoint_activations,
        eyes=recipe.perceptual.weights,
    )
    objective = build_objective(
        autoencoder,
        model=recipe.model,
        objective=recipe.objective,
        perceptual=recipe.perceptual,
        num_domains=num_domains,
        data=recipe.data,
        seed=recipe.run.seed,
    )
    if recipe.engine.channels_last:
        objective = objective.to(memory_format=torch.channels_last)
    return objective


def compiles(wanted: str, device: torch.device) -> bool:
    """Whether the objective is compiled; on CPUs it was measured to gain nothing."""
    return wanted == "on" or (wanted == "auto" and device.type == "cuda")


@contextlib.contextmanager
def compiling(*, compiled: bool) -> Iterator[None]:
    """Around all steps: what cannot be compiled here is a sentence, not a page of the compiler's.

    A machine without a C compiler, or with a GPU that Triton does not know, cannot.

    Raises:
        UserError: the objective was to be compiled, and that failed.
    """
    try:
        yield
    except RuntimeError as error:
        if not compiled:
            raise
        from torch._dynamo.exc import TorchDynamoException

        if not isinstance(error, TorchDynamoException):
            raise
        lines = [*str(error).splitlines(), "no reason given"]
        reason = next(line for line in lines if line.strip())
        raise UserError(
            f"The objective cannot be compiled on this machine ({reason.strip().rstrip('.')}); "
            "mend that, or train without: --set engine.compile=off."
        ) from error


def loader_workers(wanted: int | None, *, local_ranks: int) -> int:
    """Loader processes of a rank: as told, or the rank's share of the cores less one, at most 8.

    Two cores or fewer get none: training needs them more than decoding does.
    """
    if wanted is not None:
        return wanted
    share = available_cores() // local_ranks
    return min(8, share - 1) if share > 2 else 0
