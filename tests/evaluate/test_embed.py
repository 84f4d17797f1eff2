"""`srae-dist embed`: pictures and places, where they go, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from PIL import Image

from srae_dist.core.errors import ExitCode
from srae_dist.evaluation.embedding import embed as embed_codes
from srae_dist.evaluation.embedding import section_of
from srae_dist.model.build import build_autoencoder
from srae_dist.runtime import checkpoint
from srae_dist.runtime.command import run as run_command
from tests.evaluation.coded import coded
from tests.translation.tiny import MODEL, SIZE


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of the shards' two domains."""
    root = tmp_path_factory.mktemp("runs") / "two"
    autoencoder = build_autoencoder(MODEL, image_size=SIZE, seed=3)
    codes = torch.zeros(2, MODEL.domain_channels)
    checkpoint.save(
        root / "checkpoints",
        3,
        tensors={checkpoint.EMA: {**autoencoder.state_dict(), checkpoint.MEAN_CODES: codes}},
        metadata={
            "version": checkpoint.VERSION,
            "step": 3,
            "domains": ["photo", "anime"],
            "image_size": SIZE,
            "recipe": {"model": MODEL.model_dump(mode="json")},
        },
        state={"step": 3},
    )
    return root


def embed(*args: object) -> int:
    from srae_dist.evaluate.embed import embed as command

    app = typer.Typer(add_completion=False)
    app.command()(command)
    with pytest.raises(SystemExit) as end:
        run_command(app, list(map(str, args)))
    return int(end.value.code or 0)


def test_pictures_and_places_are_written_beside_the_run(
    run: Path, face_shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ("--split", "train", "--per-domain", 6, "--perplexity", 3, "--device", "cpu")
    assert embed(run, face_shards, *few) == ExitCode.DONE
    folder = run / "embedding"
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "embedding.json",
        *(f"{name}.png" for name in ("tsne", "tsne-content", "tsne-domain", "tsne-both")),
    }
    sizes = {path.stem: Image.open(path).size for path in folder.glob("*.png")}
    assert sizes["tsne"][0] == 3 * sizes["tsne-content"][0]
    places = json.loads((folder / "embedding.json").read_text())
    assert len(set(places["keys"])) == 12
    assert sorted(places["domain"]) == ["anime"] * 6 + ["photo"] * 6
    assert np.shape(places["points"]["both"]) == (12, 2)
    assert (places["split"], places["perplexity"]) == ("train", 3.0)
    said = capsys.readouterr().out
    assert str(folder) in said
    assert "by chance" in said


def test_a_label_s_name_leads_to_no_other_folder(tmp_path: Path) -> None:
    from srae_dist.evaluate.embed import write

    found = embed_codes(coded((12, 12), seed=1, labels=2), perplexity=3)
    found.encoded.labels["x/../../pwned"] = found.encoded.labels.pop("digit")
    section = section_of(found, split="test")
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    written = write(folder, found, section)
    assert {path.name for path in folder.iterdir()} == set(written)
    assert any("pwned" in name for name in written)
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--perplexity", "0.5"), "above 1"),
        (("--split", "tset"), "Did you mean 'test'"),
        (("--device", "abacus"), "--device abacus"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(
    run: Path,
    face_shards: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, str],
    said: str,
) -> None:
    out = tmp_path / "out"
    assert embed(run, face_shards, "--out", out, *arguments) == ExitCode.USER
    captured = capsys.readouterr()
    assert said in captured.err
    assert len(captured.err.splitlines()) == 1
    assert not out.exists()


def test_a_lone_checkpoint_needs_a_place(
    run: Path, face_shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lone = tmp_path / "ema.safetensors"
    lone.write_bytes(next(run.glob("checkpoints/*/ema.safetensors")).read_bytes())
    assert embed(lone, face_shards) == ExitCode.USER
    assert "--out" in capsys.readouterr().err
