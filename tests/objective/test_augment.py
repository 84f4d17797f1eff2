"""Augmentation: each sample's own, the same wherever it is computed, and within its bounds."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from srae_dist.objective.augment import Augmentation

SLOTS = torch.arange(64) + 1000
ALL = Augmentation(flip=True, crop=0.3, light=0.2, seed=1)


def ramp(count: int, size: int = 16) -> Tensor:
    """Images whose red is the column, green the row, blue nothing, from -1 to 1."""
    axis = (torch.arange(size) + 0.5) * 2 / size - 1
    red, green = torch.broadcast_tensors(axis[None, :], axis[:, None])
    return torch.stack([red, green, torch.zeros(size, size)]).expand(count, -1, -1, -1).clone()


def test_nothing_is_changed_by_default() -> None:
    assert torch.equal(Augmentation()(ramp(4), SLOTS[:4]), ramp(4))


@pytest.mark.parametrize("part", [slice(0, 8), slice(8, 64), slice(13, 14)])
def test_a_sample_is_changed_alike_in_any_batch(part: slice) -> None:
    whole = ALL(ramp(64), SLOTS)
    assert torch.allclose(ALL(ramp(64)[part], SLOTS[part]), whole[part], atol=1e-6)


def test_slots_and_seeds_differ() -> None:
    first = ALL(ramp(64), SLOTS)
    assert len({tuple(image.flatten().tolist()) for image in first}) == 64
    other = Augmentation(flip=True, crop=0.3, light=0.2, seed=2)(ramp(64), SLOTS)
    assert not torch.equal(first, other)


def test_half_is_mirrored_exactly() -> None:
    x = Augmentation(flip=True)(ramp(64), SLOTS)
    mirrored = (x == ramp(64).flip(3)).flatten(1).all(1)
    straight = (x == ramp(64)).flatten(1).all(1)
    assert (mirrored ^ straight).all()
    assert 16 < int(mirrored.sum()) < 48


def test_crops_are_squares_inside_the_image_of_every_size_and_place() -> None:
    x = Augmentation(crop=0.3)(ramp(64), SLOTS)
    span = x.amax((2, 3)) - x.amin((2, 3))
    part = span[:, 0] / (2 - 2 / 16)  # of the columns that are seen
    assert torch.allclose(span[:, 0], span[:, 1], atol=0.1)
    assert 0.65 < part.min() < 0.78
    assert 0.9 < part.max() < 1.001
    middle = x[:, :2].mean((2, 3))
    assert middle.abs().max() < 0.31
    assert (middle.std(0) > 0.05).all()
    assert x[:, 2].abs().max() == 0


def test_stretching_cuts_height_and_width_each_for_itself() -> None:
    plain, x = (Augmentation(crop=0.3, stretch=s)(ramp(64), SLOTS) for s in (False, True))
    span = (x.amax((2, 3)) - x.amin((2, 3)))[:, :2] / (2 - 2 / 16)
    assert 0.65 < span.min() < 0.78
    assert span.max() < 1.001
    assert abs(torch.corrcoef(span.T)[0, 1]) < 0.3
    # the width is cut as it would be without
    assert torch.allclose(x[:, 0], plain[:, 0], atol=1e-5)


def test_light_changes_contrast_and_brightness_within_its_bounds() -> None:
    x = Augmentation(light=0.2)(0.5 * ramp(64), SLOTS)
    brightness = x[:, 2].mean((1, 2))
    contrast = (x[:, 0].amax((1, 2)) - x[:, 0].amin((1, 2))) / (1 - 1 / 16)
    assert 0.1 < brightness.abs().max() <= 0.2
    assert contrast.min() >= 0.8
    assert contrast.max() <= 1.2
    assert contrast.std() > 0.05
    assert Augmentation(light=0.5)(ramp(64), SLOTS).abs().max() <= 1


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_moves_no_crop(half: torch.dtype) -> None:
    exact = ALL(ramp(64), SLOTS)
    with torch.autocast("cpu", half):
        assert torch.equal(ALL(ramp(64), SLOTS), exact)


def test_a_crop_is_where_a_sampling_grid_has_it() -> None:
    """Pixel centres, as torch's own affine grid counts them."""
    x, off, where = torch.rand(3, 2, 8, 12), torch.rand(3, 2), torch.rand(3, 2)
    side = 1 - 0.3 * off
    place = (1 - side) * (2 * where - 1)
    theta = torch.cat([torch.diag_embed(side), place[:, :, None]], dim=2)
    grid = F.affine_grid(theta, [3, 2, 8, 12], align_corners=False)
    wanted = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    torch.testing.assert_close(Augmentation(crop=0.3)._cropped(x, off, where), wanted)
