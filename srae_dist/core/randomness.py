"""Every random number is a function of (seed, name, place), never of what was drawn before.

So noise follows the sample and not the rank: one rank, two ranks or four accumulation steps draw
the same numbers, and resuming stores no generator state.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

_MASK32 = 0xFFFFFFFF


def seed_of(seed: int, *name: str | int) -> int:
    """Return a 63-bit number that depends on the seed and every part of the name."""
    text = "/".join(map(str, (seed, *name))).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


def generator(seed: int, *name: str | int) -> np.random.Generator:
    """Return a fresh numpy generator for the named purpose."""
    import numpy as np

    return np.random.Generator(np.random.Philox(seed_of(seed, *name)))


def hash_bits(counters: Tensor, key: int) -> Tensor:
    """Mix int64 counters with a key into 32 uniform bits each (held in int64), elementwise.

    Two rounds of the ``lowbias32`` integer hash (C. Wellons), one for each half of the counter.
    Pure tensor arithmetic: the same on every device, and traceable by ``torch.compile``.
    """
    low = _lowbias32((counters & _MASK32) ^ (key & _MASK32))
    return _lowbias32(low ^ ((counters >> 32) & _MASK32) ^ ((key >> 32) & _MASK32))


def coin(slots: Tensor, key: int) -> Tensor:
    """Return a fair boolean for each slot."""
    return (hash_bits(slots, key) & 1).bool()


def uniform(slots: Tensor, count: int, key: int) -> Tensor:
    """Return ``count`` float32 numbers in [0, 1) for each slot, N x count."""
    import torch

    rows = hash_bits(slots, key)[:, None]
    place = torch.arange(count, device=slots.device)[None, :]
    return (_lowbias32(rows ^ _lowbias32(place + 1)) >> 8).float() * 2.0**-24


def normal(slots: Tensor, shape: tuple[int, ...], key: int) -> Tensor:
    """Return standard normal float32 noise of shape ``(len(slots), *shape)``.

    Element i of a slot depends only on (key, slot, i): Box-Muller over hashed counters.
    """
    import torch

    count = math.prod(shape)
    half = (count + 1) // 2
    rows = hash_bits(slots, key)[:, None]  # one 32-bit stream name per slot
    place = torch.arange(half, device=slots.device)[None, :]
    first = _lowbias32(_lowbias32(rows ^ _lowbias32(2 * place)) ^ 0x9E3779B9)
    second = _lowbias32(_lowbias32(rows ^ _lowbias32(2 * place + 1)) ^ 0x85EBCA6B)
    # 24 bits, shifted by a half, so that the logarithm never sees 0 and float32 is exact
    radius = torch.sqrt(-2.0 * torch.log(((first >> 8).float() + 0.5) * 2.0**-24))
    angle = (second >> 8).float() * (2.0 * math.pi * 2.0**-24)
    noise = torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], dim=1)
    return noise[:, :count].reshape(len(slots), *shape)


def _lowbias32(x: Tensor) -> Tensor:
    x = x ^ (x >> 16)
    x = (x * 0x21F0AAAD) & _MASK32
    x = x ^ (x >> 15)
    x = (x * 0x735A2D97) & _MASK32
    return x ^ (x >> 15)
