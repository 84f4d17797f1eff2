"""The reader: pixels as they were written, and a named sample where they are not."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_shards import Tiny, corrupt, rewrite, write_shards

from srae_dist.core.errors import UserError
from srae_dist.data import local
from srae_dist.data.local import LocalShards
from srae_dist.data.manifest import load_index, load_manifest
from srae_dist.data.reader import Reader, iterate, take


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    return write_shards(tmp_path / "shards")


def open_reader(tiny: Tiny, image_size: int = 16) -> Reader:
    return Reader(LocalShards(tiny.root, tiny.split), image_size=image_size)


def test_any_samples_in_any_order_are_what_was_written(tiny, monkeypatch):
    monkeypatch.setattr(local, "OPEN_FILES", 1)  # every change of shard closes and opens
    samples = np.array([15, 0, 7, 7, 3])
    pixels = open_reader(tiny).read(take(tiny.index, samples))
    assert pixels.dtype == np.uint8 and (pixels == tiny.images[samples]).all()


def test_reading_without_pread_gives_the_same(tiny, monkeypatch):
    monkeypatch.setattr(local, "_read_at", local._seek_and_read)
    assert (open_reader(tiny).read(tiny.index) == tiny.images).all()


def test_a_reader_goes_to_another_process_without_its_files(tiny):
    used = open_reader(tiny)
    used.read(tiny.index)
    sent = pickle.loads(pickle.dumps(used))
    used.close()
    assert (sent.read(tiny.index) == tiny.images).all()


def test_images_of_another_size_are_resized(tiny):
    assert open_reader(tiny, 8).read(tiny.index).shape == (16, 8, 8, 3)


def test_a_damaged_image_is_named(tiny):
    corrupt(tiny, 7)
    with pytest.raises(UserError, match=r"Sample 0007 of .*train-000001.tar .* `srae-dist shard`"):
        open_reader(tiny).read(take(tiny.index, np.array([6, 7])))


def test_a_missing_and_a_shortened_shard_are_named(tiny):
    (tiny.root / "train-000000.tar").unlink()
    with pytest.raises(UserError, match=r"0000 of .*train-000000.tar .*No such file"):
        open_reader(tiny).read(take(tiny.index, np.array([0])))
    path = tiny.root / "train-000002.tar"
    path.write_bytes(path.read_bytes()[:512])
    with pytest.raises(UserError, match=r"0015 of .*train-000002.tar .*file ends"):
        open_reader(tiny).read(take(tiny.index, np.array([15])))


@pytest.mark.parametrize("offset, size", [(1 << 40, 10), (0, 1 << 30), (0, 0)])
def test_impossible_places_are_refused_before_reading(tiny, offset, size):
    rows = take(tiny.index, np.array([0]))
    rows = replace(rows, offset=rows.offset * 0 + offset, size=rows.size * 0 + size)
    with pytest.raises(UserError, match="which cannot be"):
        open_reader(tiny).read(rows)


def test_a_split_is_read_once_in_order_with_its_information(tiny):
    samples = list(iterate(tiny.root, "train"))
    assert [sample.key for sample in samples] == [f"{i:04d}" for i in range(16)]
    assert [sample.domain for sample in samples] == tiny.index.domain.tolist()
    assert [sample.info for sample in samples] == [{"origin": f"{i}.png"} for i in range(16)]
    assert {sample.suffix for sample in samples} == {"png"}
    first = tiny.root / "train-000000.tar"
    begin = int(tiny.index.offset[0])
    assert first.read_bytes()[begin:].startswith(samples[0].image)


@pytest.mark.parametrize("world", [2, 3, 5])
def test_ranks_share_a_split_by_shards(tiny, world):
    ranks = [iterate(tiny.root, "train", rank=rank, world=world) for rank in range(world)]
    keys = [sample.key for samples in ranks for sample in samples]
    assert sorted(keys) == [f"{i:04d}" for i in range(16)]


def test_other_members_are_passed_over_and_never_decoded(tmp_path):
    tiny = write_shards(tmp_path, extra=(("pyd", b"not a pickle"), ("txt", b"caption")))
    assert len(list(iterate(tiny.root, "train"))) == 16


def test_samples_that_are_not_in_the_index_are_passed_over(tiny):
    shards = (replace(tiny.split.shards[0], samples=4), *tiny.split.shards[1:])
    rewrite(tiny, take(tiny.index, np.arange(1, 16)), shards)
    assert next(iterate(tiny.root, "train")).key == "0001"


@pytest.mark.parametrize("length", [0, 700, 1536, 5000])
def test_a_shortened_shard_is_an_error_when_read_in_order(tiny, length):
    path = tiny.root / "train-000001.tar"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(UserError, match=r"train-000001.tar .*`srae-dist shard`"):
        list(iterate(tiny.root, "train"))


def test_what_is_left_open_until_the_interpreter_ends_says_nothing(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = LocalShards(tiny.root, tiny.split)
    shards.read(0, 0, 16)
    with monkeypatch.context() as ending:
        ending.setattr(local, "os", None)  # modules go before what is left of objects
        shards.__del__()
    shards.close()


@pytest.mark.parametrize(
    ("column", "value"),
    [("offset", 1 << 63), ("offset", (1 << 64) - 1), ("size", (1 << 32) - 1)],
)
def test_an_index_that_leads_out_of_a_shard_is_refused(
    tmp_path: Path, column: str, value: int
) -> None:
    tiny = write_shards(tmp_path / "shards")
    changed = getattr(tiny.index, column).copy()
    changed[3] = value
    rewrite(tiny, replace(tiny.index, **{column: changed}))
    with pytest.raises(UserError, match="does not agree with"):
        load_index(tiny.root, load_manifest(tiny.root).splits["train"], 2)
