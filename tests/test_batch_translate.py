"""`srae-dist batch-translate`: every image, under its own name, whatever happens on the way."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial, partialmethod
from pathlib import Path

import numpy as np
import pytest
import webdataset
from PIL import Image

from srae_dist.core.atomic import sha256_file
from srae_dist.core.errors import ExitCode
from srae_dist.data.manifest import load_index, load_manifest
from srae_dist.data.reader import iterate
from srae_dist.translation.outputs import FolderOutput, ShardOutput
from srae_dist.translation.pipeline import Work
from tests.data.tiny_shards import rewrite, write_shards
from tests.translation.tiny import (
    DOMAINS,
    SIZE,
    files,
    lines,
    picture,
    pixels,
    save_pictures,
    save_run,
    translate,
)

ROOT = Path(__file__).parents[1]
NAMES = ["b.jpg", "a.png", "sub/a.JPG", "sub/deep/c.webp", "sub/a.png", "z.png", "é ü.png"]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_run(tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_pictures(tmp_path / "in", NAMES)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_help_tells_what_happens_by_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # no default is broken over two lines
    assert translate("--help") == ExitCode.DONE
    said = capsys.readouterr().out
    assert {"CHECKPOINT", "INPUT"} <= set(said.split())
    for default in (
        "all images",
        "the mean code",
        "what INPUT is",
        "the model's",
        "the rank's own",
    ):
        assert f"(default: {default}" in said


def test_a_folder_becomes_a_folder(
    run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "notes.txt").write_text("not an image")
    out = tmp_path / "out"
    assert translate(run, folder, "--to", "anime", "--out", out) == ExitCode.DONE
    said = capsys.readouterr().out
    assert "Translated 7 of 7 images to anime" in said
    assert f"png, {SIZE} x {SIZE}" in said
    assert "1 .txt" in said
    made = set(files(out)) - {"translations.jsonl", "translation.json"}
    assert made == {
        *("b.png", "a.png", "sub/a.JPG.png", "sub/a.png.png", "sub/deep/c.png", "z.png"),
        "é ü.png",
    }
    assert not (out / ".partial").exists()
    import srae_dist

    model = srae_dist.load(run, device="cpu")
    with Image.open(folder / "z.png") as image:
        wanted = np.asarray(model.translate(image, to="anime")).astype(int)
    assert np.abs(pixels(out / "z.png") - wanted).max() <= 1


def test_one_image_is_translated_as_in_its_folder(
    run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, one = tmp_path / "whole", tmp_path / "one"
    translate(run, folder, "--to", "anime", "--out", whole)
    capsys.readouterr()
    assert translate(run, folder / "sub/a.JPG", "--to", "anime", "--out", one) == ExitCode.DONE
    said = capsys.readouterr().out
    assert f"the image {folder / 'sub/a.JPG'}" in said
    assert set(files(one)) == {"a.png", "translations.jsonl", "translation.json"}
    assert np.abs(pixels(one / "a.png") - pixels(whole / "sub/a.JPG.png")).max() <= 1
    assert json.loads((one / "translation.json").read_text())["job"]["input"]["path"].endswith(
        "sub/a.JPG"
    )


def test_a_second_image_takes_the_first_ones_place_when_forced_alone(
    run: Path, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert translate(run, folder / "b.jpg", "--to", "anime", "--out", out) == ExitCode.DONE
    assert translate(run, folder / "z.png", "--to", "anime", "--out", out) == ExitCode.USER
    again = ("--to", "anime", "--out", out, "--force")
    assert translate(run, folder / "z.png", *again) == ExitCode.DONE
    assert set(files(out)) == {"z.png", "translations.jsonl", "translation.json"}


def test_provenance_tells_of_every_image(run: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    translate(run, folder, "--to", "anime", "--from", "photo", "--out", out)
    told = lines(out / "translations.jsonl")
    assert [line["input"] for line in told] == sorted(NAMES)
    for line in told:
        assert line["sha256"] == sha256_file(out / str(line["output"]))
        assert (line["from"], line["to"], line["code"]) == ("photo", "anime", "mean")
        assert line["step"] == 7
        assert "step-00000007" in str(line["checkpoint"])
    summary = json.loads((out / "translation.json").read_text())
    assert (summary["images"], summary["translated"], summary["failed"]) == (7, 7, 0)


def test_originals_of_any_size_and_output_of_a_stated_one(run: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    picture(0, width=200, height=90).save(source / "wide.png")
    picture(1, width=5, height=9).convert("L").save(source / "tiny.png")
    args = ("--to", "clay", "--out", out, "--size", "48", "--format", "webp")
    assert translate(run, source, *args) == ExitCode.DONE
    for name in ("wide", "tiny"):
        with Image.open(out / f"{name}.webp") as image:
            assert (image.size, image.format) == ((48, 48), "WEBP")


def test_what_cannot_be_read_is_listed_and_stops_nothing(
    run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "bad.png").write_bytes(b"no image")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "cut.png").write_bytes((folder / "z.png").read_bytes()[:90])
    (folder / "dangling.png").symlink_to(tmp_path / "nowhere")
    out = tmp_path / "out"
    command = (run, folder, "--to", "anime", "--out", out, "--batch", 3)
    assert translate(*command) == ExitCode.SOME_FAILED
    captured = capsys.readouterr()
    bad = ["bad.png", "cut.png", "dangling.png", "empty.jpg"]
    assert [line["input"] for line in lines(out / "failed.jsonl")] == bad
    assert all(f"{name}: " in captured.err for name in bad)
    assert len(lines(out / "translations.jsonl")) == len(NAMES)
    assert len(list(out.rglob("*.png"))) == len(NAMES)
    assert f"--allow-bad {len(bad)} accepts that" in captured.err
    assert translate(*command) == ExitCode.SOME_FAILED  # finished, and still not whole
    assert translate(*command, "--allow-bad", 4) == ExitCode.DONE
    assert translate(*command, "--allow-bad", 3, "--force") == ExitCode.SOME_FAILED


@pytest.mark.parametrize("code", [(), ("--references", "REFS"), ("--sample",), ("--keep-style",)])
def test_neither_batches_nor_company_change_a_translation(
    run: Path, folder: Path, tmp_path: Path, code: tuple[str, ...]
) -> None:
    refs = str(save_pictures(tmp_path / "refs", ["x.png", "y.png"]))
    code = tuple(refs if word == "REFS" else word for word in code)
    made = []
    for batch in (1, 3, 64):
        out = tmp_path / f"out{batch}"
        translate(run, folder, "--to", "anime", "--out", out, "--batch", batch, *code)
        made.append({line["input"]: line for line in lines(out / "translations.jsonl")})
        for name in NAMES:
            output = str(made[0][name]["output"])
            assert np.abs(pixels(out / output) - pixels(tmp_path / "out1" / output)).max() <= 1
            assert made[-1][name]["code"] == made[0][name]["code"]
    (folder / "a.png").unlink()
    out = tmp_path / "fewer"
    translate(run, folder, "--to", "anime", "--out", out, *code)
    assert np.abs(pixels(out / "z.png") - pixels(tmp_path / "out64" / "z.png")).max() <= 1


def test_a_reference_gives_its_code(run: Path, folder: Path, tmp_path: Path) -> None:
    import srae_dist

    reference, out = tmp_path / "reference.png", tmp_path / "out"
    picture(77, width=70).save(reference)
    args = ("--to", "anime", "--out", out, "--reference", reference)
    assert translate(run, folder, *args) == ExitCode.DONE
    assert {line["code"] for line in lines(out / "translations.jsonl")} == {str(reference)}
    model = srae_dist.load(run, device="cpu")
    wanted = model.translate(Image.open(folder / "z.png"), reference=Image.open(reference))
    assert np.abs(pixels(out / "z.png") - np.asarray(wanted).astype(int)).max() <= 1


def test_each_image_keeps_its_style(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its own domain is the nearest, or what --from says."""
    import srae_dist

    folder = save_pictures(tmp_path / "in", ["a.png", "b.png", "c.png"])
    model = srae_dist.load(run, device="cpu")
    save_pictures(tmp_path / "in" / "chalk", ["d.png"])
    for source, words, told in (
        (None, (), "from the nearest domain to anime"),
        ("clay", ("--from", "clay"), "from clay to anime"),
    ):
        out = tmp_path / f"out-{source}"
        code = translate(run, folder, "--to", "anime", "--out", out, "--keep-style", *words)
        assert code == ExitCode.DONE
        assert f"each image's own, moved {told}" in capsys.readouterr().out
        assert {line["code"] for line in lines(out / "translations.jsonl")} == {"kept"}
        for name in ("a.png", "c.png"):
            image = Image.open(folder / name)
            wanted = model.translate(image, to="anime", keep_style=True, source=source)
            assert np.abs(pixels(out / name) - np.asarray(wanted).astype(int)).max() <= 1
    of_chalk = ("--from", "chalk", "--keep-style", "--out", tmp_path / "out")
    assert translate(run, folder, "--to", "anime", *of_chalk) == ExitCode.DONE
    assert "the nearest domain (the model does not know chalk) to" in capsys.readouterr().out


