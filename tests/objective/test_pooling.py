"""What images of a domain lend each other: nothing of their own comes back to them."""

from __future__ import annotations

import torch

from srae_dist.objective.pooling import mean_of_others
from tests.objective.tiny import tiny_batch, tiny_objective


def test_it_is_the_mean_of_the_domain_s_others() -> None:
    z = torch.rand(5, 3, 2, 2)
    domains = torch.tensor([0, 1, 0, 0, 1])
    lent = mean_of_others(z, domains, num_domains=3)
    torch.testing.assert_close(lent[0], (z[2] + z[3]) / 2)
    torch.testing.assert_close(lent[1], z[4])


def test_who_is_alone_keeps_its_own() -> None:
    z = torch.rand(3, 4)
    lent = mean_of_others(z, torch.tensor([0, 1, 0]), num_domains=2)
    torch.testing.assert_close(lent[1], z[1])


def reached(*, pooled: bool, own: int = 0) -> torch.Tensor:
    """Which numbers of which images' z_d (N x j) the first image's reconstruction depends on."""
    images, domains, slots = tiny_batch()
    objective = tiny_objective(pooled=pooled, own_numbers=own)
    x = objective.prepare(images, slots)
    codes = objective.autoencoder.encode(x)
    z = objective.sample(codes, objective.noise(codes, slots)).domain.detach()
    z.requires_grad_()
    objective.sample = lambda c, n, s=objective.sample, z=z: type(s(c, n))(  # type: ignore[method-assign]
        s(c, n).content, z, c.content.mean
    )
    _, _, x_hat = objective.views(x, domains, slots)
    x_hat[0].sum().backward()
    return z.grad.flatten(2).abs().sum(dim=2) > 0


def test_a_reconstruction_does_not_depend_on_the_image_s_own_domain_code() -> None:
    """Else z_d would carry the single image, and translations would lose it."""
    domains = tiny_batch()[1]
    for pooled in (False, True):
        assert reached(pooled=pooled).any(dim=1).tolist() == [
            (d == 0 and i > 0) if pooled else i == 0 for i, d in enumerate(domains)
        ]


def test_its_own_numbers_are_not_pooled() -> None:
    domains = tiny_batch()[1]
    found = reached(pooled=True, own=1)
    for i, d in enumerate(domains):
        assert found[i, 0] == (i == 0)
        assert found[i, 1:].all() == (d == 0 and i > 0)
        assert found[i, 1:].any() == (d == 0 and i > 0)
