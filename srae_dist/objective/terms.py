"""The loss terms: pure functions of codes, features and logits to a scalar, to be minimised."""

from __future__ import annotations

from collections.abc import Sequence

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
        weight * F.mse_loss(f.float(), t.float())
        for f, t, weight in zip(features, target, weights, strict=True)
    ]
    return torch.stack(terms).sum()


def pixel(x_hat: Tensor, x: Tensor) -> Tensor:
    """Mean absolute error of pixels in [-1, 1]; an optional companion of L_r."""
    return F.l1_loss(x_hat.float(), x.float())


def discriminator(logits: Tensor, domains: Tensor) -> Tensor:
    """L_q^c, L_q^d and L_d: cross-entropy of N m logits with N domain labels."""
    return F.cross_entropy(logits, domains)


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
