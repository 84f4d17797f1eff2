"""Files behind a URL, read in parts through fsspec; what fails for a moment is tried again.

A part that broke off goes on where it stopped, in smaller pieces: a server that cuts every
connection after some kilobytes is read to the end all the same.
"""

from __future__ import annotations

import os
import re
import time
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from srae_dist.core.errors import SampleError, UserError
from srae_dist.data.store import SCHEMES

ATTEMPTS = 8  # failures in a row, without a byte of progress, that are one too many
FIRST_ATTEMPTS = 6  # ... of a store that has not answered yet: its name may be wrong
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0  # seconds; doubled at each failure
CONNECT_TIMEOUT, READ_TIMEOUT = 15, 60  # seconds without an answer, or a byte
PIECE = 8 << 20  # bytes of a whole file asked for at a time
SMALLEST = 64 << 10  # bytes of a piece after failures

_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "hf": "huggingface_hub", "http": "aiohttp"}
_PASSING = {408, 425, 429}  # HTTP's words for "not now"


class RangeError(SampleError):
    """The server sends whole files only."""


class RemoteStore:
    """A folder behind a URL. Light to send to another process: connections are its own."""

    def __init__(self, url: str) -> None:
        """Take a URL of a known scheme apart; nothing is opened yet.

        Raises:
            UserError: the scheme is unknown, or the URL has no host or bucket.
        """
        parts = urlsplit(url)
        self._scheme = parts.scheme.lower()
        if self._scheme not in SCHEMES or "::" in url:
            raise UserError(
                f"{_masked(url)} is no place for shards that is known here: give a path, or a URL "
                f"that begins with {', '.join(f'{scheme}://' for scheme in SCHEMES)}."
            )
        if not parts.netloc:
            raise UserError(f"{_masked(url)} names no host or bucket; give the whole URL.")
        self._base = urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
        self._query = f"?{parts.query}" if parts.query and self._is_http else ""
        self._system: Any = None
        self._answered = False

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_system": None}

    def __repr__(self) -> str:
        return f"RemoteStore({self.name})"

    @property
    def name(self) -> str:
        """The URL without what is secret in it."""
        return _masked(self._base)

    def where(self, file: str) -> str:
        """Return a file's URL without what is secret in it."""
        return f"{self.name}/{file}"

    def has(self, file: str) -> bool:
        """Tell whether a file is there.

        Raises:
            UserError: nobody can tell, after all retries.
        """
        try:
            self._persist(file, lambda: self._get(file, 0, 1))
        except FileNotFoundError:
            return False
        except SampleError as error:
            raise UserError(f"{self.where(file)} cannot be reached: {error}.") from None
        return True

    def read(self, file: str, *, limit: int) -> bytes:
        """Return a whole file.

        Raises:
            FileNotFoundError: it is not there.
            UserError: it cannot be read, after all retries, or is larger than ``limit`` bytes.
        """
        data = bytearray()
        try:
            while True:
                piece = self._part(file, len(data), PIECE)
                data += piece
                if len(data) > limit:
                    raise UserError(f"{self.where(file)} is larger than {limit:,} bytes.")
                if len(piece) != PIECE:  # the end, or all of it from a server without ranges
                    return bytes(data)
        except SampleError as error:
            raise UserError(f"{self.where(file)} cannot be read: {error}.") from None

    def read_range(self, file: str, offset: int, size: int) -> bytes:
        """Return ``size`` bytes of a file.

        Raises:
            SampleError: they cannot be had, after all retries.
        """
        data, piece, failures = bytearray(), size, 0
        while len(data) < size:
            wanted = min(piece, size - len(data))
            try:
                part = self._get(file, offset + len(data), wanted)
                if len(part) > wanted:
                    raise RangeError("the server does not serve parts of files (HTTP ranges)")
                if not part:
                    raise SampleError(f"the file ends before byte {offset + size:,}")
            except FileNotFoundError:
                raise SampleError("there is no such file") from None
            except _Passing as error:
                failures += 1
                piece = max(SMALLEST, wanted // 4)
                self._pause(failures, error)
            else:
                data += part
                failures, piece = 0, 2 * piece
        return bytes(data)

    def _part(self, file: str, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes, fewer at the end; all of the file if ranges are unknown."""
        try:
            return self._persist(file, lambda: self._get(file, offset, size))
        except _Beyond:
            return b""

    def _persist(self, file: str, get: Any) -> bytes:
        failures = 0
        while True:
            try:
                return bytes(get())
            except _Passing as error:
                failures += 1
                self._pause(failures, error)

    def _pause(self, failures: int, error: Exception) -> None:
        """Wait before the next attempt, or give up.

        Raises:
            SampleError: it failed too often.
        """
        if failures >= (ATTEMPTS if self._answered else FIRST_ATTEMPTS):
            raise SampleError(f"{error}, {failures} times in a row")
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (failures - 1))
        time.sleep(longest * (0.5 + os.urandom(1)[0] / 512))  # so that ranks do not knock together

    def _get(self, file: str, offset: int, size: int) -> bytes:
        """Ask once for a part of a file.

        Raises:
            FileNotFoundError: there is no such file.
            SampleError: it cannot be had; ``_Passing``: not now; ``_Beyond``: it ends before.
        """
        if self._system is None:
            self._system = self._connect()
        try:
            data: bytes = self._system.cat_file(
                f"{self._base}/{file}{self._query}", start=offset, end=offset + size
            )
            self._answered = True
            return data
        except FileNotFoundError:
            raise
        except Exception as error:  # each kind of store has a family of its own
            raise _sorted(error) from None

    def _connect(self) -> Any:
        """Return this process's connections to the store.

        Raises:
            UserError: the package that speaks to it is not installed.
        """
        import fsspec

        options: dict[str, Any] = {}
        if self._is_http:
            import aiohttp

            timeout = aiohttp.ClientTimeout(
                total=None, sock_connect=CONNECT_TIMEOUT, sock_read=READ_TIMEOUT
            )
            options = {"client_kwargs": {"timeout": timeout}}
        elif self._scheme == "s3":
            options = {
                "config_kwargs": {
                    "connect_timeout": CONNECT_TIMEOUT,
                    "read_timeout": READ_TIMEOUT,
                    "retries": {"max_attempts": 1},  # ours go on where they stopped
                }
            }
        try:
            return fsspec.filesystem(self._scheme, **options)
        except ImportError:
            package = _PACKAGES[self._scheme]
            raise UserError(
                f"{self._scheme}:// needs the package {package}; run `pip install {package}`."
            ) from None

    @property
    def _is_http(self) -> bool:
        return self._scheme in ("http", "https")


def open_remote(url: str) -> RemoteStore:
    """Open a URL as a store; reads nothing yet.

    Raises:
        UserError: it is none that is known here.
    """
    return RemoteStore(url)


class _Passing(Exception):
    """What may be gone a moment later."""


class _Beyond(SampleError):
    """The file ends before what was asked for."""


def _sorted(error: Exception) -> Exception:
    """Tell a failure for good from one that may pass."""
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    reason = re.sub(r"\S+://\S+", lambda match: _masked(match[0]), reason)
    status = getattr(error, "status", None)
    if status == 416 or "InvalidRange" in reason or "not satisfiable" in reason:
        return _Beyond("the file ends before what was asked for")
    if isinstance(error, PermissionError):
        return SampleError(f"access is denied ({reason})")
    if isinstance(status, int) and 400 <= status < 500 and status not in _PASSING:
        return SampleError(f"the server answers {status}")
    return _Passing(reason if status is None else f"the server answers {status}")


def _masked(url: str) -> str:
    """Return a URL without password and query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
