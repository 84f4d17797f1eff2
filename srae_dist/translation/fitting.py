"""A domain the model was not trained on: its domain code, fitted to a few of its images.

The encoder has never seen such images, so the domain code it reads off them is a guess. What they
look like is known, though, and so is their content code: gradient descent on the j numbers of one
domain code, all weights fixed, finds the code that the decoder draws them best with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from srae_dist.core.errors import UserError
from srae_dist.core.types import Codes
from srae_dist.translation.translator import ImageLike, Translator

STEPS = 400  # of Adam: a quarter from each start, the rest from the best end
EXEMPLARS = "exemplars"  # the start that is the images' own mean code
_RATE = 0.15  # of Adam; mean codes lie 1 to 4 from one another
_CHUNK = 16  # images decoded at a time

Watch = Callable[[str], AbstractContextManager[None]]  # is told of each start


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted domain code. Errors are mean absolute ones, of pixels in [0, 1], over all images."""

    code: Tensor  # j
    error: float  # of the images drawn with it
    start: str  # where the descent to it began: "exemplars", or a domain
    before: dict[str, float]  # errors at each start


def fit_domain_code(
    translator: Translator,
    images: ImageLike | Sequence[Image.Image],
    *,
    steps: int = STEPS,
    watch: Watch = lambda start: nullcontext(),
) -> Fit:
    """Fit one domain code to the images of an unknown domain, weights and content codes fixed.

    The descent has several ends, so it begins from the images' own mean code and from the mean
    code of every domain of the model; from the best of these ends it goes on, ever more slowly.

    Args:
        images: N of them, as ``Translator.encode`` takes them; sixteen were measured.
        steps: of gradient descent, a quarter of them from each start.
        watch: a context for each descent, named after its start, for a display.

    Raises:
        UserError: no image, or an image of another size than the model's.
    """
    x = translator.prepare(images).clone()  # what inference mode made cannot be learnt from
    with torch.no_grad():
        codes = [translator.autoencoder.encode(part) for part in _chunks(x)]
    content = torch.cat([part.content.mean for part in codes])
    starts = {EXEMPLARS: _own(codes)} | dict(
        zip(translator.domains, translator.mean_codes, strict=True)
    )
    before: dict[str, float] = {}
    ends: dict[str, Tensor] = {}
    for name, start in starts.items():
        with watch(name):
            before[name] = _error(translator, content, x, start)
            ends[name] = _descend(translator, content, x, start, steps=math.ceil(steps / 4))
    errors = {name: _error(translator, content, x, code) for name, code in ends.items()}
    best = min(errors, key=lambda name: errors[name])
    with watch(f"{best}, on"):
        code = _descend(translator, content, x, ends[best], steps=steps * 3 // 4, slows=True)
        error = _error(translator, content, x, code)
    if not math.isfinite(error):
        raise UserError("No domain code draws these images: the model's answers are not finite.")
    return Fit(code, error, best, before)


def _chunks(x: Tensor) -> list[Tensor]:
    return [x[start : start + _CHUNK] for start in range(0, len(x), _CHUNK)]


def _own(codes: Sequence[Codes]) -> Tensor:
    return torch.cat([part.domain.mean for part in codes]).mean(dim=0)


def _descend(
    translator: Translator,
    content: Tensor,
    x: Tensor,
    start: Tensor,
    *,
    steps: int,
    slows: bool = False,  # the rate falls to 0
) -> Tensor:
    """Follow the gradient of the error by the domain code j."""
    code = start.detach().clone().float().requires_grad_()
    adam = torch.optim.Adam([code], lr=_RATE)
    for step in range(steps):
        for group in adam.param_groups:
            group["lr"] = _RATE * (1 - step / steps) if slows else _RATE
        code.grad = torch.zeros_like(code)
        for z, wanted in zip(_chunks(content), _chunks(x), strict=True):
            loss = _distances(_drawn(translator, z, code), wanted).sum() / len(x)
            code.grad += torch.autograd.grad(loss, code)[0]
        adam.step()
    return code.detach()


def _error(translator: Translator, content: Tensor, x: Tensor, code: Tensor) -> float:
    """Mean error of all images; what is drawn is clamped, as it is when it becomes an image."""
    with torch.no_grad():
        errors = [
            _distances(_drawn(translator, z, code).clamp(-1.0, 1.0), wanted)
            for z, wanted in zip(_chunks(content), _chunks(x), strict=True)
        ]
    return float(torch.cat(errors).mean())


def _drawn(translator: Translator, content: Tensor, code: Tensor) -> Tensor:
    return translator.autoencoder.decode(content, code.expand(len(content), -1)).float()


def _distances(drawn: Tensor, x: Tensor) -> Tensor:
    """Mean absolute error of each image's pixels in [0, 1]: N."""
    return (drawn - x).abs().mean(dim=(1, 2, 3)) / 2
