"""Who lends a domain code: another domain's image, at random, whatever else is going on."""

from __future__ import annotations

import torch

from srae_dist.objective.partners import partners


def test_the_lender_is_of_another_domain() -> None:
    domains = torch.arange(64) % 3
    lent = partners(domains, torch.arange(64) + 5, 11)
    assert (domains[lent] != domains).all()
    assert len(set(lent.tolist())) > 20  # not always the same few


def test_steps_and_keys_differ() -> None:
    domains = torch.arange(64) % 2
    first = partners(domains, torch.arange(64), 11)
    assert not torch.equal(first, partners(domains, torch.arange(64) + 64, 11))
    assert not torch.equal(first, partners(domains, torch.arange(64), 12))
    assert torch.equal(first, partners(domains, torch.arange(64), 11))


def test_a_batch_of_one_domain_has_lenders_too() -> None:
    lent = partners(torch.zeros(4).long(), torch.arange(4), 11)
    assert ((lent >= 0) & (lent < 4)).all()
