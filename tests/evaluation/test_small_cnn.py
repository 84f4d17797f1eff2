"""The little network of the judges: any size, no neighbours, fair and reproducible batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from srae_dist.evaluation.small_cnn import Fit, SmallCnn, fit, labelled, read, shifted

FIT = Fit(steps=3, batch=32, width=8, shift=2)


def pictures(count: int, size: int = 32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), np.uint8)


@pytest.mark.parametrize("size", [32, 48, 64, 256])
def test_any_size_is_read_pixel_by_pixel(size: int) -> None:
    network = SmallCnn(size=size, outputs=3, width=8)
    x = torch.zeros(1, 3, size, size, requires_grad=True)
    assert network(x).shape == (1, 3)
    network(x + 0.1 * torch.linspace(-1, 1, size)).square().sum().backward()
    assert x.grad is not None
    assert (x.grad != 0).all()


def test_an_answer_does_not_depend_on_the_neighbours() -> None:
    labels = np.arange(8) % 2
    network = fit(
        labelled(pictures(8), labels, settings=FIT, seed=0),
        outputs=2,
        loss=F.cross_entropy,
        settings=FIT,
        seed=0,
    )
    images = pictures(5, seed=1)
    together = read(network, images)
    alone = np.concatenate([read(network, images[i : i + 1]) for i in range(5)])
    assert np.allclose(together, alone, atol=1e-5)


def test_every_label_is_equally_likely() -> None:
    labels = np.array([0] * 90 + [1] * 9 + [2])
    images = np.broadcast_to(labels.astype(np.uint8)[:, None, None, None], (100, 4, 4, 3))
    batch = labelled(images, labels, settings=Fit(steps=1, batch=600), seed=0)
    pixels, drawn = batch(0)
    assert np.bincount(drawn).min() > 150
    assert np.array_equal(pixels[:, 0, 0, 0], drawn)
    assert np.array_equal(batch(0)[1], drawn)
    assert not np.array_equal(batch(1)[1], drawn)


def test_shifts_move_down_and_right_and_repeat_edges() -> None:
    images = pictures(3, size=5)
    moved = shifted(images, np.array([[1, 0], [0, -2], [0, 0]]))
    assert np.array_equal(moved[0, 1:], images[0, :-1])
    assert np.array_equal(moved[0, 0], images[0, 0])
    assert np.array_equal(moved[1, :, :-2], images[1, :, 2:])
    assert np.array_equal(moved[1, :, -1], images[1, :, -1])
    assert np.array_equal(moved[2], images[2])
