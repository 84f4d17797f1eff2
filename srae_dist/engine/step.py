"""One optimizer step over all players: accumulate, clip, update, average.

The host waits for nothing here. Whether a step counts is decided where the gradients are: with one
that is not finite, optimizer and average leave everything as it was. Who reads
``StepResult.spoilt`` waits, so the loop does it when the next step is under way.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from srae_dist.core.types import Batch
from srae_dist.engine.players import clip_players, players, set_rates
from srae_dist.engine.schedule import term_weights
from srae_dist.model.autoencoder import AutoEncoder
from srae_dist.model.ema import Ema, decay_at
from srae_dist.objective.objective import Objective
from srae_dist.recipe.schema import Objective as ObjectiveSection
from srae_dist.recipe.schema import Train

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one step measured, over the global batch."""

    measures: dict[str, Tensor]  # every term and measure; a mean over this rank's micro-batches
    norms: dict[str, Tensor]  # gradient norm of each player before clipping; equal on all ranks
    spoilt: Tensor  # 1.0 where the update was skipped, else 0.0; equal on all ranks
    keys: tuple[str, ...]  # samples of this rank


class Stepper:
    """Takes optimizer steps; owns no counter, so that the loop's step is the only one."""

    def __init__(
        self,
        accelerator: Accelerator,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        ema: Ema[AutoEncoder],
        *,
        accumulation: int,  # micro-batches per step and rank
        train: Train,
        weights: ObjectiveSection,
    ) -> None:
        self.accelerator = accelerator
        self.wrapped, self.optimizer = accelerator.prepare(objective, optimizer)
        self.objective = objective
        self.players = players(objective)
        self.ema = ema
        self.accumulation = accumulation
        self.train = train
        self.weights = weights

    def take(self, step: int, batches: Iterator[Batch]) -> StepResult:
        """Take the update that follows ``step`` finished ones."""
        weights = self._weights(step)
        set_rates(self.optimizer, step, self.train)
        sums: dict[str, Tensor] = {}
        keys: list[str] = []
        for _ in range(self.accumulation):
            batch = next(batches).to(self.accelerator.device)
            keys.extend(batch.keys)
            with self.accelerator.accumulate(self.wrapped):
                total, measures = self.wrapped(batch.images, batch.domains, batch.slots, weights)
                self.accelerator.backward(total * _poison(total))
                sums = {k: sums[k] + v if sums else v for k, v in measures.items()}
                if self.accelerator.sync_gradients:
                    norms, spoilt = self._update(step)
        means = {name: value / self.accumulation for name, value in sums.items()}
        return StepResult(means, norms, spoilt, tuple(keys))

    def _weights(self, step: int) -> Tensor:
        """The terms' weights on the device; from pinned memory, so that nobody waits."""
        device = self.accelerator.device
        weights = torch.tensor(term_weights(step, self.objective.term_names, self.weights))
        if device.type == "cuda":
            weights = weights.pin_memory()
        return weights.to(device, non_blocking=True)

    def _update(self, step: int) -> tuple[dict[str, Tensor], Tensor]:
        """Clip, and step unless a gradient is not finite; then nothing changes.

        Returns the gradient norms, and 1.0 where one is not finite, else 0.0.
        """
        scaled = self.accelerator.scaler is not None
        if scaled:
            self.accelerator.unscale_gradients()  # once; accelerate's own clipping would repeat it
        norms = clip_players(self.players, self.train.clip)
        spoilt = (~torch.stack(list(norms.values())).isfinite()).any().to(torch.float32)
        if not scaled:  # what a scaler gives to fused kernels itself, when it lowers its scale
            self.optimizer.optimizer.found_inf = spoilt
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.ema.update(
            self.objective.autoencoder, decay_at(step, self.train.ema), counts=1 - spoilt
        )
        return norms, spoilt

    def fault(self, result: StepResult) -> str | None:
        """Say why a spoilt step is at fault: the first term that is not finite on any rank, or
        else the player whose gradient is not; under fp16 the latter is the scaler looking for its
        scale, and no fault. A collective call.
        """
        values = self.reduce(result.measures)
        for name in self.objective.term_names:
            if not math.isfinite(values[name]):
                return f"term '{name}' is {values[name]}"
        if self.accelerator.scaler is not None:
            return None
        player = next(name for name, norm in result.norms.items() if not norm.isfinite())
        return f"the gradient of {player} is not finite"

    def reduce(self, measures: dict[str, Tensor]) -> dict[str, float]:
        """Mean of each measure over all ranks; a collective call."""
        stacked = torch.stack([value.float() for value in measures.values()])
        means = self.accelerator.reduce(stacked, reduction="mean").tolist()
        return dict(zip(measures, means, strict=True))


def _poison(total: Tensor) -> Tensor:
    """1, or NaN where the loss is not finite: then no gradient is, on any rank, even where the
    backward pass would hide it."""
    return 1 + 0 * total.detach()
