"""One request to a remote store: a part of a file; and of what failed, whether it may pass.

Web servers are asked through the session of fsspec's file system, and their bytes taken as they
come, so that what arrived before a failure is kept; buckets and hubs through its ``cat_file``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import urlsplit, urlunsplit

from srae_dist.core.errors import SampleError, UserError

if TYPE_CHECKING:
    from aiohttp import ClientResponse

CONNECT_TIMEOUT, READ_TIMEOUT = 15, 60  # seconds without an answer, or a byte
REQUEST_TIMEOUT = 120  # seconds of a whole request, for servers that send a byte now and then

_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "hf": "huggingface_hub"}
_PASSING = {408, 425, 429}  # HTTP's words for "not now"
_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"}  # botocore's
_FOR_GOOD = {"ParamValidationError", "EndpointResolutionError"} | _CREDENTIALS
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


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
        return _Web() if scheme in ("http", "https") else _Bucket(scheme)
    except ImportError:
        package = _PACKAGES.get(scheme, "aiohttp")
        extra = f"'srae-dist[{scheme}]'" if scheme in ("s3", "gs") else package
        raise UserError(
            f"{scheme}:// needs the package {package}; run `pip install {extra}`."
        ) from None


def masked(url: str) -> str:
    """Return a URL without password and query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return re.sub(r"//[^/]*@", "//", url.partition("?")[0])
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


class _Web:
    """Web servers."""

    def __init__(self) -> None:
        import aiohttp
        import fsspec

        timeout = aiohttp.ClientTimeout(
            total=REQUEST_TIMEOUT, sock_connect=CONNECT_TIMEOUT, sock_read=READ_TIMEOUT
        )
        session = {"timeout": timeout, "trust_env": True}
        self._system: Any = fsspec.filesystem(
            "http", client_kwargs=session, skip_instance_cache=True
        )

    def get(self, url: str, offset: int, size: int, *, most: int) -> Part:
        """Return a part of a file."""
        from fsspec.asyn import sync

        chunks: list[bytes] = []  # outlives a failure
        try:
            total = sync(self._system.loop, self._ask, url, offset, size, most, chunks)
        except (FileNotFoundError, SampleError, Passing):
            raise
        except Exception as error:
            raise _of_web(error, b"".join(chunks)) from None
        data = b"".join(chunks)
        return Part(data, len(data) if total is None else total)

    async def _ask(
        self, url: str, offset: int, size: int, most: int, chunks: list[bytes]
    ) -> int | None:
        """Put a part's bytes into ``chunks``; return the file's, or None if it is all of them."""
        session = await self._system.set_session()
        headers = {"Range": f"bytes={offset}-{offset + size - 1}", "Accept-Encoding": "identity"}
        async with session.get(self._system.encode_url(url), headers=headers) as response:
            due, total = _coming(response, offset, size, most)
            async for chunk in response.content.iter_any():
                chunks.append(chunk[:due])
                due -= len(chunk)
                if due <= 0:
                    break
        if due > 0 and total is not None:
            raise Passing("the connection was cut", b"".join(chunks))
        return total


def _coming(response: ClientResponse, offset: int, size: int, most: int) -> tuple[int, int | None]:
    """Return how many bytes come, at most, and the file's, or None if all of it comes."""
    status = response.status
    if status == 206:
        found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if found is None or int(found[1]) != offset or not offset <= int(found[2]) < offset + size:
            raise RangeError("the server sends another part than was asked for")
        end = int(found[2]) + 1
        return end - offset, max(end, offset + size) if found[3] == "*" else int(found[3])
    if status == 200:
        if offset or not (most or response.content_length == size):
            raise RangeError("the server does not serve parts of files (HTTP ranges)")
        return (most, None) if most else (size, size)
    raise _of_status(status, f"the server answers {status}")


def _of_status(status: int, reason: str) -> Exception:
    """Return what an answer that is no success means."""
    if status in (404, 410):
        return FileNotFoundError(reason)
    if status == 416:
        return Beyond("the file ends before what was asked for")
    if 400 <= status < 500 and status not in _PASSING:
        return SampleError(reason)
    return Passing(reason)


def _of_web(error: Exception, data: bytes) -> Exception:
    """Say what a failure of aiohttp means; its own words hold URLs and so secrets."""
    import aiohttp

    unaskable = aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError | aiohttp.TooManyRedirects
    if isinstance(error, unaskable):
        return SampleError("the URL, or where it leads, is none that can be asked")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return SampleError("the server's certificate is not trusted")
    if isinstance(error, TimeoutError):
        return Passing("the server takes too long", data)
    if isinstance(error, aiohttp.ClientConnectorError):
        return Passing(f"no connection ({error.strerror or 'no such host'})", data)
    if isinstance(error, aiohttp.ClientError | OSError):
        return Passing("the connection was cut", data)
    return SampleError(f"{type(error).__name__} in a request")


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
        return _of_status(status, f"the server answers {status} ({reason})")
    if isinstance(error, PermissionError):
        return SampleError(f"access is denied ({reason})")
    if name in _FOR_GOOD or isinstance(error, ValueError | TypeError | NotImplementedError):
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
