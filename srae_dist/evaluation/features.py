"""What makes a vector of an image: VGG-16 (needs no download), or the Inception network of FID.

Numbers of different extractors cannot be compared: each bears a name that says layer and pooling,
and tells which weights it has.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from srae_dist.core.atomic import sha256_file
from srae_dist.core.errors import UserError
from srae_dist.core.tensors_only import tensors_only
from srae_dist.evaluation.weights import INCEPTION, read_known, require

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Pixels = NDArray[np.uint8]  # N H W 3
Vectors = NDArray[np.float32]  # N d
Pooling = Literal["mean", "mean-std"]

BATCH = 64  # images at a time; fixed, since a convolution's last digits may depend on it
VGG_LAYER = "relu3_3"  # the deepest of the weights that need no download


class Features(Protocol):
    """Makes vectors of images."""

    @property
    def key(self) -> str:
        """A short name: "vgg"."""
        ...

    @property
    def name(self) -> str:
        """Extractor, layer and pooling: "vgg16-relu3_3-mean"."""
        ...

    @property
    def weights(self) -> str:
        """Where the weights are from, with their digest."""
        ...

    def __call__(self, pixels: Pixels) -> Vectors:
        """Turn uint8 N H W 3 into float32 N d."""
        ...


class VggFeatures:
    """A layer of VGG-16, pooled over space; the images are taken at their own size."""

    key = "vgg"

    def __init__(
        self,
        weights: str,
        *,
        layer: str = VGG_LAYER,
        pooling: Pooling = "mean",
        device: str | torch.device = "cpu",
    ) -> None:
        """Load the network.

        Args:
            weights: as the recipe's perceptual.weights: a safetensors file with torchvision's
                names, "torchvision" (if it was downloaded before), or "random".
            pooling: "mean" over space, or "mean-std": means, then standard deviations.

        Raises:
            UserError: no such weights here, or the file lacks the layer.
        """
        _check_vgg(weights)
        from srae_dist.model.vgg import PerceptualNetwork

        self._network = PerceptualNetwork([layer], weights=weights).to(device)
        self._pooling, self._device = pooling, device
        self.name = (
            f"vgg16-{layer}-{pooling}"
            if weights != "random"
            else (f"vgg16random-{layer}-{pooling}")
        )
        self.weights = _origin(weights)

    def __call__(self, pixels: Pixels) -> Vectors:
        """Turn uint8 N H W 3 into float32 N d."""
        return _in_batches(pixels, self._pooled)

    def _pooled(self, pixels: Tensor) -> Tensor:
        import torch

        from srae_dist.model.pixels import normalise

        (maps,) = self._network(normalise(pixels.to(self._device)))
        mean: Tensor = maps.mean(dim=(2, 3))
        if self._pooling == "mean":
            return mean
        return torch.cat([mean, maps.std(dim=(2, 3), correction=0)], dim=1)


class InceptionFeatures:
    """The 2,048 pooled numbers of FID's own Inception network, from a local file.

    torch-fidelity's port of the TensorFlow network: images are enlarged to 299 x 299 as
    TensorFlow 1 did, and it is not torchvision's Inception.
    """

    key = "inception"
    name = "inception2015-pool3"

    def __init__(self, path: Path | None, *, device: str | torch.device = "cpu") -> None:
        """Load the network.

        Raises:
            UserError: torch-fidelity or the file are missing, or it is another file.
        """
        require("torch_fidelity", option="--inception", installs="torch-fidelity")
        data = read_known(path, INCEPTION, option="--inception")
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        with tensors_only():
            network = FeatureExtractorInceptionV3(
                "inception", ["2048"], feature_extractor_weights_path=io.BytesIO(data)
            )
        self._network, self._device = network.to(device), device
        self.weights = f"{INCEPTION.name}, SHA-256 {INCEPTION.sha256}"

    def __call__(self, pixels: Pixels) -> Vectors:
        """Turn uint8 N H W 3 into float32 N 2048."""
        return _in_batches(pixels, self._pooled)

    def _pooled(self, pixels: Tensor) -> Tensor:
        pooled: Tensor = self._network(pixels.permute(0, 3, 1, 2).to(self._device))[0]
        return pooled


def _in_batches(pixels: Pixels, extract: Callable[[Tensor], Tensor]) -> Vectors:
    import torch

    with torch.inference_mode():
        parts = [
            extract(torch.from_numpy(np.ascontiguousarray(pixels[first : first + BATCH])))
            for first in range(0, len(pixels), BATCH)
        ]
        return torch.cat(parts).float().cpu().numpy()


def _check_vgg(weights: str) -> None:
    """Refuse weights that are not here, before anything is loaded or downloaded."""
    if weights == "torchvision" and not _downloaded().is_file():
        raise UserError(
            "VGG-16's weights, torchvision's, are not on this machine; fetch them with "
            f"`curl -L --create-dirs -o {_downloaded()} {_url()}`, or name a safetensors file "
            "with torchvision's names with --vgg FILE."
        )
    if weights not in ("torchvision", "random") and not Path(weights).is_file():
        raise UserError(
            f"VGG-16's weights {weights} do not exist; name a safetensors file with torchvision's "
            "names with --vgg FILE, or `--vgg torchvision` where those were downloaded."
        )


def _origin(weights: str) -> str:
    """Say where VGG's weights are from."""
    if weights == "random":
        return "random weights, of one fixed seed: not features that were learned"
    path = _downloaded() if weights == "torchvision" else Path(weights)
    told = "" if weights == "torchvision" else _header(path).get("origin", "")
    source = told or ("VGG-16 trained on ImageNet" if weights == "torchvision" else "VGG-16")
    return f"{source}: {path.name}, SHA-256 {sha256_file(path)}"


def _header(path: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return dict(file.metadata() or {})


def _url() -> str:
    from torchvision.models import VGG16_Weights

    return str(VGG16_Weights.IMAGENET1K_V1.url)


def _downloaded() -> Path:
    """Where torchvision keeps its VGG-16 once it was downloaded."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints" / Path(_url()).name
