"""The index of a checkpoint's content codes: built from shards the first time, then read again."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from srae_dist.core import atomic, disk
from srae_dist.core.errors import UserError
from srae_dist.data.reader import take
from srae_dist.evaluate.encoding import domain_numbers
from srae_dist.evaluation import index_file
from srae_dist.evaluation.build_index import CHUNK, SAMPLE, Built, Quality, build, count_encodings
from srae_dist.evaluation.content_space import NUMBERS
from srae_dist.evaluation.index_file import Origin, Stored
from srae_dist.runtime import console

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from srae_dist.data.opened import OpenSplit
    from srae_dist.data.reader import Failure
    from srae_dist.translation.translator import Translator

GOAL = 0.95  # recall below which a user is warned
_SAMPLE_NUMBERS = 1 << 28  # of the codes that are held at once: 1 GiB
_SHOWN = 5  # unreadable images that are named


def index_place(checkpoint: Path, split: str) -> Path:
    """Return where the index of a split lies: beside the checkpoint's ``ema.safetensors``."""
    return checkpoint.parent / f"neighbours-{split}.safetensors"


def open_index(
    path: Path, checkpoint: Path, translator: Translator, opened: OpenSplit, *, rebuild: bool
) -> Stored:
    """Read the index, or build and save it where there is none.

    Args:
        path: of the index.
        checkpoint: the model's ``ema.safetensors``.
        rebuild: build it even if it is there.

    Raises:
        UserError: model and shards do not fit, the index is stale or damaged, or cannot be saved.
    """
    domain = domain_numbers(translator, opened)
    origin = Origin(
        checkpoint=atomic.sha256_file(checkpoint),
        shards=opened.split.index_sha256,
        split=opened.name,
        domains=translator.domains,
    )
    if rebuild or not path.exists():
        _build(path, origin, translator, opened, domain)
    keys = opened.index.keys
    return index_file.load(path, origin, width=_width(translator), domain=domain, keys=keys)


def encode_rows(
    translator: Translator, opened: OpenSplit, rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return whole content codes of images of the split, n x D.

    Raises:
        UserError: one cannot be read.
    """
    import numpy as np

    reader, parts = opened.reader(), []
    try:
        for start in range(0, len(rows), CHUNK):
            pixels = reader.read(take(opened.index, rows[start : start + CHUNK]))
            parts.append(_content(translator, pixels))
    finally:
        reader.close()
    return np.concatenate(parts)


def describe(stored: Stored) -> str:
    """Say in one line what an index holds and how far it can be trusted."""
    missing = f" ({stored.unreadable:,} more cannot be read)" if stored.unreadable else ""
    return (
        f"{len(stored.index):,} images{missing}, {stored.index.space.numbers} numbers each; "
        f"{_recall(stored.quality)}"
    )


def _recall(quality: Quality) -> str:
    if quality.recall is None or quality.recall_alone is None:
        return "recall not measured: too few images"
    return (
        f"recall@{quality.k} {quality.recall:.3f} against exact search on whole codes "
        f"({quality.recall_alone:.3f} by reduced codes alone)"
    )


def _build(
    path: Path,
    origin: Origin,
    translator: Translator,
    opened: OpenSplit,
    domain: NDArray[np.int64],
) -> None:
    """Encode the split, save its index, and say how good it is."""
    width = _width(translator)
    _check_writable(path)
    disk.check_room(path, 2 * len(domain) * min(NUMBERS, width), what="the index")
    sample = min(SAMPLE, _SAMPLE_NUMBERS // width)
    total = count_encodings(domain, domains=len(translator.domains), sample=sample)
    console.info(
        f"Building an index of {len(domain):,} images, split {opened.name} of {opened.store.name}."
    )
    with console.progress(total, "images encoded") as advance:
        encoder = _Encoder(translator, opened, advance)
        built = build(
            domain,
            opened.index.keys,
            domains=translator.domains,
            split=opened.name,
            encode=encoder.encode,
            sample=sample,
        )
    try:
        index_file.save(path, built, origin)
    except Exception as error:
        if disk.number_of(error) is None:
            raise
        raise _unwritable(path, error) from None
    _report(path, built, encoder.failures)


class _Encoder:
    """Reads and encodes rows of a split; keeps a list of those that cannot be read."""

    def __init__(self, translator: Translator, opened: OpenSplit, advance: console.Advance) -> None:
        self._translator, self._index, self._advance = translator, opened.index, advance
        self._reader = opened.reader()
        self.failures: dict[int, Failure] = {}  # by row

    def encode(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the rows that can be read, and their content codes n x D."""
        import numpy as np

        pixels = self._reader.empty(len(rows))
        failures = self._reader.try_read(take(self._index, rows), pixels)
        self._advance(len(rows))
        self.failures.update({int(rows[failure.place]): failure for failure in failures})
        good = np.delete(np.arange(len(rows)), [failure.place for failure in failures])
        if not len(good):
            return rows[good], np.empty((0, _width(self._translator)), np.float32)
        return rows[good], _content(self._translator, pixels[good])


def _report(path: Path, built: Built, failures: Mapping[int, Failure]) -> None:
    """Say what was built, what of it is missing, and whether it is good."""
    quality = built.quality
    console.facts(
        f"Built {path}",
        {
            "images": f"{len(built.index):,}, {built.codes.nbytes / 1e6:,.1f} MB of codes",
            "codes": f"{built.codes.shape[1]} numbers of {built.index.space.width:,}, "
            f"{100 * quality.kept:.1f} % of the squared length; fitted on "
            f"{quality.fitted_on:,} images",
            "recall": f"{_recall(quality)} ({quality.queries:,} queries in every domain)",
        },
    )
    if quality.recall is not None and quality.recall < GOAL:
        console.warn(
            f"recall@{quality.k} is below {GOAL}: {NUMBERS} numbers do not hold these content "
            "codes well, so some of the nearest images are not found."
        )
    for failure in itertools.islice(failures.values(), _SHOWN):
        console.warn(f"{failure.key} of {failure.shard} cannot be read: {failure.reason}")
    if failures:
        console.warn(f"{len(failures):,} images cannot be read and are not in the index.")


def _content(translator: Translator, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Encode images N H W 3: means of their content codes, N x D."""
    codes: NDArray[np.float32] = (
        translator.encode(pixels).content.mean.float().flatten(1).cpu().numpy()
    )
    return codes


def _width(translator: Translator) -> int:
    """Return the numbers of a whole content code."""
    from srae_dist.recipe.schema import Model

    model = Model.model_validate(translator.recipe["model"])
    return model.content_channels * model.code_size**2


def _check_writable(path: Path) -> None:
    """Try to write before an hour is spent on what could not be saved.

    Raises:
        UserError: the folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: Exception) -> UserError:
    return UserError(
        f"The index {path} cannot be written: {disk.reason(error, path)}; name another place with "
        "--index."
    )
