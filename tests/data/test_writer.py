"""Shards: equal bytes for equal input, everything or nothing, splits that disturb no other."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from srae_dist.core.errors import SampleError, UserError
from srae_dist.data import images
from srae_dist.data.manifest import load_index, load_manifest
from srae_dist.data.plan import Form
from srae_dist.data.publish import Written
from srae_dist.data.records import Content, Record, Records, Source, shuffled
from srae_dist.data.writer import write
from tests.data.listed import listed

FORM = Form(16, shards=4)


@dataclass(frozen=True)
class Noise:
    """Reads random images; those with a number in ``bad`` cannot be read."""

    count: int = 20
    domains: tuple[str, ...] = ("a", "b")
    split: str = "train"
    bad: frozenset[int] = frozenset()
    side: int = 24
    changed: str = ""

    @property
    def records(self) -> Records:
        return listed(
            [
                Record(self.split, self.domains[i % 2], str(i), f"noise/{i}", str(i))
                for i in range(self.count)
            ]
        )

    @property
    def source(self) -> Source:
        return Source(self.domains, self.records, self)

    def identity(self) -> str:
        return "noise"

    def stamp(self, records: Sequence[Record]) -> str:
        return self.changed

    def pixels(self, number: int) -> images.Pixels:
        shape = (self.side, self.side, 3)
        return np.random.default_rng(number).integers(0, 256, shape, np.uint8)

    def read(self, records: Sequence[Record]) -> Iterator[Content | SampleError]:
        for record in records:
            number = int(record.place)
            if number in self.bad:
                yield SampleError("spoilt")
            else:
                file = images.encode(self.pixels(number), format="png")
                yield Content(file, {"labels": {"number": number}})


def run(
    out: Path,
    noise: Noise,
    *,
    form: Form = FORM,
    force: bool = False,
    processes: int = 1,
    tell: Callable[[str], None] = lambda text: None,
) -> Written:
    splits = shuffled(noise.records, seed=0)
    written = write(
        out, noise.source, splits, form=form, processes=processes, force=force, tell=tell
    )
    assert written is not None
    return written


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    run(tmp_path / "one", Noise())
    run(tmp_path / "two", Noise())
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")
    assert sorted(bytes_of(tmp_path / "one")) == [
        ".lock",
        "manifest.json",
        "train-000000.tar",
        "train-000001.tar",
        "train-000002.tar",
        "train-000003.tar",
        "train.index.safetensors",
    ]


def test_members_keys_and_index(tmp_path: Path) -> None:
    source = Noise(count=18)
    run(tmp_path, source, form=Form(24, "png", shards=4))
    manifest = load_manifest(tmp_path)
    split = manifest.splits["train"]
    index = load_index(tmp_path, split, 2)
    assert [shard.samples for shard in split.shards] == [4, 5, 4, 5]
    assert split.counts() == {"a": 9, "b": 9}
    order = shuffled(source.records, seed=0)["train"]
    row = 0
    for number, shard in enumerate(split.shards):
        data = (tmp_path / shard.file).read_bytes()
        assert len(data) == shard.bytes
        assert hashlib.sha256(data).hexdigest() == shard.sha256
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            members = tar.getmembers()
            assert {(m.mtime, m.uid, m.gid, m.uname, m.mode) for m in members} == {
                (0, 0, 0, "", 0o644)
            }
            for place in range(0, len(members), 3):
                key, record = f"train-{row:09d}", order[row]
                names = [member.name for member in members[place : place + 3]]
                assert names == [f"{key}.png", f"{key}.cls", f"{key}.json"]
                image, cls, info = (tar.extractfile(m).read() for m in members[place : place + 3])  # type: ignore[union-attr]
                assert (images.decode_array(image, 24) == source.pixels(int(record.place))).all()
                assert cls == str(source.domains.index(record.domain)).encode()
                assert json.loads(info) == {
                    "origin": record.origin,
                    "size": [24, 24],
                    "labels": {"number": int(record.place)},
                }
                start, size = int(index.offset[row]), int(index.size[row])
                assert data[start : start + size] == image
                assert (index.key(row), index.shard[row]) == (key, number)
                assert index.domain[row] == int(cls)
                row += 1
    assert row == len(index) == 18


def test_unreadable_images_are_left_out_and_listed(tmp_path: Path) -> None:
    written = run(tmp_path, Noise(count=11, bad=frozenset((0, 3, 4))))
    assert {bad.origin for bad in written.bad} == {"noise/0", "noise/3", "noise/4"}
    split = load_manifest(tmp_path).splits["train"]
    assert sum(shard.samples for shard in split.shards) == 8
    order = [int(r.place) for r in shuffled(Noise(count=11).records, seed=0)["train"]]
    good = [place for place, number in enumerate(order) if number not in (0, 3, 4)]
    keys = load_index(tmp_path, split, 2).keys.tolist()
    assert keys == [f"train-{place:09d}".encode() for place in good]  # gaps where one is bad
    lines = (tmp_path / "bad_files.jsonl").read_text().splitlines()
    assert len(lines) == 3
    assert json.loads(lines[0])["reason"] == "spoilt"

    run(tmp_path, Noise(split="test"))  # another split keeps the list, the same mends it
    assert (tmp_path / "bad_files.jsonl").exists()
    run(tmp_path, Noise(), force=True)
    assert not (tmp_path / "bad_files.jsonl").exists()


def test_nothing_readable_publishes_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="None of the 4 images of split 'train'"):
        run(tmp_path, Noise(count=4, bad=frozenset(range(4))))
    assert list(bytes_of(tmp_path)) == [".lock"]


def test_a_failure_midway_publishes_nothing(tmp_path: Path) -> None:
    run(tmp_path, Noise())
    before = bytes_of(tmp_path)

    class Breaks(Noise):
        def read(self, records: Sequence[Record]) -> Iterator[Content | SampleError]:
            yield from super().read(records[:5])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Breaks(), force=True)
    assert bytes_of(tmp_path) == before


def test_a_split_joins_a_folder(tmp_path: Path) -> None:
    run(tmp_path, Noise())
    before = bytes_of(tmp_path)
    run(tmp_path, Noise(split="test", domains=("b", "a")))
    after = bytes_of(tmp_path)
    assert {name: after[name] for name in before if name != "manifest.json"} == {
        name: data for name, data in before.items() if name != "manifest.json"
    }
    manifest = load_manifest(tmp_path)
    assert set(manifest.splits) == {"train", "test"}
    assert manifest.domains == ("a", "b")  # the folder's order, also for the new split
    index = load_index(tmp_path, manifest.splits["test"], 2)
    b = shuffled(Noise(split="test", domains=("b", "a")).records, seed=0)["test"][0].domain == "b"
    assert index.domain[0] == int(b)


@pytest.mark.parametrize(
    ("source", "form", "message"),
    [
        (Noise(split="test", domains=("a", "c")), Form(16), "domains a, b, the new split a, c"),
        (Noise(split="test"), Form(32), "image size 16, the new split 32"),
        (Noise(split="test"), Form(16, "png"), "format jpg, the new split png"),
        (Noise(), Form(16), "has a split 'train' already; replace it with --force"),
    ],
)
def test_what_cannot_join(tmp_path: Path, source: Noise, form: Form, message: str) -> None:
    run(tmp_path, Noise())
    before = bytes_of(tmp_path)
    with pytest.raises(UserError, match=message):
        run(tmp_path, source, form=form)
    assert bytes_of(tmp_path) == before


def test_force_replaces_one_split_only(tmp_path: Path) -> None:
    run(tmp_path, Noise())
    run(tmp_path, Noise(split="test"))
    test = {name: data for name, data in bytes_of(tmp_path).items() if name.startswith("test")}
    run(tmp_path, Noise(count=6), form=Form(16, shards=2), force=True)
    after = bytes_of(tmp_path)
    assert {name: after[name] for name in test} == test
    assert sorted(name for name in after if name.startswith("train")) == [
        "train-000000.tar",
        "train-000001.tar",
        "train.index.safetensors",
    ]
    manifest = load_manifest(tmp_path)
    assert manifest.splits["train"].samples == 6
    load_index(tmp_path, manifest.splits["test"], 2)


def test_force_may_change_everything_when_nothing_stays(tmp_path: Path) -> None:
    run(tmp_path, Noise())
    run(tmp_path, Noise(domains=("x", "y")), form=Form(32, "webp"), force=True)
    manifest = load_manifest(tmp_path)
    assert (manifest.domains, manifest.image_size, manifest.image_format) == (
        ("x", "y"),
        32,
        "webp",
    )


def test_the_manifest_never_lies_while_a_split_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each rename and deletion, every file the manifest names is there as it says."""
    run(tmp_path, Noise())
    run(tmp_path, Noise(split="test"))
    looked = 0

    def look() -> None:
        nonlocal looked
        looked += 1
        for split in load_manifest(tmp_path).splits.values():
            for shard in split.shards:
                data = (tmp_path / shard.file).read_bytes()
                assert hashlib.sha256(data).hexdigest() == shard.sha256
            load_index(tmp_path, split, 2)

    rename, unlink = Path.replace, Path.unlink

    def watched_replace(self: Path, target: Path) -> Path:
        look()
        return rename(self, target)

    def watched_unlink(self: Path, missing_ok: bool = False) -> None:
        look()
        unlink(self, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "replace", watched_replace)
    monkeypatch.setattr(Path, "unlink", watched_unlink)
    run(tmp_path, Noise(count=30), force=True)
    look()
    assert looked > 10


