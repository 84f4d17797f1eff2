"""Where translations are written: files of a folder, or shards like those they came from.

Both write below ``OUT/.partial`` and give a record for each unit; ``publish`` moves everything to
its final name and may be repeated after a kill.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from srae_dist.core import atomic
from srae_dist.core.errors import SampleError
from srae_dist.data import images
from srae_dist.data.folders import printable
from srae_dist.data.manifest import MANIFEST, Digests, Index, Manifest, Shard, load_manifest
from srae_dist.data.plan import Form, count_shards
from srae_dist.data.publish import publish, save_split_index, shard_name
from srae_dist.data.tar import Tar
from srae_dist.translation.earlier import PARTIAL
from srae_dist.translation.inputs import Images, ShardImages, Unit
from srae_dist.translation.job import Line, Progress, Record
from srae_dist.translation.naming import KEY_LENGTH, confined, image_names
from srae_dist.translation.pipeline import Work


class Output(Protocol):
    """A place for translations; ``units`` are what it is made in."""

    units: Sequence[Unit]

    def encode(self, work: Work) -> bytes:
        """Return the file of a translation, or raise a SampleError; runs in many threads."""
        ...

    def collect(self, unit: Unit, works: Iterable[Work]) -> Record:
        """Write what there is of a unit and say what became of it."""
        ...

    def publish(self, progress: Progress) -> None:
        """Move everything to its final name; all units have records."""
        ...


class FolderOutput:
    """An image file for each image, at the same relative path."""

    def __init__(
        self, out: Path, inputs: Images, form: Form, *, batch: int, facts: Mapping[str, Any]
    ) -> None:
        """Name all outputs; ``facts`` go into every line of provenance."""
        self._out, self._form, self._facts = out, form, facts
        self._files = out / PARTIAL / "files"
        if isinstance(inputs, ShardImages):
            self.units: Sequence[Unit] = inputs.units()
        else:
            self.units = _cut(len(inputs), -(-len(inputs) // batch), size=batch)
        self._names = image_names(_paths(inputs), form.format)

    def encode(self, work: Work) -> bytes:
        """Encode and write one file."""
        data = _encode(work, self._form)
        path = self._files / self._names[work.item.place]
        atomic.make_folder(path.parent)
        try:
            with path.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError:  # what there is of it takes room on a full disk
            path.unlink(missing_ok=True)
            raise
        return data

    def collect(self, unit: Unit, works: Iterable[Work]) -> Record:
        """Gather the lines of a unit, whose files are written."""
        record, folders = Record(), set[Path]()
        for work in works:
            name = self._names[work.item.place]
            path = self._files / name
            if work.failure:
                path.unlink(missing_ok=True)  # of an earlier attempt
                record.failed.append(_failure(work))
            else:
                line = _line(work, printable(name), self._facts)
                if line["output"] != name:  # which JSON cannot hold
                    line["output_bytes"] = os.fsencode(name).hex()
                record.done.append(line)
                folders.add(path.parent)
        for folder in sorted(folders):  # their names are on the disk before the record says so
            atomic.sync_folder(folder)
        return record

    def publish(self, progress: Progress) -> None:
        """Move the files into place."""
        folders: set[Path] = set()
        for name in self._names:
            path, final = self._files / name, self._out / name
            if path.exists():
                if final.parent not in folders:
                    atomic.make_folder(final.parent)
                    folders.add(final.parent)
                path.replace(final)
        for folder in sorted(folders):
            atomic.sync_folder(folder)


class ShardOutput:
    """A shard for each shard that came in, with the same keys; of a folder, shards of one split."""

    def __init__(
        self,
        out: Path,
        inputs: Images,
        form: Form,
        *,
        split: str,
        domains: Sequence[str],
        target: int,
        facts: Mapping[str, Any],
    ) -> None:
        """``domains`` are the model's, ``target`` is what all samples belong to; ``split`` names
        the shards of a folder."""
        self._out, self._form, self._facts = out, form, facts
        self._domains, self._target = tuple(domains), target
        self._folder = out / PARTIAL / "shards"
        self._inputs, self._split = inputs, split
        if isinstance(inputs, ShardImages):
            self.units: Sequence[Unit] = inputs.units()
        else:
            self.units = _cut(len(inputs), count_shards(len(inputs)), split=split)

    def encode(self, work: Work) -> bytes:
        """Encode one image."""
        if len(self._key(work.item.place)) > KEY_LENGTH:
            raise SampleError(f"its key is longer than {KEY_LENGTH} characters; use folder output")
        return _encode(work, self._form)

    def collect(self, unit: Unit, works: Iterable[Work]) -> Record:
        """Write the tar file of a unit."""
        record = Record(shard={"file": unit.shard, "keys": [], "offsets": [], "sizes": []})
        shard = record.shard or {}
        path = self._folder / unit.shard
        with atomic.replacing(path) as temporary, temporary.open("wb") as file:
            tar = Tar(file)
            for work in works:
                if work.failure:
                    record.failed.append(_failure(work))
                    continue
                key = self._key(work.item.place)
                line = _line(work, f"{unit.shard}/{key}", self._facts)
                info = {**_origin(work), **work.item.info, "translation": line}
                shard["offsets"].append(tar.add(f"{key}.{self._form.format}", work.file))
                tar.add(f"{key}.cls", str(self._target).encode("ascii"))
                tar.add(f"{key}.json", _json(info))
                shard["sizes"].append(len(work.file))
                shard["keys"].append(key)
                record.done.append(line)
            tar.end()
        if not record.done:
            path.unlink()
        shard |= {
            "bytes": tar.bytes,
            "sha256": tar.sha256(),
            "blocks": tar.blocks().tobytes().hex(),
        }
        return record

    def publish(self, progress: Progress) -> None:
        """Write index and manifest, and move all files into place, manifest last."""
        splits = {}
        for split in dict.fromkeys(unit.split for unit in self.units):
            units = [unit for unit in self.units if unit.split == split]
            found = [record.shard for record in map(progress.load, units) if record.shard]
            written = [shard for shard in found if shard["keys"]]
            if written:
                entries = [self._entry(shard) for shard in written]
                index, blocks = self._index(written), [_blocks(shard) for shard in written]
                splits[split] = save_split_index(self._folder, split, index, entries, blocks)
        made = Manifest(self._domains, self._form.size, self._form.format, splits)
        published = (self._out / MANIFEST).exists() and load_manifest(self._out) == made
        if splits and not published:  # after a kill it may be
            publish(self._folder, self._out, made)

    def _key(self, place: int) -> str:
        if isinstance(self._inputs, ShardImages):
            return self._inputs.key(place)
        return f"{self._split}-{place:09d}"

    def _entry(self, shard: Mapping[str, Any]) -> Shard:
        counts = dict.fromkeys(self._domains, 0)
        counts[self._domains[self._target]] = len(shard["keys"])
        return Shard(shard["file"], len(shard["keys"]), shard["bytes"], shard["sha256"], counts)

    def _index(self, shards: Sequence[Mapping[str, Any]]) -> Index:
        counts = [len(shard["keys"]) for shard in shards]
        return Index(
            np.repeat(np.arange(len(shards)), counts).astype(np.uint32),
            np.full(sum(counts), self._target, np.uint16),
            np.array(_joined(shards, "offsets"), np.uint64),
            np.array(_joined(shards, "sizes"), np.uint32),
            np.array([key.encode("ascii") for key in _joined(shards, "keys")]),
        )


def _paths(inputs: Images) -> list[str]:
    """Return the relative path of each image; of a sample ``[split/]domain/key``, with a hash for a
    key that might lead elsewhere: nothing is written for it, nor taken away."""
    if isinstance(inputs, ShardImages):
        several = len(inputs.splits) > 1
        return [
            (f"{inputs.split(place)}/" if several else "")
            + f"{inputs.domain(place)}/{confined(inputs.key(place))}"
            for place in range(len(inputs))
        ]
    return inputs.paths


def _cut(total: int, count: int, *, size: int = 0, split: str = "") -> list[Unit]:
    """Cut places into ``count`` units: of ``size``, or as equal as can be."""
    bounds = [min(n * size, total) if size else total * n // count for n in range(count + 1)]
    return [
        Unit(n, bounds[n], bounds[n + 1], split, shard_name(split, n) if split else "")
        for n in range(count)
    ]


def _encode(work: Work, form: Form) -> bytes:
    if work.pixels is None:
        raise SampleError("there is no translation of it")
    return images.encode(work.pixels, format=form.format, quality=form.quality)


def _line(work: Work, output: str, facts: Mapping[str, Any]) -> Line:
    line = {
        "input": work.item.name,
        "output": output,
        "from": work.item.domain,
        "code": work.lent.label,
        "sha256": hashlib.sha256(work.file).hexdigest(),
        **facts,
    }
    if work.lent.unreadable:
        line["unreadable_references"] = list(work.lent.unreadable)
    return line


def _failure(work: Work) -> Line:
    return {"input": work.item.name, "reason": work.failure}


def _origin(work: Work) -> dict[str, str]:
    """A file's name, which else the shards would not know."""
    return {} if work.item.info else {"origin": work.item.name}


def _json(value: Mapping[str, Any]) -> bytes:
    """Return JSON of anything that JSON can say, lone surrogates too."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace")


def _blocks(shard: Mapping[str, Any]) -> Digests:
    return np.frombuffer(bytes.fromhex(shard["blocks"]), np.uint8).reshape(-1, 32)


def _joined(shards: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    return [value for shard in shards for value in shard[name]]
