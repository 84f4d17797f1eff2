"""`srae-dist add-domain`: a checkpoint that knows one more domain, from a few images of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from srae_dist.core.errors import SampleError, UserError
from srae_dist.core.urls import without_secrets

if TYPE_CHECKING:
    from srae_dist.data.images import Pixels
    from srae_dist.translation.fitting import Fit
    from srae_dist.translation.inputs import Images

_SUFFIX = ".safetensors"
_ENOUGH = 16  # exemplars that were measured (benchmarks/unseen.py)


def add_domain(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT",
            help="A run folder, a checkpoint folder or an ema.safetensors file.",
        ),
    ],
    exemplars: Annotated[
        str,
        typer.Argument(
            metavar="EXEMPLARS",
            help="Images of the new domain, sixteen or more: a folder, or shards.",
        ),
    ],
    name: Annotated[str, typer.Option(metavar="DOMAIN", help="Name of the new domain.")],
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="A new .safetensors file: the model that knows it.")
    ],
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="DOMAIN",
            help="Take only its samples of shards, or the images in folders of that name.",
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, max=4096, help="Exemplars used, evenly spaced.")
    ] = 64,
    steps: Annotated[
        int,
        typer.Option(min=1, max=100_000, help="Of gradient descent, a quarter from each start."),
    ] = 400,
    device: Annotated[
        str | None,
        typer.Option(help="cpu, cuda, cuda:1, mps (default: a GPU if there is one)."),
    ] = None,
) -> None:
    """Teach a trained model a domain it was not trained on: fit a domain code to its images."""
    if out.suffix != _SUFFIX:
        raise UserError(f"--out {out} does not end in {_SUFFIX}; name the new file so.")
    if out.exists():
        raise UserError(f"--out {out} exists already; name a new file.")
    from srae_dist.core import atomic, disk
    from srae_dist.runtime import checkpoint as checkpoints
    from srae_dist.runtime import console
    from srae_dist.runtime.stages import Stages
    from srae_dist.translation.fitting import fit_domain_code
    from srae_dist.translation.inputs import FolderImages, open_images
    from srae_dist.translation.setup import find_device
    from srae_dist.translation.translator import load

    file = checkpoints.resolve(checkpoint)
    translator = load(file, device=None if device is None else "cpu")
    translator.to(find_device(device, default=translator.device))
    check_name(name, translator.domains)
    images = open_images(exemplars, domain=from_)
    if isinstance(images, FolderImages) and from_ is not None and not images.has_domain_folder:
        raise UserError(f"--from {from_}: no image of {exemplars} lies in a folder of that name.")
    pixels = read_exemplars(images, limit=limit, size=translator.image_size)
    if len(pixels) < _ENOUGH:
        console.warn(
            f"{len(pixels)} exemplars are few: with {_ENOUGH} it was measured, and of fewer the "
            "code may hold what these pictures share and the domain does not."
        )
    with disk.told(out):
        atomic.make_folder(out.parent)  # refused now rather than after the descent
    with Stages() as stages:
        fit = fit_domain_code(
            translator,
            pixels,
            steps=steps,
            watch=lambda start: stages.stage(f"descent from {start}"),
        )
    write(out, file, name=name, fit=fit, count=len(pixels))
    say(
        out, name, fit, f"{len(pixels):,} of {len(images):,} images of {without_secrets(exemplars)}"
    )


def check_name(name: str, known: Sequence[str]) -> None:
    """Refuse a name that is taken, or that is not safe in the names of files.

    Raises:
        UserError: it is.
    """
    from srae_dist.data.manifest import NAME_PATTERN

    if name in known:
        raise UserError(
            f"--name {name} is a domain of the model already ({', '.join(known)}); take another."
        )
    if not NAME_PATTERN.fullmatch(name) or ".." in name:
        raise UserError(
            f"--name {name} is no name of a domain: take at most 64 letters, digits, dots, dashes "
            "and underscores, a letter or digit first."
        )


def read_exemplars(images: Images, *, limit: int, size: int) -> Pixels:
    """Read at most ``limit`` images, evenly spaced over all: uint8 N H W 3.

    Raises:
        UserError: one of them cannot be read.
    """
    import numpy as np

    from srae_dist.data.images import decode_array

    count = min(limit, len(images))
    found = []
    for number in range(count):
        place = number * len(images) // count
        try:
            found.append(decode_array(images.data(place), size))
        except SampleError as error:
            raise UserError(
                f"Exemplar {images.name(place)} cannot be read: {error}; take it away."
            ) from None
    return np.stack(found)


def write(out: Path, file: Path, *, name: str, fit: Fit, count: int) -> None:
    """Write the checkpoint again, with one more row in the table of mean codes."""
    import torch

    from srae_dist.runtime import checkpoint as checkpoints

    tensors, metadata = checkpoints.read_tensors(file)
    table = tensors[checkpoints.MEAN_CODES]
    tensors[checkpoints.MEAN_CODES] = torch.cat([table, fit.code[None].to(table)])
    added: dict[str, Any] = dict(metadata.get("added_domains", {}))
    added[name] = {"exemplars": count, "error": fit.error, "start": fit.start}
    metadata |= {"domains": [*metadata["domains"], name], "added_domains": added}
    checkpoints.write_tensors(out, tensors, metadata)


def say(out: Path, name: str, fit: Fit, exemplars: str) -> None:
    """Say how well the exemplars are drawn, and what to do next."""
    from srae_dist.runtime import console
    from srae_dist.translation.fitting import EXEMPLARS

    nearest = min((d for d in fit.before if d != EXEMPLARS), key=lambda d: fit.before[d])
    began = "their own mean code" if fit.start == EXEMPLARS else f"the mean code of {fit.start}"
    console.facts(
        f"{out}: the model, which now knows {name}",
        {
            "exemplars": exemplars,
            "error": f"{fit.error:.4f} by the fitted code (pixels in [0, 1]), from {began}",
            "before": f"{fit.before[EXEMPLARS]:.4f} by their own mean code, "
            f"{fit.before[nearest]:.4f} by that of {nearest}, the nearest domain",
        },
    )
    console.info(f"Translate with: srae-dist batch-translate {out} INPUT --to {name} --out OUT")
