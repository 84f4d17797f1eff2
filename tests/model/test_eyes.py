"""A domain stream that sees VGG-16's features: who learns, what is saved, what it tells."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load, save

from srae_dist.core.errors import UserError
from srae_dist.engine.players import make_optimizer, players
from srae_dist.model.autoencoder import AutoEncoder
from srae_dist.model.build import build_autoencoder
from srae_dist.model.pixels import normalise
from srae_dist.model.vgg import PerceptualNetwork
from srae_dist.objective.objective import Objective
from srae_dist.recipe.schema import Model, Train
from tests.objective.tiny import MODEL, tiny_batch, tiny_objective

SIZE = 32
SEEING = MODEL.model_copy(update={"domain_sees": "perceptual"})
TUNED = MODEL.model_copy(update={"domain_sees": "tuned"})


@pytest.fixture
def autoencoder() -> AutoEncoder:
    return build_autoencoder(SEEING, image_size=SIZE, seed=0)


@pytest.fixture
def x() -> torch.Tensor:
    return normalise(tiny_batch(4)[0])


def test_the_domain_code_is_read_from_the_frozen_features(
    autoencoder: AutoEncoder, x: torch.Tensor
) -> None:
    seen = PerceptualNetwork(["relu3_3"], weights="random")(x)[0]
    codes = autoencoder.encode(x)
    torch.testing.assert_close(codes.domain.mean, autoencoder.domain(seen).mean)
    with torch.no_grad():
        for parameter in autoencoder.trunk.parameters():
            parameter.zero_()
    after = autoencoder.encode(x)
    torch.testing.assert_close(after.domain.mean, codes.domain.mean)
    assert not torch.allclose(after.content.mean, codes.content.mean)


def taught_by(term: str, objective: Objective) -> set[str]:
    """Networks of the auto-encoder with a gradient when only this term has a weight."""
    weights = torch.tensor([float(name == term) for name in objective.term_names])
    total, _ = objective(*tiny_batch(), weights)
    total.backward()
    return {
        name.split(".")[1]
        for name, parameter in objective.autoencoder.named_parameters(prefix="a")
        if parameter.grad is not None and parameter.grad.any()
    }


@pytest.mark.parametrize("route", ["stream", "encoder"])
def test_the_domain_term_teaches_the_domain_stream_and_nobody_else(route: str) -> None:
    assert taught_by("domain", tiny_objective(route=route, model=SEEING)) == {"domain"}


@pytest.mark.parametrize(("route", "eyes"), [("stream", set()), ("encoder", {"eyes"})])
def test_tuned_eyes_learn_from_the_domain_term_where_the_trunk_would(
    route: str, eyes: set[str]
) -> None:
    assert taught_by("domain", tiny_objective(route=route, model=TUNED)) == {"domain"} | eyes


@pytest.mark.parametrize("term", ["confusion", "discriminator_c", "discriminator_d"])
def test_tuned_eyes_learn_nothing_from_the_content_code(term: str) -> None:
    assert "eyes" not in taught_by(term, tiny_objective(route="encoder", model=TUNED))


def test_tuned_eyes_learn_from_the_reconstruction_but_for_their_first_block() -> None:
    objective = tiny_objective(route="encoder", model=TUNED)
    assert "eyes" in taught_by("reconstruction", objective)
    assert objective.autoencoder.eyes is not None
    learning = {n: p.requires_grad for n, p in objective.autoencoder.eyes.named_parameters()}
    assert [name for name, learns in learning.items() if not learns] == [
        f"features.{layer}.{kind}" for layer in (0, 2) for kind in ("weight", "bias")
    ]
    assert not any(p.requires_grad for p in objective.perceptual.parameters())


def test_tuned_eyes_are_a_player_with_a_rate_of_their_own() -> None:
    made = players(tiny_objective(model=TUNED))
    assert list(made) == ["autoencoder", "tuned", "q_c", "q_d"]
    train = Train(lr=0.5, tuned_lr=0.25, discriminator_lr=0.1, betas=(0.8, 0.9))
    found = {g["player"]: (g["lr"], g["betas"]) for g in make_optimizer(made, train).param_groups}
    assert found["tuned"] == (0.25, (0.8, 0.9))
    assert found["autoencoder"] == (0.5, (0.8, 0.9))


def test_the_frozen_weights_take_no_gradient_and_travel_with_the_model(
    autoencoder: AutoEncoder, x: torch.Tensor
) -> None:
    assert autoencoder.eyes is not None
    assert not any(p.requires_grad for p in autoencoder.eyes.parameters())
    with torch.no_grad():
        for parameter in autoencoder.eyes.parameters():
            parameter.mul_(1.5)  # other weights than a new model would be given
    saved = load(save(dict(autoencoder.state_dict())))
    with torch.device("meta"):
        again = build_autoencoder(SEEING, image_size=SIZE, seed=1)
    again.to_empty(device="cpu").load_state_dict(saved)
    torch.testing.assert_close(again.encode(x).domain.mean, autoencoder.encode(x).domain.mean)


def test_weights_that_are_not_there_are_named() -> None:
    with pytest.raises(UserError, match=r"perceptual\.weights: nowhere\.safetensors"):
        build_autoencoder(SEEING, image_size=SIZE, seed=0, eyes="nowhere.safetensors")


def test_the_paper_s_model_has_none() -> None:
    plain = build_autoencoder(Model(), image_size=SIZE, seed=0)
    assert plain.eyes is None
    assert not any("eyes" in name for name in plain.state_dict())
