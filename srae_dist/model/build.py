"""Networks from a recipe's ``[model]`` section."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch

from srae_dist.core import randomness
from srae_dist.core.errors import UserError
from srae_dist.model.autoencoder import AutoEncoder
from srae_dist.model.critic import Critic
from srae_dist.model.discriminators import CodeDiscriminator, DenseDiscriminator, Panel
from srae_dist.model.vgg import PerceptualNetwork
from srae_dist.recipe.schema import Model

EYES = "relu3_3"  # VGG-16's layer that the domain stream sees, if it does not see the trunk


def build_autoencoder(
    model: Model,
    *,
    image_size: int,
    seed: int,
    checkpoint_activations: bool = False,
    eyes: str = "random",
) -> AutoEncoder:
    """Build the auto-encoder with weights drawn from ``seed``.

    Args:
        eyes: where the weights of the domain stream's VGG-16 come from, if the model has one
            (``PerceptualNetwork``); a checkpoint brings them along.

    Raises:
        UserError: the image size is not the code size times a power of two; or those weights are
            not to be had.
    """
    check_sizes(image_size, model.code_size)
    with seeded(seed, "autoencoder"):
        return AutoEncoder(
            image_size=image_size,
            code_size=model.code_size,
            content_channels=model.content_channels,
            domain_channels=model.domain_channels,
            width=model.width,
            max_width=model.max_width,
            blocks=model.blocks,
            content_levels=model.content_levels,
            eyes=None if model.domain_sees == "trunk" else _eyes(model.domain_sees, eyes),
            modulate=model.decoder == "modulate",
            checkpoint_activations=checkpoint_activations,
        )


def _eyes(kind: str, weights: str) -> PerceptualNetwork:
    """VGG-16 as the domain stream sees it, its weights a part of the model."""
    network = PerceptualNetwork([EYES], weights=weights, saved=True)
    if kind == "tuned":
        network.tune()
    return network


def build_discriminator(
    model: Model, name: str, *, num_domains: int, seed: int
) -> CodeDiscriminator | Panel:
    """Build q_c or q_d (``name``) with weights drawn from ``seed``."""
    content = name == "q_c"
    with seeded(seed, name):
        convolutions = CodeDiscriminator(
            channels=model.content_channels if content else model.domain_channels,
            num_domains=num_domains,
            width=model.discriminator_width,
            kernel=3 if content else 1,
        )
        if not content or not model.dense_discriminators:
            return convolutions
        numbers = model.content_channels * model.code_size**2
        width = 2 * model.discriminator_width
        dense = [
            DenseDiscriminator(numbers=numbers, num_domains=num_domains, width=width)
            for _ in range(model.dense_discriminators)
        ]
        return Panel([convolutions, *dense])


def build_critic(
    model: Model,
    *,
    shapes: Sequence[tuple[int, int]],
    image_size: int,
    num_domains: int,
    seed: int,
) -> Critic:
    """Build the image critic, for features of these ``shapes``, its weights drawn from ``seed``."""
    with seeded(seed, "critic"):
        return Critic(
            shapes,
            image_size=image_size,
            code_size=model.code_size,
            width=model.critic_width,
            num_domains=num_domains,
        )


def check_sizes(image_size: int, code_size: int) -> None:
    """Refuse an image size that halving does not bring to the code size.

    Raises:
        UserError: it is not code_size times a power of two, or nothing is halved.
    """
    ratio, rest = divmod(image_size, code_size)
    if rest or ratio < 2 or ratio & (ratio - 1):
        raise UserError(
            f"Images of {image_size} pixels cannot be halved to model.code_size = {code_size}; "
            f"make shards with --size {code_size * 8}, or set a code size that is the image size "
            "divided by 2, 4, 8 or 16."
        )


@contextlib.contextmanager
def seeded(seed: int, name: str) -> Iterator[None]:
    """A context in which torch's initialisers draw from (seed, name); the old state comes back."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(randomness.seed_of(seed, name))
        yield
