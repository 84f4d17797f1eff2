"""The whole objective as ONE module: a batch in, named losses and their weighted total out.

One forward, one backward, one all-reduce and one optimizer serve all players (docs/method.md tells
why this equals alternating updates). The routing table decides which view of the codes each term
sees; nothing else routes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from srae_dist.core import randomness
from srae_dist.core.types import Codes, Gaussian
from srae_dist.model.autoencoder import AutoEncoder
from srae_dist.model.critic import Critic
from srae_dist.model.discriminators import Panel
from srae_dist.model.pixels import normalise
from srae_dist.model.vgg import PerceptualNetwork
from srae_dist.objective import terms
from srae_dist.objective.alignment import code_distance
from srae_dist.objective.augment import Augmentation
from srae_dist.objective.memory import Memory
from srae_dist.objective.pooling import domain_means, mean_of_others
from srae_dist.objective.realism import Shown, TargetCodes, content_cycle, judge, unlikeness
from srae_dist.objective.routing import (
    DISCRIMINATORS,
    OF_TRANSLATIONS,
    View,
    frozen,
    routing_table,
    view_for,
)


@dataclass(frozen=True, slots=True)
class Sampled:
    """Sampled codes under one view: z_c N k a b and z_d N j a b; and mu_c."""

    content: Tensor
    domain: Tensor
    mean: Tensor


@dataclass(frozen=True, slots=True)
class Scene:
    """What terms are about."""

    x: Tensor  # N 3 H W
    x_hat: Tensor
    codes: Codes
    domains: Tensor
    decoded: Tensor | slice  # which of the images x_hat shows
    target: Sequence[Tensor]  # the perceptual network's features of those, without a gradient


class Objective(nn.Module):
    """All networks and all terms of a training step."""

    def __init__(
        self,
        autoencoder: AutoEncoder,
        q_c: nn.Module,
        q_d: nn.Module | None,  # None: the variant with one discriminator
        perceptual: PerceptualNetwork,
        *,
        route: str,  # "stream" or "encoder"
        confusion: str,  # "entropy" or "uniform"
        layer_weights: Sequence[float],  # a weight per perceptual layer
        pixel: bool,  # the pixel term is on
        priors: bool,  # the KL terms are on
        augment: Augmentation,
        seed: int,  # of noise
        q_sees: str = "samples",  # of the content code: "samples", "means" or "both"
        num_domains: int = 2,  # m
        alignment: bool = False,  # the energy distance is on
        memory: Memory | None = None,  # of codes that q_c's perceptrons learn from again
        pooled: bool = False,  # images are reconstructed with the z_d of others of their domain
        own_numbers: int = 0,  # of z_d, which are not pooled
        share: float = 1.0,  # of the images are decoded, above 0; codes are learnt from all
        critic: Critic | None = None,  # of images
        critic_teaches: str = "decoder",  # or "everyone"
        cycle: bool = False,  # with a critic: the content of translations is held to their sources'
        likeness: bool = False,  # with a critic: so is where things are in them
    ) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.q_c = q_c
        self.q_d = q_d
        self.perceptual = perceptual
        self.memory = memory
        self.critic = critic
        self.table = routing_table(
            discriminators=1 if q_d is None else 2,
            route=route,
            pixel=pixel,
            priors=priors,
            alignment=alignment,
            critic=None if critic is None else critic_teaches,
            cycle=cycle,
            likeness=likeness,
        )
        self.term_names = tuple(self.table)
        self.layer_weights = tuple(layer_weights)
        self.confuse = {
            "entropy": terms.negative_entropy,
            "uniform": terms.cross_entropy_to_uniform,
        }[confusion]
        self.augment = augment
        self.q_sees = q_sees
        self.num_domains = num_domains
        self.content_key = randomness.seed_of(seed, "content noise")
        self.domain_key = randomness.seed_of(seed, "domain noise")
        self.share = share
        self.share_key = randomness.seed_of(seed, "decoded")
        self.target_codes = TargetCodes(
            num_domains=num_domains, pooled=pooled, own_numbers=own_numbers, seed=seed
        )
        self.nudge_keys = [
            randomness.seed_of(seed, "feature noise", i) for i in range(len(layer_weights))
        ]
        self.pooled = pooled
        self.own_numbers = own_numbers

    def forward(
        self, images: Tensor, domains: Tensor, slots: Tensor, weights: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted total and every term and measure, unweighted and detached.

        Args:
            images: uint8, N H W C.
            domains: int64, N.
            slots: int64, N; name the noise and the augmentation of each sample.
            weights: float32, a weight per term of ``term_names``.
        """
        x = self.prepare(images, slots)
        views, codes, x_hat = self.views(x, domains, slots)
        chosen = self.decoded(slots)
        with torch.no_grad():
            target = self.perceptual(x[chosen])
        scene = Scene(x, x_hat, codes, domains, chosen, target)
        losses = {
            name: self.term(name, scene, views[view_for(learners)])
            for name, learners in self.table.items()
            if not learners <= DISCRIMINATORS and name not in OF_TRANSLATIONS
        }
        measures: dict[str, Tensor] = {}
        for name, q, z in self.discriminator_inputs(views[View.DETACHED]):
            logits = q(z)
            losses[f"discriminator_{name}"] = terms.discriminator(logits, domains)
            measures |= _watch(f"q_{name}", logits.detach(), domains)
        if self.memory is not None:
            losses["discriminator_c"] = self.recalled(
                self.memory, losses["discriminator_c"], views[View.DETACHED].mean, domains
            )
        if self.critic is not None:
            shown = views[view_for(self.table["realism"])]
            judged, told = self.judged(self.critic, scene, slots, shown)
            losses |= judged
            measures |= told
        found = torch.stack([losses[name] for name in self.term_names])
        total = (found * weights).sum()  # autocast would round a matrix product's weights to bf16
        measures["sigma_c"] = codes.content.sigma.detach().mean()
        measures["sigma_d"] = codes.domain.sigma.detach().mean()
        return total, {name: losses[name].detach() for name in self.term_names} | measures

    def prepare(self, images: Tensor, slots: Tensor) -> Tensor:
        """uint8 N H W C to float N C H W in [-1, 1], channels-last, augmented."""
        x = self.augment(normalise(images), slots)
        return x.contiguous(memory_format=torch.channels_last)

    def views(
        self, x: Tensor, domains: Tensor, slots: Tensor
    ) -> tuple[dict[View, Sampled], Codes, Tensor]:
        """Encode and decode once; return each needed view of the codes, the code distributions
        and the reconstruction. All views share the same noise."""
        h = self.autoencoder.features(x)
        seen = self.autoencoder.seen_by_domain(x, h)
        codes = Codes(self.autoencoder.content(h), self.autoencoder.domain(seen))
        noise = self.noise(codes, slots)
        full = self.sample(codes, noise)
        views = {
            View.FULL: full,
            View.DETACHED: Sampled(full.content.detach(), full.domain.detach(), full.mean.detach()),
        }
        if any(view_for(learners) is View.STREAM for learners in self.table.values()):
            detached = self.stream_codes(h.detach(), seen.detach(), codes)
            views[View.STREAM] = self.sample(detached, noise)
        chosen = self.decoded(slots)
        z_d = full.domain
        if self.pooled:
            shared = mean_of_others(z_d, domains, num_domains=self.num_domains)
            own = self.own_numbers
            z_d = torch.cat([z_d[:, :own], shared[:, own:]], dim=1) if own else shared
        return views, codes, self.autoencoder.decode(full.content[chosen], z_d[chosen])

    def decoded(self, slots: Tensor) -> Tensor | slice:
        """Which images of the micro-batch are decoded: all, or a share of them drawn by slot."""
        if self.share == 1.0:
            return slice(None)
        count = math.ceil(self.share * len(slots))
        return randomness.hash_bits(slots, self.share_key).argsort()[:count]

    def judged(
        self, critic: Critic, scene: Scene, slots: Tensor, z: Sampled
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The terms of the critic and of the translations that it judges; and what it can tell."""
        chosen = scene.decoded
        z_d, targets, there = self.target_codes(z.domain, scene.domains, slots, chosen)
        made = self.autoencoder.decode(z.content[chosen], z_d)
        features = self.perceptual(made)
        shown = Shown(scene.target, features, scene.domains[chosen], targets, there)
        losses, told = judge(critic, shown, slots[chosen], self.nudge_keys)
        if "content_cycle" in self.table:
            source = self.deviations(z.mean.detach(), scene.domains)[chosen]
            again = self.deviations(self.content_seen(made), targets)
            losses["content_cycle"] = content_cycle(again, source, there)
        if "unlikeness" in self.table:
            losses["unlikeness"] = unlikeness(features[-1], scene.target[-1], there)
        return losses, told

    def deviations(self, codes: Tensor, domains: Tensor) -> Tensor:
        """Codes N k a b less the mean of their domain's in the micro-batch."""
        return codes - domain_means(codes, domains, num_domains=self.num_domains)[domains]

    def content_seen(self, x: Tensor) -> Tensor:
        """mu_c of images N 3 H W by an encoder that does not learn from it: N k a b."""
        h = frozen(self.autoencoder.trunk, x)
        code: Gaussian = frozen(self.autoencoder.content, h)
        return code.mean

    def stream_codes(self, h: Tensor, seen: Tensor, codes: Codes) -> Codes:
        """Run the streams again on detached features; the domain stream only if a term asks."""
        domain = self.autoencoder.domain(seen) if "domain" in self.table else codes.domain
        return Codes(self.autoencoder.content(h), domain)

    def noise(self, codes: Codes, slots: Tensor) -> Sampled:
        """eps_c N k a b and eps_d N j a b: functions of the seed and each sample's slot."""
        k, a, b = codes.content.mean.shape[1:]
        j = codes.domain.mean.shape[1]
        return Sampled(
            randomness.normal(slots, (k, a, b), self.content_key),
            randomness.normal(slots, (j, a, b), self.domain_key),
            torch.zeros_like(codes.content.mean),
        )

    def sample(self, codes: Codes, noise: Sampled) -> Sampled:
        """The reparameterisation trick, z = mu + eps * sigma; z_d after broadcasting."""
        broadcast = self.autoencoder.broadcast
        return Sampled(
            codes.content.mean + noise.content * codes.content.sigma,
            broadcast(codes.domain.mean) + noise.domain * broadcast(codes.domain.sigma),
            codes.content.mean,
        )

    def recalled(self, memory: Memory, loss: Tensor, codes: Tensor, domains: Tensor) -> Tensor:
        """q_c's loss, averaged with that of its perceptrons over codes of past micro-batches."""
        assert isinstance(self.q_c, Panel)
        old, whose = memory.swap(codes, domains)
        past = terms.discriminator_of_known(self.q_c.perceptrons(old), whose)
        known = (whose >= 0).sum()
        share = known / (known + len(domains))
        return (1 - share) * loss + share * past

    def term(self, name: str, scene: Scene, z: Sampled) -> Tensor:
        """One term of the encoder's and decoder's; discriminators inside it do not learn."""
        codes, domains = scene.codes, scene.domains
        match name:
            case "reconstruction":
                found = self.perceptual(scene.x_hat)
                return terms.perceptual(found, scene.target, self.layer_weights)
            case "pixel":
                return terms.pixel(scene.x_hat, scene.x[scene.decoded])
            case "confusion":
                return self.confuse(frozen(self.q_c, self.shown(z)))
            case "alignment":
                shown = self.shown(z)
                parts = shown.chunk(len(shown) // len(domains))
                gaps = [
                    code_distance(part, domains, num_domains=self.num_domains) for part in parts
                ]
                return torch.stack(gaps).mean()
            case "domain":
                assert self.q_d is not None
                return terms.discriminator(frozen(self.q_d, z.domain), domains)
            case "content_prior":
                return terms.prior(codes.content)
            case "domain_prior":
                return terms.prior(codes.domain)
        raise AssertionError(f"the routing table has a term without a formula: {name}")

    def shown(self, z: Sampled) -> Tensor:
        """The content codes that q_c sees, N k a b, or 2N k a b if both kinds."""
        match self.q_sees:
            case "samples":
                return z.content
            case "means":
                return z.mean
        return torch.cat([z.content, z.mean])

    def discriminator_inputs(self, z: Sampled) -> list[tuple[str, nn.Module, Tensor]]:
        """The discriminators with the detached codes they learn from."""
        pairs = [("c", self.q_c, self.shown(z))]
        return pairs if self.q_d is None else [*pairs, ("d", self.q_d, z.domain)]


def _watch(name: str, logits: Tensor, domains: Tensor) -> dict[str, Tensor]:
    """Accuracy, and entropy as a share of its maximum log m."""
    entropy = -terms.negative_entropy(logits) / math.log(logits.shape[1])
    told = domains.repeat(len(logits) // len(domains))
    accuracy = (logits.argmax(dim=1) == told).float().mean()
    return {f"{name}_entropy": entropy, f"{name}_accuracy": accuracy}
