"""Parts of a data set, drawn class by class: held-out shares, folds, equal numbers of each class.

All take ``y``, the N images' classes as whole numbers, and return numbers or a mask of N.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

UNSEEN = -1  # a class that no training image has; no answer is right

Classes = NDArray[np.int64]


def held_out(y: Classes, share: float, *, random: np.random.Generator) -> NDArray[np.bool_]:
    """Mark ``share`` of each class, rounded down: no class is held out whole."""
    mask = np.zeros(len(y), np.bool_)
    for rows in _by_class(y):
        mask[random.permutation(rows)[: int(share * len(rows))]] = True
    return mask


def folds(y: Classes, count: int, *, random: np.random.Generator) -> Classes:
    """Deal each class evenly to ``count`` folds; return each image's fold."""
    fold = np.empty(len(y), np.int64)
    start = 0
    for rows in _by_class(y):  # goes on where the last class ended, so that folds are even, too
        fold[random.permutation(rows)] = (start + np.arange(len(rows))) % count
        start += len(rows)
    return fold


def equal(y: Classes, *, random: np.random.Generator) -> Classes:
    """Draw as many images of each class as the smallest has; return their places, in order."""
    groups = _by_class(y)
    least = min(len(rows) for rows in groups)
    return np.sort(np.concatenate([random.permutation(rows)[:least] for rows in groups]))


def numbered(train: NDArray[np.str_], test: NDArray[np.str_]) -> tuple[list[str], Classes, Classes]:
    """Number the classes that training has, by their sorted names.

    Returns:
        The names, and the class numbers of both parts' images: ``UNSEEN`` where only test has it.
    """
    names, y = np.unique(train, return_inverse=True)
    place = np.clip(np.searchsorted(names, test), 0, len(names) - 1)
    return names.tolist(), y.astype(np.int64), np.where(names[place] == test, place, UNSEEN)


def _by_class(y: Classes) -> list[Classes]:
    return [np.flatnonzero(y == number) for number in np.unique(y)]
