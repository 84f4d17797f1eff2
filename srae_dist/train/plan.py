"""What a run is: everything settled before its first step."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from srae_dist.data.opened import OpenSplit
    from srae_dist.data.order import Order
    from srae_dist.engine.batching import Batching
    from srae_dist.objective.objective import Objective
    from srae_dist.recipe.schema import Recipe
    from srae_dist.runtime.launch import World


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """Everything settled before the first step."""

    recipe: Recipe
    data: OpenSplit  # what is trained on
    order: Order
    world: World
    batching: Batching
    precision: str
    objective: Objective
    checkpoint: Path | None  # to resume from
    state: dict[str, Any]  # the checkpoint's counters; empty at the beginning

    @property
    def image_size(self) -> int:
        """Pixels of the square images."""
        return self.data.image_size

    @property
    def run_dir(self) -> Path:
        """The run folder."""
        return Path(self.recipe.run_dir)

    @property
    def has_other_images(self) -> bool:
        """Whether the run so far saw other images, or the same in other shards."""
        now = self.data.split.index_sha256
        return str(self.state.get("images", now)) != now

    @property
    def start(self) -> int:
        """Steps done so far."""
        return int(self.state.get("step", 0))


def open_data(recipe: Recipe, split: str) -> OpenSplit:
    """Open a split of the recipe's shards."""
    from srae_dist.data.opened import open_split

    data = recipe.data
    cache = None if data.cache_dir is None else Path(data.cache_dir).expanduser()
    return open_split(data.root, split, cache_dir=cache, cache_gb=data.cache_gb)


def order_of(recipe: Recipe, data: OpenSplit) -> Order:
    """Return the order of training."""
    from srae_dist.data.loader import make_order

    return make_order(
        data,
        seed=recipe.run.seed,
        global_batch=recipe.train.global_batch,
        balance=recipe.data.balance,
        lanes=recipe.data.lanes,
        window=recipe.data.window,
    )
