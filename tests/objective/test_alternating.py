"""One simultaneous backward equals the plain alternating reference, player by player."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional as F

from tests.objective.tiny import tiny_batch, tiny_objective

LR, Q_LR, STEPS = 1e-2, 5e-3, 3


def weights_of(objective) -> torch.Tensor:
    scale = {"confusion": 0.5, "domain": 0.3, "content_prior": 0.1, "domain_prior": 0.1}
    return torch.tensor([scale.get(name, 1.0) for name in objective.term_names])


def train_together(objective) -> None:
    """What the engine does: one backward, one optimizer with a group per player."""
    q = [p for n, p in objective.named_parameters() if n.startswith("q_")]
    optimizer = torch.optim.Adam(
        [
            {"params": list(objective.autoencoder.parameters()), "lr": LR},
            {"params": q, "lr": Q_LR},
        ]
    )
    for step in range(STEPS):
        total, _ = objective(*tiny_batch(step=step), weights_of(objective))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()


def train_alternating(objective) -> None:
    """The textbook way: an auto-encoder step, then discriminator steps on the same codes."""
    q_parameters = [p for n, p in objective.named_parameters() if n.startswith("q_")]
    ae_parameters = list(objective.autoencoder.parameters())
    ae_optimizer = torch.optim.Adam(ae_parameters, lr=LR)
    q_optimizer = torch.optim.Adam(q_parameters, lr=Q_LR)
    for step in range(STEPS):
        images, domains, slots = tiny_batch(step=step)
        codes = ae_step(objective, ae_optimizer, q_parameters, images, domains, slots)
        q_optimizer.zero_grad()
        loss = F.cross_entropy(objective.q_c(codes[0]), domains)
        loss = loss + F.cross_entropy(objective.q_d(codes[1]), domains)
        loss.backward()
        q_optimizer.step()


def ae_step(objective, optimizer, q_parameters, images, domains, slots):
    ae = objective.autoencoder
    optimizer.zero_grad()
    for p in q_parameters:
        p.requires_grad_(False)
    x = objective.prepare(images, slots)
    h = ae.trunk(x)

    def codes_of(features):
        c, d = ae.content(features), ae.domain(features)
        noise = objective.noise(type("C", (), {"content": c, "domain": d}), slots)
        z_c = c.mean + noise.content * c.sigma
        z_d = d.mean[..., None, None] + noise.domain * d.sigma[..., None, None]
        return c, d, z_c, z_d

    c, d, z_c, z_d = codes_of(h)
    x_hat = ae.decoder(z_c, z_d)
    (f_hat,), (f,) = objective.perceptual(x_hat), objective.perceptual(x)
    _, _, s_c, s_d = codes_of(h.detach())  # gradients of L_c and L_d end in their stream
    q = objective.q_c(s_c).softmax(1)
    loss = (f_hat - f).square().mean() + (x_hat - x).abs().mean()
    loss = loss + 0.5 * (q * q.log()).sum(1).mean()
    loss = loss + 0.3 * F.cross_entropy(objective.q_d(s_d), domains)
    for code in (c, d):
        kl = 0.5 * (code.mean**2 + code.sigma**2 - 1 - (code.sigma**2).log())
        loss = loss + 0.1 * kl.mean()
    loss.backward()
    optimizer.step()
    for p in q_parameters:
        p.requires_grad_(True)
    return z_c.detach(), z_d.detach()


def test_one_backward_equals_alternating_steps() -> None:
    torch.set_num_threads(1)
    together = tiny_objective()
    alternating = copy.deepcopy(together)
    start = copy.deepcopy(together)
    train_together(together)
    train_alternating(alternating)
    moved = 0.0
    for (name, a), (_, b), (_, s) in zip(
        together.named_parameters(),
        alternating.named_parameters(),
        start.named_parameters(),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=2e-4, msg=lambda m, n=name: f"{n}: {m}")
        moved = max(moved, (a - s).abs().max().item())
    assert moved > 1e-2  # the agreement is not that of two models which never moved


@pytest.mark.parametrize("confusion", ["entropy", "uniform"])
def test_confusion_lowers_what_q_knows(confusion: str) -> None:
    """Descending L_c alone brings q_c's answer on the same codes to uniform."""
    objective = tiny_objective(confusion=confusion, route="encoder")
    with torch.no_grad():
        objective.q_c.out.bias += torch.tensor([0.5, -0.5])
    weights = torch.tensor([float(name == "confusion") for name in objective.term_names])
    optimizer = torch.optim.Adam(objective.autoencoder.parameters(), lr=1e-2)
    entropies = []
    for _ in range(80):
        total, measures = objective(*tiny_batch(), weights)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        entropies.append(measures["q_c_entropy"].item())
    assert entropies[-1] > entropies[0] + 0.05, entropies
