"""Fixed images of every domain: their grids during training, and the domains' mean codes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from srae_dist.core import atomic, disk
from srae_dist.core.errors import UserError
from srae_dist.data.manifest import Index
from srae_dist.data.reader import take
from srae_dist.evaluation import grids
from srae_dist.model.autoencoder import AutoEncoder
from srae_dist.model.pixels import to_float, to_uint8

if TYPE_CHECKING:
    from numpy.typing import NDArray

Read = Callable[[Index], "NDArray[np.uint8]"]  # rows of the index to pixels, N H W 3

COLUMNS = 8  # images per domain in a grid
CHUNK = 32  # images encoded at a time; part of the mean codes' definition to the last bit


def pick_evenly(domain_of: NDArray[Any], num_domains: int, count: int) -> list[NDArray[np.int64]]:
    """For each domain, up to ``count`` of its sample numbers, evenly spread over the split."""
    picks = []
    for domain in range(num_domains):
        members = np.flatnonzero(domain_of == domain)
        places = np.linspace(0, len(members) - 1, min(count, len(members))).round().astype(np.int64)
        picks.append(members[places])
    return picks


@torch.no_grad()
def mean_codes(
    autoencoder: AutoEncoder, read: Read, index: Index, picks: Sequence[NDArray[np.int64]]
) -> Tensor:
    """Mean of mu_d over each domain's picked images: float32, m x j.

    Raises:
        UserError: none of a domain's can be read.
    """
    device = next(autoencoder.parameters()).device
    rows = []
    for samples in picks:
        chunks = [samples[i : i + CHUNK] for i in range(0, len(samples), CHUNK)]
        images = (to_float(read(take(index, chunk)), device) for chunk in chunks)
        codes = [autoencoder.encode(x).domain.mean for x in images if len(x)]
        if not codes:
            raise UserError(
                f"None of the {len(samples)} images that a domain's mean code is taken of can be "
                "read; make the shards again, or reach their store."
            )
        rows.append(torch.cat(codes).cpu().double().mean(dim=0))
    return torch.stack(rows).float()


@torch.no_grad()
def write_grids(
    autoencoder: AutoEncoder,
    table: Tensor,  # mean codes, m x j
    domains: Sequence[str],
    images: Sequence[NDArray[np.uint8]],  # per domain, N H W 3
    folder: Path,
    stem: str,
) -> None:
    """Write ``{stem}-reconstructions.png`` and ``{stem}-translations.png``.

    Raises:
        UserError: the disk refuses it.
    """
    device = next(autoencoder.parameters()).device
    table = table.to(device)
    reconstructed, translated = [], []
    for pixels in images:
        codes = autoencoder.encode(to_float(pixels, device))
        content = codes.content.mean
        reconstructed.append(to_uint8(autoencoder.decode(content, codes.domain.mean)))
        translated.append(
            [to_uint8(autoencoder.decode(content, _tile(code, len(pixels)))) for code in table]
        )
    pictures = {
        "reconstructions": grids.reconstruction_rows(domains, images, reconstructed),
        "translations": grids.translation_rows(domains, images, translated),
    }
    for name, rows in pictures.items():
        path = folder / f"{stem}-{name}.png"
        with disk.told(path), atomic.replacing(path) as temporary:
            grids.grid(rows).save(temporary)


def _tile(code: Tensor, count: int) -> Tensor:
    return rearrange(code, "j -> 1 j").expand(count, -1)
