"""Exported graphs answer like the model, for any batch size, without a line of this package."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from srae_dist.cli import app
from srae_dist.core.errors import UserError
from srae_dist.model.build import build_autoencoder
from srae_dist.runtime.lock import locked
from srae_dist.translation import graphs
from srae_dist.translation.translator import load
from tests.translation.tiny import DOMAINS, MODEL, SIZE, save_run


def export(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["export", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


@pytest.fixture(scope="module", params=["trunk", "perceptual"])
def run(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    model = MODEL.model_copy(update={"domain_sees": request.param})
    return save_run(tmp_path_factory.mktemp("run"), model=model)


@pytest.fixture(scope="module")
def folder(run: Path) -> Path:
    out = run / "exported"
    export(run, "--out", out)
    return out


TRANSLATE = """
import json, sys
import numpy as np, onnxruntime
assert "srae_dist" not in sys.modules
folder, target = sys.argv[1:]
facts = json.load(open(folder + "/model.json"))
encoder, decoder = (
    onnxruntime.InferenceSession(f"{folder}/{name}.onnx") for name in ("encoder", "decoder")
)
images = np.load(folder + "/in.npy")
content = encoder.run(["content_mean"], {"images": images})[0]
domain = np.array([facts["mean_domain_codes"][target]] * len(images), np.float32)
np.save(folder + "/out.npy", decoder.run(["images"], {"content": content, "domain": domain})[0])
"""


@pytest.mark.parametrize("count", [1, 5])
def test_onnx_files_translate_without_us(run: Path, folder: Path, count: int) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, (count, 3, SIZE, SIZE)).astype(np.float32)
    np.save(folder / "in.npy", x)
    command = [sys.executable, "-c", TRANSLATE, str(folder), "anime"]
    subprocess.run(command, check=True, cwd=folder)
    wanted = load(run, device="cpu").translate(torch.from_numpy(x), to="anime")
    assert np.abs(np.load(folder / "out.npy") - wanted.numpy()).max() < 1e-3


def test_pt2_files_answer_like_the_model(run: Path, folder: Path) -> None:
    x = torch.linspace(-1, 1, 3 * 3 * SIZE * SIZE).view(3, 3, SIZE, SIZE)
    found = torch.export.load(folder / "encoder.pt2").module()(x)
    codes = load(run, device="cpu").autoencoder.encode(x)
    wanted = (codes.content.mean, codes.content.sigma, codes.domain.mean, codes.domain.sigma)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_the_folder_says_what_it_holds(folder: Path) -> None:
    facts = json.loads((folder / "model.json").read_text())
    assert facts["domains"] == list(DOMAINS) and facts["image_size"] == SIZE
    assert facts["graphs"]["decoder"]["inputs"]["domain"] == ["N", 3]
    assert facts["graphs"]["encoder"]["inputs"]["images"] == ["N", 3, SIZE, SIZE]
    assert max(facts["largest_difference"].values()) <= 1e-3
    assert facts["largest_difference"].keys() == {
        *("encoder.onnx", "encoder.pt2", "decoder.onnx", "decoder.pt2")
    }


def test_a_graph_that_differs_is_not_left_behind(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "program_difference", lambda graph, path: float("nan"))
    with pytest.raises(UserError, match=r"encoder.pt2 differs from the model by nan"):
        export(run, "--out", tmp_path / "out", "--format", "torch")
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="exists already; name a new folder"):
        export(run, "--out", tmp_path)


def test_two_exports_to_one_folder_do_not_meet(run: Path, tmp_path: Path) -> None:
    with locked(tmp_path / ".out.partial"):
        with pytest.raises(UserError, match=r"\.out\.partial is in use by another process"):
            export(run, "--out", tmp_path / "out", "--format", "torch")
        assert (tmp_path / ".out.partial").exists()  # the other one goes on
    export(run, "--out", tmp_path / "out", "--format", "torch")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_without_the_packages_it_says_what_to_install(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UserError, match=r"pip install '\.\[onnx\]'"):
        export(run, "--out", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_rounding_at_a_border_of_two_levels_is_no_difference(run: Path) -> None:
    """Of many levels the last digit moves a number over a border now and then; more is a fault."""
    model = MODEL.model_copy(update={"content_levels": 5})
    graph = graphs.graphs(build_autoencoder(model, image_size=SIZE, seed=0))[0]
    truth = graph.module(*graph.example)

    def moved(count: int, by: float) -> float:
        content = truth[0].clone()
        content.flatten()[:count] += by
        return graphs._difference(graph, graph.example, (content, *truth[1:]))

    assert moved(1, 0.5) == 0.0
    assert moved(5, 0.5) == 0.5
    assert moved(1, 0.25) == 0.25
