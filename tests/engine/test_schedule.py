"""Rates and weights as functions of the step."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from srae_dist.engine.schedule import endless_warmup, learning_rate, term_weights
from srae_dist.recipe.schema import Objective, Train

NAMES = ("reconstruction", "pixel", "confusion", "content_prior", "domain_prior")


def rates(train: Train, base: float = 2.0) -> list[float]:
    return [learning_rate(step, base, train) for step in range(train.steps + 1)]


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_warm_up_is_a_line_that_ends_at_the_rate(schedule: str) -> None:
    train = Train.model_validate({"steps": 100, "warmup": 10, "schedule": schedule})
    values = rates(train)
    rises = [b - a for a, b in itertools.pairwise(values[:11])]
    assert values[0] > 0  # the first update counts
    assert rises == pytest.approx([rises[0]] * 10)
    assert values[10] == 2.0


def test_a_warm_up_that_never_ends_is_told() -> None:
    assert endless_warmup(Train(steps=101)) is None  # the last step has the full rate
    assert rates(Train(steps=101))[100] == 2.0
    said = endless_warmup(Train(steps=60))
    assert said is not None
    assert "train.warmup = 100" in said and "train.steps = 60" in said and "to 6 or" in said


def test_constant_stays() -> None:
    assert set(rates(Train(steps=100, warmup=10, schedule="constant"))[10:]) == {2.0}


def test_cosine_falls_to_zero_at_the_end() -> None:
    values = rates(Train(steps=110, warmup=10))
    assert values[10:] == sorted(values[10:], reverse=True)
    assert values[60] == pytest.approx(1.0)  # half way, half the rate
    assert values[109] > 0  # the last update counts
    assert values[110] == pytest.approx(0, abs=1e-12)


@given(
    st.integers(1, 50),
    st.integers(0, 80),
    st.sampled_from(["constant", "cosine"]),
    st.integers(0, 99),
)
def test_a_rate_is_never_negative_nor_above_its_base(
    steps: int, warmup: int, schedule: str, step: int
) -> None:
    train = Train.model_validate({"steps": steps, "warmup": warmup, "schedule": schedule})
    assert 0 <= learning_rate(step, 0.5, train) <= 0.5


def test_no_warm_up_starts_at_the_rate() -> None:
    assert learning_rate(0, 3.0, Train(warmup=0)) == 3.0


def test_weights_are_the_recipe_s() -> None:
    section = Objective(
        reconstruction_weight=2.0,
        pixel_weight=3.0,
        confusion_weight=4.0,
        domain_weight=5.0,
        content_prior=6.0,
        domain_prior=7.0,
    )
    assert term_weights(0, NAMES, section) == [2.0, 3.0, 4.0, 6.0, 7.0]
    assert term_weights(0, NAMES[::-1], section) == [7.0, 6.0, 4.0, 3.0, 2.0]
    assert term_weights(0, ["discriminator_c", "domain", "discriminator_d"], section) == [1, 5, 1]


def test_confusion_grows_to_its_weight() -> None:
    section = Objective(confusion_weight=0.5, confusion_warmup=10)
    weights = [term_weights(step, NAMES, section) for step in range(20)]
    confusion = [row[2] for row in weights]
    assert confusion[:10] == pytest.approx([0.05 * n for n in range(1, 11)])
    assert confusion[9:] == [0.5] * 11
    for row in weights:  # nothing else moves
        assert [*row[:2], *row[3:]] == [*weights[0][:2], *weights[0][3:]]


def test_a_critic_s_opinion_grows_by_its_own_warm_up() -> None:
    section = Objective(
        critic_weight=0.5,
        critic_warmup=10,
        critic_slope_weight=2.0,
        content_cycle_weight=0.25,
        likeness_weight=0.25,
    )
    names = ["realism", "content_cycle", "unlikeness", "critic", "critic_slope", "confusion"]
    weights = [term_weights(step, names, section) for step in (0, 4, 9, 19)]
    assert [row[0] for row in weights] == pytest.approx([0.05, 0.25, 0.5, 0.5])
    assert [row[1] for row in weights] == pytest.approx([0.025, 0.125, 0.25, 0.25])
    assert [row[2] for row in weights] == [row[1] for row in weights]
    assert {tuple(row[3:]) for row in weights} == {(1.0, 2.0, 0.1)}


def test_the_domain_term_grows_alike() -> None:
    section = Objective(discriminators=2, domain_weight=0.5, confusion_warmup=10)
    weights = [term_weights(step, ["domain"], section)[0] for step in (0, 4, 9, 19)]
    assert weights == pytest.approx([0.05, 0.25, 0.5, 0.5])


def test_discriminators_may_keep_their_rate() -> None:
    from torch import nn

    from srae_dist.engine.players import make_optimizer, set_rates

    made = {name: [nn.Parameter(torch.zeros(1))] for name in ("autoencoder", "q_c", "q_d")}
    train = Train(steps=100, warmup=10, discriminator_schedule="constant")
    optimizer = make_optimizer(made, train)
    set_rates(optimizer, 99, train)
    rates = {group["player"]: group["lr"] for group in optimizer.param_groups}
    assert rates["q_c"] == rates["q_d"] == train.discriminator_lr
    assert rates["autoencoder"] < 0.01 * train.lr
