"""The objective from a recipe's sections: every network, on the CPU, with weights from the seed."""

from __future__ import annotations

from srae_dist.model.autoencoder import AutoEncoder
from srae_dist.model.build import build_critic, build_discriminator
from srae_dist.model.vgg import PerceptualNetwork
from srae_dist.objective.augment import Augmentation
from srae_dist.objective.glimpses import Glimpses
from srae_dist.objective.memory import Memory
from srae_dist.objective.moments import RunningMoments
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
    return Objective(
        autoencoder,
        q["q_c"],
        q.get("q_d"),
        PerceptualNetwork(perceptual.layers, weights=perceptual.weights),
        route=objective.route,
        confusion=objective.confusion,
        layer_weights=perceptual.layer_weights or [1.0] * len(perceptual.layers),
        pixel=objective.pixel_weight > 0,
        priors=objective.content_prior > 0 or objective.domain_prior > 0,
        augment=Augmentation(flip=data.flip, crop=data.crop, light=data.light, seed=seed),
        seed=seed,
        q_sees=objective.q_sees,
        q_penalty=objective.q_penalty,
        num_domains=num_domains,
        alignment=objective.alignment_weight > 0,
        moments=RunningMoments(
            numbers=model.content_channels * model.code_size**2,
            num_domains=num_domains,
            rate=objective.moments_rate,
        )
        if objective.moments_weight > 0
        else None,
        memory=Memory(
            places=objective.q_memory,
            shape=(model.content_channels, model.code_size, model.code_size),
        )
        if objective.q_memory
        else None,
        critic=build_critic(model, num_domains=num_domains, seed=seed)
        if objective.realism_weight > 0
        else None,
        cycles=frozenset(
            name
            for name, weight in (
                ("cycle_c", objective.content_cycle),
                ("cycle_d", objective.domain_cycle),
            )
            if weight > 0
        ),
        domain_code=objective.domain_code,
        share=objective.decoded_share,
        glimpses=Glimpses(objective.recolour, objective.scramble, seed=seed),
    )
