"""What is fed: each target makes its n-th input of a seed, and feeds it to everything that reads
such bytes. A target raises only what the code under test raised."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from srae_dist.core.atomic import sha256_file
from srae_dist.core.errors import SampleError, UserError
from srae_dist.core.randomness import generator
from srae_dist.data import check, images, plain, reader, store
from srae_dist.data.check.shard import Job, check_shard
from srae_dist.data.digests import digests_of_file
from srae_dist.data.local import LocalShards
from srae_dist.data.manifest import (
    Index,
    Manifest,
    Shard,
    Split,
    load_manifest,
    load_tables,
    save_index,
)
from srae_dist.data.walk import walk
from tests.fuzz import images_of
from tests.fuzz.images_of import SIDE
from tests.fuzz.mutations import mend_png, mend_tar, mutate, mutate_json
from tests.fuzz.readers import READERS
from tests.fuzz.target import Target, each

SHARD = "train-000000.tar"

_HELD = ((0, "jpg"), (8, "png"), (16, "webp"), (2, "jpg"))  # seeds in the shard, of SIDE pixels


class Images:
    """One image file, decoded in all ways there are."""

    def __init__(self, folder: Path) -> None:
        self._out = images.empty_pixels(SIDE, SIDE, 3)

    def make(self, seed: int, number: int) -> bytes:
        random = generator(seed, "fuzz", "images", number)
        files = images_of.seeds()
        data = mutate(files[int(random.integers(0, len(files)))], random)
        return mend_png(data) if data.startswith(b"\x89PNG") and random.integers(0, 2) else data

    def feed(self, data: bytes) -> bool:
        return each(
            lambda: images.read_size(data),
            lambda: images.decode(data),
            lambda: images.decode_into(data, self._out),
            lambda: images.decode_array(data, 24),
            lambda: images.read_square(data, 8, shrink=True),
            lambda: images.read_square(data, SIDE),
        )


class Bombs(Images):
    """The files that ask for much memory or time."""

    def make(self, seed: int, number: int) -> bytes:
        return list(images_of.bombs().values())[number]


class _Folder:
    """A sound shard folder, whose files are replaced by damaged ones."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "set"
        self.root.mkdir(exist_ok=True)
        self.path = self.root / SHARD
        rows = []
        with tarfile.open(self.path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for number, (place, suffix) in enumerate(_HELD):
                key, data = f"k{number}", images_of.seeds()[place]
                members = (
                    (suffix, data),
                    ("cls", b"%d" % (number % 2)),
                    ("json", b'{"size":[9,9]}'),
                )
                for kind, content in members:
                    info = tarfile.TarInfo(f"{key}.{kind}")
                    info.size = len(content)
                    if kind == suffix:
                        rows.append((number % 2, tar.offset + 512, len(content), key.encode()))
                    tar.addfile(info, io.BytesIO(content))
        domain, offset, size, keys = zip(*rows, strict=True)
        self.index = Index(
            np.zeros(len(rows), np.uint32),
            np.array(domain, np.uint16),
            np.array(offset, np.uint64),
            np.array(size, np.uint32),
            np.array(keys),
        )
        self.shard = self.path.read_bytes()
        self.vouch()
        self.manifest = json.loads((self.root / "manifest.json").read_bytes())
        self.table = (self.root / "train.index.safetensors").read_bytes()

    def vouch(self) -> None:
        """Write index and manifest for the shard as it is."""
        file = digests_of_file(self.path)
        shard = Shard(SHARD, 4, file.bytes, file.sha256(), {"a": 2, "b": 2})
        path = self.root / "train.index.safetensors"
        save_index(path, self.index, file.digests())
        split = Split((shard,), path.name, sha256_file(path))
        Manifest(("a", "b"), SIDE, "mixed", {"train": split}).save(self.root)

    def read_all(self) -> bool:
        """Read the folder as training, translation and the check do."""
        return each(self._check, self._train, self._translate)

    def _check(self) -> None:
        if not check.check(check.plan(self.root)).sound:
            raise SampleError("not sound")

    def _train(self) -> None:
        made = load_manifest(self.root)
        for split in made.splits.values():
            index, _ = load_tables(self.root, split, len(made.domains))
            shards = LocalShards(self.root, split)
            try:
                opened = reader.Reader(shards, image_size=SIDE)
                opened.try_read(index, opened.empty(len(index)))
            finally:
                shards.close()

    def _translate(self) -> None:
        for split in load_manifest(self.root).splits:
            for _ in reader.iterate(self.root, split):
                pass


class Tar(_Folder):
    """A tar file, read by its index, in its order, by the check, and indexed anew."""

    _INDEXED_ANEW = 10  # one of so many inputs: it takes long

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._rows, self._foreign, self._fed = self.index, folder / "foreign", 0
        self._split = load_manifest(self.root).splits["train"]
        self._jobs = check.plan(self.root).jobs

    def make(self, seed: int, number: int) -> bytes:
        random = generator(seed, "fuzz", "tar", number)
        data = mutate(self.shard, random)
        if random.integers(0, 2):  # headers are few among the bytes, and most worth damaging
            place = int(random.integers(0, 12)) * 512
            data = self.shard[:place] + mutate(self.shard[place : place + 512], random)
            data += self.shard[place + 512 :]
        if random.integers(0, 20) == 0:  # a size beyond all measure
            place, size = int(random.integers(0, 12)) * 512 + 124, int(random.integers(33, 63))
            data = data[:place] + b"\x80" + (1 << size).to_bytes(11, "big") + data[place + 12 :]
        return mend_tar(data) if random.integers(0, 2) else data

    def feed(self, data: bytes) -> bool:
        self.path.write_bytes(data)
        shards = LocalShards(self.root, self._split)
        calls: list[Callable[[], Any]] = [
            lambda: list(reader.read_shard(lambda: self.path.open("rb"), "x.tar", self._rows)),
            lambda: reader.Reader(shards, image_size=SIDE).read(self._rows),
            lambda: list(walk(io.BytesIO(data), length=len(data))),
            lambda: self._check_shard(self._jobs[0]),
            lambda: self._check_shard(replace(self._jobs[0], rows=None, blocks=None)),
        ]
        self._fed += 1
        if self._fed % self._INDEXED_ANEW == 0:
            calls.append(lambda: self._index(data))
        try:
            return each(*calls)
        finally:
            shards.close()

    def _check_shard(self, job: Job) -> None:
        problems = check_shard(job).problems.counts
        if problems.keys() - {"sha256", "block", "bytes"}:  # these find whatever was changed
            raise SampleError("not sound")

    def _index(self, data: bytes) -> None:
        shutil.rmtree(self._foreign, ignore_errors=True)
        self._foreign.mkdir()
        (self._foreign / SHARD).write_bytes(data)
        plain.index(self._foreign)


class ManifestFile(_Folder):
    """A manifest, and the folder read by what it says."""

    def make(self, seed: int, number: int) -> bytes:
        return mutate_json(self.manifest, generator(seed, "fuzz", "manifest", number))

    def feed(self, data: bytes) -> bool:
        (self.root / "manifest.json").write_bytes(data)
        try:
            load_manifest(self.root)
        except UserError:
            return False
        return self.read_all()


class IndexFile(_Folder):
    """An index file that the manifest vouches for: damaged, or sound but with odd numbers."""

    def make(self, seed: int, number: int) -> bytes:
        random = generator(seed, "fuzz", "index", number)
        if random.integers(0, 2):
            return mutate(self.table, random)
        return self._odd(random)

    def feed(self, data: bytes) -> bool:
        path = self.root / "train.index.safetensors"
        path.write_bytes(data)
        made = json.loads(json.dumps(self.manifest))
        made["splits"]["train"]["index_sha256"] = sha256_file(path)
        (self.root / "manifest.json").write_text(json.dumps(made))
        return self.read_all()

    def _odd(self, random: np.random.Generator) -> bytes:
        from safetensors.numpy import load, save

        arrays = dict(load(self.table))
        name = sorted(arrays)[int(random.integers(0, len(arrays)))]
        array = arrays[name].copy()
        kind = random.integers(0, 6)
        if kind < 3:
            flat, top = array.reshape(-1), int(np.iinfo(array.dtype).max)
            odd = (0, 1, top // 2, top - 1, top)[int(random.integers(0, 5))]
            flat[int(random.integers(0, len(flat)))] = odd
        elif kind == 3:
            array = array.astype(random.choice(("f4", "i8", "u1", "u8", "b1", "f2")))
        elif kind == 4:
            array = array[: int(random.integers(0, len(array)))]
        else:
            array = (
                array.reshape(1, *array.shape) if random.integers(0, 2) else array.reshape(-1)[:0]
            )
        arrays[name] = array
        if random.integers(0, 20) == 0:
            del arrays[name]
        return save(arrays)


class Urls:
    """Where shards are said to be."""

    _PARTS = (
        *("http", "https", "s3", "gs", "hf", "pipe", "file", "ftp", "simplecache", "zip", "data"),
        *(":", "://", "::", "/", "//", "\\", "?", "#", "@", "%", "[", "]", "..", "~", "{0..9}"),
        *("host", "bucket", "user:secret", "a b", "\0", "\n", "\u00e4", "\u2100", "8.8.8.8", "::1"),
        *(":99999", "-1", "cat /etc/passwd|", "$(id)", "`id`", "C", "memory"),
    )

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def make(self, seed: int, number: int) -> bytes:
        random = generator(seed, "fuzz", "urls", number)
        count = int(random.integers(1, 8))
        text = "".join(self._PARTS[int(random.integers(0, len(self._PARTS)))] for _ in range(count))
        return mutate(text.encode(), random) if random.integers(0, 3) == 0 else text.encode()

    def feed(self, data: bytes) -> bool:
        text = data.decode("utf-8", "surrogateescape")
        each(lambda: check.plan(text))
        return each(lambda: self._open(text))

    def _open(self, text: str) -> None:
        made = store.open_store(text)
        if isinstance(made, store.LocalStore):
            if text.startswith("pipe:"):
                raise AssertionError("a command was taken for a path")
            return
        if not made.name.lower().startswith(tuple(f"{scheme}:" for scheme in store.SCHEMES)):
            raise AssertionError(f"{made.name} was opened")


TARGETS: dict[str, Callable[[Path], Target]] = {
    "images": Images,
    "bombs": Bombs,
    "tar": Tar,
    "manifest": ManifestFile,
    "index": IndexFile,
    "urls": Urls,
    **READERS,
}


def inputs(target: Target, *, seed: int, start: int, count: int) -> Iterator[tuple[int, bytes]]:
    """Yield the numbers and inputs of a target."""
    for number in range(start, start + count):
        yield number, target.make(seed, number)
