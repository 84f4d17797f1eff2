"""One request to a remote store: a part of a file; and of what failed, whether it may pass.

Web servers are asked by ``data.web``; buckets and hubs, here, through fsspec's ``cat_file``.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple, Protocol

from srae_dist.core.errors import SampleError, UserError
from srae_dist.core.urls import masked

CONNECT_TIMEOUT, READ_TIMEOUT = 15, 60  # seconds without an answer, or a byte
REQUEST_TIMEOUT = 120  # seconds of a whole request, for servers that send a byte now and then

_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "hf": "huggingface_hub"}
_PASSING = {408, 425, 429}  # HTTP's words for "not now"
_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"}  # botocore's
_FOR_GOOD = {"ParamValidationError", "EndpointResolutionError"} | _CREDENTIALS


class RangeError(SampleError):
    """The server sends whole files only."""


class Beyond(SampleError):
    """The file ends before what was asked for."""


class Passing(Exception):
    """What may be gone a moment later; ``data`` came before it."""

    def __init__(self, reason: str, data: bytes = b"") -> None:
        super().__init__(reason)
        self.data = data


class Part(NamedTuple):
    """Bytes of a file, from the offset asked for; fewer than asked for only at its end."""

    data: bytes
    total: int | None  # bytes of the whole file, if the server tells


class Transport(Protocol):
    """Asks once."""

    def get(self, url: str, offset: int, size: int, *, most: int) -> Part:
        """Return a part of a file; or all of it, up to ``most`` bytes, from a server without parts.

        Raises:
            FileNotFoundError: there is no such file.
            Passing: not now.
            SampleError: never.
        """
        ...


def connect(scheme: str) -> Transport:
    """Return this process's connections to stores of a kind.

    Raises:
        UserError: the package that speaks to it is not installed.
    """
    try:
        if scheme in ("http", "https"):
            from srae_dist.data.web import Web

            return Web()
        return _Bucket(scheme)
    except ImportError:
        package = _PACKAGES.get(scheme, "requests")
        raise UserError(
            f"{scheme}:// needs the package {package}; run `pip install {package}`."
        ) from None


def of_status(status: int, reason: str) -> Exception:
    """Return what an answer that is no success means."""
    if status in (404, 410):
        return FileNotFoundError(reason)
    if status == 416:
        return Beyond("the file ends before what was asked for")
    if 400 <= status < 500 and status not in _PASSING:
        return SampleError(reason)
    return Passing(reason)


class _Bucket:
    """Buckets and hubs."""

    def __init__(self, scheme: str) -> None:
        import fsspec
        from fsspec.asyn import AsyncFileSystem
        from fsspec.config import conf

        self._scheme = scheme
        options: dict[str, Any] = {}
        if scheme == "s3":
            ours = {
                "connect_timeout": CONNECT_TIMEOUT,
                "read_timeout": READ_TIMEOUT,
                "max_pool_connections": 64,
                "retries": {"total_max_attempts": 1},  # ours go on where they stopped
            }
            options["config_kwargs"] = {**ours, **conf.get("s3", {}).get("config_kwargs", {})}
        self._system: Any = fsspec.filesystem(scheme, skip_instance_cache=True, **options)
        if hasattr(self._system, "retries"):
            self._system.retries = 1
        self._is_async = isinstance(self._system, AsyncFileSystem)

    def get(self, url: str, offset: int, size: int, *, most: int) -> Part:
        """Return a part of a file."""
        try:
            data = self._ask(url, offset, offset + size)
        except Exception as error:  # each kind of store has a family of its own
            raise _of_bucket(error, self._scheme) from None
        if len(data) > size:
            raise RangeError("the server does not serve parts of files")
        return Part(data, offset + len(data) if len(data) < size else None)

    def _ask(self, url: str, start: int, end: int) -> bytes:
        from fsspec.asyn import sync

        system = self._system
        if not self._is_async:  # without "none" it would read ahead, for itself alone
            return bytes(system.cat_file(url, start=start, end=end, cache_type="none"))
        ask = system._cat_file
        return bytes(sync(system.loop, ask, url, start=start, end=end, timeout=REQUEST_TIMEOUT))


def _of_bucket(error: Exception, scheme: str) -> Exception:
    """Say what a failure of a store's own package means."""
    name = type(error).__name__
    reason = " ".join(str(error).split())[:200] or name
    reason = re.sub(r"[^\s\"'<>(]+://[^\s\"'<>)]+", lambda match: masked(match[0]), reason)
    if name in _CREDENTIALS and scheme == "s3":
        return SampleError(
            "no credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "AWS_PROFILE; or, for a public bucket, FSSPEC_S3='{\"anon\": true}'"
        )
    status = _status(error)
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return FileNotFoundError(reason)
    if status is not None:
        return of_status(status, f"the server answers {status} ({reason})")
    if isinstance(error, PermissionError):
        return SampleError(f"access is denied ({reason})")
    mistakes = ValueError | TypeError | NotImplementedError  # what no second attempt mends
    if name in _FOR_GOOD or isinstance(error, mistakes):
        return SampleError(reason)
    return Passing(reason)


def _status(error: BaseException) -> int | None:
    """Return the HTTP status that a failure carries, wherever its package keeps it."""
    if isinstance(error.__cause__, Exception) and hasattr(error.__cause__, "response"):
        error = error.__cause__
    response = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore's
        found = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        found = getattr(response, "status_code", None)
        for name in ("status", "code"):  # aiohttp's, gcsfs's
            found = getattr(error, name, None) if found is None else found
    return found if isinstance(found, int) and 100 <= found < 600 else None
