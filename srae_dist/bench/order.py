"""``srae-dist bench order``: the keys of each global batch, as the ranks' loaders give them."""

from __future__ import annotations

import itertools
from contextlib import closing
from pathlib import Path

from srae_dist.data.loader import make_loader, make_order
from srae_dist.data.opened import open_split
from srae_dist.data.order import Balance


def keys_of_batches(
    root: str | Path,
    *,
    split: str,
    ranks: int,
    workers: int,
    steps: int,
    start: int,
    seed: int,
    global_batch: int,
    balance: Balance,
    lanes: int | None,
    window: int,
) -> list[list[str]]:
    """Return the keys of the global batches from step ``start`` on, put together from all ranks.

    Images are read and decoded, as in training, by ``workers`` processes a rank.

    Raises:
        UserError: numbers do not fit, or a sample cannot be read.
    """
    opened = open_split(root, split)
    order = make_order(
        opened, seed=seed, global_batch=global_batch, balance=balance, lanes=lanes, window=window
    )
    share = global_batch // ranks if ranks <= global_batch else 1  # else refused below
    batches: list[list[str]] = [[] for _ in range(steps)]
    for rank in range(ranks):
        loader = make_loader(
            opened,
            order,
            rank=rank,
            world=ranks,
            micro_batch=share,
            start_step=start,
            stop_step=start + steps,
            workers=workers,
            pin=False,
        )
        with closing(loader):
            for batch, keys in zip(itertools.islice(loader, steps), batches, strict=True):
                keys.extend(batch.keys)
    return batches
