"""The public face of a trained model: ``load`` a checkpoint, then encode, decode, translate.

``ema.safetensors`` alone rebuilds the model: its header holds the recipe, the domain names and the
image size; the file holds the averaged weights and the table of the domains' mean codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from pydantic import ValidationError
from torch import Tensor

from srae_dist.core.errors import UserError, did_you_mean
from srae_dist.core.types import Codes
from srae_dist.data.images import pixels_of
from srae_dist.data.manifest import NAME_PATTERN
from srae_dist.data.resize import resize_square
from srae_dist.model.autoencoder import AutoEncoder
from srae_dist.model.build import build_autoencoder
from srae_dist.model.pixels import normalise, to_uint8
from srae_dist.recipe.schema import Model
from srae_dist.runtime import checkpoint

MAX_IMAGE_SIZE = 256

ImageLike = Image.Image | Tensor | np.ndarray[Any, Any]


class Translator:
    """A trained SRAE. Images are PIL images, uint8 N H W 3 arrays or tensors, or float
    N 3 H W tensors in [-1, 1]."""

    def __init__(
        self,
        autoencoder: AutoEncoder,
        mean_codes: Tensor,  # m x j
        *,
        domains: Sequence[str],
        image_size: int,
        step: int,
        recipe: dict[str, Any],
        device: torch.device,
    ) -> None:
        self.autoencoder = autoencoder.eval()
        self.mean_codes = mean_codes
        self.domains = tuple(domains)
        self.image_size = image_size
        self.step = step
        self.recipe = recipe
        self.to(device)

    def to(self, device: torch.device) -> Translator:
        """Move the model to another device."""
        self.autoencoder.to(device).to(memory_format=torch.channels_last)
        self.mean_codes = self.mean_codes.to(device)
        self.device = device
        return self

    def domain_index(self, name: str) -> int:
        """Number of a domain.

        Raises:
            UserError: the model has no such domain.
        """
        if name not in self.domains:
            raise UserError(
                f"The model has no domain '{name}'; it has {', '.join(self.domains)}."
                f"{did_you_mean(name, self.domains)}"
            )
        return self.domains.index(name)

    @torch.inference_mode()
    def encode(self, images: ImageLike | Sequence[Image.Image]) -> Codes:
        """Images to code distributions: content N k a b, domain N j (means and sigmas)."""
        return self.autoencoder.encode(self.prepare(images))

    @torch.inference_mode()
    def decode(self, content: Tensor, domain: Tensor) -> Tensor:
        """Content codes N k a b and domain codes N j to images N 3 H W in [-1, 1]."""
        x = self.autoencoder.decode(content.to(self.device), domain.to(self.device))
        return x.float().clamp(-1.0, 1.0)

    def translate(
        self,
        images: ImageLike | Sequence[Image.Image],
        *,
        to: str | None = None,
        reference: ImageLike | None = None,
        keep_style: bool = False,
        source: str | None = None,
    ) -> Any:
        """Show images in another domain: the content code stays, the domain code is replaced.

        Args:
            images: one PIL image, a list of them, or a batch.
            to: target domain, whose mean code is used.
            reference: one image that lends its domain code instead.
            keep_style: with ``to``, each image keeps its own domain code, moved (``move_code``).
            source: with ``keep_style``, the images' domain; default: the nearest for each.

        Returns:
            The form that came in: PIL image, list of them, uint8 array or tensor, float tensor.

        Raises:
            UserError: neither or both of ``to`` and ``reference``, an unknown domain, or a
                ``source`` that nothing asks for.
        """
        if (to is None) == (reference is None):
            raise UserError("translate() needs either to=DOMAIN or reference=IMAGE.")
        if (keep_style and to is None) or (source is not None and not keep_style):
            raise UserError("translate() takes keep_style with to=DOMAIN, source with keep_style.")
        codes = self.encode(images)
        if reference is not None:
            code = self.encode(reference).domain.mean
            if len(code) != 1:
                raise UserError("translate() takes one reference image.")
        elif keep_style:
            code = self.move_code(codes.domain.mean, to=str(to), source=source)
        else:
            code = self.mean_codes[self.domain_index(str(to))][None]
        content = codes.content.mean
        return self._like(images, self.decode(content, code.expand(len(content), -1)))

    def move_code(self, code: Tensor, *, to: str, source: str | None = None) -> Tensor:
        """Move domain codes N j to another domain: z_d less the mean of their own, plus ``to``'s.

        What sets an image apart from its domain's mean stays (arithmetic of codes; Larsen 2016).

        Args:
            source: their domain; default: for each code the one whose mean is the nearest.

        Raises:
            UserError: an unknown domain.
        """
        target = self.mean_codes[self.domain_index(to)]
        code = code.to(self.mean_codes.dtype)
        if source is not None:
            own = self.mean_codes[self.domain_index(source)]
        else:
            own = self.mean_codes[torch.cdist(code, self.mean_codes).argmin(dim=1)]
        return code - own + target

    def prepare(self, images: ImageLike | Sequence[Image.Image]) -> Tensor:
        """Bring images to a float batch N 3 H W in [-1, 1] on the model's device.

        PIL images are cropped to their central square and resized with antialiasing; tensors and
        arrays must have the model's size.

        Raises:
            UserError: they are no images, or of another size or type.
        """
        if isinstance(images, Image.Image):
            images = [images]
        if not isinstance(images, (list, tuple, np.ndarray, Tensor)):
            raise _no_image(images)
        if isinstance(images, (list, tuple)):
            if not images:
                raise UserError("There is no image to encode.")
            for image in images:
                if not isinstance(image, Image.Image):
                    raise _no_image(image)
            upright = map(ImageOps.exif_transpose, images)
            images = np.stack([resize_square(pixels_of(x), self.image_size) for x in upright])
        if isinstance(images, np.ndarray):
            images = np.ascontiguousarray(images)  # torch takes no view like bgr[..., ::-1]
        batch = torch.as_tensor(images).to(self.device)
        size = self.image_size
        if batch.dtype == torch.uint8 and batch.shape[1:] == (size, size, 3):
            batch = normalise(batch)
        elif not batch.is_floating_point() or batch.shape[1:] != (3, size, size):
            raise UserError(
                f"Images of type {batch.dtype} and shape {tuple(batch.shape)} do not fit: give "
                f"uint8 (N, {size}, {size}, 3), float (N, 3, {size}, {size}) in [-1, 1], "
                "or PIL images."
            )
        return batch.to(torch.float32, memory_format=torch.channels_last)

    def _like(self, images: Any, x: Tensor) -> Any:
        """Return ``x`` in the form ``images`` came in."""
        if isinstance(images, Image.Image):
            return Image.fromarray(to_uint8(x)[0])
        if isinstance(images, (list, tuple)):
            return [Image.fromarray(pixels) for pixels in to_uint8(x)]
        if isinstance(images, np.ndarray):
            return to_uint8(x) if images.dtype == np.uint8 else x.cpu().numpy()
        return torch.from_numpy(to_uint8(x)) if images.dtype == torch.uint8 else x


def _no_image(value: Any) -> UserError:
    """Say what to give instead of a path, or of what else is no image."""
    if isinstance(value, (str, PathLike)):
        name = str(value)
        return UserError(
            f"{name!r} is a path, not an image; open it with PIL.Image.open({name!r}), or "
            "translate a folder with `srae-dist batch-translate`."
        )
    return UserError(
        f"Images may not be of type {type(value).__name__}; give a PIL image, a list of them, or "
        "an array or tensor of all."
    )


def load(path: str | Path, *, device: str | torch.device | None = None) -> Translator:
    """Load a trained model.

    Args:
        path: a run folder, ``RUN/latest``, a checkpoint folder, or an ``ema.safetensors`` file.
        device: where it computes; default a GPU if there is one, else the CPU.

    Raises:
        UserError: nothing usable there.
    """
    file = checkpoint.resolve(Path(path))
    tensors, metadata = checkpoint.read_tensors(file)
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        domains, image_size = _domains(metadata["domains"]), metadata["image_size"]
        step, recipe = metadata["step"], metadata["recipe"]
        if type(image_size) is not int or not 1 <= image_size <= MAX_IMAGE_SIZE:
            raise ValueError(f"image_size is {image_size!r}")
        if type(step) is not int or step < 0:
            raise ValueError(f"step is {step!r}")
        model = Model.model_validate(recipe["model"])
        table = tensors.pop(checkpoint.MEAN_CODES)
        if table.shape != (len(domains), model.domain_channels):
            raise ValueError(f"{checkpoint.MEAN_CODES} has shape {tuple(table.shape)}")
        if not bool(table.isfinite().all()):
            raise ValueError(f"{checkpoint.MEAN_CODES} has numbers that are not finite")
        autoencoder = _rebuild(model, image_size, tensors)
    except (KeyError, TypeError, ValueError, RuntimeError, UserError) as error:
        raise UserError(f"{file} does not describe a whole model: {_reason(error)}.") from None
    return Translator(
        autoencoder,
        table.float(),
        domains=domains,
        image_size=image_size,
        step=step,
        recipe=recipe,
        device=torch.device(device),
    )


def _domains(value: Any) -> list[str]:
    """Return the domains of a header; they become names of files.

    Raises:
        ValueError: they are none, or not safe.
    """
    names = value if isinstance(value, list) else []
    if len(names) < 2 or len(set(map(str, names))) < len(names):
        raise ValueError("its domains are missing or repeated")
    for name in names:
        if not isinstance(name, str) or not NAME_PATTERN.fullmatch(name) or ".." in name:
            raise ValueError(f"{str(name)[:40]!r} is no safe name of a domain")
    return names


def _rebuild(model: Model, image_size: int, tensors: dict[str, Tensor]) -> AutoEncoder:
    """Build the network that a header describes, and fill it.

    Nothing is allocated until each tensor is known to be there, of the described shape: a header
    can ask for no more memory than its own file has.

    Raises:
        ValueError: header and tensors do not go together.
    """
    with torch.device("meta"):
        autoencoder = build_autoencoder(model, image_size=image_size, seed=0)
    wanted = autoencoder.state_dict()
    for name in sorted(wanted.keys() ^ tensors.keys()):
        raise ValueError(f"{'it lacks' if name in wanted else 'its recipe has no'} {name[:80]}")
    for name, tensor in tensors.items():
        if tensor.shape != wanted[name].shape:
            found, described = tuple(tensor.shape), tuple(wanted[name].shape)
            raise ValueError(f"{name} has shape {found}, but its recipe describes {described}")
        if not tensor.is_floating_point() or not tensor.isfinite().all():
            raise ValueError(f"{name} holds what are no finite numbers")
    autoencoder.to_empty(device="cpu").load_state_dict(tensors)
    return autoencoder


def _reason(error: Exception) -> str:
    """Say in a line what is wrong with a header."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        return f"its recipe's model.{place}: {first['msg']}"[:200]
    if isinstance(error, KeyError):
        return f"its header says nothing of {error}"
    text = str(error).splitlines()
    return text[0][:300].rstrip(".") if text else type(error).__name__
