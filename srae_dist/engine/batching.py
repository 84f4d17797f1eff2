"""Micro-batch and accumulation follow from the recipe's global batch and the launch's ranks."""

from __future__ import annotations

from dataclasses import dataclass

from srae_dist.core.errors import UserError

# Images of 64 x 64 pixels that a forward pass takes by default. More gains nothing on a CPU, where
# convolutions are at their ceiling from 16 on; a GPU wants hundreds.
DEFAULT_IMAGES = {"cpu": 32, "cuda": 512, "mps": 64}


@dataclass(frozen=True, slots=True)
class Batching:
    """How a global batch is cut."""

    micro_batch: int  # images per forward pass and rank
    accumulation: int  # forward passes per step and rank

    def describe(self, ranks: int) -> str:
        """``global batch 64 = 2 ranks x 2 accumulated x 16 images``."""
        total = ranks * self.accumulation * self.micro_batch
        return (
            f"global batch {total} = {ranks} rank{'s' * (ranks > 1)} x {self.accumulation} "
            f"accumulated x {self.micro_batch} images"
        )


def cut_batch(
    *,
    global_batch: int,
    micro_batch: int | None,
    ranks: int,
    device: str,
    image_size: int,
    most: int | None = None,
) -> Batching:
    """Cut the global batch for this launch; ``most`` images fit into a micro-batch.

    Raises:
        UserError: it cannot be cut evenly; says what would fit.
    """
    per_rank, rest = divmod(global_batch, ranks)
    if rest:
        below, above = global_batch - rest, global_batch - rest + ranks
        raise UserError(
            f"train.global_batch = {global_batch} cannot be shared by {ranks} ranks evenly; use "
            f"{f'{below} or ' * (below > 0)}{above}, or another number of processes."
        )
    if micro_batch is None:
        limit = max(1, DEFAULT_IMAGES.get(device, 32) * 64 * 64 // image_size**2)
        limit = min(limit, most or limit)
        micro_batch = max(n for n in range(1, per_rank + 1) if per_rank % n == 0 and n <= limit)
    if per_rank % micro_batch:
        raise UserError(
            f"train.micro_batch = {micro_batch} does not divide the {per_rank} images of a rank "
            f"(train.global_batch = {global_batch}, {ranks} rank{'s' * (ranks > 1)})."
        )
    return Batching(micro_batch, per_rank // micro_batch)
