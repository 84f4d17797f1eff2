"""Several views of an image, changed at random as training changed images, to average codes over.

What a model was taught not to heed still moves its codes a little; their mean is moved less.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from srae_dist.core.errors import UserError

if TYPE_CHECKING:
    from srae_dist.evaluation.encode import Pixels
    from srae_dist.recipe.schema import Data
    from srae_dist.translation.translator import ImageLike, Translator


class Views:
    """Shows a batch of images ``count`` times: as it is, then changed as in training.

    The k-th view changes all images alike, so that codes do not depend on what is encoded together.

    Raises:
        UserError: there are to be several views, but the model was trained on images as they are,
            or its header does not say how.
    """

    def __init__(self, translator: Translator, count: int) -> None:
        from srae_dist.objective.augment import Augmentation

        data = _data(translator.recipe)
        if count > 1 and not (data.flip or data.crop or data.light):
            raise UserError(
                f"--views {count}: the model was trained on images as they are (data.crop, light "
                "and flip are off in its recipe), so it has no other views; leave --views out."
            )
        self.count = count
        self.augment = Augmentation(
            flip=data.flip, crop=data.crop, stretch=data.stretch, light=data.light
        )
        self.device = translator.device

    def __call__(self, pixels: Pixels) -> Iterator[ImageLike]:
        """Yield the views of n images: uint8 n H W 3, then float n 3 H W in [-1, 1]."""
        import torch

        from srae_dist.model.pixels import to_float

        yield pixels
        if self.count > 1:
            x = to_float(pixels, self.device)
            for number in range(1, self.count):
                yield self.augment(x, torch.full((len(x),), number, device=self.device))


def _data(recipe: Mapping[str, Any]) -> Data:
    """Return how training changed images, by the recipe in a checkpoint's header; else not at all.

    Raises:
        UserError: the header is damaged.
    """
    from pydantic import ValidationError

    from srae_dist.recipe.schema import Data

    try:
        told = dict(recipe.get("data", {}))
        values = {name: told.get(name, 0) for name in ("crop", "light")}
        flags = {name: told.get(name, False) for name in ("flip", "stretch")}
        return Data.model_validate({**values, **flags})
    except (TypeError, ValueError, ValidationError):
        raise UserError(
            "The recipe in the checkpoint's header is damaged: its section data is none; "
            "use another checkpoint."
        ) from None
