"""What q_c learns from again: the last codes, and none that are not there or not numbers."""

from __future__ import annotations

import torch

from srae_dist.objective import terms
from srae_dist.objective.memory import Memory


def test_the_newest_codes_push_the_oldest_out() -> None:
    memory = Memory(places=5, shape=(1,))
    for start in (0, 2, 4):
        memory.swap(torch.arange(start, start + 2.0)[:, None], torch.tensor([0, 1]))
    codes, domains = memory.swap(torch.zeros(1, 1), torch.tensor([0]))
    assert codes[:, 0].tolist() == [4, 5, 2, 3, 0]
    assert domains.tolist() == [0, 1, 0, 1, 0]


def test_an_empty_memory_teaches_nothing() -> None:
    codes, domains = Memory(places=3, shape=(2,)).swap(torch.rand(2, 2), torch.tensor([0, 1]))
    logits = codes.requires_grad_() @ torch.rand(2, 2)
    loss = terms.discriminator_of_known(logits, domains)
    loss.backward()
    assert loss == 0 and codes.grad is not None and not codes.grad.any()


def test_known_codes_count_alike() -> None:
    logits = torch.randn(6, 2)  # two answers to each of three codes
    told = torch.tensor([0, -1, 1])
    known = torch.tensor([True, False, True]).repeat(2)
    wanted = terms.discriminator(logits[known], torch.tensor([0, 1]))
    torch.testing.assert_close(terms.discriminator_of_known(logits, told), wanted)


def test_codes_that_are_no_numbers_are_forgotten() -> None:
    memory = Memory(places=4, shape=(1,))
    memory.swap(torch.ones(2, 1), torch.tensor([0, 1]))
    memory.swap(torch.full((2, 1), torch.nan), torch.tensor([0, 1]))
    codes, domains = memory.swap(torch.zeros(1, 1), torch.tensor([0]))
    assert codes.isfinite().all()
    assert domains.tolist() == [-1, -1, 0, 1]


def test_a_memory_travels_with_the_weights() -> None:
    memory, other = Memory(places=4, shape=(1,)), Memory(places=4, shape=(1,))
    memory.swap(torch.ones(2, 1), torch.tensor([0, 1]))
    other.load_state_dict(memory.state_dict())
    assert other.domains.tolist() == [0, 1, -1, -1]
