"""Writes tiny shard folders with nothing but tarfile, so that reading is tested by itself."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from srae_dist.core.atomic import sha256_file
from srae_dist.data.digests import digests_of_file
from srae_dist.data.manifest import (
    Digests,
    Index,
    Manifest,
    Shard,
    Split,
    load_manifest,
    save_index,
)

DOMAINS = ("photo", "anime", "clay")


@dataclass(frozen=True)
class Tiny:
    """A shard folder and what was written to it."""

    root: Path
    split: Split
    index: Index
    images: np.ndarray  # uint8 N H W C


def write_shards(
    root: Path,
    *,
    samples: tuple[int, ...] = (5, 8, 3),
    size: int = 16,
    extra: tuple[tuple[str, bytes], ...] = (),
) -> Tiny:
    """Write a split "train": ``samples[i]`` PNG images in shard i, with ``extra`` members each."""
    root.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    n = sum(samples)
    images = random.integers(0, 256, (n, size, size, 3), np.uint8)
    domains = np.arange(n) % len(DOMAINS)
    keys = [f"{number:04d}" for number in range(n)]
    owners = np.repeat(np.arange(len(samples)), samples)
    offsets, sizes, shards = [], [], []
    for number in range(len(samples)):
        path = root / f"train-{number:06d}.tar"
        mine = np.flatnonzero(owners == number)
        with tarfile.open(path, "w") as tar:
            for i in mine:
                data = png(images[i])
                members = [("png", data), ("cls", str(domains[i]).encode()), *extra]
                members.append(("json", json.dumps({"origin": f"{i}.png"}).encode()))
                for suffix, content in members:
                    info = tarfile.TarInfo(f"{keys[i]}.{suffix}")
                    info.size = len(content)
                    if suffix == "png":
                        offsets.append(tar.offset + 512)
                        sizes.append(info.size)
                    tar.addfile(info, io.BytesIO(content))
        counts = np.bincount(domains[mine], minlength=len(DOMAINS)).tolist()
        counted = dict(zip(DOMAINS, counts, strict=True))
        shards.append(Shard(path.name, len(mine), path.stat().st_size, sha256_file(path), counted))
    index = Index(
        owners.astype(np.uint32),
        domains.astype(np.uint16),
        np.array(offsets, np.uint64),
        np.array(sizes, np.uint32),
        np.array(keys, "S"),
    )
    save_index(root / "train.index.safetensors", index, blocks_of(root, shards))
    split = Split(
        tuple(shards), "train.index.safetensors", sha256_file(root / "train.index.safetensors")
    )
    Manifest(DOMAINS, size, "png", {"train": split}).save(root)
    return Tiny(root, split, index, images)


def blocks_of(root: Path, shards: Sequence[Shard]) -> Digests:
    """The digests that a split's index holds, of the files as they are."""
    return np.concatenate([digests_of_file(root / shard.file).digests() for shard in shards])


def rewrite(tiny: Tiny, index: Index, shards: Sequence[Shard] | None = None) -> None:
    """Save another index of the same files, and a manifest that vouches for it."""
    manifest = load_manifest(tiny.root)
    listed = tuple(shards or tiny.split.shards)
    path = tiny.root / tiny.split.index
    save_index(path, index, blocks_of(tiny.root, listed))
    split = replace(tiny.split, shards=listed, index_sha256=sha256_file(path))
    replace(manifest, splits={**manifest.splits, "train": split}).save(tiny.root)


def corrupt(tiny: Tiny, sample: int) -> None:
    """Overwrite a sample's image with zeros, in place."""
    path = tiny.root / tiny.split.shards[int(tiny.index.shard[sample])].file
    with path.open("r+b") as file:
        file.seek(int(tiny.index.offset[sample]))
        file.write(bytes(int(tiny.index.size[sample])))


def png(image: np.ndarray) -> bytes:
    """Encode an image without loss."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()
