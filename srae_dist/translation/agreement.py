"""Ranks meet twice in a translation, before the work and after it, however long one waits."""

from __future__ import annotations

from datetime import timedelta

import torch
import torch.distributed as dist


class Agreement:
    """Answers that all ranks share; a rank alone answers itself."""

    def __init__(self, ranks: int) -> None:
        # a group of its own, since the default one gives up a slow rank after some minutes
        patience = timedelta(days=30)
        self._group = dist.new_group(backend="gloo", timeout=patience) if ranks > 1 else None

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
