"""Where images come from: what is listed, named, labelled and held out."""

from __future__ import annotations

import io
import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from srae_dist.core.errors import SampleError, UserError
from srae_dist.data import sources
from srae_dist.data.faces import FACTORS, render
from srae_dist.data.records import (
    Content,
    Record,
    check_names,
    hold_out,
    limit,
    shuffled,
)
from tests.data.listed import listed


def put(path: Path, colour: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (colour, 0, 0)).save(path)
    return path


def origins(records: object) -> list[str]:
    return [record.origin for record in records]  # type: ignore[attr-defined]


def some(count: int, domain: str = "a", split: str = "train") -> list[Record]:
    return [Record(split, domain, f"{i}.png", f"{domain}/{i}.png", str(i)) for i in range(count)]


# folders


def test_root_of_domains(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/1.JPG", "b/deep/er/1.webp", "a/1.png"):
        put(tmp_path / name)
    source = sources.from_root(tmp_path)
    assert source.domains == ("a", "b")
    assert origins(source.records) == ["a/1.png", "b/1.JPG", "b/2.png", "b/deep/er/1.webp"]
    assert {record.split for record in source.records} == {"train"}
    assert [record.name for record in source.records][-1] == "deep/er/1.webp"
    assert {record.split for record in sources.from_root(tmp_path, split="val").records} == {"val"}


def test_root_of_splits(tmp_path: Path) -> None:
    for name in ("Train/a/1.png", "Train/b/1.png", "test/a/1.png", "test/b/1.png"):
        put(tmp_path / name)
    source = sources.from_root(tmp_path)
    assert source.domains == ("a", "b")
    assert Counter(record.split for record in source.records) == {"train": 2, "test": 2}
    assert source.records[0].origin == "Train/a/1.png" and source.records[0].name == "1.png"
    picked = sources.from_root(tmp_path, split="test")
    assert origins(picked.records) == ["test/a/1.png", "test/b/1.png"]
    with pytest.raises(UserError, match=r"no split 'tst'.*Did you mean 'test'"):
        sources.from_root(tmp_path, split="tst")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["a/1.png", "b/1.png", "stray.png"], "stray.png lies in no domain"),
        (["train/a/1.png", "test/1.png"], "1.png lies in no domain"),
        (["train/a/1.png", "other/b/1.png"], "'train' beside 'other'"),
        (["a/train/1.png", "b/test/1.png"], "laid out as domain/split"),
        (["a/notes.txt"], "holds no jpg, png or webp"),
    ],
)
def test_roots_that_cannot_be_told(tmp_path: Path, files: list[str], message: str) -> None:
    for name in files:
        if name.endswith(".txt"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("x")
        else:
            put(tmp_path / name)
    with pytest.raises(UserError, match=re.escape(message)):
        sources.from_root(tmp_path)


def test_a_domain_may_be_called_train(tmp_path: Path) -> None:
    for name in ("train/1.png", "bus/1.png"):
        put(tmp_path / name)
    assert sources.from_root(tmp_path).domains == ("bus", "train")


def test_hidden_and_other_files_are_passed_over_and_counted(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/1.png", "a/.2.png", "a/.thumbs/3.png", "__MACOSX/a/1.png"):
        put(tmp_path / name)
    for name in ("a/read.txt", "a/movie.gif", "b/more.txt"):
        (tmp_path / name).write_text("x")
    source = sources.from_root(tmp_path)
    assert origins(source.records) == ["a/1.png", "b/1.png"]
    assert "3 files" in source.notes[-1] and "2 .txt" in source.notes[-1]
    assert "; convert .gif files to png" in source.notes[-1]


def test_a_domain_of_other_images_alone_is_told_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("a/1.bmp", "a/2.TIFF", "a/notes.txt"):
        (tmp_path / name).write_text("x")
    advice = re.escape("; convert .bmp and .tiff files to png to have them taken.")
    with pytest.raises(UserError, match=advice):
        sources.from_root(tmp_path)
    with pytest.raises(UserError, match=advice):
        sources.from_domains({"a": [tmp_path / "a"]}, split="train")


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege")
def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    put(tmp_path / "in/a/1.png")
    put(tmp_path / "in/b/1.png")
    put(tmp_path / "elsewhere/2.png")
    (tmp_path / "in/a/loop").symlink_to(tmp_path / "in/a")
    (tmp_path / "in/a/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/b/gone.png").symlink_to(tmp_path / "nowhere.png")
    source = sources.from_root(tmp_path / "in")
    assert origins(source.records) == ["a/1.png", "a/linked/2.png", "b/1.png", "b/gone.png"]
    assert isinstance(list(source.reader.read(source.records))[-1], SampleError)


def test_several_folders_for_a_domain(tmp_path: Path) -> None:
    for name in ("x/1.png", "y/1.png", "z/1.png"):
        put(tmp_path / name)
    given_folders = {"human": [tmp_path / "x", tmp_path / "y"], "anime": [tmp_path / "z"]}
    source = sources.from_domains(given_folders, split="train")
    assert source.domains == ("human", "anime")  # as the user gave them
    assert origins(source.records) == ["human/1/1.png", "human/2/1.png", "anime/1.png"]
    with pytest.raises(UserError, match="overlap"):
        sources.from_domains({"a": [tmp_path], "b": [tmp_path / "x"]}, split="train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"domain 'b'.*holds no"):
        sources.from_domains({"a": [tmp_path / "x"], "b": [tmp_path / "empty"]}, split="train")
    with pytest.raises(UserError, match="not a folder"):
        sources.from_domains({"a": [tmp_path / "missing"]}, split="train")


@pytest.mark.skipif(os.name == "nt", reason="names there are text")
def test_names_of_any_bytes(tmp_path: Path) -> None:
    put(tmp_path / "b/1.png")
    put(tmp_path / "a/1.png")
    try:
        os.rename(tmp_path / "a/1.png", os.fsencode(tmp_path / "a") + b"/\xff[red].png")  # noqa: PTH104
    except OSError:
        pytest.skip("this file system wants UTF-8")
    source = sources.from_root(tmp_path)
    assert source.records[0].origin == "a/\\xff[red].png"
    assert isinstance(next(iter(source.reader.read(source.records))), Content)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", tmp_path):
        with pytest.raises(SampleError, match="not a file"):
            sources.read_file(path)


def test_stamps_tell_that_a_file_has_changed(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/1.png"):
        put(tmp_path / name)
    source = sources.from_root(tmp_path)
    before = source.reader.stamp(source.records)
    assert source.reader.stamp(source.records) == before
    os.utime(tmp_path / "b/1.png", (1, 1))
    later = source.reader.stamp(source.records)
    (tmp_path / "b/1.png").unlink()
    assert len({before, later, source.reader.stamp(source.records)}) == 3


def test_labels_from_file_names(tmp_path: Path) -> None:
    for name in ("usps/3_a.png", "mnist/7_b.png"):
        put(tmp_path / name)
    source = sources.from_root(tmp_path, label=re.compile(r"(\d)_"))
    facts = [content.facts for content in source.reader.read(source.records)]  # type: ignore[union-attr]
    assert facts == [{"labels": {"label": "7"}}, {"labels": {"label": "3"}}]
    named = re.compile(r"(?P<digit>\d)_(?P<writer>[a-z])|(?P<other>x)")
    assert sources.labels_of(named, "x_/3_a.png") == {"digit": "3", "writer": "a"}
    put(tmp_path / "usps/none.png")
    with pytest.raises(UserError, match=r"1 of 3 file names, usps/none\.png"):
        sources.from_root(tmp_path, label=re.compile(r"(\d)_"))


def test_names_that_shards_cannot_carry(tmp_path: Path) -> None:
    put(tmp_path / "a/1.png")
    with pytest.raises(UserError, match="only the domain a"):
        check_names(sources.from_root(tmp_path))
    put(tmp_path / "b c/1.png")
    with pytest.raises(UserError, match="'b c'"):
        check_names(sources.from_root(tmp_path))
    with pytest.raises(UserError, match="'Te st'"):
        check_names(sources.from_faces(4, ["photo", "anime"], size=16, seed=0, split="Te st"))


# choosing


def test_hold_out_is_stable_when_files_are_added() -> None:
    few, many = hold_out(listed(some(300)), 0.2), hold_out(listed(some(3000)), 0.2)
    assert [record.split for record in few] == [record.split for record in many[:300]]
    share = sum(record.split == "test" for record in many) / 3000
    assert share == pytest.approx(0.2, abs=0.03)
    other = hold_out(listed(some(300, domain="b")), 0.2)  # pairs stay together
    assert [record.split for record in few] == [record.split for record in other]
    wider = hold_out(listed(some(300)), 0.4)
    assert all(w.split == "test" for w, f in zip(wider, few, strict=True) if f.split == "test")


def test_hold_out_refuses_nonsense() -> None:
    with pytest.raises(UserError, match="between 0 and 1"):
        hold_out(listed(some(3)), 5)
    with pytest.raises(UserError, match="has one"):
        hold_out(listed(some(3, split="test")), 0.1)


def test_limit_takes_a_seeded_subset_in_each_split() -> None:
    records = listed(some(100) + some(100, "b") + some(50, "a", "test"))

    def limited(most: int, seed: int) -> list[Record]:
        return list(limit(records, {"a": most}, seed=seed))

    kept = limited(30, 1)
    assert Counter((r.split, r.domain) for r in kept) == {
        ("train", "a"): 30,
        ("train", "b"): 100,
        ("test", "a"): 30,
    }
    assert kept == limited(30, 1) != limited(30, 2)
    assert set(limited(10, 1)) < set(kept)
    with pytest.raises(UserError, match=r"'c'.*a, b"):
        limit(records, {"c": 1}, seed=0)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(0, 1000))
def test_shuffling_keeps_every_record_once(count: int, seed: int) -> None:
    records = some(count) + some(count, "b") + some(3, "b", "test")
    splits = {name: list(part) for name, part in shuffled(listed(records), seed=seed).items()}
    assert list(splits) == ["test", "train"]
    assert Counter(splits["train"] + splits["test"]) == Counter(records)
    again = shuffled(listed(records), seed=seed)
    assert splits == {name: list(part) for name, part in again.items()}


def test_shuffling_mixes_domains() -> None:
    order = [r.domain for r in shuffled(listed(some(200) + some(200, "b")), seed=0)["train"]]
    assert 70 < order[:200].count("a") < 130


# the built-in faces


def test_faces() -> None:
    domains = ("photo", "anime", "clay")
    source = sources.from_faces(40, domains, size=16, seed=3)
    assert Counter(r.split for r in source.records) == {"train": 40, "test": 4}
    assert [r.domain for r in source.records[:4]] == ["photo", "anime", "clay", "photo"]
    assert len(sources.from_faces(9, domains, size=16, seed=3).records) == 9 + 3
    assert len(sources.from_faces(9, domains, size=16, seed=3, split="val").records) == 9

    contents = list(source.reader.read(source.records))
    seen = set()
    for record, content in zip(source.records, contents, strict=True):
        factors = content.facts["factors"]  # type: ignore[union-attr]
        assert list(factors) == list(FACTORS)
        row = np.array([list(factors.values())], np.float32)
        assert (render(row, record.domain, size=16)[0] == content.image).all()  # type: ignore[union-attr]
        seen.add(tuple(factors.values()))
    assert len(seen) == len(contents)  # unpaired, and no face in two splits

    shuffled_records = [source.records[i] for i in (7, 2, 30)]
    again = list(source.reader.read(shuffled_records))
    assert [c.facts for c in again] == [contents[i].facts for i in (7, 2, 30)]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("count", "domains", "message"),
    [
        (1, ("photo", "anime"), "fewer than"),
        (9, ("photo", "anmie"), "Did you mean 'anime'"),
        (9, ("photo", "photo"), "twice"),
    ],
)
def test_faces_refuse(count: int, domains: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        sources.from_faces(count, domains, size=16, seed=0)


# data sets


def png(colour: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (colour, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DatasetDict on disk: two splits, a class column, a text column, a number."""
    import datasets

    features = datasets.Features(
        image=datasets.Image(),
        label=datasets.ClassLabel(names=["cat face", "dog"]),
        kind=datasets.Value("string"),
        weight=datasets.Value("float64"),
    )

    def table(count: int) -> datasets.Dataset:
        columns = {
            "image": [{"bytes": png(i), "path": None} for i in range(count)],
            "label": [i % 2 for i in range(count)],
            "kind": ["zebra" if i % 3 else "ape" for i in range(count)],
            "weight": [i / 2 for i in range(count)],
        }
        return datasets.Dataset.from_dict(columns, features=features)

    path = tmp_path_factory.mktemp("set") / "pets"
    datasets.DatasetDict(train=table(6), test=table(2)).save_to_disk(path)
    return path


def test_dataset_on_disk(saved: Path) -> None:
    source = sources.from_dataset(str(saved), label_columns=["kind", "weight", "label"])
    assert source.domains == ("cat_face", "dog")
    assert Counter(r.split for r in source.records) == {"train": 6, "test": 2}
    assert source.records[4].origin == "pets/train/4"
    wanted = [source.records[i] for i in (3, 0)]
    three, zero = source.reader.read(wanted)
    assert isinstance(three, Content) and three.image == png(3)  # stored bytes, not re-encoded
    assert three.facts == {"labels": {"kind": "ape", "weight": 1.5, "label": "dog"}}
    assert isinstance(zero, Content) and zero.image == png(0)


def test_rows_that_are_held_out_are_still_found(saved: Path) -> None:
    source = sources.from_dataset(str(saved), split="train")
    held = [record for record in hold_out(source.records, 0.5) if record.split == "test"]
    assert held
    for record, content in zip(held, source.reader.read(held), strict=True):
        assert isinstance(content, Content) and content.image == png(int(record.name))


def test_dataset_split_and_text_domains(saved: Path) -> None:
    source = sources.from_dataset(str(saved), split="test", domain_column="kind")
    assert source.domains == ("ape", "zebra")
    assert [(r.split, r.domain) for r in source.records] == [("test", "ape"), ("test", "zebra")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "trian"}, r"no split 'trian' .*Did you mean 'train'"),
        ({"image_column": "imgae"}, r"no column 'imgae' .*Did you mean 'image'"),
        ({"domain_column": "weight"}, "not domains"),
        ({"image_column": "weight"}, "holds no image files"),
        ({"label_columns": ["image"]}, "no label"),
    ],
)
def test_dataset_refuses(saved: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        sources.from_dataset(str(saved), **options)  # type: ignore[arg-type]


def test_dataset_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be loaded"):
        sources.from_dataset(str(tmp_path / "nothing"))


def test_image_folder_as_a_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    for name in ("cat/1.png", "cat/2.png", "dog/1.png"):
        put(tmp_path / "in" / name)
    source = sources.from_dataset(str(tmp_path / "in"))
    assert source.domains == ("cat", "dog") and len(source.records) == 3
    first = next(iter(source.reader.read(source.records)))
    assert isinstance(first, Content) and isinstance(first.image, bytes)


def test_rows_without_an_image_or_a_domain(tmp_path: Path) -> None:
    import datasets

    features = datasets.Features(
        image=datasets.Image(), label=datasets.ClassLabel(names=["a", "b"])
    )
    rows = {"image": [{"bytes": png(1), "path": None}, None], "label": [0, 1]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "one")
    source = sources.from_dataset(str(tmp_path / "one"))
    good, bad = source.reader.read(source.records)
    assert isinstance(good, Content) and isinstance(bad, SampleError)
    rows = {"image": [{"bytes": png(1), "path": None}], "label": [-1]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "two")
    with pytest.raises(UserError, match="Row 0 of split 'train'"):
        sources.from_dataset(str(tmp_path / "two"))
