"""A tiny objective for tests: 32 x 32 images, a few thousand parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from srae_dist.model.build import build_autoencoder, build_critic, build_discriminator
from srae_dist.model.critic import Critic
from srae_dist.model.vgg import PerceptualNetwork
from srae_dist.objective.augment import Augmentation
from srae_dist.objective.objective import Objective
from srae_dist.recipe.schema import Model

MODEL = Model(
    code_size=8, content_channels=4, domain_channels=3, width=8, max_width=16, discriminator_width=8
)
SIZE = 32


def tiny_objective(
    *,
    discriminators: int = 2,
    route: str = "stream",
    confusion: str = "entropy",
    num_domains: int = 2,
    priors: bool = True,
    seed: int = 0,
    model: Model = MODEL,
    **options: Any,  # of ``Objective``
) -> Objective:
    names = ("q_c", "q_d")[:discriminators]
    q = {n: build_discriminator(model, n, num_domains=num_domains, seed=seed) for n in names}
    return Objective(
        build_autoencoder(model, image_size=SIZE, seed=seed),
        q["q_c"],
        q.get("q_d"),
        PerceptualNetwork(["relu1_2"], weights="random"),
        route=route,
        confusion=confusion,
        layer_weights=[1.0],
        pixel=True,
        priors=priors,
        augment=Augmentation(flip=True, seed=seed),
        seed=seed,
        num_domains=num_domains,
        **options,
    )


def tiny_batch(count: int = 8, *, num_domains: int = 2, step: int = 0) -> tuple[Tensor, ...]:
    """(images, domains, slots) of a global batch."""
    source = torch.Generator().manual_seed(step)
    images = torch.randint(0, 256, (count, SIZE, SIZE, 3), dtype=torch.uint8, generator=source)
    domains = torch.arange(count) % num_domains
    images[domains == 1] //= 2  # so that the domains differ
    return images, domains, torch.arange(count) + step * count


def tiny_critic(num_domains: int = 2) -> Critic:
    model = MODEL.model_copy(update={"critic_width": 8})
    return build_critic(
        model, shapes=[(64, SIZE)], image_size=SIZE, num_domains=num_domains, seed=0
    )
