"""Images through the model: decoded ahead, translated in batches, encoded behind, in order.

Pillow's codecs release the interpreter, so a few threads decode and encode while the model
computes. Batches are filled up to few different sizes: kernels are prepared for each size anew,
and an image's pixels depend on the size of its batch, by rounding, but not on its company.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from srae_dist.core import randomness
from srae_dist.core.errors import SampleError, UserError
from srae_dist.data.images import Pixels, decode_array
from srae_dist.data.resize import resize_square
from srae_dist.data.sources import read_file
from srae_dist.model.pixels import to_uint8
from srae_dist.translation.codes import DomainCodes, Lent
from srae_dist.translation.inputs import Item
from srae_dist.translation.translator import Translator

In = TypeVar("In")
Out = TypeVar("Out")


_PROBED = 16  # images of a probe


@dataclass(frozen=True, slots=True)
class Work:
    """An image on its way through."""

    item: Item
    lent: Lent
    pixels: Pixels | None  # at first the original's, then the translation's
    file: bytes = b""  # the translation, encoded
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """Everything that makes a translation out of an image."""

    translator: Translator
    codes: DomainCodes
    encode: Callable[[Work], bytes]  # translation's pixels to its file; runs in many threads
    size: int  # of the translation, pixels
    batch: int
    bf16: bool
    sample_seed: int | None  # None: content codes are the means

    def seconds(self) -> float:
        """Seconds of translating some blank images: a probe."""
        side, count = self.translator.image_size, min(self.batch, _PROBED)
        blank = torch.zeros(count, side, side, 3, dtype=torch.uint8)
        begun = time.perf_counter()
        device = self.translator.device.type
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=self.bf16):
            codes = self.translator.encode(blank)
            self.translator.decode(codes.content.mean, codes.domain.mean)
        return time.perf_counter() - begun

    def run(self, items: Iterable[Item], *, threads: int) -> Iterator[Work]:
        """Translate; yields every item, translated or failed, in order."""
        pool = ThreadPoolExecutor(threads, thread_name_prefix="codec")
        depth = 2 * self.batch
        try:
            loaded = _ahead(pool, self._load, items, depth)
            yield from _ahead(pool, self._store, self._translated(loaded), depth)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _load(self, item: Item) -> Work:
        """Read and decode the original and its reference."""
        try:
            if isinstance(item.image, SampleError):
                raise item.image
            data = read_file(item.image) if isinstance(item.image, Path) else item.image
            pixels = decode_array(data, self.translator.image_size)
            # the bytes are not needed any more
            return Work(replace(item, image=b""), self.codes.lend(item.key), pixels)
        except SampleError as error:
            return Work(replace(item, image=b""), Lent(""), None, failure=str(error))

    def _translated(self, loaded: Iterable[Work]) -> Iterator[Work]:
        for batch in _batches(loaded, self.batch):
            good = [work for work in batch if work.pixels is not None]
            pixels = iter(self._pixels(good) if good else ())
            for work in batch:
                yield work if work.pixels is None else replace(work, pixels=next(pixels))

    @torch.inference_mode()
    def _pixels(self, batch: Sequence[Work]) -> Pixels:
        """Return the translations of a batch, uint8 N H W 3."""
        device, count = self.translator.device.type, len(batch)
        full = min(self.batch, 1 << (count - 1).bit_length())
        batch = [*batch, *[batch[-1]] * (full - count)]
        try:
            with torch.autocast(device, torch.bfloat16, enabled=self.bf16):
                originals = np.stack([work.pixels for work in batch if work.pixels is not None])
                codes = self.translator.encode(originals)
                z = codes.content.mean
                if self.sample_seed is not None:
                    z = z + codes.content.sigma * self._noise(batch, z)
                domain = self.codes.codes([work.lent for work in batch], codes.domain.mean)
                return to_uint8(self.translator.decode(z, domain)[:count])
        except torch.OutOfMemoryError:
            raise UserError(
                f"A batch of {self.batch} images does not fit into the device's memory; "
                f"lower --batch, for instance to {max(1, self.batch // 2)}."
            ) from None

    def _noise(self, batch: Sequence[Work], z: Tensor) -> Tensor:
        """Return normal noise that depends on the seed and each image's key alone."""
        seed = self.sample_seed or 0
        slots = [randomness.seed_of(seed, "sample", work.item.key) for work in batch]
        return randomness.normal(torch.tensor(slots, device=z.device), tuple(z.shape[1:]), seed)

    def _store(self, work: Work) -> Work:
        """Resize and encode the translation."""
        if work.pixels is None:
            return work
        pixels = work.pixels
        if pixels.shape[0] != self.size:
            pixels = resize_square(pixels, self.size)
        try:
            return replace(work, pixels=None, file=self.encode(replace(work, pixels=pixels)))
        except SampleError as error:
            return replace(work, pixels=None, failure=str(error))


def _batches(works: Iterable[Work], size: int) -> Iterator[list[Work]]:
    """Gather ``size`` works; the last may be fewer. Units do not matter: shards may be small."""
    works = iter(works)
    while batch := list(itertools.islice(works, size)):
        yield batch


def _ahead(
    pool: ThreadPoolExecutor, function: Callable[[In], Out], items: Iterable[In], depth: int
) -> Iterator[Out]:
    """Map in the pool, at most ``depth`` items ahead of whoever takes the results; in order."""
    waiting: deque[Future[Out]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > depth:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
