"""Shards, translations and an index, killed at every touch of the disk or cut off from power there:
the same command ends with the same bytes, does no finished unit again, and leaves nothing."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from srae_dist.core.errors import ExitCode, UserError
from srae_dist.data import images
from srae_dist.data.manifest import load_manifest
from srae_dist.data.plan import Form
from tests.crashes.camera import Camera, Photograph, Tree, look, photographed
from tests.data.test_writer import Noise
from tests.data.test_writer import run as write_noise
from tests.data.tiny_shards import png, write_shards
from tests.evaluate.test_neighbours import neighbours
from tests.evaluate.test_neighbours import save_run as save_run_of_shards
from tests.translation.tiny import SIZE, save_pictures, save_run, translate

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc, and folders that sync")

SMALL, FORM = Noise(count=5, side=16, bad=frozenset((3,))), Form(16, shards=2)


@contextmanager
def counted() -> Iterator[list[object]]:
    """Count the images that are encoded."""
    seen: list[object] = []
    original = images.encode

    def encode(*args: Any, **options: Any) -> bytes:
        seen.append(args)
        return original(*args, **options)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(images, "encode", encode)
        yield seen


def photograph_all(out: Path, work: Callable[[], object]) -> tuple[Camera, Tree]:
    out.mkdir(parents=True, exist_ok=True)
    with photographed(out, power=True) as camera:
        work()
    return camera, look(out)


def try_all(
    out: Path,
    work: Callable[[], object],
    again: Callable[[Photograph], object],
    *,
    left: Callable[[Tree], int] | None = None,
) -> int:
    """Go on from every photograph; ``left`` says of one how many images are still to be made."""
    camera, wanted = photograph_all(out, work)
    for photograph in camera.taken:
        photograph.develop(out)
        with counted() as made:
            again(photograph)
        got = look(out)
        assert sorted(got) == sorted(wanted), photograph
        assert [name for name in wanted if got[name] != wanted[name]] == [], photograph
        if left is not None:
            assert len(made) == left(photograph.tree), photograph
    assert {photograph.event for photograph in camera.taken} >= {"killed", "names kept"}
    assert camera.safe
    return camera.touches


@pytest.mark.parametrize("before", ["empty", "full"])
def test_shards(tmp_path: Path, before: str) -> None:
    out, old = tmp_path / "out", tmp_path / "old"
    if before == "full":
        write_noise(old, Noise(count=9, side=16), form=Form(16, shards=3))
        shutil.copytree(old, out)

    def work() -> None:
        write_noise(out, SMALL, form=FORM, force=before == "full")

    def again(photograph: Photograph) -> None:
        complete = photograph.tree.get("manifest.json") == wanted["manifest.json"]
        try:
            work()
        except UserError as error:
            assert complete and "already" in str(error), photograph

    def left(tree: Tree) -> int:
        decided = ".partial/manifest.json" in tree
        if decided or tree.get("manifest.json") == wanted["manifest.json"]:
            return 0
        return sum(
            2 * shard.samples  # as it is drawn, and as it is kept
            for shard in shards
            if f".partial/{Path(shard.file).stem}.done" not in tree
        )

    write_noise(tmp_path / "wanted", SMALL, form=FORM)
    wanted = look(tmp_path / "wanted")
    shards = load_manifest(tmp_path / "wanted").splits["train"].shards
    # replaced once more when all is done, which is what --force asks for
    assert try_all(out, work, again, left=left if before == "empty" else None) > 50


@pytest.mark.parametrize("kind", ["folder", "shards"])
@pytest.mark.parametrize("before", ["empty", "full"])
def test_translations(tmp_path: Path, kind: str, before: str) -> None:
    run, out = save_run(tmp_path / "run"), tmp_path / "out"
    pictures = save_pictures(tmp_path / "in", ["a.png", "sub/b.png", "c.png"])
    (pictures / "bad.png").write_bytes(b"")
    # one at a time: by rounding, pixels depend on how many are translated together
    made: tuple[object, ...] = (run, pictures, "--out", out, "--out-kind", kind, "--batch", 1)
    made += ("--allow-bad", 1)
    if before == "full":
        assert translate(*made, "--to", "clay") == ExitCode.DONE
        made += ("--force",)

    def work() -> None:
        assert translate(*made, "--to", "anime") == ExitCode.DONE

    def again(photograph: Photograph) -> None:
        assert translate(*made, "--to", "anime") == ExitCode.DONE, photograph

    def left(tree: Tree) -> int:
        if "translation.json" in tree:
            return 0
        records = [d for name, d in tree.items() if name.startswith(".partial/units/0")]
        return 3 - sum((data or b"").count(b'"output"') for data in records)

    assert try_all(out, work, again, left=left if before == "empty" else None) > 30


def test_an_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = write_shards(tmp_path / "shards", samples=(20, 20), size=SIZE)
    run = save_run_of_shards(tmp_path / "run", tiny.root)
    (tmp_path / "query.png").write_bytes(png(tiny.images[4]))
    asked = (tmp_path / "query.png", "--in", "clay", "--run", run, "--out", tmp_path / "p.png")

    def work() -> None:
        assert neighbours(*asked) == 0

    assert try_all(run, work, lambda photograph: work()) > 4
