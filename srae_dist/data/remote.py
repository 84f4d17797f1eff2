"""Files behind a URL, read in parts; what fails for a moment is tried again.

A part that broke off goes on where it stopped, in smaller pieces: a server that cuts every
connection after some kilobytes is read to the end all the same.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from srae_dist.core.errors import SampleError, UserError
from srae_dist.core.urls import masked
from srae_dist.data.store import SCHEMES
from srae_dist.data.transport import Beyond, Part, Passing, Transport, connect

ATTEMPTS = 8  # failures in a row, without progress, that are one too many
DOWN = 20.0  # seconds after giving up in which a store is not waited for again
FIRST_ATTEMPTS = 6  # ... of a store that has not answered yet: its name may be wrong
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0  # seconds; doubled at each failure
PIECE = 8 << 20  # bytes asked for at a time, at most
SMALLEST = 64 << 10  # bytes of a piece after failures
PROGRESS = 16 << 10  # bytes before a failure that make up for it


class RemoteStore:
    """A folder behind a URL. Light to send to another process: connections are its own."""

    def __init__(self, url: str) -> None:
        """Take a URL of a known scheme apart; nothing is opened yet.

        Raises:
            UserError: the scheme is unknown, or the URL has no host or bucket, or says too much.
        """
        self._scheme = url.partition(":")[0].lower()
        if self._scheme not in SCHEMES or "::" in url.rpartition("]")[2]:
            raise UserError(
                f"{masked(url)} is no place for shards that is known here: give a path, or a URL "
                f"that begins with {', '.join(f'{scheme}://' for scheme in SCHEMES)}."
            )
        try:
            parts = urlsplit(url)
            known = parts.netloc and parts.port != 0  # asking for a wrong port raises
        except ValueError:
            known = False
        if not known:
            raise UserError(f"{masked(url)} names no host or bucket; give the whole URL.")
        is_web = self._scheme in ("http", "https")
        if not is_web and ("@" in parts.netloc or parts.query):
            raise UserError(
                f"{masked(url)} is given with a password or query, which {self._scheme}:// has "
                "not; name the bucket alone, and give credentials by environment variables."
            )
        self._base = urlunsplit((self._scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
        self._query = f"?{parts.query}" if parts.query else ""
        self._answered = False
        self._down_until = 0.0  # by the clock: after giving up, other requests get one attempt each
        self._prepare()

    def _prepare(self) -> None:
        self._transport: Transport | None = None
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        own = ("_transport", "_lock")
        return {key: value for key, value in self.__dict__.items() if key not in own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._prepare()

    def __repr__(self) -> str:
        return f"RemoteStore({self.name})"

    @property
    def name(self) -> str:
        """The URL without what is secret in it."""
        return masked(self._base)

    def where(self, file: str) -> str:
        """Return a file's URL without what is secret in it."""
        return f"{self.name}/{file}"

    def has(self, file: str) -> bool:
        """Tell whether a file is there.

        Raises:
            UserError: nobody can tell, after all retries.
        """
        try:
            self._collect(file, 0, 1, most=1)
        except FileNotFoundError:
            return False
        except SampleError as error:
            raise UserError(
                f"{self.where(file)} cannot be reached: {error}; check the URL and the network."
            ) from None
        return True

    def read(self, file: str, *, limit: int) -> bytes:
        """Return a whole file.

        Raises:
            FileNotFoundError: it is not there.
            UserError: it cannot be read, after all retries, or is larger than ``limit`` bytes.
        """
        try:
            data = self._collect(file, 0, limit + 1, most=limit + 1)
        except SampleError as error:
            raise UserError(
                f"{self.where(file)} cannot be read: {error}; check the URL and the network."
            ) from None
        if len(data) > limit:
            raise UserError(f"{self.where(file)} is larger than {limit:,} bytes.")
        return data

    def read_range(self, file: str, offset: int, size: int) -> bytes:
        """Return ``size`` bytes of a file.

        Raises:
            SampleError: they cannot be had, after all retries.
        """
        try:
            data = self._collect(file, offset, size)
        except FileNotFoundError:
            raise SampleError("there is no such file") from None
        if len(data) < size:
            raise SampleError(f"the file ends before byte {offset + size:,}")
        return data

    def _collect(self, file: str, offset: int, size: int, *, most: int = 0) -> bytes:
        """Return ``size`` bytes, fewer where the file ends, piece by piece.

        ``most``: bytes of the whole file that are accepted from a server without ranges.

        Raises:
            FileNotFoundError: there is no such file.
            SampleError: they cannot be had, after all retries.
        """
        parts: list[bytes] = []
        have, piece, failures = 0, min(size, PIECE), 0
        while have < size:
            wanted = min(piece, size - have)
            begin = offset + have
            try:
                part = self._get(file, begin, wanted, most=0 if begin else most)
            except Beyond:
                break
            except Passing as error:
                parts.append(error.data)
                have += len(error.data)
                failures = failures + 1 if len(error.data) < PROGRESS else 0
                piece = max(SMALLEST, wanted // 4)
                if failures:
                    self._pause(failures, error)
                continue
            parts.append(part.data)
            have += len(part.data)
            if not part.data or (part.total is not None and begin + len(part.data) >= part.total):
                break
            failures, piece = 0, min(PIECE, 2 * piece)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _pause(self, failures: int, error: Exception) -> None:
        """Wait before the next attempt, or give up.

        Raises:
            SampleError: it failed too often.
        """
        patience = ATTEMPTS if self._answered else FIRST_ATTEMPTS
        if time.monotonic() < self._down_until:  # all blocks are asked of the same dead server
            patience = 1
        if failures >= patience:
            self._down_until = time.monotonic() + DOWN
            often = f"{failures} times in a row" if failures > 1 else "still"
            raise SampleError(f"{error}, {often}")
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (failures - 1))
        time.sleep(longest * (0.5 + os.urandom(1)[0] / 512))  # so that ranks do not knock together

    def _get(self, file: str, offset: int, size: int, *, most: int) -> Part:
        """Ask once."""
        with self._lock:
            if self._transport is None:
                self._transport = connect(self._scheme)
        url = f"{self._base}/{file}{self._query}"
        part = self._transport.get(url, offset, size, most=most)
        self._answered = True
        self._down_until = 0.0
        return part


def open_remote(url: str) -> RemoteStore:
    """Open a URL as a store; reads nothing yet.

    Raises:
        UserError: it is none that is known here.
    """
    return RemoteStore(url)
