"""The routing table holds: each term alone teaches exactly the networks of its row."""

from __future__ import annotations

import pytest
import torch

from srae_dist.objective.memory import Memory
from srae_dist.objective.routing import (
    NETWORKS,
    OF_TRANSLATIONS,
    View,
    routing_table,
    view_for,
)
from tests.objective.tiny import MODEL, tiny_batch, tiny_critic, tiny_objective

VARIANTS = [
    (d, r, c) for d in (1, 2) for r in ("stream", "encoder") for c in ("entropy", "uniform")
]

# The table of docs/method.md, typed again by hand.
ALL = {"trunk", "content", "domain", "decoder"}
PAPER = {
    "reconstruction": ALL,
    "pixel": ALL,
    "discriminator_c": {"q_c"},
    "confusion": {"content"},
    "discriminator_d": {"q_d"},
    "domain": {"domain"},
    "content_prior": {"trunk", "content"},
    "domain_prior": {"trunk", "domain"},
}


PLUS = {  # the rows that the paper does not have
    "alignment": {"content"},
    "realism": ALL,
    "content_cycle": ALL,
    "unlikeness": ALL,
    "critic": {"critic"},
    "critic_slope": {"critic"},
}


def network_of(parameter: str) -> str:
    parts = parameter.split(".")
    return parts[1] if parts[0] == "autoencoder" else parts[0]


def learners(objective, term: str) -> set[str]:
    """Networks with a non-zero gradient when only this term has a weight."""
    objective.zero_grad()
    weights = torch.tensor([float(name == term) for name in objective.term_names])
    total, _ = objective(*tiny_batch(), weights)
    total.backward()
    return {
        network_of(name)
        for name, parameter in objective.named_parameters()
        if parameter.grad is not None and parameter.grad.abs().max() > 0
    }


@pytest.mark.parametrize(("discriminators", "route", "confusion"), VARIANTS)
def test_each_term_teaches_its_row(discriminators: int, route: str, confusion: str) -> None:
    objective = tiny_objective(discriminators=discriminators, route=route, confusion=confusion)
    for term, row in objective.table.items():
        assert learners(objective, term) == row, term
    assert ("discriminator_d" in objective.table) == (discriminators == 2)


def test_the_paper_s_table() -> None:
    table = routing_table(discriminators=2, route="stream", pixel=True, priors=True)
    assert {term: set(row) for term, row in table.items()} == PAPER
    encoder = routing_table(discriminators=2, route="encoder", pixel=True, priors=True)
    assert encoder["confusion"] == {"content", "trunk"}
    assert encoder["domain"] == {"domain", "trunk"}


def test_the_rows_that_the_paper_does_not_have() -> None:
    table = routing_table(
        discriminators=2,
        route="stream",
        pixel=True,
        priors=True,
        alignment=True,
        critic="everyone",
        cycle=True,
        likeness=True,
    )
    assert {term: set(row) for term, row in table.items()} == PAPER | PLUS
    alone = routing_table(
        discriminators=2,
        route="stream",
        pixel=True,
        priors=True,
        critic="decoder",
        cycle=True,
        likeness=True,
    )
    assert all(alone[term] == {"decoder"} for term in OF_TRANSLATIONS)


@pytest.mark.parametrize("route", ["stream", "encoder"])
@pytest.mark.parametrize("q_sees", ["samples", "means", "both"])
@pytest.mark.parametrize("critic_teaches", ["decoder", "everyone"])
def test_each_term_beyond_the_paper_teaches_its_row(
    route: str, q_sees: str, critic_teaches: str
) -> None:
    model = MODEL.model_copy(
        update={
            "dense_discriminators": 2,
            "content_levels": 3,
            "decoder": "modulate",
        }
    )
    objective = tiny_objective(
        route=route,
        model=model,
        alignment=True,
        q_sees=q_sees,
        share=0.5,
        pooled=True,
        memory=Memory(places=12, shape=(4, 8, 8)),
        critic=tiny_critic(),
        critic_teaches=critic_teaches,
        cycle=True,
        likeness=True,
    )
    assert set(objective.table) == set(PAPER | PLUS)
    for term, row in objective.table.items():
        assert learners(objective, term) == row, term
    total, _ = objective(*tiny_batch(), torch.ones(len(objective.term_names)))
    total.backward()
    assert not [n for n, p in objective.named_parameters() if p.requires_grad and p.grad is None]


def test_views_follow_the_learners() -> None:
    assert view_for(frozenset({"trunk", "content"})) is View.FULL
    assert view_for(frozenset({"content"})) is View.STREAM
    assert view_for(frozenset({"q_c"})) is View.DETACHED


@pytest.mark.parametrize(("discriminators", "route", "confusion"), VARIANTS)
def test_every_parameter_learns_at_every_step(
    discriminators: int, route: str, confusion: str
) -> None:
    """So DDP needs no search for unused parameters."""
    objective = tiny_objective(discriminators=discriminators, route=route, confusion=confusion)
    total, _ = objective(*tiny_batch(), torch.ones(len(objective.term_names)))
    total.backward()
    idle = [n for n, p in objective.named_parameters() if p.requires_grad and p.grad is None]
    assert idle == []
    seen = {network_of(n) for n, p in objective.named_parameters() if p.requires_grad}
    assert seen == set(NETWORKS) - {"critic"} - ({"q_d"} if discriminators == 1 else set())


def test_vgg_never_learns() -> None:
    objective = tiny_objective()
    assert not any(p.requires_grad for p in objective.perceptual.parameters())
