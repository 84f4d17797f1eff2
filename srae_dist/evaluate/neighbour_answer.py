"""From pictures to their nearest images: the answer that `srae-dist neighbours` shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from srae_dist.core.errors import SampleError, UserError
from srae_dist.data.check.findings import printable
from srae_dist.data.opened import OpenSplit, open_split
from srae_dist.data.reader import take
from srae_dist.evaluate.content_index import encode_rows, index_place, open_index
from srae_dist.evaluate.find_run import find_run, find_shards
from srae_dist.evaluation.code_index import Neighbours, check_k
from srae_dist.evaluation.facts import read_infos
from srae_dist.evaluation.index_file import Stored
from srae_dist.evaluation.neighbour_picture import Tile, neighbour_picture
from srae_dist.runtime import checkpoint
from srae_dist.translation.translator import Translator, load

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image


@dataclass(frozen=True, slots=True)
class Question:
    """What is looked for, and where."""

    images: Sequence[Path]
    domain: str  # to look in
    k: int
    run: Path | None  # None for the one with the newest checkpoint
    shards: str | None  # None for what the run was trained on
    split: str
    own: str | None  # domain of the images; None to read it off their domain codes
    index: Path | None  # None for beside the checkpoint
    rebuild: bool
    device: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found, in what."""

    question: Question
    checkpoint: Path
    step: int
    opened: OpenSplit
    index: Path
    stored: Stored
    pixels: NDArray[np.uint8]  # Q H W 3: the images as the model saw them
    own: Sequence[str]  # Q: the images' own domains
    found: Neighbours
    origins: Sequence[Sequence[str]]  # Q x k: where each was sharded from; "" where unknown


def ask(question: Question) -> Answer:
    """Find each image's neighbours; the index is built if it is not there.

    Raises:
        UserError: an image cannot be read; there is no such run, domain, split or number of
            images; or the index is stale or damaged.
    """
    images = [_read(path) for path in question.images]
    file = checkpoint.resolve(question.run if question.run is not None else find_run())
    translator = load(file, device=_device(question.device))
    for name in filter(None, (question.domain, question.own)):
        translator.domain_index(name)
    root = question.shards if question.shards is not None else find_shards(file)
    opened = open_split(root, question.split)
    # before an index is built; of images that cannot be read it knows nothing
    check_k(question.k, question.domain, opened.split.counts().get(question.domain, 0))
    place = question.index if question.index is not None else index_place(file, question.split)
    stored = open_index(place, file, translator, opened, rebuild=question.rebuild)
    pixels, content, own = _encode(translator, images, question.own)
    found = stored.index.search(
        content,
        own=own,
        domain=question.domain,
        k=question.k,
        whole=lambda rows: encode_rows(translator, opened, rows),
    )
    step, origins = translator.step, [_origins(opened, rows) for rows in found.rows]
    return Answer(question, file, step, opened, place, stored, pixels, own, found, origins)


def as_json(answer: Answer) -> dict[str, Any]:
    """Return an answer as JSON."""
    question, quality = answer.question, answer.stored.quality
    return {
        "checkpoint": str(answer.checkpoint),
        "step": answer.step,
        "shards": answer.opened.store.name,
        "split": question.split,
        "in": question.domain,
        "k": question.k,
        "distance": "cosine",
        "index": {
            "file": str(answer.index),
            "images": len(answer.stored.index),
            "unreadable": answer.stored.unreadable,
            "numbers": answer.stored.index.space.numbers,
            "recall": {
                "k": quality.k,
                "value": quality.recall,
                "reduced_codes_alone": quality.recall_alone,
                "queries": quality.queries,
            },
        },
        "queries": [
            {
                "image": str(path),
                "domain": own,
                "neighbours": [
                    {"key": key, "distance": round(distance, 6)}
                    | ({"origin": origin} if origin else {})
                    for key, distance, origin in zip(keys, distances, origins, strict=True)
                ],
            }
            for path, own, keys, distances, origins in zip(
                question.images,
                answer.own,
                answer.found.keys,
                answer.found.distances.tolist(),
                answer.origins,
                strict=True,
            )
        ],
    }


def draw(answer: Answer) -> Image.Image:
    """Draw a row for each image: the image, then its neighbours.

    Raises:
        UserError: one of them cannot be read.
    """
    reader, found = answer.opened.reader(), answer.found
    rows = []
    try:
        for number, path in enumerate(answer.question.images):
            shown = reader.read(take(answer.opened.index, found.rows[number]))
            tiles = [
                Tile(pixels, _file_name(origin) or key, f"{distance:.3f}")
                for pixels, key, distance, origin in zip(
                    shown,
                    found.keys[number],
                    found.distances[number].tolist(),
                    answer.origins[number],
                    strict=True,
                )
            ]
            rows.append((Tile(answer.pixels[number], path.name, answer.own[number]), tiles))
    finally:
        reader.close()
    return neighbour_picture(rows)


def _origins(opened: OpenSplit, rows: NDArray[np.int64]) -> list[str]:
    """Return what samples' .json tell of where they came from: they know files, not keys."""
    try:
        infos = read_infos(rows, index=opened.index, split=opened.split, shards=opened.shards)
    except UserError:  # what is damaged there changes nothing of the answer
        return [""] * len(rows)
    found = [info.get("origin", "") for info in infos]
    return [printable(origin) if isinstance(origin, str) else "" for origin in found]


def _file_name(origin: str) -> str:
    """Return the file's name alone, which fits below a picture; whole what names no file."""
    name = PurePosixPath(origin).name
    return name if "." in name else origin


def _read(path: Path) -> Image.Image:
    """Open an image by its content.

    Raises:
        UserError: it is none.
    """
    from srae_dist.data.images import decode
    from srae_dist.data.sources import read_file

    try:
        return decode(read_file(path))
    except SampleError as error:
        raise UserError(f"{path} cannot be read: {error}; give a JPEG, PNG or WEBP file.") from None


def _encode(
    translator: Translator, images: Sequence[Image.Image], own: str | None
) -> tuple[NDArray[np.uint8], NDArray[np.float32], list[str]]:
    """Return images as the model sees them, their content codes, and their own domains."""
    import torch

    from srae_dist.model.pixels import to_uint8

    x = translator.prepare(images)
    codes = translator.encode(x)
    away = torch.cdist(codes.domain.mean.float(), translator.mean_codes.float())
    names = [own or translator.domains[number] for number in away.argmin(dim=1).tolist()]
    return to_uint8(x), codes.content.mean.float().contiguous().cpu().numpy(), names


def _device(name: str | None) -> str | None:
    """Return a device that is here, or None for the model's own choice.

    Raises:
        UserError: it is not here.
    """
    if name is None:
        return None
    import torch

    from srae_dist.translation.setup import find_device

    return str(find_device(name, default=torch.device("cpu")))
