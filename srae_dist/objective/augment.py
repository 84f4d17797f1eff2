"""Random changes to training images: what neither code has to tell, or should not rely on."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from srae_dist.core import randomness


@dataclass(frozen=True)
class Augmentation:
    """Mirrors, crops and lights images; a function of the seed and each sample's slot.

    ``crop`` is the largest part of height and width that is cut off, alike or with ``stretch`` each
    for itself; ``light`` the largest change of contrast (a factor 1 +- light) and of brightness (+-
    light, where black is -1 and white 1).
    """

    flip: bool = False  # mirror half of the images
    crop: float = 0.0
    stretch: bool = False
    light: float = 0.0
    seed: int = 0
    keys: dict[str, int] = field(init=False)  # made once: hashing text would break a compiled graph

    def __post_init__(self) -> None:
        names = ("flip", "crop", "stretch", "light")
        keys = {name: randomness.seed_of(self.seed, name) for name in names}
        object.__setattr__(self, "keys", keys)

    def __call__(self, x: Tensor, slots: Tensor) -> Tensor:
        """Change images N C H W in [-1, 1], each as its slot (int64 N) says."""
        if self.flip:
            mirrored = randomness.coin(slots, self.keys["flip"])[:, None, None, None]
            x = torch.where(mirrored, x.flip(3), x)
        if self.crop:
            u = randomness.uniform(slots, 3, self.keys["crop"])
            width = u[:, :1]
            height = randomness.uniform(slots, 1, self.keys["stretch"]) if self.stretch else width
            x = self._cropped(x, torch.cat([width, height], dim=1), u[:, 1:])
        if self.light:
            change = self.light * (2 * randomness.uniform(slots, 2, self.keys["light"]) - 1)
            contrast, brightness = change[:, :, None, None, None].unbind(1)
            x = (x * (1 + contrast) + brightness).clamp(-1, 1)
        return x

    def _cropped(self, x: Tensor, off: Tensor, where: Tensor) -> Tensor:
        """Cut out a part, and enlarge it to what the whole was.

        How much is cut off across and down, and where, are two N 2 of numbers from 0 to 1.
        """
        side = 1 - self.crop * off
        place = (1 - side) * (2 * where - 1)
        # no affine_grid: it multiplies matrices, which autocast rounds to half a pixel
        down, across = (
            (2 * torch.arange(count, device=x.device) + 1) / count - 1 for count in x.shape[2:]
        )
        rows = side[:, 1:] * down + place[:, 1:]
        columns = side[:, :1] * across + place[:, :1]
        grid = torch.stack(
            [
                columns[:, None, :].expand(-1, x.shape[2], -1),
                rows[:, :, None].expand(-1, -1, x.shape[3]),
            ],
            dim=3,
        )
        return F.grid_sample(x, grid, padding_mode="border", align_corners=False)
