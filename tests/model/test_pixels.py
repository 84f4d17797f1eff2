"""Pixels to floats and back."""

from __future__ import annotations

import numpy as np
import torch

from srae_dist.model.pixels import normalise, to_float, to_uint8


def test_every_level_comes_back() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    x = to_float(levels, torch.device("cpu"))
    assert x.shape == (1, 3, 16, 16)
    assert float(x.min()) == -1
    assert float(x.max()) == 1
    assert np.array_equal(to_uint8(x), levels)


def test_axes_move_and_memory_stays() -> None:
    pixels = torch.randint(0, 256, (2, 4, 6, 3), dtype=torch.uint8)
    x = normalise(pixels)
    assert x.shape == (2, 3, 4, 6)
    assert x.dtype == torch.float32
    assert x.is_contiguous(memory_format=torch.channels_last)
    expected = float(pixels[1, 2, 5, 0]) / 127.5 - 1
    assert abs(float(x[1, 0, 2, 5]) - expected) < 1e-6


def test_what_is_out_of_range_is_clamped() -> None:
    x = torch.tensor([-7.0, -1.001, 0.0, 1.001, 7.0]).reshape(1, 1, 1, 5).expand(1, 3, 1, 5)
    assert to_uint8(x)[0, 0, :, 0].tolist() == [0, 0, 128, 255, 255]


def test_a_view_of_any_order_is_read() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 3, 2), dtype=np.uint8)
    turned = pixels.transpose(3, 0, 1, 2)[:, ::-1]
    x = to_float(turned, torch.device("cpu"))
    assert np.array_equal(to_uint8(x), turned)


def test_half_precision_outputs_become_pixels() -> None:
    x = torch.linspace(-1, 1, 3 * 64).reshape(1, 3, 8, 8).bfloat16()
    assert to_uint8(x).dtype == np.uint8
    assert np.array_equal(to_uint8(x), to_uint8(x.float()))  # no rounding but the code's own
