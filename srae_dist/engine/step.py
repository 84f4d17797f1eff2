"""One optimizer step over all players: accumulate, agree, clip, update, average."""

from __future__ import annotations

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
    fault: str | None  # why the update was skipped, or None; equal on all ranks
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
        names = self.objective.term_names
        weights = torch.tensor(
            term_weights(step, names, self.weights), device=self.accelerator.device
        )
        set_rates(self.optimizer, step, self.train)
        sums: dict[str, Tensor] = {}
        keys: list[str] = []
        for _ in range(self.accumulation):
            batch = next(batches).to(self.accelerator.device)
            keys.extend(batch.keys)
            with self.accelerator.accumulate(self.wrapped):
                total, measures = self.wrapped(batch.images, batch.domains, batch.slots, weights)
                self.accelerator.backward(total)
                sums = {k: sums[k] + v if sums else v for k, v in measures.items()}
                if self.accelerator.sync_gradients:
                    norms, player = self._update(step)
        means = {name: value / self.accumulation for name, value in sums.items()}
        fault = None if player is None else self._name(player, means)
        return StepResult(means, norms, fault, tuple(keys))

    def _update(self, step: int) -> tuple[dict[str, Tensor], str | None]:
        """Clip, and step unless a gradient is not finite; then nothing changes.

        Returns the gradient norms, and the player whose gradient is not finite, if any.
        """
        scaled = self.accelerator.scaler is not None
        if scaled:
            self.accelerator.unscale_gradients()  # once; accelerate's own clipping would repeat it
        norms = clip_players(self.players, self.train.clip)
        bad = [name for name, norm in norms.items() if not torch.isfinite(norm)]
        if scaled or not bad:
            self.optimizer.step()  # under fp16 the scaler skips what is bad and lowers its scale
        self.optimizer.zero_grad()
        if not bad:
            self.ema.update(self.objective.autoencoder, decay_at(step, self.train.ema))
        return norms, bad[0] if bad else None

    def _name(self, player: str, means: dict[str, Tensor]) -> str | None:
        """Name the first term that is not finite on any rank, or else the player's gradient;
        under fp16 the latter is the scaler looking for its scale, and no fault.

        Gradients were averaged over ranks, so all ranks are here together.
        """
        values = self.reduce(means)
        for name in self.objective.term_names:
            if not torch.isfinite(torch.tensor(values[name])):
                return f"term '{name}' is {values[name]}"
        if self.accelerator.scaler is not None:
            return None
        return f"the gradient of {player} is not finite"

    def reduce(self, measures: dict[str, Tensor]) -> dict[str, float]:
        """Mean of each measure over all ranks; a collective call."""
        stacked = torch.stack([value.float() for value in measures.values()])
        means = self.accelerator.reduce(stacked, reduction="mean").tolist()
        return dict(zip(measures, means, strict=True))
