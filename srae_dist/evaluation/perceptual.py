"""LPIPS: how unlike each other two images look (Zhang et al. 2018), from local weights."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from srae_dist.core.tensors_only import tensors_only
from srae_dist.evaluation.features import BATCH, Pixels
from srae_dist.evaluation.weights import ALEXNET, read_known, require

if TYPE_CHECKING:
    import torch
    from torch import nn


class PairDistance(Protocol):
    """Compares images pair by pair."""

    @property
    def key(self) -> str:
        """A short name: "lpips"."""
        ...

    @property
    def name(self) -> str:
        """Measure, network and version: "lpips0.1-alexnet"."""
        ...

    @property
    def weights(self) -> str:
        """Where the weights are from, with their digest."""
        ...

    def __call__(self, first: Pixels, second: Pixels) -> NDArray[np.float32]:
        """Turn two arrays N H W 3 into N distances."""
        ...


class Lpips:
    """LPIPS 0.1 on AlexNet; the images are taken at their own size."""

    key = "lpips"
    name = "lpips0.1-alexnet"

    def __init__(self, path: Path | None, *, device: str | torch.device = "cpu") -> None:
        """Load the network; its linear layers come with the package `lpips`.

        Args:
            path: torchvision's AlexNet, which lpips would else download.

        Raises:
            UserError: the package or the file are missing, or it is another file.
        """
        require("lpips", option="--lpips", installs="lpips")
        read_known(path, ALEXNET, option="--lpips")
        assert path is not None  # or the line above had refused it
        import lpips

        with tensors_only(), warnings.catch_warnings(action="ignore"):  # it asks in an old way
            network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
        _fill(network.net, path)
        self._network, self._device = network.to(device), device
        self.weights = f"{ALEXNET.name}, SHA-256 {ALEXNET.sha256}"

    def __call__(self, first: Pixels, second: Pixels) -> NDArray[np.float32]:
        """Turn two arrays N H W 3 into N distances."""
        import torch

        from srae_dist.model.pixels import to_float

        device = torch.device(self._device)
        with torch.inference_mode():
            parts = [
                self._network(to_float(first[rows], device), to_float(second[rows], device))
                for rows in (slice(at, at + BATCH) for at in range(0, len(first), BATCH))
            ]
            return torch.cat(parts).flatten().float().cpu().numpy()


def _fill(backbone: nn.Module, path: Path) -> None:
    """Put torchvision's weights into lpips's slices, whose layers keep torchvision's numbers."""
    from torch.hub import load_state_dict_from_url
    from torchvision.models import AlexNet_Weights

    url = AlexNet_Weights.IMAGENET1K_V1.url
    known = load_state_dict_from_url(  # takes what is there, and nothing but tensors of it
        url, model_dir=str(path.parent), file_name=path.name, weights_only=True
    )
    names = backbone.state_dict().keys()
    backbone.load_state_dict({name: known[f"features.{name.split('.', 1)[1]}"] for name in names})
