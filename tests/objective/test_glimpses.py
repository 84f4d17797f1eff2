"""What the streams see: each sample's own view, the same in any batch, and the image when off."""

from __future__ import annotations

import torch
from torch import Tensor

from srae_dist.objective.glimpses import Glimpses

SLOTS = torch.arange(32) + 7
BOTH = Glimpses(recolour=1.0, scramble=4, seed=3)


def images(size: int = 16) -> Tensor:
    source = torch.Generator().manual_seed(0)
    return torch.rand(32, 3, size, size, generator=source) * 2 - 1


def test_nothing_changes_when_off() -> None:
    off = Glimpses()
    assert not off.differ
    assert off.content(images(), SLOTS) is not None
    assert torch.equal(off.content(images(), SLOTS), images())
    assert torch.equal(off.domain(images(), SLOTS), images())


def test_a_sample_looks_alike_in_any_batch() -> None:
    x, part = images(), slice(5, 9)
    for view in (BOTH.content, BOTH.domain):
        torch.testing.assert_close(view(x[part], SLOTS[part]), view(x, SLOTS)[part])


def test_recolouring_keeps_places_and_changes_colours() -> None:
    flat = torch.full((32, 3, 4, 4), 0.2)
    seen = BOTH.content(flat, SLOTS)
    assert seen.amin() >= -1 and seen.amax() <= 1
    assert torch.equal(seen.amax((2, 3)), seen.amin((2, 3)))  # what was even stays even
    assert (seen[:, :, 0, 0].std(0) > 0.1).all()
    x = images()
    weak = Glimpses(recolour=0.1, seed=3).content(x, SLOTS)
    assert (weak - x).abs().mean() < 0.3 * (BOTH.content(x, SLOTS) - x).abs().mean()


def test_scrambling_moves_whole_pieces() -> None:
    x = images()
    seen = BOTH.domain(x, SLOTS)
    assert not torch.equal(seen, x)
    torch.testing.assert_close(seen.flatten(1).sort(1).values, x.flatten(1).sort(1).values)
    pieces = {
        tuple(p.flatten().tolist())
        for p in x[0].unfold(1, 4, 4).unfold(2, 4, 4).permute(1, 2, 0, 3, 4).reshape(16, 3, 4, 4)
    }
    found = seen[0].unfold(1, 4, 4).unfold(2, 4, 4).permute(1, 2, 0, 3, 4).reshape(16, 3, 4, 4)
    assert {tuple(p.flatten().tolist()) for p in found} == pieces
