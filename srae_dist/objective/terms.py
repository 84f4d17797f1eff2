"""The loss terms: pure functions of codes, features and logits to a scalar, to be minimised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from srae_dist.core.types import Gaussian


def perceptual(
    features: Sequence[Tensor], target: Sequence[Tensor], weights: Sequence[float]
) -> Tensor:
    """L_r: squared feature distance, a mean over elements per layer, weighted per layer.

    The paper sums over elements, which would make the scale depend on the image size.
    """
    terms = [
        weight * mean_squared_error(f, t)
        for f, t, weight in zip(features, target, weights, strict=True)
    ]
    return torch.stack(terms).sum()


def mean_squared_error(f: Tensor, t: Tensor) -> Tensor:
    """Mean squared difference of two tensors of any one kind, summed in float32; ``t`` is given.

    The first layers' features are as large as all the rest of a step. Casting them to float32 and
    back would pass over memory four times more.
    """
    loss: Tensor = _MeanSquaredError.apply(f, t)
    return loss


class _MeanSquaredError(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, f: Tensor, t: Tensor) -> Tensor:
        difference = f - t
        ctx.save_for_backward(difference)
        return _sum_of_squares(difference) / f.numel()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (difference,) = ctx.saved_tensors
        return difference * (grad * (2.0 / difference.numel())), None


def _sum_of_squares(x: Tensor) -> Tensor:
    """Sum in float32. Asked for float32 at once, a CPU would copy all of ``x`` first: ten times
    as slow. Norms of rows are summed in float32, too, and rounded once each."""
    if x.dtype == torch.bfloat16 and x.ndim == 4:  # float16 might not hold a row's norm
        last = x.is_contiguous(memory_format=torch.channels_last)
        rows: Tensor = (x.permute(0, 2, 3, 1) if last else x).flatten(2)  # without copying
        norms: Tensor = torch.linalg.vector_norm(rows, dim=2).float()
    else:
        norms = torch.linalg.vector_norm(x, dtype=torch.float32)
    return norms.square().sum()


def pixel(x_hat: Tensor, x: Tensor) -> Tensor:
    """Mean absolute error of pixels in [-1, 1]; an optional companion of L_r."""
    return F.l1_loss(x_hat.float(), x.float())


def discriminator(logits: Tensor, domains: Tensor) -> Tensor:
    """L_q^c, L_q^d and L_d: cross-entropy of N m logits with N domain labels.

    Several answers to each code stand below each other, (h N) m.
    """
    return F.cross_entropy(logits, domains.repeat(len(logits) // len(domains)))


def discriminator_of_known(logits: Tensor, domains: Tensor) -> Tensor:
    """The same without those whose label is -1; 0 if that is all."""
    told = domains.repeat(len(logits) // len(domains))
    total = F.cross_entropy(logits, told, ignore_index=-1, reduction="sum")
    return total / (told >= 0).sum().clamp(min=1)


def negative_entropy(logits: Tensor) -> Tensor:
    """L_c as the paper has it: mean of sum_i q_i log q_i, minus the entropy, at least -log m."""
    log_q = logits.log_softmax(dim=1)
    return (log_q.exp() * log_q).sum(dim=1).mean()


def cross_entropy_to_uniform(logits: Tensor) -> Tensor:
    """L_c after Tzeng et al. 2015: -mean_i log q_i, whose gradient survives a sure q_c."""
    return -logits.log_softmax(dim=1).mean()


def prior(code: Gaussian) -> Tensor:
    """KL(N(mean, sigma) || N(0, 1)), a mean over numbers of the code, in nats."""
    variance = code.sigma.square()
    return 0.5 * (code.mean.square() + variance - 1.0 - variance.log()).mean()
