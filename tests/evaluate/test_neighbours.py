"""`srae-dist neighbours`: the index built and read again, what is answered, what is refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from PIL import Image

from srae_dist.core.errors import ExitCode, UserError
from srae_dist.evaluate.find_run import find_run, find_shards
from srae_dist.evaluate.neighbours import neighbours as command
from srae_dist.model.build import build_autoencoder
from srae_dist.runtime import checkpoint
from srae_dist.runtime.command import run as run_command
from tests.data.tiny_shards import DOMAINS, Tiny, corrupt, png, rewrite, write_shards
from tests.translation.tiny import MODEL, SIZE

INDEX = Path("checkpoints/step-00000003/neighbours-train.safetensors")


def save_run(root: Path, shards: Path, *, step: int = 3, seed: int = 3) -> Path:
    """A run of a tiny untrained model; each domain's mean code is far from the others'."""
    codes = 100.0 * torch.eye(3, MODEL.domain_channels)
    tensors = {**build_autoencoder(MODEL, image_size=SIZE, seed=seed).state_dict()}
    tensors[checkpoint.MEAN_CODES] = codes
    checkpoint.save(
        root / "checkpoints",
        step,
        tensors={checkpoint.EMA: tensors},
        metadata={
            "version": checkpoint.VERSION,
            "step": step,
            "domains": list(DOMAINS),
            "image_size": SIZE,
            "recipe": {"model": MODEL.model_dump(mode="json")},
        },
        state={"step": step, "recipe": {"data": {"root": str(shards)}}},
    )
    return root


def neighbours(*args: object) -> int:
    app = typer.Typer(add_completion=False)
    app.command()(command)
    with pytest.raises(SystemExit) as end:
        run_command(app, list(map(str, args)))
    return int(end.value.code or 0)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tiny, Path]:
    """Shards of 90 images of noise, and a run with an index of them."""
    folder = tmp_path_factory.mktemp("built")
    tiny = write_shards(folder / "shards", samples=(40, 50), size=SIZE)
    run = save_run(folder / "run", tiny.root)
    (folder / "query.png").write_bytes(png(tiny.images[4]))
    query = folder / "query.png"
    assert neighbours(query, "--in", "clay", "--run", run, "--out", folder / "p.png") == 0
    assert (run / INDEX).is_file()
    return tiny, run


@pytest.fixture
def place(
    built: tuple[Tiny, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Tiny, Path]:
    """A copy of the run with its index, in a folder of its own that is the working folder."""
    tiny, run = built
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run, tmp_path / "runs" / "copy")
    for number in (4, 7):
        (tmp_path / f"{number}.png").write_bytes(png(tiny.images[number]))
    return tiny, tmp_path / "runs" / "copy"


def answer(*args: object) -> dict[str, Any]:
    assert neighbours(*args, "--json", "answer.json") == 0
    found: dict[str, Any] = json.loads(Path("answer.json").read_text())
    return found


def test_an_image_of_the_shards_finds_itself(place: tuple[Tiny, Path]) -> None:
    found = answer("4.png", "7.png", "--in", "anime", "-k", 3, "--from", "anime")
    assert found["k"] == 3 and found["in"] == "anime" and found["split"] == "train"
    assert found["index"]["images"] == 90 and found["index"]["unreadable"] == 0
    assert found["index"]["recall"]["value"] == 1.0
    for number, query in zip((4, 7), found["queries"], strict=True):
        assert query["image"] == f"{number}.png" and query["domain"] == "anime"
        near = query["neighbours"]
        itself = {"key": f"{number:04d}", "origin": f"{number}.png"}
        assert near[0] == {**itself, "distance": pytest.approx(0, abs=1e-5)}
        assert len({entry["key"] for entry in near}) == 3
        assert all(int(entry["key"]) % 3 == 1 for entry in near)  # anime, as tiny_shards deals them
        assert near[0]["distance"] < near[1]["distance"] <= near[2]["distance"]


def test_the_answer_is_that_of_exact_search(place: tuple[Tiny, Path]) -> None:
    from srae_dist.translation.translator import load

    tiny, run = place
    found = answer("4.png", "--in", "clay", "-k", 4, "--from", "anime")
    codes = load(run, device="cpu").encode(tiny.images).content.mean.flatten(1).numpy()
    domain = np.arange(90) % 3
    # the index takes seven eighths of the images for its means: near enough to all of them
    codes -= np.stack([codes[domain == d].mean(axis=0) for d in range(3)])[domain]
    codes /= np.linalg.norm(codes, axis=1, keepdims=True)
    away = {f"{row:04d}": 1 - codes[row] @ codes[4] for row in range(2, 90, 3)}
    for entry in found["queries"][0]["neighbours"]:
        assert entry["distance"] == pytest.approx(away[entry["key"]], abs=0.1)
    nearest = sorted(away, key=lambda key: away[key])
    assert found["queries"][0]["neighbours"][0]["key"] in nearest[:3]


def test_the_terminal_says_what_was_done(
    place: tuple[Tiny, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert neighbours("4.png", "--in", "clay") == 0
    said = capsys.readouterr().out
    assert "runs/copy/checkpoints/step-00000003/ema.safetensors, step 3, the newest below" in said
    assert "neighbours-train.safetensors: 90 images, " in said
    assert "recall@5 1.000 against exact search on whole codes (" in said
    assert "4.png, " in said and "by its domain code (set another with --from)" in said
    assert "Building" not in said
    assert re.search(r"\n +1 +(\d{4}) +(\d+)\.png +\d\.\d{4}", said)
    assert "The picture is in neighbours.png" in said


def test_the_first_call_builds_and_says_the_recall(
    place: tuple[Tiny, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    _, run = place
    before = (run / INDEX).read_bytes()
    (run / INDEX).unlink()
    assert neighbours("4.png", "--in", "clay", "--run", run) == 0
    said = capsys.readouterr().out
    assert "Building an index of 90 images, split train of" in said
    assert "recall@5 1.000 against exact search on whole codes (" in said
    assert (run / INDEX).read_bytes() == before
    assert checkpoint.is_whole((run / INDEX).parent)


def test_the_own_domain_is_read_off_the_domain_code(place: tuple[Tiny, Path]) -> None:
    from srae_dist.translation.translator import load

    tiny, run = place
    model = load(run, device="cpu")
    code = model.encode(tiny.images[4:5]).domain.mean
    nearest = int(torch.cdist(code, model.mean_codes).argmin())
    found = answer("4.png", "--in", "clay")
    assert found["queries"][0]["domain"] == DOMAINS[nearest]


def test_the_picture_has_a_row_for_each_image(place: tuple[Tiny, Path]) -> None:
    assert neighbours("4.png", "7.png", "--in", "anime", "-k", 2, "--from", "anime") == 0
    image = Image.open("neighbours.png")
    assert neighbours("4.png", "--in", "anime", "-k", 2, "--out", "one.jpg") == 0
    one = Image.open("one.jpg")
    assert image.format == "PNG" and one.format == "JPEG"
    assert image.width == one.width and 1.8 < image.height / one.height < 2.0
    query = np.asarray(image)[8 : 8 + 128, 8 : 8 + 128]
    assert np.array_equal(query[::4, ::4], place[0].images[4])  # each pixel enlarged to 4 x 4
    found = np.asarray(image)[8 : 8 + 128, 8 + 128 + 20 :][:, :128]
    assert np.array_equal(found, query)  # it is its own nearest


def test_an_index_may_lie_elsewhere(place: tuple[Tiny, Path]) -> None:
    _, run = place
    (run / INDEX).unlink()
    assert neighbours("4.png", "--in", "clay", "--index", "deep/my.index") == 0
    assert Path("deep/my.index").is_file() and not (run / INDEX).exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["4.png", "--in", "anme"], "no domain 'anme'; it has photo, anime, clay. Did you mean"),
        (["4.png", "--in", "clay", "--from", "foto"], "no domain 'foto'"),
        (["4.png", "--in", "clay", "-k", "31"], "31 neighbours cannot be found among 30 images"),
        (["4.png", "--in", "clay", "-k", "0"], "-k must be 1 or more"),
        (["4.png", "--in", "clay", "-k", "-3"], "-k must be 1 or more"),
        (["4.png", "--in", "clay", "--run", "runs/none"], "Checkpoint runs/none does not exist"),
        (["4.png", "--in", "clay", "--split", "trian"], "no split 'trian' (it has train)"),
        (["4.png", "--in", "clay", "--shards", "none"], "none is not a shard folder"),
        (["4.png", "--in", "clay", "--device", "cuda:77"], "is not a device of this machine"),
        (["4.png", "--in", "clay", "--out", "p.gif"], "--out p.gif is no .png, .jpg, .webp file"),
        (["4.png", "--in", "clay", "--json", "runs"], "--json runs is a folder"),
        (["none.png", "--in", "clay"], "none.png cannot be read: not a file"),
        (["runs", "--in", "clay"], "runs cannot be read: not a file"),
        (["bad.png", "--in", "clay"], "bad.png cannot be read: not a JPEG, PNG or WEBP image"),
        (["4.png", "bad.png", "--in", "clay"], "bad.png cannot be read"),
        (["cut.png", "--in", "clay"], "cut.png cannot be read"),
    ],
)
def test_mistakes_are_told(
    place: tuple[Tiny, Path], capsys: pytest.CaptureFixture[str], args: list[str], message: str
) -> None:
    Path("bad.png").write_bytes(b"no image at all")
    Path("cut.png").write_bytes(Path("4.png").read_bytes()[:200])
    assert neighbours(*args) == ExitCode.USER
    captured = capsys.readouterr()
    assert message in captured.err and captured.out == ""
    assert not Path("neighbours.png").exists()


def test_a_model_without_its_shards(
    place: tuple[Tiny, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny, run = place
    shutil.copy(run / "checkpoints/step-00000003/ema.safetensors", "alone.safetensors")
    assert neighbours("4.png", "--in", "clay", "--run", "alone.safetensors") == ExitCode.USER
    assert "does not say which shards it was trained on; name them" in capsys.readouterr().err
    given = ("--run", "alone.safetensors", "--shards", tiny.root)
    assert neighbours("4.png", "--in", "clay", *given) == 0
    assert Path("neighbours-train.safetensors").is_file()


def test_shards_of_other_images_are_refused(
    place: tuple[Tiny, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    small = write_shards(Path("small"), size=16)
    assert neighbours("4.png", "--in", "clay", "--shards", small.root) == ExitCode.USER
    assert "holds images of 16 pixels, but the model takes 32" in capsys.readouterr().err


def test_an_index_of_another_checkpoint_is_refused_and_rebuilt(
    place: tuple[Tiny, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    tiny, run = place
    other = save_run(Path("other"), tiny.root, seed=9)
    shutil.copy(run / INDEX, other / INDEX)
    args = ("4.png", "--in", "clay", "--run", other)
    assert neighbours(*args) == ExitCode.USER
    captured = capsys.readouterr()
    assert "was built with another checkpoint; build it again with --rebuild" in captured.err
    assert neighbours(*args, "--rebuild") == 0
    assert (other / INDEX).read_bytes() != (run / INDEX).read_bytes()
    assert neighbours(*args) == 0


def test_an_index_of_changed_shards_is_refused(
    place: tuple[Tiny, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    tiny, _ = place
    shutil.copytree(tiny.root, "changed")
    copy = Tiny(Path("changed"), tiny.split, tiny.index, tiny.images)
    corrupt(copy, 44)
    rewrite(copy, tiny.index)
    assert neighbours("4.png", "--in", "clay", "--shards", "changed") == ExitCode.USER
    assert "from other shards, or these have changed since" in capsys.readouterr().err


def test_unreadable_images_are_left_out_and_told(
    place: tuple[Tiny, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    tiny, _ = place
    shutil.copytree(tiny.root, "changed")
    copy = Tiny(Path("changed"), tiny.split, tiny.index, tiny.images)
    for number in (44, 50):
        corrupt(copy, number)
    args = ("--in", "clay", "--shards", "changed", "--index", "changed.index")
    found = answer("4.png", *args, "-k", 28)
    assert found["index"]["images"] == 88 and found["index"]["unreadable"] == 2
    keys = {entry["key"] for entry in found["queries"][0]["neighbours"]}
    assert keys == {f"{row:04d}" for row in range(2, 90, 3)} - {"0044", "0050"}
    captured = capsys.readouterr()
    assert "2 images cannot be read and are not in the index" in captured.err
    assert "0044 of changed/train-000001.tar" in captured.err
    assert "88 images (2 more cannot be read)" in captured.out
    assert neighbours("4.png", *args, "-k", 29) == ExitCode.USER
    assert "29 neighbours cannot be found among 28 images" in capsys.readouterr().err


@pytest.mark.parametrize("damage", [b"", b"\0" * 100, None])
def test_a_damaged_index_is_refused(
    place: tuple[Tiny, Path], capsys: pytest.CaptureFixture[str], damage: bytes | None
) -> None:
    path = place[1] / INDEX
    path.write_bytes(path.read_bytes()[:-7] if damage is None else damage)
    assert neighbours("4.png", "--in", "clay") == ExitCode.USER
    err = capsys.readouterr().err
    assert f"{INDEX} is damaged" in err and "build it again with --rebuild" in err
    assert not Path("neighbours.png").exists()


def test_an_index_that_cannot_be_written_is_told_at_once(
    place: tuple[Tiny, Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, run = place
    (run / INDEX).unlink()

    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    # what a read-only folder answers; the tests' user may be one whom none refuses
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    assert neighbours("4.png", "--in", "clay") == ExitCode.USER
    captured = capsys.readouterr()
    assert "cannot be written: Permission denied; name another place with --index" in captured.err
    assert captured.out == ""  # nothing was encoded
    Path("file").write_text("")
    assert neighbours("4.png", "--in", "clay", "--index", "file/index") == ExitCode.USER


def test_an_index_of_a_run_that_may_only_be_read_is_used(place: tuple[Tiny, Path]) -> None:
    folder = (place[1] / INDEX).parent
    before = sorted(folder.iterdir())
    folder.chmod(0o555)
    try:
        assert neighbours("4.png", "--in", "clay") == 0
    finally:
        folder.chmod(0o755)
    assert sorted(folder.iterdir()) == before


def test_the_newest_run_is_found(place: tuple[Tiny, Path], tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    (runs / "unfinished" / "checkpoints").mkdir(parents=True)
    (runs / "notes.txt").write_text("")
    newer = save_run(runs / "a-newer", place[0].root)
    times = {place[1]: 1_000, newer: 2_000}
    for run, when in times.items():
        file = run / "checkpoints/step-00000003" / checkpoint.DIGESTS
        os.utime(file, (when, when))
    assert find_run(runs) == newer
    with pytest.raises(UserError, match="no trained run below none; name one with --run"):
        find_run(Path("none"))


def test_the_shards_of_a_run_are_found(place: tuple[Tiny, Path]) -> None:
    tiny, run = place
    file = checkpoint.resolve(run)
    assert find_shards(file) == str(tiny.root)
    for state in ('{"step": 3}', '{"recipe": []}', '{"recipe": {"data": {"root": 5}}}', "x"):
        (file.parent / checkpoint.STATE).write_text(state)
        with pytest.raises(UserError, match="--shards"):
            find_shards(file)
