"""t-SNE (van der Maaten and Hinton 2008) that repeats, and that survives collapsed codes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from srae_dist.core.errors import UserError
from srae_dist.core.randomness import generator, seed_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Points = NDArray[np.float32]  # N 2

PERPLEXITY = 30.0
_COMPONENTS = 50  # principal components that t-SNE sees at most, as its authors advise
_FEWEST = 8  # images; fewer make no picture


def tsne(codes: ArrayLike, *, perplexity: float = PERPLEXITY, seed: int = 0) -> Points:
    """Place vectors N d in the plane: t-SNE from a PCA start.

    Args:
        perplexity: lowered to a third of the others' number where there are few.

    Raises:
        UserError: fewer than 8 vectors, or a perplexity that is not above 1.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    x = np.asarray(codes, np.float64)
    used = fitting_perplexity(len(x), perplexity)
    # one thread: on busy cores t-SNE's threads only wait for each other, and sums keep their order
    with threadpool_limits(1):
        x = _principal(x)
        state = seed_of(seed, "tsne") % 2**32
        places = TSNE(
            init=_start(x, seed), perplexity=used, random_state=state, learning_rate="auto"
        ).fit_transform(x)
    return np.asarray(places, np.float32)


def _principal(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn vectors to their principal components, the 50 largest at most."""
    centred = x - x.mean(axis=0)
    wide = len(x) < x.shape[1]
    square = centred @ centred.T if wide else centred.T @ centred
    values, vectors = (found[..., ::-1][..., :_COMPONENTS] for found in np.linalg.eigh(square))
    components = vectors * np.sqrt(np.maximum(values, 0.0)) if wide else centred @ vectors
    return np.asarray(components, np.float64)


def _start(components: NDArray[np.float64], seed: int) -> NDArray[np.float32]:
    """The first two components, small as t-SNE wants them.

    A little noise keeps equal codes apart: a collapsed code has nothing else, and scikit-learn's
    own start from components divides by its spread of 0.
    """
    start = generator(seed, "tsne", "start").standard_normal((len(components), 2)) * 1e-6
    spread = float(components[:, 0].std())
    if spread > 1e-12:
        some = components[:, :2]
        start[:, : some.shape[1]] += some * (1e-4 / spread)
    return start.astype(np.float32)


def fitting_perplexity(count: int, wanted: float) -> float:
    """Return the perplexity for so many vectors: at most a third of the others' number.

    Raises:
        UserError: fewer than 8 vectors, or ``wanted`` is not above 1.
    """
    if count < _FEWEST:
        raise UserError(f"t-SNE needs {_FEWEST} images at least; there are {count}.")
    if not wanted > 1.0:
        raise UserError(f"t-SNE's perplexity is {wanted:g}; it must be above 1.")
    return min(wanted, (count - 1) / 3)
