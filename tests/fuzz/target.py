"""What a target is, and how it feeds one input to several readers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from srae_dist.core.errors import SampleError, UserError

OURS = (UserError, SampleError)


class Target(Protocol):
    """Something that reads what others wrote."""

    def make(self, seed: int, number: int) -> bytes:
        """Return the input of a number; equal arguments give equal bytes."""
        ...

    def feed(self, data: bytes) -> bool:
        """Read an input in every way; return whether nothing was wrong with it.

        Raises:
            Exception: anything but our own errors came out.
        """
        ...


def each(*calls: Callable[[], Any]) -> bool:
    """Make all calls, whichever of them raise our own errors; return whether none did."""
    accepted = True
    for call in calls:
        try:
            call()
        except OURS:
            accepted = False
    return accepted
