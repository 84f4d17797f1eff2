"""A split of a shard folder, opened for reading, wherever it lives."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from srae_dist.core.errors import UserError
from srae_dist.data.local import LocalShards
from srae_dist.data.manifest import Index, Manifest, Split, load_manifest, load_tables
from srae_dist.data.reader import Reader, ShardBytes
from srae_dist.data.store import LocalStore, Store, open_store

if TYPE_CHECKING:
    from srae_dist.data.block_cache import BlockCache
    from srae_dist.data.blocks import RemoteShards
    from srae_dist.data.remote import RemoteStore

_SHA256 = re.compile(r"[0-9a-f]{64}")

CACHE_GB = 8.0  # default bound of the cache of remote shards


@dataclass(frozen=True, slots=True)
class OpenSplit:
    """Everything needed to read a split."""

    store: Store
    manifest: Manifest
    name: str
    split: Split
    index: Index
    shards: ShardBytes

    @property
    def image_size(self) -> int:
        """Pixels of the square images.

        Raises:
            UserError: they have different sizes.
        """
        size = self.manifest.image_size
        if size is None:
            raise UserError(
                f"{self.store.name} holds images of mixed sizes; run `srae-dist shard` with --size."
            )
        return size

    def reader(self) -> Reader:
        """Return what decodes the split's images."""
        return Reader(self.shards, image_size=self.image_size)

    @property
    def remote(self) -> RemoteShards | None:
        """The shards, if they are fetched from elsewhere."""
        return None if isinstance(self.shards, LocalShards) else _as_remote(self.shards)


def open_split(
    root: str | Path | Store,
    name: str,
    *,
    cache_dir: Path | None = None,
    cache_gb: float = CACHE_GB,
) -> OpenSplit:
    """Read manifest and index; ``cache_dir`` (default: in the system's temporary folder) keeps up
    to ``cache_gb`` of what is fetched from remote shards.

    Raises:
        UserError: no such folder or split, or manifest or index are damaged.
    """
    store = open_store(root)
    manifest = load_manifest(store)
    split = manifest.split(name, store)
    if isinstance(store, LocalStore):
        index = load_tables(store, split, len(manifest.domains))[0]
        return OpenSplit(store, manifest, name, split, index, LocalShards(store.root, split))
    from srae_dist.data.block_cache import BlockCache, default_cache_folder
    from srae_dist.data.blocks import RemoteShards
    from srae_dist.data.remote import RemoteStore

    assert isinstance(store, RemoteStore)
    cache = BlockCache(cache_dir or default_cache_folder(), limit=int(cache_gb * 1e9))
    tables = _CachedIndex(store, split, cache)
    index, digests = load_tables(tables, split, len(manifest.domains))
    shards = RemoteShards(store, split, digests, cache)
    return OpenSplit(store, manifest, name, split, index, shards)


class _CachedIndex:
    """A remote store whose index comes through the cache: a machine's ranks fetch it once."""

    def __init__(self, store: RemoteStore, split: Split, cache: BlockCache) -> None:
        self._store, self._split, self._cache = store, split, cache
        self.name, self.where, self.has = store.name, store.where, store.has

    def read(self, file: str, *, limit: int) -> bytes:
        """Return a whole file, the index from the cache if it is there."""
        digest = self._split.index_sha256
        if file != self._split.index or not _SHA256.fullmatch(digest):
            return self._store.read(file, limit=limit)
        if (known := self._cache.get(digest)) is not None:
            return known
        with self._cache.claim(digest) as place:
            if place is not None:
                data = self._store.read(file, limit=limit)
                place.write_bytes(data)
                return data
        return self._cache.get(digest) or self._store.read(file, limit=limit)


def _as_remote(shards: ShardBytes) -> RemoteShards:
    from srae_dist.data.blocks import RemoteShards

    assert isinstance(shards, RemoteShards)
    return shards
