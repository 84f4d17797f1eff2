"""`srae-dist classify`: a table, a file, and a sentence for every mistake."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from srae_dist.core.atomic import sha256_file
from srae_dist.data.manifest import load_manifest, load_tables, save_index
from srae_dist.evaluate import encoding
from srae_dist.evaluate.classify import classify
from srae_dist.runtime.command import run
from tests.evaluate.runs import save_run

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))

from servers import http_server


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_run(tmp_path_factory.mktemp("classify") / "run")


def command(*args: object) -> int:
    """Run ``classify`` here, with its quickest probe; return its exit code."""
    app = typer.Typer(add_completion=False)
    app.command()(classify)
    with pytest.raises(SystemExit) as end:
        run(app, [*map(str, args), "--probe", "knn"])
    return int(end.value.code or 0)


def test_a_table_and_a_file(
    model: Path, face_shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "out" / "classes.json"
    options = ("--seeds", 2, "--per-domain", 30, "--adapt", "--json", file)
    assert command(model, face_shards, *options) == 0
    output = capsys.readouterr().out
    assert "nearest neighbours (chosen)" in output
    assert "moved to the test images" in output
    assert "Confusion, test images" in output
    found = json.loads(file.read_text())
    assert found["step"] == 7
    assert found["images"] == {"train": 60, "test": 10}
    assert found["code"] == found["label"] == "domain"
    assert {"nearest_mean", "adapted"} == found["means"].keys()
    assert found["splits"] == {"train": "train", "test": "test"}
    assert f"{100 * found['test_accuracy']:.1f} %" in output


def test_shards_behind_a_url_give_the_same_numbers(
    model: Path, face_shards: Path, tmp_path: Path
) -> None:
    options = ("--seeds", 2, "--per-domain", 30, "--json")
    assert command(model, face_shards, *options, tmp_path / "here.json") == 0
    with http_server(face_shards) as server:
        assert command(model, server.url, *options, tmp_path / "there.json") == 0
        assert server.count("manifest.json")  # the rest may be in the cache
    here, there = (json.loads((tmp_path / f"{n}.json").read_text()) for n in ("here", "there"))
    del here["shards"], there["shards"]
    assert here == there


def test_codes_are_means_over_views(
    face_shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cropped = save_run(tmp_path / "run", data={"crop": 0.4, "light": 0.4})
    options = (cropped, face_shards, "--per-domain", 5, "--seeds", 1, "--json")
    assert command(*options, tmp_path / "one.json") == 0
    assert "views" not in capsys.readouterr().out
    assert command(*options, tmp_path / "three.json", "--views", 3) == 0
    assert "means over 3 views" in capsys.readouterr().out
    one, three = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one", "three"))
    assert (one["views"], three["views"]) == (1, 3)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (("--views", "0"), "--views"),
        (("--views", "2"), "--views 2: the model was trained on images as they are"),
        (("--label", "digit"), "have no label 'digit'; choose from domain"),
        (("--test-split", "tset"), "has no split 'tset'"),
        (("--test-split", "train"), "are both 'train'"),
        (("--probe", "lineer"), "Did you mean 'linear'?"),
        (("--per-domain", "0"), "--per-domain"),
        (("--seeds", "0"), "--seeds"),
        (("--json", "."), "is a folder; name a file"),
        (("--device", "abacus"), "--device abacus is not a device"),
    ],
)
def test_mistakes(
    model: Path,
    face_shards: Path,
    capsys: pytest.CaptureFixture[str],
    extra: tuple[str, ...],
    message: str,
) -> None:
    assert command(model, face_shards, *extra) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_test_split_without_a_domain_is_refused_before_anything_is_encoded(
    model: Path,
    face_shards: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(face_shards, root := tmp_path / "shards")
    manifest = load_manifest(root)
    split = manifest.splits["test"]
    index, blocks = load_tables(root, split, 2)
    save_index(root / split.index, replace(index, domain=0 * index.domain), blocks)
    split = replace(split, index_sha256=sha256_file(root / split.index))
    replace(manifest, splits={**manifest.splits, "test": split}).save(root)
    monkeypatch.setattr(encoding, "encode_split", None)
    assert command(model, root) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "has no image of the domain 'anime'; evaluation needs some of every domain" in said
    assert "--holdout" in said


def test_places_that_are_not_there(
    model: Path, face_shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(tmp_path / "nowhere", face_shards) == 2
    assert "nowhere does not exist" in capsys.readouterr().err
    assert command(model, tmp_path) == 2
    assert "is not a shard folder" in capsys.readouterr().err
