"""A small convolutional network that is trained in a minute on a core: a judge of images.

What it learns is a function of its batches and a seed alone, on a given CPU: batches are functions
of the step, weights are drawn from the seed, and one thread does the work. Two gain little on so
small a network, and beside other programs they were measured at a quarter the speed. On a GPU
convolutions are asked for in the same order each time; the pooling's gradients are summed in any.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from srae_dist.core import randomness
from srae_dist.model.blocks import norm
from srae_dist.model.build import seeded
from srae_dist.model.pixels import to_float

Pixels = NDArray[np.uint8]  # N H W 3
Source = Callable[[int], tuple[Pixels, NDArray[Any]]]  # a step to its images and targets
Loss = Callable[[Tensor, Tensor], Tensor]

BATCH = 256  # images read together; fixed, since a convolution's last digits may depend on it
_WARMUP = 0.1  # share of the steps
_LARGEST_GRADIENT = 1.0


@dataclass(frozen=True, slots=True)
class Fit:
    """How a network is trained: AdamW, a short warm-up, then a cosine down to nothing."""

    steps: int
    batch: int = 64
    lr: float = 2e-3
    width: int = 32  # channels behind the first convolution, a multiple of 8; doubled once
    shift: int = 0  # augmentation: images are moved by up to so many pixels, edges repeated


class SmallCnn(nn.Module):
    """Images N 3 H W in [-1, 1], of 32 pixels or more a side, to N outputs.

    The first convolution sees every pixel and brings any size near 16 x 16; group norm, so that
    an answer never depends on the other images of a batch.
    """

    def __init__(self, *, size: int, outputs: int, width: int) -> None:
        super().__init__()
        stride = max(2, size // 16)
        self.layers = nn.Sequential(
            *_stage(3, width, kernel=2 * stride + 1, stride=stride),
            *_stage(width, width),
            *_stage(width, 2 * width, stride=2),
            *_stage(2 * width, 2 * width),
            *_stage(2 * width, 2 * width, stride=2),
            nn.AdaptiveAvgPool2d(4),  # 4 x 4 places are kept: where a thing is may be the question
            nn.Flatten(),
            nn.Linear(32 * width, 4 * width),
            nn.ReLU(),
            nn.Linear(4 * width, outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # type: ignore[no-any-return]


def fit(
    source: Source,
    *,
    outputs: int,
    loss: Loss,
    settings: Fit,
    seed: int,
    device: str | torch.device = "cpu",
) -> SmallCnn:
    """Train a network on batches; the global random state stays as it was.

    Args:
        source: gives each step's images and targets, a function of the step.
        loss: outputs N and targets N to a scalar.
    """
    size = source(0)[0].shape[1]
    with seeded(seed, "small cnn"):
        network = SmallCnn(size=size, outputs=outputs, width=settings.width)
    network = network.to(device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.lr)
    with (
        _one_thread(),
        torch.enable_grad(),
        torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False),
    ):
        for step in range(settings.steps):
            images, targets = source(step)
            for group in optimizer.param_groups:
                group["lr"] = settings.lr * _rate((step + 1) / settings.steps)
            wanted = torch.from_numpy(targets).to(device)
            optimizer.zero_grad()
            loss(network(to_float(images, torch.device(device))), wanted).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), _LARGEST_GRADIENT)
            optimizer.step()
    return network.eval()


@torch.inference_mode()
def read(network: SmallCnn, images: Pixels) -> NDArray[np.float32]:
    """Return the network's outputs for N images."""
    device = next(network.parameters()).device
    with _one_thread():
        parts = [
            network(to_float(images[first : first + BATCH], device)).cpu().numpy()
            for first in range(0, len(images), BATCH)
        ]
    return np.concatenate(parts)


def labelled(images: Pixels, labels: NDArray[np.int64], *, settings: Fit, seed: int) -> Source:
    """Return batches of labelled images in which every label is equally likely, lightly shifted.

    Args:
        labels: N, every number from 0 to the largest at least once.
    """
    places = [np.flatnonzero(labels == label) for label in range(int(labels.max()) + 1)]

    def batch(step: int) -> tuple[Pixels, NDArray[np.int64]]:
        random = randomness.generator(seed, "batch", step)
        chosen = random.integers(len(places), size=settings.batch)
        rows = np.array([places[label][random.integers(len(places[label]))] for label in chosen])
        moves = random.integers(-settings.shift, settings.shift + 1, size=(len(rows), 2))
        return shifted(images[rows], moves), chosen.astype(np.int64)

    return batch


def shifted(images: Pixels, moves: NDArray[np.int64]) -> Pixels:
    """Move each image down and right by its own number of pixels; edges are repeated.

    Args:
        moves: N 2.
    """
    margin = int(np.abs(moves).max(initial=0))
    if margin == 0:
        return images
    height, width = images.shape[1:3]
    wide = np.pad(images, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode="edge")
    corners = margin - moves
    return np.stack(
        [
            picture[top : top + height, left : left + width]
            for picture, (top, left) in zip(wide, corners, strict=True)
        ]
    )


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _stage(channels: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(
        channels, outputs, kernel, stride=stride, padding=kernel // 2, bias=False
    )
    return [convolution, norm(outputs), nn.ReLU()]


def _rate(done: float) -> float:
    """Return the share of the learning rate after a share of the steps, 0 excluded."""
    if done < _WARMUP:
        return done / _WARMUP
    return 0.5 * (1.0 + math.cos(math.pi * (done - _WARMUP) / (1.0 - _WARMUP)))
