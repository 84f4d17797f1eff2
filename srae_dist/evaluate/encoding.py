"""Encode a split with a trained model, on all ranks: what every measure begins with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from srae_dist.core.errors import SraeError, UserError
from srae_dist.data.reader import take
from srae_dist.evaluation.encode import (
    Chunk,
    Encode,
    Floats,
    Pixels,
    choose_rows,
    encode_chunks,
    join,
)
from srae_dist.evaluation.encoded import Encoded
from srae_dist.evaluation.facts import factors_of, labels_of, read_infos

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from srae_dist.data.opened import OpenSplit
    from srae_dist.translation.translator import ImageLike, Translator

    Rows = NDArray[np.int64]

BATCH = 64  # images encoded together
Gather = Callable[[list[Any]], list[Any]]  # all ranks' lists, joined
Show = Callable[[Pixels], "Iterable[ImageLike]"]  # images to views of them


def encode_split(
    translator: Translator,
    opened: OpenSplit,
    *,
    per_domain: int | None,
    rank: int = 0,
    world: int = 1,
    batch: int = BATCH,
    gather: Gather | None = None,
    views: Show | None = None,
) -> Encoded:
    """Encode images of every domain of a split; a collective call where ``world`` is above 1.

    Args:
        per_domain: images of each domain at most, drawn from the whole split; None for all.
        batch: images encoded together, whatever the number of ranks.
        gather: joins the ranks' lists on all of them; default accelerate's.
        views: shows a batch several times; codes are means over what it shows. Default: as it is.

    Returns:
        Means of codes in fp32 and all that is known, in the index's order, equal on all ranks.

    Raises:
        UserError: model and shards differ in domains or size, a domain has no image here, or an
            image cannot be read; raised on all ranks.
    """
    domain = domain_numbers(translator, opened)
    rows = choose_rows(domain, translator.domains, per_domain=per_domain, split=opened.name)
    encode = _encoder(translator, views or (lambda pixels: (pixels,)))
    mine = _encode_mine(encode, opened, rows, batch=batch, rank=rank, world=world)
    parts: list[list[Chunk] | str] = [mine] if world == 1 else (gather or _gather)([mine])
    for failure in (part for part in parts if isinstance(part, str)):
        raise UserError(failure)  # whoever failed, all ranks end
    chunks = (chunk for part in parts if not isinstance(part, str) for chunk in part)
    pixels, content, domain_code = join(chunks)
    index, split, shards = opened.index, opened.split, opened.shards
    infos = read_infos(rows, index=index, split=split, shards=shards)
    return Encoded(
        pixels=pixels,
        content=content,
        domain_code=domain_code,
        domain=domain[rows],
        keys=tuple(index.key(int(row)) for row in rows),
        domains=tuple(translator.domains),
        labels=labels_of(infos),
        factors=factors_of(infos),
    )


def _encoder(translator: Translator, views: Show) -> Encode:
    """Return what turns images into their codes' means, in fp32, averaged over views."""

    def encode(pixels: Pixels) -> tuple[Floats, Floats]:
        seen = [translator.encode(view) for view in views(pixels)]
        content = _mean([codes.content.mean for codes in seen])
        return content, _mean([codes.domain.mean for codes in seen])

    return encode


def _mean(tensors: list[Tensor]) -> Floats:
    import torch

    mean = torch.stack([tensor.float() for tensor in tensors]).mean(dim=0)
    return mean.cpu().contiguous().numpy()


def _encode_mine(
    encode: Encode, opened: OpenSplit, rows: Rows, *, batch: int, rank: int, world: int
) -> list[Chunk] | str:
    """Encode this rank's chunks; return what went wrong instead of leaving others waiting."""
    reader = opened.reader()

    def read(some: Rows) -> Pixels:
        return reader.read(take(opened.index, some))

    try:
        return encode_chunks(rows, read=read, encode=encode, batch=batch, rank=rank, world=world)
    except SraeError as error:
        return str(error)
    finally:
        reader.close()


def domain_numbers(translator: Translator, opened: OpenSplit) -> Rows:
    """Return each sample's domain as the model numbers it, having held the two together."""
    import numpy as np

    name, has, knows = opened.store.name, opened.manifest.domains, translator.domains
    if set(has) != set(knows):
        strange = [domain for domain in has if domain not in knows]
        absent = [domain for domain in knows if domain not in has]
        reason = (
            f"the model never saw {', '.join(strange)}"
            if strange
            else f"the shards lack {', '.join(absent)}"
        )
        raise UserError(
            f"{name} has the domains {', '.join(has)}, but the model has {', '.join(knows)} "
            f"({reason}); give shards of all the model's domains and no other, made by one "
            "`srae-dist shard` of them all."
        )
    if opened.image_size != translator.image_size:
        raise UserError(
            f"{name} holds images of {opened.image_size} pixels, but the model takes "
            f"{translator.image_size}; make shards with --size {translator.image_size}."
        )
    table = np.array([knows.index(domain) for domain in has], np.int64)
    numbers: Rows = table[opened.index.domain.astype(np.int64)]
    counts = np.bincount(numbers, minlength=len(knows))
    if not counts.all():
        raise UserError(
            f"Split '{opened.name}' of {name} has no image of the domain "
            f"'{knows[int(counts.argmin())]}'; evaluation needs some of every domain: "
            "add images, or shard again with a larger --holdout."
        )
    return numbers


def _gather(mine: list[Any]) -> list[Any]:
    from accelerate.utils import gather_object

    joined: list[Any] = gather_object(mine)
    return joined