def test_files_that_no_manifest_lists_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "train-000000.tar").write_bytes(b"somebody's")
    with pytest.raises(UserError, match=r"no manifest\.json lists it"):
        run(tmp_path, Noise())
    assert (tmp_path / "train-000000.tar").read_bytes() == b"somebody's"
    run(tmp_path, Noise(), force=True)


def test_what_a_killed_writer_left_is_cleaned_up(tmp_path: Path) -> None:
    (tmp_path / ".partial").mkdir()
    (tmp_path / ".partial/train-000099.tar").write_bytes(b"half")
    run(tmp_path, Noise())
    assert not (tmp_path / ".partial").exists()
    assert not (tmp_path / "train-000099.tar").exists()


def test_two_writers_do_not_mix(tmp_path: Path) -> None:
    with (
        FileLock(tmp_path / ".lock"),
        pytest.raises(UserError, match="Another process is writing"),
    ):
        run(tmp_path, Noise())
    run(tmp_path, Noise())


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_killed_outright_and_started_again(tmp_path: Path) -> None:
    """After SIGKILL in the middle nothing is published, and the lock is free."""
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from tests.data.test_writer import Noise, run\n"
        "class Dies(Noise):\n"
        "    def read(self, records):\n"
        "        yield from super().read(records[:5]); os.kill(os.getpid(), signal.SIGKILL)\n"
        "run(Path(sys.argv[1]), Dies())\n"
    )
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=root, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", ".partial"]
    run(tmp_path, Noise())
    assert load_manifest(tmp_path).splits["train"].samples == 20


def test_an_output_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot be used"):
        run(tmp_path / "file" / "out", Noise())
