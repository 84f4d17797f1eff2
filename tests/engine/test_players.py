"""One optimizer, and every player for itself."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from srae_dist.engine.players import clip_players, make_optimizer, players, set_rates
from srae_dist.recipe.schema import Train
from tests.objective.tiny import tiny_critic, tiny_objective

TRAIN = Train(
    lr=0.5,
    discriminator_lr=0.25,
    betas=(0.8, 0.9),
    discriminator_betas=(0.1, 0.2),
    warmup=9,
    steps=100,
    weight_decay=0.03,  # not AdamW's own
)


def groups(discriminators: int = 2) -> dict[str, list[nn.Parameter]]:
    return players(tiny_objective(discriminators=discriminators))


@pytest.mark.parametrize(
    ("discriminators", "names"),
    [(1, ["autoencoder", "q_c"]), (2, ["autoencoder", "q_c", "q_d"])],
)
def test_every_learning_parameter_has_one_player(discriminators: int, names: list[str]) -> None:
    objective = tiny_objective(discriminators=discriminators)
    made = players(objective)
    assert list(made) == names
    members = [id(p) for group in made.values() for p in group]
    learning = [id(p) for p in objective.parameters() if p.requires_grad]
    assert sorted(members) == sorted(learning)
    assert len(set(members)) == len(members)
    assert {id(p) for p in made["autoencoder"]} == {
        id(p) for p in objective.autoencoder.parameters()
    }


def test_a_critic_is_a_player_with_its_own_rate_that_falls_as_the_auto_encoder_s() -> None:
    made = players(tiny_objective(critic=tiny_critic()))
    assert list(made) == ["autoencoder", "q_c", "q_d", "critic"]
    train = TRAIN.model_copy(update={"critic_lr": 0.125, "discriminator_schedule": "constant"})
    optimizer = make_optimizer(made, train)
    set_rates(optimizer, 99, train)
    rates = {group["player"]: group["lr"] for group in optimizer.param_groups}
    assert rates["q_c"] == rates["q_d"] == 0.25
    assert rates["critic"] == pytest.approx(rates["autoencoder"] / 4)
    assert rates["critic"] < 0.001


def test_vgg_is_nobody_s() -> None:
    objective = tiny_objective()
    frozen = {id(p) for p in objective.perceptual.parameters()}
    assert frozen
    assert not frozen & {id(p) for group in players(objective).values() for p in group}


def test_each_group_has_its_own_rate_and_betas() -> None:
    optimizer = make_optimizer(groups(), TRAIN)
    found = {g["player"]: (g["lr"], tuple(g["betas"])) for g in optimizer.param_groups}
    q = (0.25, (0.1, 0.2))
    assert found == {"autoencoder": (0.5, (0.8, 0.9)), "q_c": q, "q_d": q}
    assert {g["weight_decay"] for g in optimizer.param_groups} == {0.03}


@pytest.mark.parametrize(("step", "share"), [(0, 0.1), (4, 0.5), (9, 1.0)])
def test_rates_follow_the_step_from_each_base(step: int, share: float) -> None:
    optimizer = make_optimizer(groups(), TRAIN)
    for _ in range(2):  # a function of the step, not of how often it was asked
        set_rates(optimizer, step, TRAIN)
    rates = [g["lr"] for g in optimizer.param_groups]
    assert rates == pytest.approx([0.5 * share, 0.25 * share, 0.25 * share])


def test_a_step_moves_each_player_by_its_own_rate() -> None:
    """Adam's first step is the rate itself, whatever the gradient's size."""
    made = {name: [nn.Parameter(torch.zeros(3))] for name in ("autoencoder", "q_c")}
    optimizer = make_optimizer(made, Train(lr=0.5, discriminator_lr=0.25))
    for name, scale in (("autoencoder", 1e-3), ("q_c", 1e3)):
        made[name][0].grad = torch.full((3,), scale)
    optimizer.step()
    torch.testing.assert_close(
        made["autoencoder"][0].detach(), torch.full((3,), -0.5), rtol=1e-4, atol=0
    )
    torch.testing.assert_close(made["q_c"][0].detach(), torch.full((3,), -0.25), rtol=1e-4, atol=0)


def test_a_player_s_huge_gradient_shrinks_nobody_else_s() -> None:
    made = groups()
    scales = {"autoencoder": 1e-5, "q_c": 1e6, "q_d": 1e-3}
    for name, members in made.items():
        for parameter in members:
            parameter.grad = torch.full_like(parameter, scales[name])
    norms = clip_players(made, 1.0)
    counts = {name: sum(p.numel() for p in members) for name, members in made.items()}
    for name, members in made.items():
        expected = scales[name] * counts[name] ** 0.5
        assert float(norms[name]) == pytest.approx(expected, rel=1e-3)  # before clipping
        after = torch.cat([p.grad.flatten() for p in members if p.grad is not None]).norm()
        assert float(after) == pytest.approx(min(1.0, expected), rel=1e-3)


def test_a_gradient_that_is_not_finite_is_told_by_its_player_s_norm() -> None:
    made = groups()
    for members in made.values():
        for parameter in members:
            parameter.grad = torch.ones_like(parameter)
    made["q_c"][-1].grad = torch.full_like(made["q_c"][-1], float("nan"))
    norms = clip_players(made, 1.0)
    finite = {name: bool(torch.isfinite(norm)) for name, norm in norms.items()}
    assert finite == {"autoencoder": True, "q_c": False, "q_d": True}
