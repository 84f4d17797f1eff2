"""Where a shard folder lives: a path here, or a URL elsewhere; the few reads that others need.

Only the schemes below are opened, and every file is named by the manifest's own checked names, so
nothing that a manifest or a tar file says can open anything else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from srae_dist.core.errors import UserError
from srae_dist.core.urls import is_url

SCHEMES = ("http", "https", "s3", "gs", "hf")


class Store(Protocol):
    """A folder of files that can be read."""

    @property
    def name(self) -> str:
        """Path or URL, for messages; holds no secret."""
        ...

    def where(self, file: str) -> str:
        """Return a file's path or URL, for messages."""
        ...

    def has(self, file: str) -> bool:
        """Tell whether a file is there.

        Raises:
            UserError: nobody can tell, after all retries.
        """
        ...

    def read(self, file: str, *, limit: int) -> bytes:
        """Return a whole small file.

        Raises:
            FileNotFoundError: it is not there.
            UserError: it cannot be read, after all retries, or is larger than ``limit`` bytes.
        """
        ...


class LocalStore:
    """A folder of this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def name(self) -> str:
        """The folder's path."""
        return str(self.root)

    def where(self, file: str) -> str:
        """Return a file's path."""
        return str(self.root / file)

    def has(self, file: str) -> bool:
        """Tell whether a file is there."""
        return (self.root / file).is_file()

    def read(self, file: str, *, limit: int) -> bytes:
        """Return a whole small file."""
        path = self.root / file
        try:
            if (size := path.stat().st_size) > limit:
                raise UserError(f"{path} has {size:,} bytes, more than {limit:,}; it is not ours.")
            return path.read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror or error}.") from None


def open_store(location: str | Path | Store) -> Store:
    """Open a path, or a URL of a known scheme, as a store; reads nothing yet.

    Raises:
        UserError: the scheme is none of those allowed.
    """
    if not isinstance(location, str | Path):
        return location
    if "\0" in str(location):
        raise UserError(f"{str(location)!r} is no place for shards: no path or URL holds a NUL.")
    if not is_url(location):
        return LocalStore(Path(location))
    from srae_dist.data.remote import open_remote

    return open_remote(str(location))
