"""The objective from a recipe's sections: every network, on the CPU, with weights from the seed."""

from __future__ import annotations

from srae_dist.model.autoencoder import AutoEncoder
from srae_dist.model.build import build_critic, build_discriminator
from srae_dist.model.vgg import PerceptualNetwork
from srae_dist.objective.augment import Augmentation
from srae_dist.objective.memory import Memory
from srae_dist.objective.objective import Objective
from srae_dist.recipe import schema


def build_objective(
    autoencoder: AutoEncoder,
    *,
    model: schema.Model,
    objective: schema.Objective,
    perceptual: schema.Perceptual,
    num_domains: int,  # m
    data: schema.Data,
    seed: int,
) -> Objective:
    """Put discriminators, perceptual network and terms around an auto-encoder.

    Raises:
        UserError: the perceptual network's weights or layers are not to be had.
    """
    names = ("q_c", "q_d")[: objective.discriminators]
    q = {
        name: build_discriminator(model, name, num_domains=num_domains, seed=seed) for name in names
    }
    network = PerceptualNetwork(perceptual.layers, weights=perceptual.weights)
    size = autoencoder.image_size
    return Objective(
        autoencoder,
        q["q_c"],
        q.get("q_d"),
        network,
        route=objective.route,
        confusion=objective.confusion,
        layer_weights=perceptual.layer_weights or [1.0] * len(perceptual.layers),
        pixel=objective.pixel_weight > 0,
        priors=objective.content_prior > 0 or objective.domain_prior > 0,
        augment=Augmentation(
            flip=data.flip, crop=data.crop, stretch=data.stretch, light=data.light, seed=seed
        ),
        seed=seed,
        q_sees=objective.q_sees,
        num_domains=num_domains,
        alignment=objective.alignment_weight > 0,
        memory=Memory(
            places=objective.q_memory,
            shape=(model.content_channels, model.code_size, model.code_size),
        )
        if objective.q_memory
        else None,
        pooled=objective.domain_code == "pooled",
        own_numbers=objective.own_numbers,
        share=objective.decoded_share,
        critic=build_critic(
            model,
            shapes=network.shapes(size),
            image_size=size,
            num_domains=num_domains,
            seed=seed,
        )
        if objective.critic_weight
        else None,
        critic_teaches=objective.critic_teaches,
        cycle=objective.content_cycle_weight > 0,
        likeness=objective.likeness_weight > 0,
    )
