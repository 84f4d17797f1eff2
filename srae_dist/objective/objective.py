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
from torch.nn import functional as F
from torch.func import functional_call

from srae_dist.core import randomness
from srae_dist.core.types import Codes
from srae_dist.model.autoencoder import AutoEncoder
from srae_dist.model.discriminators import DenseDiscriminator
from srae_dist.model.pixels import normalise
from srae_dist.model.vgg import PerceptualNetwork
from srae_dist.objective import terms
from srae_dist.objective.alignment import code_distance
from srae_dist.objective.augment import Augmentation
from srae_dist.objective.glimpses import Glimpses
from srae_dist.objective.memory import NOBODY, Memory
from srae_dist.objective.moments import RunningMoments
from srae_dist.objective.partners import fellows, mean_of_others, partners
from srae_dist.objective.routing import DISCRIMINATORS, View, routing_table, view_for

CRITIC_STEP = 0.1  # of the noise that the critic's slope is measured with
CRITIC_PENALTY = 0.1  # of that slope's square
Q_STEP = 0.1  # likewise, of q_c


@dataclass(frozen=True, slots=True)
class Sampled:
    """Sampled codes under one view: z_c N k a b and z_d N j a b; and mu_c."""

    content: Tensor
    domain: Tensor
    mean: Tensor


@dataclass(frozen=True, slots=True)
class Translated:
    """Images' content codes, decoded with the domain codes of others of the batch."""

    image: Tensor  # n 3 H W
    domains: Tensor  # int64 n, of those that lent their codes
    content: Tensor  # n k a b, mu_c of the sources
    code: Tensor  # n j, mu_d of those that lent


