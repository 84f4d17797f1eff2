"""Plain WebDataset shards: indexed where they lie, or refused by shard and member."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from srae_dist.core.errors import UserError
from srae_dist.data import images, plain
from srae_dist.data.manifest import load_index, load_manifest
from srae_dist.data.plan import Form
from tests.data.test_writer import Noise, run

PNG = images.encode(np.full((8, 8, 3), 7, np.uint8), format="png")
JPG = images.encode(np.full((8, 8, 3), 7, np.uint8), format="jpg")

Members = list[tuple[str, bytes]]


def tar_of(path: Path, members: Members) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def sound(*keys: str) -> Members:
    members: Members = []
    for place, key in enumerate(keys):
        members += [
            (f"{key}.cls", b"%d\n" % (place % 2)),
            (f"{key}.png", PNG),
            (f"{key}.json", b"{}"),
        ]
    return members


def test_index(tmp_path: Path) -> None:
    one = tar_of(tmp_path / "train-000.tar", sound("a", "dir/b", "c"))
    two = tar_of(tmp_path / "train-001.tar", sound("d", "e"))
    tar_of(tmp_path / "val-000.tar", sound("a", "b"))
    before = [one.read_bytes(), two.read_bytes()]
    written = plain.index(tmp_path, domains=("cat", "dog"))
    assert [one.read_bytes(), two.read_bytes()] == before
    assert sorted(written.splits) == ["train", "val"]
    manifest = load_manifest(tmp_path)
    assert manifest == written.manifest
    assert (manifest.domains, manifest.image_size) == (("cat", "dog"), 8)
    assert manifest.image_format == "png"
    split = manifest.splits["train"]
    assert [shard.domains for shard in split.shards] == [{"cat": 2, "dog": 1}, {"cat": 1, "dog": 1}]
    index = load_index(tmp_path, split, 2)
    assert [index.key(row) for row in range(5)] == ["a", "dir/b", "c", "d", "e"]
    assert index.domain.tolist() == [0, 1, 0, 0, 1]
    for row in range(5):
        start = int(index.offset[row])
        assert before[index.shard[row]][start : start + int(index.size[row])] == PNG


def test_mixed_images_and_numbered_domains(tmp_path: Path) -> None:
    wide = images.encode(np.zeros((4, 9, 3), np.uint8), format="jpg")
    tar_of(
        tmp_path / "0001.tar",
        [("a.JPG", wide), ("a.cls", b"2"), ("b.png", PNG), ("b.cls", b"0")],
    )
    manifest = plain.index(tmp_path).manifest
    assert manifest.domains == ("domain0", "domain1", "domain2")
    assert (manifest.image_size, manifest.image_format) == (None, "mixed")
    assert set(manifest.splits) == {"train"}


def test_our_own_index_is_made_anew(tmp_path: Path) -> None:
    run(tmp_path, Noise(), form=Form(16, shards=3))
    index = tmp_path / "train.index.safetensors"
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    index.write_bytes(b"damaged")
    with pytest.raises(UserError, match="already; make it anew with --force"):
        plain.index(tmp_path)
    plain.index(tmp_path, force=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("a.png", PNG)], r"'a' of .*train-0\.tar has no a\.cls"),
        ([("a.cls", b"0")], r"'a' of .*train-0\.tar has not one image but a\.cls"),
        ([("a.png", PNG), ("a.jpg", JPG), ("a.cls", b"0")], r"a\.cls, a\.jpg, a\.png"),
        ([("a.png", PNG), ("a.png", PNG), ("a.cls", b"0")], r"train-0\.tar holds a\.png twice"),
        (sound("a", "b") + sound("a"), r"train-0\.tar has key 'a' again"),
        ([("a.png", PNG), *sound("b"), ("a.cls", b"0")], r"has no a\.cls"),
        ([*sound("a"), ("b.pyd", b"x")], r"train-0\.tar holds b\.pyd"),
        ([*sound("a"), ("a.seg.png", PNG)], r"holds a\.seg\.png"),
        ([*sound("a"), ("README", b"x")], "holds README"),
        ([*sound("a"), (".png", PNG)], r"holds \.png"),
        (sound("../a"), r"unsafe name, '\.\./a\.cls'"),
        (sound("/a"), "unsafe name"),
        (sound("\u00e4"), "unsafe name"),
        (sound("k" * 300), "longer than"),
        ([("a.png", PNG), ("a.cls", b"cat")], r"a\.cls of .* holds 'cat'"),
        ([("a.png", PNG), ("a.cls", b"-1")], "holds '-1'"),
        ([("a.png", PNG), ("a.cls", b"9" * 1000)], "the domain's number"),
        ([("a.png", PNG), ("a.cls", b"0")], "fewer than two domains"),
        ([], "no readable sample"),
    ],
)
def test_refused_by_shard_and_member(tmp_path: Path, members: Members, message: str) -> None:
    tar_of(tmp_path / "train-0.tar", members)
    with pytest.raises(UserError, match=message):
        plain.index(tmp_path)
    assert not (tmp_path / "manifest.json").exists()


def test_keys_of_a_split_differ_over_its_shards(tmp_path: Path) -> None:
    tar_of(tmp_path / "train-0.tar", sound("a", "b"))
    tar_of(tmp_path / "train-1.tar", sound("c", "b"))
    with pytest.raises(UserError, match=r"train-1\.tar has key 'b' again"):
        plain.index(tmp_path)


def test_links_are_refused(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "train-0.tar", sound("a", "b"))
    with tarfile.open(path, "a") as tar:
        link = tarfile.TarInfo("c.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(UserError, match=r"train-0\.tar holds c\.png, a link"):
        plain.index(tmp_path)


def test_damaged_compressed_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no \.tar"):
        plain.index(tmp_path)
    path = tar_of(tmp_path / "train-0.tar", sound(*"abcdefgh"))
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(UserError, match=r"train-0\.tar is not a sound tar file"):
        plain.index(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(UserError, match="not a sound tar file"):
        plain.index(tmp_path)
    (tmp_path / "more.tar.gz").write_bytes(b"x")
    with pytest.raises(UserError, match=r"more\.tar\.gz is compressed"):
        plain.index(tmp_path)


def test_too_few_names(tmp_path: Path) -> None:
    members = [("a.png", PNG), ("a.cls", b"2"), ("b.png", PNG), ("b.cls", b"0")]
    tar_of(tmp_path / "x.tar", members)
    with pytest.raises(UserError, match="count 3 domains, but --domains names cat, dog"):
        plain.index(tmp_path, domains=("cat", "dog"))


def test_images_without_a_sound_header_are_left_out(tmp_path: Path) -> None:
    tar_of(tmp_path / "train-0.tar", [*sound("a", "b"), ("c.png", b"junk"), ("c.cls", b"0")])
    written = plain.index(tmp_path)
    assert [bad.origin for bad in written.bad] == ["train-0.tar/c"]
    assert written.manifest.splits["train"].samples == 2
    assert json.loads((tmp_path / "bad_files.jsonl").read_text())["split"] == "train"
    assert len(load_index(tmp_path, written.manifest.splits["train"], 2)) == 2


@pytest.mark.parametrize(
    ("file", "split"),
    [
        ("train-000012.tar", "train"),
        ("train_12.tar", "train"),
        ("000012.tar", "train"),
        ("imagenet-val-000012.tar", "val"),
        ("scans-000012.tar", "scans"),
        ("Test.tar", "test"),
    ],
)
def test_splits_are_guessed_from_names(file: str, split: str) -> None:
    assert plain.guess_split(file) == split
