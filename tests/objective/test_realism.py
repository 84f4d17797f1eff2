"""Translations for the critic: to other domains, with codes that are those of the domain."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from srae_dist.model.build import build_critic
from srae_dist.model.vgg import PerceptualNetwork
from srae_dist.objective.objective import Objective
from srae_dist.objective.realism import (
    NUDGE,
    TargetCodes,
    content_cycle,
    critic_loss,
    members_of,
    other_domains,
    rank_one,
    realism_loss,
    slope,
    unlikeness,
)
from tests.objective.tiny import MODEL, SIZE, tiny_batch, tiny_critic, tiny_objective


def test_every_other_domain_is_drawn_alike_and_never_its_own() -> None:
    slots = torch.arange(4000)
    domains = slots % 4
    target = other_domains(domains, slots, num_domains=4, key=7)
    assert (target != domains).all()
    for d in range(4):
        share = F.one_hot(target[domains == d], 4).float().mean(dim=0)
        assert share[[e for e in range(4) if e != d]].min() > 0.28


def test_members_are_of_the_wanted_domain_and_all_are_drawn() -> None:
    domains = torch.tensor([2, 0, 2, 0, 0])
    slots = torch.arange(300)
    place, there = members_of(slots % 3, domains, slots, num_domains=3, key=7)
    assert there.tolist() == [wanted != 1 for wanted in (slots % 3).tolist()]
    assert set(place[slots % 3 == 0].tolist()) == {1, 3, 4}
    assert set(place[slots % 3 == 2].tolist()) == {0, 2}


def test_a_domain_that_is_not_there_counts_nowhere() -> None:
    made = torch.tensor([[5.0], [-5.0]])
    real, there = torch.zeros(3, 1), torch.tensor([True, False])
    assert realism_loss(made, there) == pytest.approx(float(F.softplus(torch.tensor(-5.0))))
    told = float(F.softplus(torch.tensor(0.0)) + F.softplus(torch.tensor(5.0)))
    assert critic_loss(real, made, there) == pytest.approx(told)
    nobody = torch.tensor([False, False])
    assert realism_loss(made, nobody) == 0


def test_lost_content_is_a_share() -> None:
    source = torch.randn(6, 4, 2, 2)
    there = torch.arange(6) < 4
    assert content_cycle(source, source, there) == 0
    everywhere = torch.ones(6, dtype=torch.bool)
    assert float(content_cycle(0 * source, source, everywhere)) == pytest.approx(1.0)
    again = source.clone()
    again[4:] = 7.0  # of those no code could be lent
    assert content_cycle(again, source, there) == 0


def test_what_is_where_is_held_and_not_how_it_looks() -> None:
    source = 3 * torch.randn(6, 4, 8, 8)
    there = torch.arange(6) < 4
    style = 2 * torch.rand(6, 4, 1, 1) + 1, torch.randn(6, 4, 1, 1)
    everywhere = torch.ones(6, dtype=torch.bool)
    assert float(unlikeness(source * style[0] + style[1], source, everywhere)) < 0.01
    assert float(unlikeness(-source, source, everywhere)) == pytest.approx(2.0, abs=0.02)
    other = 3 * torch.randn(6, 4, 8, 8)
    assert float(unlikeness(other, source, everywhere)) == pytest.approx(1.0, abs=0.1)
    assert unlikeness(0 * source, 0 * source, everywhere) == 0  # flat channels say nothing
    made = source.clone()
    made[4:] = other[4:]  # of those no code could be lent
    assert unlikeness(made, source, there) == 0


def test_a_cycle_s_encoder_does_not_learn_from_it() -> None:
    """Else it would learn to see what it hopes to see: only the path to the decoder is taught."""
    objective = tiny_objective(critic=tiny_critic(), cycle=True, critic_teaches="decoder")
    weights = torch.tensor([float(n == "content_cycle") for n in objective.term_names])
    total, _ = objective(*tiny_batch(), weights)
    total.backward()
    assert total > 0
    for part in (objective.autoencoder.trunk, objective.autoencoder.content):
        assert all(p.grad is None or not p.grad.any() for p in part.parameters())
    assert any(
        p.grad is not None and p.grad.any() for p in objective.autoencoder.decoder.parameters()
    )


def test_the_slope_is_half_the_squared_gradient() -> None:
    """Of logits that are linear in the pixels it is known."""
    torch.manual_seed(0)
    weight, x = torch.randn(12), torch.randn(4000, 12)
    noise = torch.randn_like(x) * NUDGE
    logits, nudged = ((y @ weight)[:, None] for y in (x, x + noise))
    expected = 0.5 * float(weight.square().sum())
    there = torch.arange(4000) < 3000
    nudged[~there] = 9.0
    assert float(slope(logits, nudged, there)) == pytest.approx(expected, rel=0.05)


def given_codes(*, pooled: bool, own: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """z_d of a micro-batch, what each image is translated with, and the domains."""
    z = torch.randn(8, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    domains, slots = torch.arange(8) % 2, torch.arange(8)
    codes_for = TargetCodes(num_domains=2, pooled=pooled, own_numbers=own, seed=0)
    given, target, there = codes_for(z, domains, slots, slice(None))
    assert torch.equal(target, 1 - domains)
    assert there.all()
    some = torch.tensor([5, 2])
    assert torch.equal(codes_for(z, domains, slots, some)[0], given[some])
    return z, given, domains


def test_with_own_codes_another_image_lends_its_code() -> None:
    z, given, domains = given_codes(pooled=False)
    for code, domain in zip(given, domains, strict=True):
        lenders = z[domains != domain]
        assert any(torch.equal(code, lender) for lender in lenders)


def test_with_pooled_codes_the_domain_s_mean_is_lent_and_own_numbers_are_moved() -> None:
    z, given, domains = given_codes(pooled=True, own=1)
    for i, domain in enumerate(domains):
        there, here = z[domains != domain].mean(dim=0), z[domains == domain].mean(dim=0)
        torch.testing.assert_close(given[i, 1:], there[1:])
        torch.testing.assert_close(given[i, :1], (z[i] - here + there)[:1])


def test_a_critic_answers_for_places_and_for_the_domain_asked_about() -> None:
    critic = tiny_critic()
    h = torch.rand(3, 64, SIZE, SIZE)
    first, second = (critic([h], torch.full((3,), d)) for d in (0, 1))
    assert first.shape == (3, MODEL.code_size**2)
    assert not torch.allclose(first, second)
    torch.testing.assert_close(critic([h[1:]], torch.tensor([0, 1]))[1], second[2])


def test_a_critic_sees_every_layer_however_small() -> None:
    layers = ["relu1_1", "relu3_1", "relu5_3"]  # 32, 8 and 2 pixels for a code of 8 x 8
    network = PerceptualNetwork(layers, weights="random")
    shapes = network.shapes(SIZE)
    features = network(torch.rand(2, 3, SIZE, SIZE))
    assert shapes == [(h.shape[1], h.shape[2]) for h in features]
    critic = build_critic(MODEL, shapes=shapes, image_size=SIZE, num_domains=2, seed=0)
    assert critic(features, torch.tensor([0, 1])).shape == (2, 64 + 64 + 4)


def test_noise_of_few_numbers_is_noise() -> None:
    noise = rank_one(torch.arange(20_000), (3, 2, 2), key=5).flatten(1)
    torch.testing.assert_close(noise.T.cov(), torch.eye(12), atol=0.06, rtol=0)
    assert noise.mean(dim=0).abs().max() < 0.05


def test_a_critic_that_learns_tells_the_real_from_the_made() -> None:
    """And the decoder, learning from it alone, makes it doubt again."""
    objective = tiny_objective(critic=tiny_critic(), critic_teaches="decoder")
    first = accuracy_after(objective, "critic", "critic.")
    second = accuracy_after(objective, "realism", "autoencoder.")
    assert first > 0.9
    assert second < first - 0.2


def accuracy_after(objective: Objective, term: str, who: str) -> float:
    """Let one player learn from one term for a while; the critic's accuracy then."""
    learning = [p for name, p in objective.named_parameters() if name.startswith(who)]
    optimizer = torch.optim.Adam(learning, lr=3e-3)
    weights = torch.tensor([float(name == term) for name in objective.term_names])
    for step in range(40):
        total, measures = objective(*tiny_batch(step=step), weights)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    return float(measures["critic_accuracy"])


def test_a_micro_batch_of_one_domain_has_nothing_to_translate_to() -> None:
    """As when memory holds one image at a time: the critic learns from what is real."""
    objective = tiny_objective(critic=tiny_critic(), pooled=True)
    images, domains, slots = tiny_batch()
    weights = torch.ones(len(objective.term_names))
    total, found = objective(images, torch.zeros_like(domains), slots, weights)
    total.backward()
    assert found["realism"] == 0
    assert 0 < float(found["critic"]) < 2
    grads = [p.grad for p in objective.parameters() if p.requires_grad]
    assert all(g is not None and g.isfinite().all() for g in grads)