@dataclass(frozen=True, slots=True)
class Scene:
    """What terms are about."""

    x: Tensor  # N 3 H W
    x_hat: Tensor
    codes: Codes
    domains: Tensor
    decoded: Tensor | slice  # which of the images x_hat shows
    translated: Translated | None
    again: Codes | None  # of the translations, encoded again


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
        q_penalty: float = 0.0,  # of q_c's slope
        num_domains: int = 2,  # m
        alignment: bool = False,  # the energy distance is on
        glimpses: Glimpses | None = None,  # what the streams see; None: the image
        moments: RunningMoments | None = None,
        memory: Memory | None = None,
        critic: nn.Module | None = None,  # of images; None: translations are not judged
        cycles: frozenset[str] = frozenset(),  # code cycles: "cycle_c", "cycle_d"
        domain_code: str = "own",  # z_d that images are reconstructed with: "own", "mean", "other"
        share: float = 1.0,  # of the images are decoded, above 0; codes are learnt from all
    ) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.q_c = q_c
        self.q_d = q_d
        if critic is not None:
            self.critic = critic
        self.perceptual = perceptual
        if moments is not None:
            self.moments = moments
        self.memory = memory
        self.table = routing_table(
            discriminators=1 if q_d is None else 2,
            route=route,
            pixel=pixel,
            priors=priors,
            alignment=alignment,
            moments=moments is not None,
            critic=critic is not None,
            cycles=cycles,
        )
        self.term_names = tuple(self.table)
        self.layer_weights = tuple(layer_weights)
        self.confuse = {
            "entropy": terms.negative_entropy,
            "uniform": terms.cross_entropy_to_uniform,
        }[confusion]
        self.augment = augment
        self.glimpses = glimpses or Glimpses()
        self.q_sees = q_sees
        self.num_domains = num_domains
        self.content_key = randomness.seed_of(seed, "content noise")
        self.domain_key = randomness.seed_of(seed, "domain noise")
        self.q_penalty = q_penalty
        self.slope_key = randomness.seed_of(seed, "slope")
        self.share = share
        self.share_key = randomness.seed_of(seed, "decoded")
        self.domain_code = domain_code
        self.fellow_key = randomness.seed_of(seed, "fellows")
        self.partner_key = randomness.seed_of(seed, "partners")
        self.critic_key = randomness.seed_of(seed, "critic")

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
        scene = self.scene(x, x_hat, codes, domains, slots, views)
        losses = {
            name: self.term(name, scene, views[view_for(learners)])
            for name, learners in self.table.items()
            if not learners <= DISCRIMINATORS
        }
        measures: dict[str, Tensor] = {}
        for name, q, z in self.discriminator_inputs(views[View.DETACHED]):
            logits = q(z)
            losses[f"discriminator_{name}"] = terms.discriminator(logits, domains)
            measures |= _watch(f"q_{name}", logits.detach(), domains)
        if self.memory is not None:
            losses["discriminator_c"] = self.recalled(
                losses["discriminator_c"], views[View.DETACHED].mean, domains
            )
        if self.q_penalty:
            losses["discriminator_c"] = losses["discriminator_c"] + self.q_slope(views, slots)
        if "critic" in self.table:
            losses["critic"], measures["critic_gap"] = self.criticism(scene, slots)
        total = torch.stack([losses[name] for name in self.term_names]) @ weights
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
        h_c, h_d = self.features(x, slots)
        codes = Codes(self.autoencoder.content(h_c), self.autoencoder.domain(h_d))
        noise = self.noise(codes, slots)
        full = self.sample(codes, noise)
        views = {
            View.FULL: full,
            View.DETACHED: Sampled(full.content.detach(), full.domain.detach(), full.mean.detach()),
        }
        if any(view_for(learners) is View.STREAM for learners in self.table.values()):
            detached = self.stream_codes(h_c.detach(), h_d.detach(), codes)
            views[View.STREAM] = self.sample(detached, noise)
        chosen = self.decoded(slots)
        lent = self.lent(full.domain, domains, slots)
        return views, codes, self.autoencoder.decode(full.content[chosen], lent[chosen])

    def lent(self, z_d: Tensor, domains: Tensor, slots: Tensor) -> Tensor:
        """The domain codes N j a b that images are decoded with when they are reconstructed."""
        match self.domain_code:
            case "mean":
                return mean_of_others(z_d, domains, num_domains=self.num_domains)
            case "other":
                return z_d[fellows(domains, slots, self.fellow_key)]
            case "halfmean":
                own = randomness.coin(slots, self.fellow_key)[:, None, None, None]
                return torch.where(own, z_d, mean_of_others(z_d, domains, num_domains=self.num_domains))
        return z_d

    def scene(
        self,
        x: Tensor,
        x_hat: Tensor,
        codes: Codes,
        domains: Tensor,
        slots: Tensor,
        views: dict[View, Sampled],
    ) -> Scene:
        """Put together what terms are about; translate and encode again if a term wants it."""
        translated = self.translated(views, codes, domains, slots)
        again = self.encoded_again(translated)
        return Scene(x, x_hat, codes, domains, self.decoded(slots), translated, again)

    def decoded(self, slots: Tensor) -> Tensor | slice:
        """Which images of the micro-batch are decoded: all, or a share of them drawn by slot."""
        if self.share == 1.0:
            return slice(None)
        count = math.ceil(self.share * len(slots))
        return randomness.hash_bits(slots, self.share_key).argsort()[:count]

    def features(self, x: Tensor, slots: Tensor) -> tuple[Tensor, Tensor]:
        """The trunk's features for the content and for the domain stream, N C a b each."""
        if not self.glimpses.differ:
            h = self.autoencoder.features(x)
            return h, h
        seen = torch.cat([self.glimpses.content(x, slots), self.glimpses.domain(x, slots)])
        h = self.autoencoder.features(seen.contiguous(memory_format=torch.channels_last))
        h_c, h_d = h.chunk(2)
        return h_c, h_d

    def stream_codes(self, h_c: Tensor, h_d: Tensor, codes: Codes) -> Codes:
        """Run the streams again on detached features; the domain stream only if a term asks."""
        domain = self.autoencoder.domain(h_d) if "domain" in self.table else codes.domain
        return Codes(self.autoencoder.content(h_c), domain)

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

    def recalled(self, loss: Tensor, codes: Tensor, domains: Tensor) -> Tensor:
        """q_c's loss, averaged with that of its perceptrons over codes of past micro-batches."""
        assert self.memory is not None
        old, whose = self.memory.swap(codes, domains)
        dense = [m for m in self.q_c.members if isinstance(m, DenseDiscriminator)]
        past = torch.stack(
            [F.cross_entropy(m(old), whose, ignore_index=NOBODY, reduction="sum") for m in dense]
        ).sum()
        count = len(dense) * (whose != NOBODY).sum()
        share = count / (count + len(dense) * len(codes))
        return (1 - share) * loss + share * past / count.clamp(min=1)

    def q_slope(self, views: dict[View, Sampled], slots: Tensor) -> Tensor:
        """The square of q_c's gradient at the codes it sees, weighted: R1, by finite differences.

        E |q(z + s eps) - q(z)|^2 / s^2 over normal eps is the gradient's square norm, to first
        order. Without it two players that learn at once circle around their equilibrium (Mescheder
        et al. 2018).
        """
        z = self.shown(views[View.DETACHED])
        noise = randomness.normal(slots, tuple(z.shape[1:]), self.slope_key)
        noise = noise.repeat(len(z) // len(slots), 1, 1, 1).to(z.dtype)
        here, there = self.q_c(z), self.q_c(z + Q_STEP * noise)
        slope: Tensor = ((there - here) / Q_STEP).square().sum(dim=1).mean()
        return self.q_penalty * slope

    def translated(
        self, views: dict[View, Sampled], codes: Codes, domains: Tensor, slots: Tensor
    ) -> Translated | None:
        """Decode z_c of the images that are decoded with another's z_d, if a term wants it."""
        if not self.table.keys() & {"critic", "cycle_c", "cycle_d"}:
            return None
        chosen = self.decoded(slots)
        lender = partners(domains, slots, self.partner_key)[chosen]
        z = views[View.FULL]
        image = self.autoencoder.decode(z.content[chosen], z.domain[lender])
        return Translated(
            image, domains[lender], codes.content.mean[chosen], codes.domain.mean[lender]
        )

    def encoded_again(self, translated: Translated | None) -> Codes | None:
        """Encode translations, if a term wants it."""
        if translated is None or not self.table.keys() & {"cycle_c", "cycle_d"}:
            return None
        return self.autoencoder.encode(translated.image)

    def criticism(self, scene: Scene, slots: Tensor) -> tuple[Tensor, Tensor]:
        """The critic's own loss, and by how much it tells real images from translations.

        A hinge loss, and for the square of its gradient at real images (R1) a finite difference:
        E (D(x + s eps) - D(x))^2 / s^2 over normal eps is its square norm, to first order.
        """
        assert scene.translated is not None
        x, domains = scene.x[scene.decoded], scene.domains[scene.decoded]
        noise = randomness.normal(slots, tuple(x.shape[1:]), self.critic_key).to(x.dtype)
        noise = noise[scene.decoded]
        seen = torch.cat([x, x + CRITIC_STEP * noise, scene.translated.image.detach()])
        scores = self.critic(seen)
        told = torch.cat([domains, domains, scene.translated.domains])
        real, moved, fake = _of(scores, told).chunk(3)
        hinge = (1 - real).relu().mean() + (1 + fake).relu().mean()
        slope = ((moved - real).mean(dim=(1, 2)) / CRITIC_STEP).square().mean()
        return hinge + CRITIC_PENALTY * slope, (real - fake).detach().mean()

    def term(self, name: str, scene: Scene, z: Sampled) -> Tensor:
        """One term of the encoder's and decoder's; discriminators inside it do not learn."""
        codes, domains, translated = scene.codes, scene.domains, scene.translated
        match name:
            case "reconstruction":
                with torch.no_grad():
                    target = self.perceptual(scene.x[scene.decoded])
                found = self.perceptual(scene.x_hat)
                return terms.perceptual(found, target, self.layer_weights)
            case "pixel":
                return terms.pixel(scene.x_hat, scene.x[scene.decoded])
            case "confusion":
                return self.confuse(_frozen(self.q_c, self.shown(z)))
            case "alignment":
                shown = self.shown(z)
                parts = shown.chunk(len(shown) // len(domains))
                gaps = [
                    code_distance(part, domains, num_domains=self.num_domains) for part in parts
                ]
                return torch.stack(gaps).mean()
            case "moments":
                return self.moments(z.mean, domains)
            case "realism":
                assert translated is not None
                return -_of(_frozen(self.critic, translated.image), translated.domains).mean()
            case "cycle_c":
                assert scene.again is not None and translated is not None
                return terms.cycle(scene.again.content.mean, translated.content)
            case "cycle_d":
                assert scene.again is not None and translated is not None
                return terms.cycle(scene.again.domain.mean, translated.code)
            case "domain":
                assert self.q_d is not None
                return terms.discriminator(_frozen(self.q_d, z.domain), domains)
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


def _frozen(q: nn.Module, z: Tensor) -> Tensor:
    """Call a discriminator so that the gradient reaches the code and not its parameters."""
    detached = {name: parameter.detach() for name, parameter in q.named_parameters()}
    return functional_call(q, detached, (z,))  # type: ignore[no-any-return]


def _of(scores: Tensor, domains: Tensor) -> Tensor:
    """Pick from scores N m h w those of each image's domain: N h w."""
    return scores[torch.arange(len(scores), device=scores.device), domains]


def _watch(name: str, logits: Tensor, domains: Tensor) -> dict[str, Tensor]:
    """Accuracy, and entropy as a share of its maximum log m."""
    entropy = -terms.negative_entropy(logits) / math.log(logits.shape[1])
    told = domains.repeat(len(logits) // len(domains))
    accuracy = (logits.argmax(dim=1) == told).float().mean()
    return {f"{name}_entropy": entropy, f"{name}_accuracy": accuracy}
