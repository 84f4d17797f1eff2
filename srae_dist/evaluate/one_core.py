"""Probes multiply small matrices: threads would mostly wait for each other."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Keep the libraries below scikit-learn to one thread; torch keeps its own.

    On two busy cores the probes of the digits took 260 s with two threads, 14 s with one.
    """
    from threadpoolctl import threadpool_limits

    for name in ("scipy.linalg", "sklearn.neighbors"):  # what is loaded later has no limit
        importlib.import_module(name)
    with threadpool_limits(limits=1):
        yield
