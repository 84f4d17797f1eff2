"""A check names every kind of damage by shard and key, and ends with 0 for a sound folder only."""

from __future__ import annotations

import io
import json
import os
import struct
import tarfile
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from tiny_shards import blocks_of

from srae_dist.core.atomic import sha256_file
from srae_dist.core.errors import UserError
from srae_dist.data import images, plain
from srae_dist.data.check import Report, check, findings, plan, report
from srae_dist.data.manifest import Index, Manifest, Shard, Split, load_manifest, save_index
from srae_dist.runtime.command import run
from srae_dist.shard import shard

DOMAINS = ("cat", "dog")
SIZE = 8

Members = list[tuple[str, bytes]]


def picture(number: int, *, size: int = SIZE, format: str = "png") -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (size, size, 3), np.uint8)
    return images.encode(pixels, format=format)


def sample(number: int, image: bytes | None = None) -> Members:
    """Three members; the domain is the number's parity."""
    info = json.dumps({"size": [20 + number, 30], "origin": "x"}).encode()
    data = picture(number) if image is None else image
    key = f"k{number:03d}"
    return [(f"{key}.png", data), (f"{key}.cls", b"%d" % (number % 2)), (f"{key}.json", info)]


def samples(*numbers: int) -> Members:
    return [member for number in numbers for member in sample(number)]


def build(root: Path, splits: dict[str, list[Members]]) -> Manifest:
    """Write shards, and a manifest and indexes that vouch for every image in them."""
    root.mkdir(exist_ok=True)
    made: dict[str, Split] = {}
    for name, tars in splits.items():
        rows: list[tuple[int, int, int, int, bytes]] = []
        shards = []
        for number, members in enumerate(tars):
            path = root / f"{name}-{number:06d}.tar"
            places = write_tar(path, members)
            domains = {key[:-4]: int(data) for key, data in members if key.endswith(".cls")}
            for (member, data), offset in zip(members, places, strict=True):
                key, _, suffix = member.partition(".")
                if suffix in images.SUFFIXES:
                    rows.append((number, domains[key], offset, len(data), key.encode()))
            held = [row[1] for row in rows if row[0] == number]
            counts = {domain: held.count(place) for place, domain in enumerate(DOMAINS)}
            shards.append(
                Shard(path.name, len(held), path.stat().st_size, sha256_file(path), counts)
            )
        made[name] = vouch(root, name, shards, index_of(rows))
    manifest = Manifest(DOMAINS, SIZE, "png", made)
    manifest.save(root)
    return manifest


def write_tar(path: Path, members: Members) -> list[int]:
    places = []
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
            places.append(tar.offset - len(data) - -len(data) % 512)
    return places


def index_of(rows: Sequence[tuple[int, int, int, int, bytes]]) -> Index:
    shard, domain, offset, size, keys = zip(*rows, strict=True)
    return Index(
        np.array(shard, np.uint32),
        np.array(domain, np.uint16),
        np.array(offset, np.uint64),
        np.array(size, np.uint32),
        np.array(keys),
    )


def vouch(root: Path, name: str, shards: Sequence[Shard], index: Index) -> Split:
    path = root / f"{name}.index.safetensors"
    save_index(path, index, blocks_of(root, shards))
    return Split(tuple(shards), path.name, sha256_file(path))


def change_index(root: Path, *, split: str = "train", **columns: np.ndarray) -> None:
    """Replace columns of an index, and let the manifest vouch for it."""
    from srae_dist.data.manifest import load_index

    manifest = load_manifest(root)
    part = manifest.splits[split]
    index = replace(load_index(root, part, 2), **columns)
    made = vouch(root, split, part.shards, index)
    replace(manifest, splits={**manifest.splits, split: made}).save(root)


def found(root: Path, **options: object) -> Report:
    return check(plan(root), **options)  # type: ignore[arg-type]


