"""Web servers, asked through ``requests``: proxies, certificates, credentials as users have them.

fsspec's own way to them (aiohttp) took more of a core for the same bytes, which the loader then
lacks (benchmarks/remote-2026-11-28.md). Bytes are taken as they come, so that what arrived before
a failure is kept.
"""

from __future__ import annotations

import re
import time

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, ReadTimeoutError
from urllib3.response import BaseHTTPResponse

from srae_dist.core.errors import SampleError
from srae_dist.data import transport
from srae_dist.data.transport import Part, Passing, RangeError, of_status

CONNECTIONS = 64  # kept open to a server
CHUNK = 1 << 17  # bytes taken at a time
MOST_REDIRECTS = 10

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class Web:
    """Asks web servers; any thread may."""

    def __init__(self) -> None:
        self._session = requests.Session()
        self._session.max_redirects = MOST_REDIRECTS
        adapter = HTTPAdapter(pool_connections=8, pool_maxsize=CONNECTIONS, max_retries=0)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def get(self, url: str, offset: int, size: int, *, most: int) -> Part:
        """Return a part of a file, as ``Transport`` says."""
        chunks: list[bytes] = []  # outlives a failure
        try:
            total = self._ask(url, offset, size, most, chunks)
        except FileNotFoundError:
            raise
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            raise _of_web(error, b"".join(chunks)) from None
        data = b"".join(chunks)
        return Part(data, len(data) if total is None else total)

    def _ask(self, url: str, offset: int, size: int, most: int, chunks: list[bytes]) -> int | None:
        """Put a part's bytes into ``chunks``; return the file's, or None if it is all of them."""
        headers = {"Range": f"bytes={offset}-{offset + size - 1}", "Accept-Encoding": "identity"}
        patience = (transport.CONNECT_TIMEOUT, transport.READ_TIMEOUT)
        deadline = time.monotonic() + transport.REQUEST_TIMEOUT
        answer = self._session.get(url, headers=headers, stream=True, timeout=patience)
        with answer:
            due, total = _coming(answer, offset, size, most)
            due -= _take(answer.raw, due, chunks, deadline)
        if due > 0 and total is not None:
            raise Passing("the connection was cut", b"".join(chunks))
        return total


def _take(body: BaseHTTPResponse, due: int, chunks: list[bytes], deadline: float) -> int:
    """Append up to ``due`` bytes of a body as they come; return how many came."""
    taken = 0
    while taken < due and (chunk := body.read1(min(CHUNK, due - taken))):
        chunks.append(chunk)
        taken += len(chunk)
        if time.monotonic() > deadline:
            raise TimeoutError
    return taken


def _coming(answer: requests.Response, offset: int, size: int, most: int) -> tuple[int, int | None]:
    """Return how many bytes come, at most, and the file's, or None if all of it comes."""
    if answer.status_code == 206:
        found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if found is None or int(found[1]) != offset or not offset <= int(found[2]) < offset + size:
            raise RangeError("the server sends another part than was asked for")
        end = int(found[2]) + 1
        total = max(end, offset + size) if found[3] == "*" else int(found[3])
        if total < end:
            raise RangeError("the server sends more than it says the file has")
        return end - offset, total
    if answer.status_code == 200:
        if offset or not (most or answer.headers.get("Content-Length") == str(size)):
            raise RangeError("the server does not serve parts of files (HTTP ranges)")
        return (most, None) if most else (size, size)
    raise of_status(answer.status_code, f"the server answers {answer.status_code}")


def _of_web(error: Exception, data: bytes) -> Exception:
    """Say what a failure of a request means; its own words hold URLs and so secrets."""
    unaskable = (
        requests.exceptions.InvalidURL,
        requests.exceptions.InvalidSchema,
        requests.exceptions.MissingSchema,
        requests.exceptions.TooManyRedirects,
    )
    if isinstance(error, unaskable):
        return SampleError("the URL, or where it leads, is none that can be asked")
    if isinstance(error, requests.exceptions.SSLError):
        return SampleError("the server's certificate is not trusted")
    if isinstance(error, TimeoutError | requests.exceptions.Timeout | ReadTimeoutError):
        return Passing("the server takes too long", data)
    if isinstance(error, requests.exceptions.ConnectionError) and not data:
        return Passing(_why_not_connected(error))
    if isinstance(error, requests.RequestException | HTTPError | OSError):
        return Passing("the connection was cut", data)
    return SampleError(f"{type(error).__name__} in a request")


def _why_not_connected(error: BaseException) -> str:
    """Find the system's reason at the end of the chain of what raised what."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror and seen.errno:
            return f"no connection ({seen.strerror})"
        seen = seen.__cause__ or seen.__context__
    return "the connection was cut"
