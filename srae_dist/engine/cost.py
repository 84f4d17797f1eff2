"""What a training step costs, worked out from shapes alone: nothing is computed or allocated."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from srae_dist.objective.objective import Objective

_IMAGES = 2  # of the step that is followed
_STATES = 3  # of a learning parameter: its gradient and Adam's two moments
# a pass has more in memory than what it keeps: results on their way, workspaces of convolutions
_MARGIN = 1.5


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one forward and backward pass on one rank."""

    parameters: int  # of encoder and decoder
    flop_per_image: float  # of convolutions and matrix products, forward and backward
    kept_per_image: float  # bytes kept for the backward pass
    fixed: int  # bytes of weights, gradients, moments and averages
    gradients: int  # bytes that ranks average at each step

    def memory(self, images: int) -> float:
        """Estimate the bytes of a step on a micro-batch."""
        return self.fixed + _MARGIN * self.kept_per_image * images

    def fitting(self, memory: float) -> int:
        """Return how many images fit into so many bytes, by the estimate; at least 1."""
        return max(1, int((memory - self.fixed) / (_MARGIN * self.kept_per_image)))


def step_cost(objective: Objective, *, image_size: int, precision: str) -> Cost:
    """Follow one step of a copy of the networks that has shapes and no values."""
    ghost = copy.deepcopy(objective).to("meta").train()
    own = {tensor.untyped_storage()._cdata for tensor in _tensors(ghost)}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor  # alive, so that no address comes twice
        return tensor

    images = torch.zeros(_IMAGES, image_size, image_size, 3, dtype=torch.uint8, device="meta")
    numbers = torch.zeros(_IMAGES, dtype=torch.int64, device="meta")
    weights = torch.ones(len(ghost.term_names), device="meta")
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with FlopCounterMode(display=False) as counter, hooks:
        total, _ = ghost(images, numbers, numbers, weights)
        total.backward()
    size = sum(t.untyped_storage().nbytes() for key, t in kept.items() if key not in own)
    return Cost(
        sum(p.numel() for p in objective.autoencoder.parameters()),
        counter.get_total_flops() / _IMAGES,
        size
        / _IMAGES
        / (1 if precision == "fp32" else 2),  # autocast knows no device without values
        _fixed(objective),
        _learning(objective),
    )


def _fixed(objective: Objective) -> int:
    weights = sum(tensor.nbytes for tensor in _tensors(objective))
    average = sum(p.nbytes for p in objective.autoencoder.parameters())
    return weights + _STATES * _learning(objective) + average


def _learning(objective: Objective) -> int:
    return sum(p.nbytes for p in objective.parameters() if p.requires_grad)


def _tensors(objective: Objective) -> list[Tensor]:
    return [*objective.parameters(), *objective.buffers()]