def problems(root: Path) -> dict[str, list[tuple[str, str]]]:
    """Kind -> shard and key of every problem."""
    made = found(root)
    return {
        kind: [(one.shard, one.key) for one in kept] for kind, kept in made.problems.first.items()
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two shards to train and one to test, all sound."""
    build(tmp_path / "set", {"train": [samples(0, 1, 2), samples(3, 4)], "test": [samples(5, 6)]})
    return tmp_path / "set"


FIRST, SECOND = "train-000000.tar", "train-000001.tar"


def test_a_sound_folder(root: Path) -> None:
    made = found(root)
    assert made.sound and not made.remarks.total()
    facts = made.statistics["train"]["cat"]
    assert (facts.images, facts.broken, facts.flat, facts.copies) == (3, 0, 0, 0)
    sizes = [len(picture(number)) for number in (0, 2, 4)]
    assert (facts.bytes_min, facts.bytes_max) == (min(sizes), max(sizes))
    assert (facts.bytes_mean, facts.bytes_total) == (sum(sizes) / 3, sum(sizes))
    assert facts.sizes is not None and facts.sizes.common == ((SIZE, SIZE, 3),)
    assert facts.originals is not None
    width = facts.originals.width
    assert (width.min, width.median, width.max, facts.originals.height.max) == (20, 22, 24, 30)
    assert [row[:3] for row in report.rows_of(made)] == [
        ("train", "cat", 3),
        ("train", "dog", 2),
        ("test", "cat", 1),
        ("test", "dog", 1),
    ]


def test_several_processes_find_the_same(root: Path) -> None:
    with (root / SECOND).open("r+b") as file:
        file.truncate(1500)
    one, two = (report.json_of(found(root, processes=count)) for count in (1, 2))
    assert one == two and not one["sound"]


def test_truncated_tar(root: Path) -> None:
    with (root / FIRST).open("r+b") as file:
        file.truncate(3072 + 700)  # in the second sample
    assert problems(root) == {
        "bytes": [(FIRST, "")],
        "sha256": [(FIRST, "")],
        "block": [(FIRST, "")],
        "tar": [(FIRST, "")],
        "missing_sample": [(FIRST, "k001"), (FIRST, "k002")],
    }


def test_flipped_byte_names_the_mebibyte_and_its_samples(root: Path) -> None:
    flip(root / SECOND, 512 + 60)
    made = found(root)
    assert [one.what for one in made.problems.first["block"]] == [
        "MiB 0 is damaged (samples k003 to k004)"
    ]
    assert [one.key for one in made.problems.first["broken_image"]] == ["k003"]
    assert made.statistics["train"]["dog"].broken == 1


def test_a_damaged_header_costs_one_sample_only(root: Path) -> None:
    flip(root / FIRST, 3072 + 100)  # the header of k001.png
    found = problems(root)
    assert found["tar"] == [(FIRST, "")]
    assert found["missing_sample"] == [(FIRST, "k001")]
    assert "broken_image" not in found


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0xFF
    path.write_bytes(data)


def test_zero_byte_member(tmp_path: Path) -> None:
    build(tmp_path, {"train": [samples(0) + sample(1, b"")]})
    assert problems(tmp_path) == {"broken_image": [("train-000000.tar", "k001")]}


def test_missing_member(tmp_path: Path) -> None:
    build(tmp_path, {"train": [samples(0, 1)]})
    manifest = load_manifest(tmp_path)
    members = [member for member in samples(0, 1) if member[0] not in ("k001.cls", "k000.png")]
    write_tar(tmp_path / FIRST, members)
    found = problems(tmp_path)
    assert found["missing_member"] == [(FIRST, "k000"), (FIRST, "k001")]
    assert manifest.splits["train"].samples == 2


def test_missing_shard(root: Path) -> None:
    (root / SECOND).unlink()
    assert problems(root) == {"missing_shard": [(SECOND, "")]}
    os.mkfifo(root / SECOND)  # opening it would wait for ever
    assert problems(root) == {"missing_shard": [(SECOND, "")]}


def test_wrong_suffix(tmp_path: Path) -> None:
    build(tmp_path, {"train": [[("k000.jpg", picture(0)), *sample(0)[1:], *samples(1)]]})
    made = found(tmp_path)
    assert {kind: kept[0].key for kind, kept in made.problems.first.items()} == {
        "image_format": "k000"
    }
    assert made.remarks.first["misnamed_image"][0].what.endswith("named .jpg, but is png")


def test_suffix_that_is_no_image(root: Path) -> None:
    data = (root / FIRST).read_bytes()
    members = [(name.replace("k001.png", "k001.gif"), data) for name, data in samples(0, 1, 2)]
    write_tar(root / FIRST, members)
    assert len(data) == (root / FIRST).stat().st_size
    assert problems(root)["missing_member"] == [(FIRST, "k001")]


def test_decompression_bomb(tmp_path: Path) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"x"))
    build(tmp_path, {"train": [samples(0) + sample(1, bomb)]})
    made = found(tmp_path)
    (problem,) = made.problems
    assert (problem.kind, problem.key) == ("broken_image", "k001")
    assert "pixels" in problem.what


def test_index_row_that_points_elsewhere(root: Path) -> None:
    index = plan(root).jobs[0].rows
    assert index is not None
    change_index(root, offset=np.array([512, 512, 6656, 512, 3584], np.uint64))
    (problem,) = found(root).problems
    assert (problem.kind, problem.shard, problem.key) == ("index_place", FIRST, "k001")
    assert "the index has its image at byte 512" in problem.what


def test_index_of_other_keys(root: Path) -> None:
    change_index(root, keys=np.array([b"k000", b"k00x", b"k002", b"k003", b"k004"]))
    assert problems(root) == {
        "unlisted": [(FIRST, "k001")],
        "missing_sample": [(FIRST, "k00x")],
    }


def test_damaged_index_does_not_hide_the_rest(root: Path) -> None:
    path = root / "train.index.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    flip(root / SECOND, 512 + 60)
    made = found(root)
    assert made.problems.counts == {"index": 1, "sha256": 1, "broken_image": 1}
    assert made.statistics["train"]["cat"].images == 3


def test_wrong_counts(root: Path) -> None:
    manifest = load_manifest(root)
    train = manifest.splits["train"]
    wrong = replace(train.shards[0], domains={"cat": 1, "dog": 2})
    shards = replace(train, shards=(wrong, *train.shards[1:]))
    replace(manifest, splits={**manifest.splits, "train": shards}).save(root)
    (problem,) = found(root).problems
    assert (problem.kind, problem.shard) == ("counts", FIRST)
    assert problem.what == "it holds 2 cat, 1 dog; the manifest says 1 cat, 2 dog"


def test_wrong_cls(root: Path) -> None:
    change_index(root, domain=np.array([0, 0, 0, 1, 0], np.uint16))
    made = found(root)
    assert made.problems.first["cls"][0][2:] == (FIRST, "k001", "its .cls says dog, the index cat")
    assert made.problems.counts == {"cls": 1, "counts": 1}


@pytest.mark.parametrize("text", [b"", b"cat", b"7", b"1" * 1000, b"-1"])
def test_cls_that_is_no_domain(tmp_path: Path, text: bytes) -> None:
    build(tmp_path, {"train": [samples(0, 1)]})
    write_tar(tmp_path / FIRST, [(n, text if n == "k001.cls" else d) for n, d in samples(0, 1)])
    assert problems(tmp_path)["cls"] == [(FIRST, "k001")]


def test_json_that_is_none(tmp_path: Path) -> None:
    members = samples(0, 1)
    build(tmp_path, {"train": [[*members[:-1], ("k001.json", b"[" * 100_000)]]})
    assert problems(tmp_path) == {"json": [(FIRST, "k001")]}


def test_image_of_another_size(tmp_path: Path) -> None:
    build(tmp_path, {"train": [samples(0) + sample(1, picture(1, size=9))]})
    (problem,) = found(tmp_path).problems
    assert (problem.kind, problem.key) == ("image_size", "k001")
    assert problem.what == "its image is 9 x 9, the manifest says 8 x 8"


def test_repeated_keys_in_a_split(tmp_path: Path) -> None:
    build(tmp_path, {"train": [samples(0, 1), samples(1, 2)], "test": [samples(0)]})
    (problem,) = found(tmp_path).problems
    assert (problem.kind, problem.key) == ("duplicate_key", "k001")
    assert problem.what.endswith(f"({FIRST}, {SECOND})")


def test_scattered_members(root: Path) -> None:
    a, b, c = sample(0), sample(1), sample(2)
    write_tar(root / FIRST, [*a[:2], *b, *c, a[2]])
    assert problems(root)["duplicate_key"] == [(FIRST, "k000")]


def test_links_unsafe_and_foreign_members(root: Path) -> None:
    path = root / FIRST
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        for name in ("../k009.png", "/etc/k009.png", "x" * 300 + "/../k.png", "k\x1b[2J.png"):
            tar.addfile(tarfile.TarInfo(name))
        link = tarfile.TarInfo("k010.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        tar.addfile(tarfile.TarInfo("README"))
    made = found(root)
    kinds = made.problems.counts
    assert (kinds["unsafe_name"], kinds["special_member"]) == (4, 1)
    assert made.remarks.counts == {"other_member": 1}
    assert all(one.what.isascii() and one.what.isprintable() for one in made.problems)


def test_duplicates_within_across_domains_and_leaking_across_splits(tmp_path: Path) -> None:
    twin = picture(0)
    build(
        tmp_path,
        {
            "train": [samples(0) + sample(2, twin) + sample(3, twin)],
            "test": [sample(4, twin) + samples(5, 6)],
        },
    )
    made = found(tmp_path)
    assert made.sound  # a remark, no failure
    assert made.statistics["train"]["cat"].copies == 1
    assert made.duplicates.across_domains.tolist() == [3, 0]
    assert made.duplicates.shared.tolist() == [[0, 3], [1, 0]]
    (remark,) = made.remarks
    assert (remark.shard, remark.key) == (FIRST, "k000")
    assert remark.what.endswith(f"{FIRST} k002, {FIRST} k003, test-000000.tar k004")
    first = next(report.remarks_of(made))
    assert first.startswith("LEAK: 1 image of split test can be seen in split train, too")
    assert any("1 image repeats another of" in text for text in report.remarks_of(made))


def test_flat_images_are_remarks(tmp_path: Path) -> None:
    pixels = np.full((SIZE, SIZE, 3), (200, 10, 90), np.uint8)
    pixels[0, 0] += 3
    build(tmp_path, {"train": [samples(0) + sample(1, images.encode(pixels, format="png"))]})
    made = found(tmp_path)
    assert made.sound and made.statistics["train"]["dog"].flat == 1
    assert made.remarks.first["flat_image"][0].key == "k001"


def test_broken_images_are_no_duplicates(tmp_path: Path) -> None:
    build(tmp_path, {"train": [samples(0) + sample(1, b"x") + sample(2, b"x")]})
    assert found(tmp_path).remarks.total() == 0


def test_foreign_shards(tmp_path: Path) -> None:
    wide = images.encode(np.random.default_rng(0).integers(0, 256, (9, 5, 3), np.uint8))
    long = "d" * 60 + "/" + "n" * 60
    members = [("a.cls", b"1\n"), ("a.JPG", wide), ("b.png", picture(1)), ("b.cls", b"0")]
    members += [
        (f"{long}.png", picture(2)),
        (f"{long}.cls", b"0"),
        ("c.png", b"?"),
        ("c.cls", b"1"),
    ]
    for number, format in enumerate((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT)):
        with tarfile.open(tmp_path / f"x-{number}.tar", "w", format=format) as tar:
            for name, data in members:
                info = tarfile.TarInfo(f"{number}{name}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    plain.index(tmp_path)
    made = found(tmp_path)
    assert list(made.problems) == []
    sizes = made.statistics["x"]["domain1"].sizes
    assert sizes is not None and sizes.common == ((5, 9, 3),)
    assert made.statistics["x"]["domain0"].images == 6


def test_files_that_nobody_lists(root: Path) -> None:
    (root / "other.tar").write_bytes(b"")
    assert [one.shard for one in found(root).remarks] == ["other.tar"]


def test_no_kind_of_problem_hides_another(tmp_path: Path) -> None:
    build(tmp_path, {"train": [samples(*range(40))]})
    with (tmp_path / FIRST).open("r+b") as file:
        file.truncate(3072)
    lines = list(report.problems_of(found(tmp_path), most=20))
    assert len(lines) == 21 and sum("the tar file has not" in line for line in lines) == 17
    assert lines[-1] == "and 22 missing_sample more; --json FILE lists them."


def test_findings_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "KEPT", 3)
    one, two = findings.Findings(), findings.Findings()
    for number in range(5):
        one.add("kind", "", "", str(number), "x" * 10_000)
        two.add("kind", "", "", "two", "")
    one.extend(two)
    assert one.total() == 10 and [item.key for item in one] == ["0", "1", "2"]
    assert all(len(item.what) < 1000 for item in one)


def command(*args: object) -> int:
    app = typer.Typer(add_completion=False)
    app.command()(shard)
    with pytest.raises(SystemExit) as end:
        run(app, [str(arg) for arg in args])
    assert isinstance(end.value.code, int)
    return end.value.code


def test_the_command(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "report.json"
    assert command("--check", root, "--processes", 1, "--json", file) == 0
    assert "sound: 7 images" in capsys.readouterr().out
    value = json.loads(file.read_text())
    assert (value["format"], value["version"], value["sound"]) == ("srae_dist.check", 1, True)
    assert value["splits"]["train"]["domains"]["cat"]["images"] == 3
    assert value["duplicates"]["across_splits"] == {"train": {"test": 0}, "test": {"train": 0}}

    (root / SECOND).unlink()
    assert command("--check", root, "--processes", 1, "--json", file) == 1
    assert f"{SECOND}: it cannot be read: No such file" in capsys.readouterr().err
    value = json.loads(file.read_text())
    assert value["problems"]["missing_shard"]["first"][0]["shard"] == SECOND
    assert command("--check", root, "--processes", 1, "--split", "test") == 0


def test_wrong_usage(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for args, message in (
        (("--check", tmp_path), "is not a shard folder"),
        (("--check", "s3://bucket/set"), "copy the folder here first"),
        (("--check", root, "--split", "val"), "has no split 'val'"),
        (("--check", root, "--force"), "--force does not go with --check"),
        (("--check", root, "--out", tmp_path), "--out does not go with --check"),
        (("--faces", 4, "--json", tmp_path / "x"), "--json does not go with --faces"),
    ):
        assert command(*args) == 2
        assert message in capsys.readouterr().err


def test_a_damaged_manifest_is_said_at_once(root: Path) -> None:
    (root / "manifest.json").write_text("{")
    with pytest.raises(UserError, match=r"manifest\.json is damaged"):
        plan(root)
