"""Views of an image: the first is the image, the others what training would have shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from srae_dist.core.errors import UserError
from srae_dist.evaluate.views import Views
from srae_dist.model.pixels import to_float
from srae_dist.translation.translator import Translator, load
from tests.evaluate.runs import save_run

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)


def trained(root: Path, **data: float) -> Translator:
    return load(save_run(root / "run", data=data), device="cpu")


def test_one_view_is_the_images_themselves(tmp_path: Path) -> None:
    assert [view is PIXELS for view in Views(trained(tmp_path), 1)(PIXELS)] == [True]


def test_further_views_are_changed_all_images_alike_and_always_the_same(tmp_path: Path) -> None:
    views = Views(trained(tmp_path, light=0.5), 4)
    itself, *others = views(PIXELS)
    again = list(views(PIXELS[1:]))[1:]
    assert itself is PIXELS
    x = to_float(PIXELS, torch.device("cpu"))
    for view, part in zip(others, again, strict=True):
        assert isinstance(view, torch.Tensor)
        assert view.shape == (3, 3, 32, 32)
        assert not torch.equal(view, x)
        torch.testing.assert_close(view[1:], part, rtol=0, atol=0)
    assert not torch.equal(others[0], others[1])


def test_mirrors_are_views_too(tmp_path: Path) -> None:
    x = to_float(PIXELS, torch.device("cpu"))
    shown = list(Views(trained(tmp_path, flip=True), 9)(PIXELS))[1:]
    assert any(torch.equal(view, x.flip(3)) for view in shown)
    assert all(torch.equal(view, x) or torch.equal(view, x.flip(3)) for view in shown)


def test_views_are_stretched_where_training_stretched(tmp_path: Path) -> None:
    plain, stretched = (
        list(Views(trained(tmp_path / str(s), crop=0.4, stretch=s), 3)(PIXELS))[1:]
        for s in (False, True)
    )
    assert not any(torch.allclose(a, b) for a, b in zip(plain, stretched, strict=True))


def test_a_model_of_unchanged_images_has_no_other_views(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--views 8: the model was trained on images as they are"):
        Views(trained(tmp_path, crop=0.0, flip=False), 8)


@pytest.mark.parametrize("data", [{"crop": "much"}, {"light": float("nan")}, {"crop": 7}, 5, [1]])
def test_a_damaged_header_is_told(tmp_path: Path, data: object) -> None:
    model = trained(tmp_path)
    model.recipe["data"] = data
    with pytest.raises(UserError, match="header is damaged: its section data"):
        Views(model, 8)