def test_random_references_differ_and_bad_ones_are_drawn_again(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import srae_dist

    source = save_pictures(tmp_path / "in", [f"{n:02d}.png" for n in range(24)])
    refs = save_pictures(tmp_path / "refs", ["1.png", "2.png", "3.png"])
    (refs / "bad.png").write_bytes(b"")
    out = tmp_path / "out"
    args = ("--to", "anime", "--references", refs)
    assert translate(run, source, *args, "--out", out) == ExitCode.DONE
    assert "cannot read the reference bad.png" in capsys.readouterr().err
    told = lines(out / "translations.jsonl")
    assert {line["code"] for line in told} == {"1.png", "2.png", "3.png"}
    model = srae_dist.load(run, device="cpu")
    line = told[5]
    wanted = model.translate(
        Image.open(source / str(line["input"])), reference=Image.open(refs / str(line["code"]))
    )
    assert np.abs(pixels(out / str(line["output"])) - np.asarray(wanted).astype(int)).max() <= 1
    again = tmp_path / "again"
    assert translate(run, source, *args, "--out", again, "--seed", 1) == ExitCode.DONE
    assert [line["code"] for line in told] != [
        line["code"] for line in lines(again / "translations.jsonl")
    ]


def test_shards_become_shards(run: Path, face_shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert translate(run, face_shards, "--to", "clay", "--out", out) == ExitCode.DONE
    before, after = load_manifest(face_shards), load_manifest(out)
    assert after.domains == DOMAINS
    assert (after.image_size, after.image_format) == (SIZE, "png")
    for name, split in before.splits.items():
        mine = after.splits[name]
        assert [shard.file for shard in mine.shards] == [shard.file for shard in split.shards]
        assert mine.counts() == {"photo": 0, "anime": 0, "clay": split.samples}
        assert all(sha256_file(out / shard.file) == shard.sha256 for shard in mine.shards)
        load_index(out, mine, 3)
        old, new = list(iterate(face_shards, name)), list(iterate(out, name))
        assert [sample.key for sample in old] == [sample.key for sample in new]
        for was, now in zip(old, new, strict=True):
            assert now.domain == DOMAINS.index("clay")
            assert now.info["translation"]["from"] == before.domains[was.domain]
            assert {k: v for k, v in now.info.items() if k != "translation"} == was.info
    urls = [str(out / shard.file) for shard in after.splits["train"].shards]
    plain = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert len(plain) == before.splits["train"].samples
    assert all(sample["cls"] == b"2" for sample in plain)
    told = lines(out / "translations.jsonl")
    assert len(told) == sum(split.samples for split in before.splits.values())


def test_one_domain_of_one_split(run: Path, face_shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    args = ("--to", "clay", "--from", "anime", "--split", "test", "--out", out)
    assert translate(run, face_shards, *args) == ExitCode.DONE
    split = load_manifest(face_shards).splits["test"]
    assert list(load_manifest(out).splits) == ["test"]
    told = lines(out / "translations.jsonl")
    assert len(told) == split.counts()["anime"]
    assert {line["from"] for line in told} == {"anime"}


def test_what_of_shards_is_translated_unasked_is_noted(
    run: Path, face_shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    splits = load_manifest(face_shards).splits
    test, train = splits["test"], splits["train"]
    anime = test.counts()["anime"]
    args = (run, face_shards, "--to", "anime", "--out")
    translate(*args, tmp_path / "all")
    said = capsys.readouterr().err
    assert f"({test.samples} of split test, {train.samples} of split train)" in said
    assert "anime already; pick some with --split NAME and --from DOMAIN" in said
    translate(*args, tmp_path / "test", "--split", "test")
    said = capsys.readouterr().err
    assert f"all {test.samples} images are translated, {anime} of them anime already" in said
    translate(*args, tmp_path / "asked", "--split", "test", "--from", "photo")
    assert "note: all" not in capsys.readouterr().err


def test_shards_become_a_folder_and_a_folder_shards(
    run: Path, face_shards: Path, folder: Path, tmp_path: Path
) -> None:
    one, both, shards = tmp_path / "one", tmp_path / "both", tmp_path / "shards"
    args = ("--to", "clay", "--out-kind", "folder")
    assert translate(run, face_shards, *args, "--split", "test", "--out", one) == ExitCode.DONE
    keys = [
        f"{('photo', 'anime')[sample.domain]}/{sample.key}.png"
        for sample in iterate(face_shards, "test")
    ]
    assert sorted(path.relative_to(one).as_posix() for path in one.rglob("*.png")) == sorted(keys)
    assert translate(run, face_shards, *args, "--out", both) == ExitCode.DONE
    assert (both / "test" / keys[0]).read_bytes() == (one / keys[0]).read_bytes()
    args = ("--to", "clay", "--out-kind", "shards", "--format", "jpg")
    assert translate(run, folder, *args, "--split", "val", "--out", shards) == ExitCode.DONE
    samples = list(iterate(shards, "val"))
    assert [sample.info["origin"] for sample in samples] == sorted(NAMES)
    assert {sample.suffix for sample in samples} == {"jpg"}


def test_references_from_shards_are_of_the_target(
    run: Path, folder: Path, face_shards: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    args = ("--to", "anime", "--references", face_shards, "--out", out)
    assert translate(run, folder, *args) == ExitCode.DONE
    manifest = load_manifest(face_shards)
    of = {
        f"{name}/{sample.key}": manifest.domains[sample.domain]
        for split in manifest.splits
        for sample in iterate(face_shards, split)
        for name in [shard.file for shard in manifest.splits[split].shards]
    }
    assert {of[str(line["code"])] for line in lines(out / "translations.jsonl")} == {"anime"}


def test_a_shard_that_breaks_off_loses_its_rest_alone(
    run: Path, face_shards: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for name, data in files(face_shards).items():
        (broken / name).write_bytes(data)
    first, second = load_manifest(broken).splits["train"].shards[:2]
    (broken / first.file).write_bytes((broken / first.file).read_bytes()[: first.bytes // 2])
    (broken / second.file).unlink()
    out = tmp_path / "out"
    args = ("--to", "clay", "--split", "train", "--out", out)
    assert translate(run, broken, *args) == ExitCode.SOME_FAILED
    failed = [str(line["input"]) for line in lines(out / "failed.jsonl")]
    assert sum(name.startswith(second.file) for name in failed) == second.samples
    assert 0 < sum(name.startswith(first.file) for name in failed) < first.samples
    assert len(failed) + len(list(iterate(out, "train"))) == 96


@pytest.mark.parametrize("kind", ["folder", "shards"])
def test_a_hostile_key_leads_nowhere(run: Path, tmp_path: Path, kind: str) -> None:
    # of every domain one fine sample, too: its folder is there to climb from
    tiny = write_shards(tmp_path / "in" / "deep", samples=(6,), size=SIZE)
    path = tiny.root / tiny.split.shards[0].file
    out = tmp_path / "a" / "b" / "out"
    victims = [out.parent / "evil.png", tmp_path / "evil_srae.png"]
    names = {"0000": "../../../../evil", "0001": str(victims[1])[:-4]}
    names |= {key: f"fine{key}" for key in ("0002", "0003", "0004", "0005")}
    with tarfile.open(path) as tar:
        members = [(member, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]
    with tarfile.open(path, "w") as tar:
        for member, data in members:
            key, _, suffix = member.name.partition(".")
            member.name = f"{names[key]}.{suffix}"
            tar.addfile(member, io.BytesIO(data))
    index = replace(tiny.index, keys=np.array([names[k].encode() for k in sorted(names)]))
    rewrite(tiny, index)
    out.parent.mkdir(parents=True)
    for victim in victims:
        victim.write_text("mine")
    args = ("--to", "clay", "--out", out, "--out-kind", kind)
    assert translate(run, tiny.root, *args) == ExitCode.SOME_FAILED
    assert len(lines(out / "failed.jsonl")) == 2
    assert len(lines(out / "translations.jsonl")) == 4
    assert sorted(tmp_path.rglob("*evil*")) == sorted(victims)
    assert all(victim.read_text() == "mine" for victim in victims)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--to", "amine"), "Did you mean 'anime'"),
        (("--to", "anime", "--from", "phto"), "Did you mean 'photo'"),
        (("--to", "anime", "--reference", "a.png", "--references", "IN"), "exclude each other"),
        (("--to", "anime", "--reference", "a.png", "--keep-style"), "exclude each other"),
        (("--to", "anime", "--reference", "nothing.png"), "nothing.png cannot be read"),
        (("--to", "anime", "--references", "nowhere"), "does not exist"),
        (("--to", "anime", "--split", "test"), "--split picks samples of shards"),
        (("--to", "anime", "--device", "abacus"), "--device abacus"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(
    run: Path,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    args: tuple[str, ...],
    said: str,
) -> None:
    out = tmp_path / "out"
    given = [str(folder) if word == "IN" else word for word in args]
    assert translate(run, folder, "--out", out, *given) == ExitCode.USER
    captured = capsys.readouterr()
    assert said in captured.err
    assert len(captured.err.splitlines()) == 1
    assert not out.exists()


def test_shards_without_such_a_domain_or_split(
    run: Path, face_shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = (run, face_shards, "--to", "clay", "--out", tmp_path / "out")
    assert translate(*command, "--from", "phot") == ExitCode.USER
    assert "Did you mean 'photo'" in capsys.readouterr().err
    assert translate(*command, "--split", "tset") == ExitCode.USER
    assert "Did you mean 'test'" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["", "sub", "sub/new", ".."])
def test_out_and_input_lie_apart(run: Path, folder: Path, place: str) -> None:
    before = files(folder)
    args = ("--to", "anime", "--out", folder / place, "--force")
    assert translate(run, folder, *args) == ExitCode.USER
    assert files(folder) == before


def test_nothing_to_translate(run: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    assert translate(run, tmp_path / "in", "--to", "anime", "--out", tmp_path / "o") == 2
    assert translate(run, tmp_path / "no", "--to", "anime", "--out", tmp_path / "o") == 2
    (tmp_path / "notes.txt").write_text("not an image")
    assert translate(run, tmp_path / "notes.txt", "--to", "anime", "--out", tmp_path / "o") == 2


class Killed(BaseException):
    """The process ends here, as by kill -9: nothing more is written."""


def kill() -> None:
    raise Killed


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@contextmanager
def watched(count: int, event: Callable[[], None]) -> Iterator[list[int]]:
    """Let ``event`` happen at image ``count``; yields the places of all that are encoded."""
    seen: list[int] = []

    def encode(original: Callable[..., bytes], output: object, work: Work) -> bytes:
        seen.append(work.item.place)
        if len(seen) == count:
            event()
        return original(output, work)

    with pytest.MonkeyPatch.context() as patched:
        for kind in (FolderOutput, ShardOutput):
            patched.setattr(kind, "encode", partialmethod(partial(encode, kind.encode)))
        yield seen


@pytest.mark.parametrize("kind", ["folder", "shards"])
@pytest.mark.parametrize("count", [1, 60])
def test_a_killed_translation_goes_on(
    run: Path, face_shards: Path, tmp_path: Path, kind: str, count: int
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    args = ("--to", "clay", "--split", "train", "--out-kind", kind)
    assert translate(run, face_shards, *args, "--out", whole) == ExitCode.DONE
    with watched(count, kill), pytest.raises(Killed):
        translate(run, face_shards, *args, "--out", out)
    assert [path.name for path in out.iterdir()] == [".partial"]
    done = count // 24  # shards of 24 samples
    assert len(list((out / ".partial").glob("units/*"))) == done
    with watched(0, kill) as seen:
        assert translate(run, face_shards, *args, "--out", out) == ExitCode.DONE
    assert sorted(seen) == list(range(24 * done, 96))
    assert files(out) == files(whole)


@pytest.mark.parametrize("moment", ["publish", "conclude"])
def test_a_kill_at_the_very_end_loses_nothing(
    run: Path, face_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    from srae_dist.core import atomic

    whole, out = tmp_path / "whole", tmp_path / "out"
    args = ("--to", "clay", "--split", "train")
    assert translate(run, face_shards, *args, "--out", whole) == ExitCode.DONE

    def dies(path: Path, value: object) -> None:
        last = "manifest.json" if moment == "publish" else "translation.json"
        if path.name == last:
            raise Killed
        original(path, value)

    original = atomic.write_json
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(atomic, "write_json", dies)
        translate(run, face_shards, *args, "--out", out)
    assert not (out / "translation.json").exists()
    assert translate(run, face_shards, *args, "--out", out) == ExitCode.DONE
    assert files(out) == files(whole)


def test_ctrl_c_keeps_what_is_done(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = save_pictures(tmp_path / "in", [f"{n:02d}.png" for n in range(40)])
    whole, out = tmp_path / "whole", tmp_path / "out"
    args = (run, source, "--to", "clay", "--batch", 2)
    assert translate(*args, "--out", whole) == ExitCode.DONE
    with watched(6, interrupt):
        assert translate(*args, "--out", out) == ExitCode.STOPPED
    said = capsys.readouterr().out
    assert "Run the same command again" in said
    assert "SIGINT" in said
    done = len(list((out / ".partial").glob("units/*")))
    assert 0 < done < 20
    with watched(0, kill) as seen:
        assert translate(*args, "--out", out) == ExitCode.DONE
    assert sorted(seen) == list(range(2 * done, 40))
    assert files(out) == files(whole)


def test_a_finished_translation_says_so_and_is_left_alone(
    run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = (run, folder, "--to", "anime", "--out", out)
    translate(*command)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    capsys.readouterr()
    assert translate(*command) == ExitCode.DONE
    said = capsys.readouterr().out
    assert "is finished: 7 of 7" in said and "--force would do it again" in said
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_another_picture_under_the_same_name_is_not_taken_for_translated(
    run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = (run, folder, "--to", "anime", "--out", out)
    (folder / "a.png").write_bytes(b"broken")
    assert translate(*command) == ExitCode.SOME_FAILED
    picture(9).save(folder / "a.png")
    assert translate(*command) == ExitCode.USER
    assert "(the input has changed since); " in capsys.readouterr().err
    assert translate(*command, "--force") == ExitCode.DONE
    assert not (out / "failed.jsonl").exists()


def test_the_longest_names_are_translated_and_go_again(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a new suffix or an old one kept they would be too long; bytes that are no text stay."""
    names = ["x" * 251 + ".jpg", "y" * 250 + ".jpg", "y" * 250 + ".png", "é" * 125 + ".png"]
    folder = save_pictures(tmp_path / "in", [*names, os.fsdecode(b"no\xfftext.png")])
    out = tmp_path / "out"
    command = (run, folder, "--out", out, "--format", "webp")
    assert translate(*command, "--to", "anime") == ExitCode.DONE
    made = sorted(out.glob("*.webp"))
    assert len(made) == 5
    assert out / os.fsdecode(b"no\xfftext.webp") in made
    assert translate(*command, "--to", "clay", "--force", "--format", "jpg") == ExitCode.DONE
    assert not list(out.glob("*.webp"))
    assert len(list(out.glob("*.jpg"))) == 5


def test_force_takes_no_split_that_no_translation_made(
    run: Path, face_shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = (run, face_shards, "--split", "test", "--out", out)
    assert translate(*command, "--to", "anime") == ExitCode.DONE
    assert translate(*command, "--to", "anime", "--force") == ExitCode.DONE
    shard = [sys.executable, "-m", "srae_dist.shard", "--faces", "8", "--size", str(SIZE)]
    shard += ["--domains", ",".join(load_manifest(out).domains), "--format", "png"]
    subprocess.run([*shard, "--split", "mine", "--out", str(out)], check=True, capture_output=True)
    before = files(out)
    for to in ("anime", "photo"):
        assert translate(*command, "--to", to, "--force") == ExitCode.USER
        assert "holds the split 'mine', which no translation made" in capsys.readouterr().err
    assert files(out) == before


def test_another_translation_is_not_mixed_with_it(
    run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = (run, folder, "--out", out)
    translate(*command, "--to", "anime")
    before = files(out)
    assert translate(*command, "--to", "clay") == ExitCode.USER
    assert "to was anime, is clay" in capsys.readouterr().err
    assert translate(*command, "--to", "anime", "--from", "photo") == ExitCode.USER
    assert "from was not given, is photo" in capsys.readouterr().err
    assert files(out) == before
    (out / "mine.txt").write_text("keep me")
    args = ("--to", "clay", "--format", "jpg", "--force")
    assert translate(*command, *args) == ExitCode.DONE
    assert not list(out.rglob("*.png"))
    assert len(list(out.rglob("*.jpg"))) == len(NAMES)
    assert (out / "mine.txt").read_text() == "keep me"


def test_a_folder_of_other_things_is_not_touched(
    run: Path, folder: Path, face_shards: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    save_pictures(out, ["a.png", "own.png"])
    before = files(out)
    command = (run, folder, "--to", "anime", "--out", out)
    assert translate(*command) == ExitCode.USER
    assert files(out) == before
    assert translate(*command, "--force") == ExitCode.DONE
    assert files(out)["own.png"] == before["own.png"]
    assert files(out)["a.png"] != before["a.png"]
    shards = tmp_path / "shards"
    shards.mkdir()
    for name, data in files(face_shards).items():
        (shards / name).write_bytes(data)
    args = ("--to", "clay", "--out", shards, "--out-kind", "shards", "--force")
    assert translate(run, folder, *args) == ExitCode.USER  # training data stay what they are
    assert files(shards) == files(face_shards)


@pytest.mark.skipif(sys.platform == "win32", reason="gloo ranks")
def test_two_ranks_write_what_one_writes(run: Path, folder: Path, tmp_path: Path) -> None:
    (folder / "bad.png").write_bytes(b"")
    one, two = tmp_path / "one", tmp_path / "two"
    args = ("--to", "anime", "--batch", 2)
    assert translate(run, folder, *args, "--out", one) == ExitCode.SOME_FAILED
    command = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch"]
    command += ["--config_file", "docs/launch/cpu_2_ranks.yaml", "--main_process_port", "0"]
    command += ["-m", "srae_dist.batch_translate", str(run), str(folder), *map(str, args)]
    command += ["--out", str(two), "--precision", "fp32", "--allow-bad", "1"]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("ACCELERATE_")}
    done = subprocess.run(
        command, cwd=ROOT, env=clean, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 ranks on 1 machine" in done.stdout
    here, there = (lines(out / "translations.jsonl") for out in (one, two))
    assert [line["output"] for line in here] == [line["output"] for line in there]
    assert files(one).keys() == files(two).keys()
    for line in here:
        output = str(line["output"])
        assert np.abs(pixels(one / output) - pixels(two / output)).max() <= 1
    assert lines(one / "failed.jsonl") == lines(two / "failed.jsonl")
