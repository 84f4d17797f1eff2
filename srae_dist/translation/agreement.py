"""Ranks meet twice in a translation, before the work and after it, however long one waits."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from srae_dist.core.errors import SraeError
from srae_dist.runtime import console
from srae_dist.runtime.launch import host_group

if TYPE_CHECKING:
    from srae_dist.runtime.launch import World


class Agreement:
    """Answers that all ranks share; a rank alone answers itself."""

    def __init__(self, ranks: int) -> None:
        # a group of its own, since the default one gives up a slow rank after some minutes
        patience = timedelta(days=30)
        self._group = host_group(patience) if ranks > 1 else None

    def any(self, flag: bool) -> bool:
        """Return whether any rank says yes, once all have spoken."""
        if not isinstance(self._group, dist.ProcessGroup):
            return flag
        said = torch.tensor(int(flag))
        dist.all_reduce(said, op=dist.ReduceOp.MAX, group=self._group)
        return bool(said)

    def close(self) -> None:
        """Leave the other ranks."""
        if self._group is not None:
            dist.destroy_process_group()


@contextlib.contextmanager
def told_at_once(agreement: Agreement, world: World) -> Iterator[None]:
    """Where a rank of several fails, say why at once, and let the others finish what is theirs.

    Without its word they would wait for it, and break off when it is gone.
    """
    try:
        yield
    except SraeError as error:
        if world.size > 1:
            console.error(str(error))
            agreement.any(True)
            error.args = ()  # said
        raise
