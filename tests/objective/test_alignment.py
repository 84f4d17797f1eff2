"""The energy distance: nothing between equals, more the further apart, and it can be descended."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from srae_dist.objective.alignment import code_distance, energy_distance


def cloud(count: int, shift: float, seed: int, scale: float = 1.0) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    return shift + scale * torch.randn(count, 3, generator=source)


def between(*clouds: Tensor) -> float:
    domains = torch.cat([torch.full((len(c),), i) for i, c in enumerate(clouds)])
    return float(energy_distance(torch.cat(clouds)[None], domains, num_domains=len(clouds)))


def test_it_is_the_formula() -> None:
    a, b = cloud(5, 0.0, 1), cloud(7, 1.0, 2)
    across = torch.cdist(a, b).mean()
    own = [torch.cdist(c, c).sum() / (len(c) * (len(c) - 1)) for c in (a, b)]
    assert between(a, b) == pytest.approx(float(2 * across - own[0] - own[1]), abs=1e-4)


def test_it_has_no_bias_where_the_domains_are_alike() -> None:
    values = [between(cloud(6, 0.0, 2 * i), cloud(6, 0.0, 2 * i + 1)) for i in range(300)]
    mean, error = torch.tensor(values).mean(), torch.tensor(values).std() / 300**0.5
    assert abs(float(mean)) < 3 * float(error)
    assert min(values) < 0  # an estimate that is never negative would be biased


def test_means_and_spreads_count() -> None:
    same = between(cloud(200, 0.0, 1), cloud(200, 0.0, 2))
    assert between(cloud(200, 0.0, 1), cloud(200, 0.5, 2)) > 10 * abs(same)
    assert between(cloud(200, 0.0, 1), cloud(200, 0.0, 2, scale=2.0)) > 10 * abs(same)


def test_a_domain_that_is_missing_or_alone_takes_no_part() -> None:
    a, b = cloud(5, 0.0, 1), cloud(5, 1.0, 2)
    domains = torch.tensor([0] * 5 + [2] * 5 + [3])
    codes = torch.cat([a, b, cloud(1, 9.0, 3)])[None]
    assert float(energy_distance(codes, domains, num_domains=4)) == pytest.approx(between(a, b))
    assert float(energy_distance(a[None], torch.zeros(5).long(), num_domains=2)) == 0.0


def test_descending_draws_the_domains_together() -> None:
    codes = torch.cat([cloud(16, 0.0, 1), cloud(16, 2.0, 2)]).reshape(32, 3, 1, 1)
    codes.requires_grad_()
    domains = torch.tensor([0] * 16 + [1] * 16)
    optimizer = torch.optim.Adam([codes], lr=0.05)
    values = []
    for _ in range(60):
        loss = code_distance(codes, domains, num_domains=2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(float(loss.detach()))
    assert values[-1] < 0.05 * values[0]
