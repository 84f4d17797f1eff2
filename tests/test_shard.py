"""The command: folders, data sets and faces to shards, as a user types it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from subprocess import PIPE

import numpy as np
import pytest
import typer
from PIL import Image

from srae_dist.data.images import decode_array
from srae_dist.data.manifest import load_index, load_manifest
from srae_dist.runtime.command import run
from srae_dist.shard import shard


def command(*args: object) -> int:
    app = typer.Typer(add_completion=False)
    app.command()(shard)
    with pytest.raises(SystemExit) as end:
        run(app, [str(arg) for arg in args])
    assert isinstance(end.value.code, int)
    return end.value.code


def fill(root: Path, domain: str, count: int, start: int = 0) -> None:
    (root / domain).mkdir(parents=True, exist_ok=True)
    for number in range(start, start + count):
        pixels = np.random.default_rng(number).integers(0, 256, (12, 18, 3), np.uint8)
        Image.fromarray(pixels).save(root / domain / f"{number % 10}_{number:04d}.png")


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    root = tmp_path / "pets"
    fill(root, "cat", 15)
    fill(root, "dog", 10)
    return root


def test_a_split_with_next_to_nothing_of_a_domain_is_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / "pets", "cat", 30)
    fill(tmp_path / "pets", "frog", 3)
    assert command("--folders", tmp_path / "pets", "--out", tmp_path / "out") == 0
    assert "split train has only 3 frog; training and" in " ".join(capsys.readouterr().err.split())


def names_of(out: Path, split: str) -> set[str]:
    """The origins of a split, read by plain webdataset."""
    return {json.loads(sample["json"])["origin"] for sample in samples_of(out, split)}


def samples_of(out: Path, split: str) -> list[dict[str, bytes]]:
    import webdataset

    urls = [str(out / part.file) for part in load_manifest(out).splits[split].shards]
    return list(webdataset.WebDataset(urls, shardshuffle=False))


def test_folders_read_by_plain_webdataset(
    pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    code = command("--folders", pets, "--size", 16, "--out", out, "--label-regex", r"(\d)_")
    assert code == 0
    assert "laid out as domain/image" in capsys.readouterr().out
    manifest = load_manifest(out)
    split = manifest.splits["train"]
    index = load_index(out, split, 2)
    assert (manifest.domains, manifest.image_size) == (("cat", "dog"), 16)
    assert split.counts() == {"cat": 15, "dog": 10}
    assert len(split.shards) == 25  # never more shards than samples
    samples = samples_of(out, "train")
    assert [sample["__key__"] for sample in samples] == [index.key(row) for row in range(25)]
    for row, sample in enumerate(samples):
        file = (out / split.shards[index.shard[row]].file).read_bytes()
        start = int(index.offset[row])
        assert file[start : start + int(index.size[row])] == sample["jpg"]
        info = json.loads(sample["json"])
        assert info["origin"].startswith(manifest.domains[int(sample["cls"])] + "/")
        assert info["labels"] == {"label": Path(info["origin"]).name[0]}
        assert info["size"] == [18, 12]


def test_the_same_command_twice_gives_the_same_bytes(
    pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for out in ("one", "two"):
        assert command("--folders", pets, "--out", tmp_path / out, "--holdout", 0.2) == 0
    one, two = (
        {path.name: path.read_bytes() for path in (tmp_path / out).iterdir()}
        for out in ("one", "two")
    )
    assert one == two
    assert command("--folders", pets, "--out", tmp_path / "one", "--holdout", 0.3) == 2
    assert "has splits 'test' and 'train' already" in capsys.readouterr().err
    seeded = ("--out", tmp_path / "three", "--holdout", 0.2, "--seed", 1)
    assert command("--folders", pets, *seeded) == 0
    assert (tmp_path / "three/train.index.safetensors").read_bytes() != one[
        "train.index.safetensors"
    ]
    assert names_of(tmp_path / "three", "test") == names_of(tmp_path / "one", "test")


def test_held_out_files_stay_held_out(pets: Path, tmp_path: Path) -> None:
    before = tmp_path / "before"
    assert command("--folders", pets, "--out", before, "--holdout", 0.3) == 0
    train, test = names_of(before, "train"), names_of(before, "test")
    assert train and test and not train & test and len(train | test) == 25
    fill(pets, "cat", 20, start=100)
    after = tmp_path / "after"
    assert command("--folders", pets, "--out", after, "--holdout", 0.3, "--limit", "dog=4") == 0
    assert test - names_of(after, "test") == {name for name in test if "dog" in name} - names_of(
        after, "test"
    )
    assert not names_of(after, "train") & test
    assert load_manifest(after).splits["train"].counts()["dog"] == 4


def test_domains_by_name_and_a_split_added(pets: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    named = ("--domain", f"d={pets / 'dog'}", "--domain", f"c={pets / 'cat'}", "--out", out)
    assert command(*named, "--split", "train") == 0
    assert command(*named, "--split", "val", "--format", "jpg") == 0
    manifest = load_manifest(out)
    assert manifest.domains == ("d", "c") and set(manifest.splits) == {"train", "val"}
    assert command(*named) == 2
    assert command(*named, "--force", "--limit", "c=2") == 0
    assert load_manifest(out).splits["train"].counts() == {"d": 10, "c": 2}
    assert load_manifest(out).splits["val"].samples == 25


def zoo(root: Path) -> dict[str, tuple[int, int, int]]:
    """Images of all kinds in two domains; returns the colour in the middle of each."""
    side = (24, 24)
    for domain in ("cat", "dog"):
        (root / domain).mkdir(parents=True)
    palette = Image.new("P", side, 1)
    palette.putpalette([0, 0, 0, 200, 40, 10])
    deep = Image.fromarray(np.full(side, 0x6499, np.uint16))
    wide = Image.new("RGB", (60, 24), (10, 20, 30))
    wide.paste((200, 100, 50), (24, 0, 36, 24))
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds = {
        "cat/grey.png": (Image.new("L", side, 90), {}, (90, 90, 90)),
        "cat/grey.jpeg": (Image.new("L", side, 90), {}, (90, 90, 90)),
        "cat/palette.PNG": (palette, {}, (200, 40, 10)),
        "cat/grey_alpha.png": (Image.new("LA", side, (90, 0)), {}, (255, 255, 255)),
        "dog/alpha.webp": (Image.new("RGBA", side, (9, 9, 9, 0)), {}, (255, 255, 255)),
        "dog/deep.png": (deep, {}, (0x64, 0x64, 0x64)),
        "dog/cmyk.jpg": (Image.new("CMYK", side, (0, 255, 255, 0)), {}, (255, 0, 0)),
        "dog/turned.jpg": (wide, {"exif": exif, "quality": 95}, (200, 100, 50)),
    }
    for name, (image, options, _) in kinds.items():
        image.save(root / name, **options)
    Image.new("RGB", side, (50, 60, 70)).save(root / "dog/misnamed.jpg", "PNG")
    return {name: colour for name, (_, _, colour) in kinds.items()} | {
        "dog/misnamed.jpg": (50, 60, 70)
    }


def test_every_kind_of_image(tmp_path: Path) -> None:
    wanted = zoo(tmp_path / "zoo")
    out = tmp_path / "out"
    assert command("--folders", tmp_path / "zoo", "--size", 16, "--out", out) == 0
    found = {}
    for sample in samples_of(out, "train"):
        info = json.loads(sample["json"])
        found[info["origin"]] = tuple(decode_array(sample["jpg"], 16)[8, 8].tolist())
        assert info["size"] == ([24, 60] if "turned" in info["origin"] else [24, 24])
    assert found == {name: pytest.approx(colour, abs=4) for name, colour in wanted.items()}


def test_unreadable_files(pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (pets / "cat/empty.png").touch()
    (pets / "dog/[red].jpg").write_text("a page, not an image")
    whole = (pets / "cat/0_0000.png").read_bytes()
    (pets / "cat/half.png").write_bytes(whole[: len(whole) // 2])
    out = tmp_path / "out"
    assert command("--folders", pets, "--out", out) == 1
    said = capsys.readouterr().err
    assert "cat/empty.png: the file is empty" in said
    assert "dog/[red].jpg: not a JPEG, PNG or WEBP" in said
    assert "left out 3 files" in said and "--allow-bad 3" in said
    assert "complete without them and can be used" in said
    assert load_manifest(out).splits["train"].samples == 25  # published all the same
    lines = [json.loads(line) for line in (out / "bad_files.jsonl").read_text().splitlines()]
    assert {line["origin"] for line in lines} == {
        "cat/empty.png",
        "cat/half.png",
        "dog/[red].jpg",
    }
    again = ("--folders", pets, "--out", out, "--force", "--allow-bad")
    assert command(*again, 2) == 1
    assert command(*again, 3) == 0


@pytest.mark.parametrize(
    ("size", "advice"), [(64, None), (40, "model.code_size = 5"), (512, "--size 64, 128 or 256")]
)
def test_a_size_that_training_refuses_is_noted(
    size: int, advice: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / "in", "a", 1)
    fill(tmp_path / "in", "b", 1)
    assert command("--folders", tmp_path / "in", "--size", size, "--out", tmp_path / "out") == 0
    said = capsys.readouterr().err
    assert ("training with default values" in said) == (advice is not None)
    assert advice is None or advice in said


def test_faces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    made = ("--faces", 150, "--domains", "photo,anime", "--size", 16, "--out", out)
    assert command(*made) == 0
    manifest = load_manifest(out)
    assert manifest.domains == ("photo", "anime")
    assert {name: split.counts() for name, split in manifest.splits.items()} == {
        "train": {"photo": 75, "anime": 75},
        "test": {"photo": 8, "anime": 7},
    }
    sizes = [part.samples for part in manifest.splits["train"].shards]
    assert len(sizes) == 64 and max(sizes) - min(sizes) <= 1
    infos = [json.loads(s["json"]) for name in ("train", "test") for s in samples_of(out, name)]
    assert len({json.dumps(info["factors"]) for info in infos}) == 165
    said = capsys.readouterr().out.split()
    assert said.index("train") < said.index("test")
    for part in ("150", "75", "photo,", "anime", "64"):
        assert part in said


def test_dataset(tmp_path: Path) -> None:
    import datasets

    pixels = np.random.default_rng(0).integers(0, 256, (12, 10, 10, 3), np.uint8)
    columns = {
        "picture": [Image.fromarray(image) for image in pixels],
        "style": ["ink" if i % 3 else "oil" for i in range(12)],
        "digit": list(range(12)),
    }
    features = datasets.Features(
        picture=datasets.Image(), style=datasets.Value("string"), digit=datasets.Value("int64")
    )
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(tmp_path / "set")
    out = tmp_path / "out"
    chosen = ("--dataset", tmp_path / "set", "--image-column", "picture", "--domain-column")
    stored = ("--format", "png", "--size", 10, "--label-column", "digit", "--out", out)
    assert command(*chosen, "style", *stored, "--holdout", 0.2) == 0
    manifest = load_manifest(out)
    assert manifest.domains == ("ink", "oil")
    seen = Counter[str]()
    for name in manifest.splits:
        for sample in samples_of(out, name):
            info = json.loads(sample["json"])
            number = info["labels"]["digit"]
            assert info["origin"] == f"set/train/{number}"
            assert (decode_array(sample["png"], 10) == pixels[number]).all()
            seen[manifest.domains[int(sample["cls"])]] += 1
    assert seen == {"ink": 8, "oil": 4}


def test_image_folder_as_a_dataset(
    pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    out = tmp_path / "out"
    assert command("--dataset", pets, "--out", out, "--limit", "cat=3") == 0
    assert load_manifest(out).splits["train"].counts() == {"cat": 3, "dog": 10}


def test_index(pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert command("--folders", pets, "--out", out, "--shards", 3) == 0
    wanted = load_manifest(out)
    for path in (*out.glob("*.json"), *out.glob("*.safetensors")):
        path.unlink()
    assert command("--index", out, "--domains", "cat,dog") == 0
    assert load_manifest(out) == wanted
    assert command("--index", out) == 2
    assert "--force" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--out", "x"], "Choose one source"),
        (["--faces", "4", "--folders", "y", "--out", "x"], "--folders and --faces"),
        (["--faces", "4"], "--out is missing"),
        (["--faces", "4", "--label-regex", "(.)", "--out", "x"], "--label-regex does not go with"),
        (["--folders", ".", "--image-column", "i", "--out", "x"], "--image-column does not go"),
        (["--index", ".", "--size", "64"], "--size does not go with --index"),
        (["--domain", "human", "--out", "x"], "'human' is not NAME=DIR"),
        (["--faces", "4", "--limit", "photo", "--out", "x"], "'photo' is not NAME=N"),
        (["--faces", "4", "--limit", "phto=1", "--out", "x"], "Did you mean 'photo'"),
        (["--faces", "4", "--holdout", "0.1", "--out", "x"], "has one"),
        (["--faces", "4", "--domains", "photo", "--out", "x"], "only the domain photo"),
        (["--faces", "4", "--format", "gif", "--out", "x"], "jpg, png, webp"),
        (["--faces", "4", "--size", "0", "--out", "x"], "--size"),
        (["--faces", "0", "--out", "x"], "--faces 0 is fewer"),
        (["--faces", "4", "--domains", "photo,photo", "--out", "x"], "'photo' twice"),
        (["--faces", "4", "--limit", "photo=1", "--limit", "photo=2", "--out", "x"], "once a"),
        (["--faces", "4", "--holdout", "5", "--out", "x"], "between 0 and 1"),
        (["--folders", "nowhere", "--out", "x"], "nowhere is not a folder"),
        (["--folders", "empty", "--out", "x"], "empty holds no jpg, png or webp file"),
        (["--folders", "file", "--out", "x"], "file is not a folder"),
        (["--domain", "a=one/a", "--out", "x"], "only the domain a"),
        (["--domain", "a=one/a", "--domain", "b=one/a", "--out", "x"], "overlap"),
        (["--domain", "a=one/a", "--domain", "b=empty", "--out", "x"], "(domain 'b') holds no"),
        (["--folders", "one", "--out", "x"], "only the domain a"),
        (["--domain", "my frogs=one/a", "--domain", "b=b", "--out", "x"], "--domain my_frogs=DIR"),
        (["--domain", "fröhlich=one/a", "--domain", "b=b", "--out", "x"], "ASCII letters"),
        (["--domain", "蛙=one/a", "--domain", "b=b", "--out", "x"], "with --domain NAME=DIR."),
        (["--dataset", "./nowhere", "--out", "x"], "./nowhere cannot be loaded"),
        (["--faces", "4", "--domains", "photo,anime", "--out", "file"], "file cannot be used"),
        (["--index", "empty"], "empty holds no .tar file"),
        (["--index", "nowhere"], "nowhere is not a folder"),
        (["--folders", ".", "--label-regex", "(", "--out", "x"], "no regular expression"),
        (["--folders", ".", "--label-regex", "a", "--out", "x"], "has no group"),
        (["--folders", ".", "--label-regex", "(a)(b)", "--out", "x"], "has 2 groups"),
        (["--faces", "4", "--split", "../up", "--out", "x"], "split name '../up'"),
        (["--faces", "many", "--out", "x"], "--faces"),
        (["--faces", "4", "--part", "3/2", "--out", "x"], "--part '3/2' is not I/N"),
        (["--faces", "4", "--part", "half", "--out", "x"], "--part 'half' is not I/N"),
        (["--faces", "4", "--layout", "domains", "--out", "x"], "Did you mean 'domain'"),
        (["--faces", "4", "--processes", "0", "--out", "x"], "--processes"),
        (["--index", ".", "--part", "1/2"], "--part does not go with --index"),
        (["--index", ".", "--fast-shrink"], "--fast-shrink does not go with --index"),
    ],
)
def test_mistakes(
    args: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "one", "a", 1)
    fill(tmp_path, "b", 1)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    assert command(*args) == 2
    said = capsys.readouterr().err
    assert message in said and "Traceback" not in said
    assert not (tmp_path / "x").exists()


def test_what_may_not_be_read_or_written(
    pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pets / "cat/0_0000.png").chmod(0)
    if os.access(pets / "cat/0_0000.png", os.R_OK):
        pytest.skip("this user may do anything, or the system has no such modes")
    assert command("--folders", pets, "--out", tmp_path / "out") == 1
    assert "cat/0_0000.png: Permission denied" in capsys.readouterr().err
    (pets / "dog").chmod(0)
    assert command("--folders", pets, "--out", tmp_path / "more") == 2
    assert "dog cannot be listed: Permission denied" in capsys.readouterr().err
    (pets / "dog").chmod(0o700)
    tmp_path.chmod(0o500)
    assert command("--folders", pets, "--out", tmp_path / "other") == 2
    assert "other cannot be used: Permission denied" in capsys.readouterr().err
    tmp_path.chmod(0o700)


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_by_a_signal_nothing_is_published_and_the_next_run_works(
    number: signal.Signals,
    pets: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from srae_dist.data import images

    out, encode = tmp_path / "out", images.encode

    def interrupt(*args: object, **options: object) -> bytes:
        assert {path.name for path in out.iterdir()} == {".lock", ".partial"}
        signal.raise_signal(number)
        raise AssertionError("unreachable")

    monkeypatch.setattr(images, "encode", interrupt)
    run = ("--folders", pets, "--out", out, "--processes", 1)
    assert command(*run) == 75
    assert [path.name for path in out.iterdir()] == [".lock"]
    assert capsys.readouterr().err.endswith("stopped.\n")
    monkeypatch.setattr(images, "encode", encode)
    assert command(*run) == 0


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_processes_and_the_same_command_again(
    number: signal.Signals, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = ["--faces", "640", "--size", "16", "--processes", "2", "--out"]
    line = [sys.executable, "-m", "srae_dist.shard", *made, str(tmp_path / "out")]
    root = Path(__file__).parents[1]
    started = subprocess.Popen(
        line, cwd=root, stdout=PIPE, stderr=PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not list((tmp_path / "out").glob(".partial/*.done")):
        assert started.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(started.pid, number)
    _, err = started.communicate(timeout=60)
    assert started.returncode == 75, err
    assert "Traceback" not in err and err.endswith("the same command goes on.\nstopped.\n")
    with pytest.raises(ProcessLookupError):  # none of the group is left
        while time.monotonic() < deadline:
            os.killpg(started.pid, 0)
            time.sleep(0.01)
    assert not (tmp_path / "out/manifest.json").exists()
    assert command(*made[:4], "--out", tmp_path / "out") == 0
    assert re.search(r"kept \d+ of 128 shards", capsys.readouterr().out)


def test_parts(pets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    made = ("--folders", pets, "--shards", 3, "--processes", 1, "--layout", "domain", "--out")
    assert command(*made, whole) == 0
    assert command(*made, out, "--part", "2/2") == 0
    said = capsys.readouterr().out
    assert "part 2/2 is done; other parts have 2 of 3 shards still to finish" in said
    assert command(*made, out, "--part", "1/2") == 0
    assert "25" in capsys.readouterr().out.split()
    assert {path.name: path.read_bytes() for path in whole.iterdir()} == {
        path.name: path.read_bytes() for path in out.iterdir()
    }
    shards = load_manifest(out).splits["train"].shards
    assert [shard.domains for shard in shards] == [
        {"cat": 7, "dog": 0},
        {"cat": 8, "dog": 0},
        {"cat": 0, "dog": 10},
    ]


def test_ranks_of_a_launcher_are_parts(
    pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("1", "0"):
        assert not (out / "manifest.json").exists()
        monkeypatch.setenv("RANK", rank)
        assert command("--folders", pets, "--processes", 1, "--out", out) == 0
    assert load_manifest(out).splits["train"].samples == 25
    assert command("--index", out, "--force") == 2  # not the work of many


def test_fast_shrink(tmp_path: Path) -> None:
    for domain in ("a", "b"):
        (tmp_path / "in" / domain).mkdir(parents=True)
        pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
        large = Image.fromarray(pixels).resize((160, 200), Image.Resampling.BICUBIC)
        large.save(tmp_path / "in" / domain / "1.jpg", quality=95)
    made = ("--folders", tmp_path / "in", "--size", 16, "--format", "png", "--processes", 1)
    found = []
    for options in ([], ["--fast-shrink"]):
        out = tmp_path / f"out{len(options)}"
        assert command(*made, *options, "--out", out) == 0
        (sample, _) = samples_of(out, "train")
        assert json.loads(sample["json"])["size"] == [160, 200]
        found.append(decode_array(sample["png"], 16).astype(int))
    difference = np.abs(found[0] - found[1])
    assert 0 < difference.mean() < 8


def test_as_a_module(pets: Path, tmp_path: Path) -> None:
    line = [sys.executable, "-m", "srae_dist.shard", "--folders", pets, "--out", tmp_path / "out"]
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        [str(part) for part in line],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)  # one line of progress
    assert "train" in done.stdout
