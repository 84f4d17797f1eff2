"""Translations before an image critic: whose domain codes they get, and what is made of its answer.

The perceptual loss forgives blur, and nothing in it says that a translation should look as if it
came from its domain. A critic sees both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from srae_dist.core import randomness
from srae_dist.model.critic import Critic
from srae_dist.objective.pooling import domain_means
from srae_dist.objective.routing import frozen

# standard deviation of the noise that shows how steep the critic is; features are about 1.5
NUDGE = 0.1
# variance over places below which a channel of features says nothing; they are about 1.5
FLAT = 0.05


@dataclass(frozen=True, slots=True)
class Shown:
    """What a critic is shown and asked about: features of M images, a tensor for each layer."""

    real: Sequence[Tensor]  # without a gradient
    made: Sequence[Tensor]  # of translations
    domains: Tensor  # int64 M, of the real ones
    targets: Tensor  # int64 M, what was translated to
    there: Tensor  # bool M: the micro-batch had an image of that domain to lend a code


class TargetCodes:
    """Domain codes to translate with, as users will: the domain's mean code where codes are pooled,
    with own numbers moved there; else another image's."""

    def __init__(self, *, num_domains: int, pooled: bool, own_numbers: int, seed: int) -> None:
        self.num_domains = num_domains
        self.pooled = pooled
        self.own_numbers = own_numbers
        self.target_key = randomness.seed_of(seed, "translated to")
        self.member_key = randomness.seed_of(seed, "lends its code")

    def __call__(
        self, z: Tensor, domains: Tensor, slots: Tensor, chosen: Tensor | slice
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return codes M j a b, the domains they are of, and whether the micro-batch has any.

        Args:
            z: domain codes of the micro-batch, N j a b.
            domains: int64 N.
            slots: int64 N, name the draws.
            chosen: the M images to translate.
        """
        source, names = domains[chosen], slots[chosen]
        m, own = self.num_domains, self.own_numbers
        target = other_domains(source, names, num_domains=m, key=self.target_key)
        place, there = members_of(target, domains, names, num_domains=m, key=self.member_key)
        if not self.pooled:
            return z[place], target, there
        means = domain_means(z, domains, num_domains=m)
        moved = z[chosen] - means[source] + means[target]
        return torch.cat([moved[:, :own], means[target][:, own:]], dim=1), target, there


def other_domains(domains: Tensor, slots: Tensor, *, num_domains: int, key: int) -> Tensor:
    """For each of N images another domain than its own, drawn by slot; all equally likely."""
    shift = 1 + randomness.hash_bits(slots, key) % (num_domains - 1)
    return (domains + shift) % num_domains


def members_of(
    wanted: Tensor, domains: Tensor, slots: Tensor, *, num_domains: int, key: int
) -> tuple[Tensor, Tensor]:
    """For each wanted domain an image of the micro-batch that is of it, drawn by slot.

    Args:
        wanted: int64 M.
        domains: int64 N, of the micro-batch.
        slots: int64 M, name the draws.

    Returns:
        Places, int64 M, and whether there is such an image, bool M; where there is none, any place.
    """
    order = domains.argsort(stable=True)
    count = F.one_hot(domains, num_domains).sum(dim=0)
    first = count.cumsum(0) - count
    found = count[wanted]
    place = first[wanted] + randomness.hash_bits(slots, key) % found.clamp(min=1)
    return order[place.clamp(max=len(domains) - 1)], found > 0


def judge(
    critic: Critic, shown: Shown, slots: Tensor, keys: Sequence[int]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the terms of both sides, and how often the critic is right.

    Args:
        critic: learns from its own terms only, and nobody else does from them.
        shown: what it sees.
        slots: int64 M, name the noise that shows how steep it is.
        keys: of that noise, for each layer.
    """
    seen = []
    for real, made, key in zip(shown.real, shown.made, keys, strict=True):
        both = torch.cat([real, made.detach()])
        noise = NUDGE * rank_one(slots, real.shape[1:], key).to(both.dtype)
        seen.append(torch.cat([both, both + noise.repeat(2, 1, 1, 1)]))
    asked = torch.cat([shown.domains, shown.targets]).repeat(2)
    real, made, real_nudged, made_nudged = critic(seen, asked).chunk(4)
    everywhere = torch.ones_like(shown.there)
    losses = {
        "realism": realism_loss(frozen(critic, shown.made, shown.targets), shown.there),
        "critic": critic_loss(real, made, shown.there),
        "critic_slope": slope(real, real_nudged, everywhere)
        + slope(made, made_nudged, shown.there),
    }
    right = (real.detach() > 0).float().mean() + (made.detach() < 0).float().mean()
    return losses, {"critic_accuracy": right / 2}


def rank_one(slots: Tensor, shape: Sequence[int], key: int) -> Tensor:
    """Noise N C H W, a product of noise on channels and noise on places: uncorrelated, of variance
    1, and drawn from C + H W numbers an image instead of C H W."""
    channels, height, width = shape
    drawn = randomness.normal(slots, (channels + height * width,), key)
    over_places = drawn[:, channels:].reshape(-1, 1, height, width)
    return drawn[:, :channels, None, None] * over_places


def critic_loss(real: Tensor, made: Tensor, there: Tensor) -> Tensor:
    """Logistic loss of logits N L that should be above 0 for real images and below for made ones.

    ``there``: bool N, which of the made ones count.
    """
    return F.softplus(-real).mean() + masked_mean(F.softplus(made), there)


def realism_loss(made: Tensor, there: Tensor) -> Tensor:
    """The other side's, which does not fade where the critic is sure (Goodfellow et al. 2014)."""
    return masked_mean(F.softplus(-made), there)


def content_cycle(again: Tensor, source: Tensor, there: Tensor) -> Tensor:
    """What the content codes of translations, N k a b, have lost of their sources': the squared
    error over the mean square of what it should be. 0: nothing is lost, 1: as much as by zeros.

    Both are deviations from the mean of a domain: where z_c tells the domain, a translation that
    had its source's whole code would look like its source.
    """
    lost = (again.float() - source.float()).square().flatten(1)
    return masked_mean(lost, there) / source.float().square().mean().clamp(min=1e-6)


def unlikeness(made: Tensor, source: Tensor, there: Tensor) -> Tensor:
    """What the features of translations, N C H W, have lost of where things are in their sources'.

    Each channel is standardised over places, so that of a style nothing is left but where it is
    (Huang et al. 2018, Sec. 5.1): 0 is the same everywhere, 1 nothing in common, 2 the opposite.
    """
    gap = (_over_places(made) - _over_places(source)).square() / 2
    return masked_mean(gap.flatten(1), there)


def _over_places(h: Tensor) -> Tensor:
    """Features N C H W standardised over places; a channel that is flat stays near 0."""
    h = h.float().flatten(2)
    h = h - h.mean(dim=2, keepdim=True)
    return h * (h.square().mean(dim=2, keepdim=True) + FLAT).rsqrt()


def slope(logits: Tensor, nudged: Tensor, there: Tensor) -> Tensor:
    """Half the squared slope of a critic, from its logits N L before and after noise of standard
    deviation ``NUDGE`` on what it sees of N images, of which those that are ``there`` count.

    In expectation and for small noise half the squared gradient of each logit: R1 where images are
    real, R2 where they are made (Mescheder et al. 2018), without a gradient of a gradient, which
    compiled graphs do not have (Lin et al. 2025).
    """
    return 0.5 * masked_mean(((nudged - logits) / NUDGE).square(), there)


def masked_mean(x: Tensor, there: Tensor) -> Tensor:
    """Mean of N L over the images that count; 0 if none does."""
    weight = there.to(x.dtype)
    return (x.mean(dim=1) * weight).sum() / weight.sum().clamp(min=1)
