"""A domain from a few pictures: its code is fitted, and the file translates to it."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from srae_dist import add_domain as command
from srae_dist.cli import app
from srae_dist.core.errors import UserError
from srae_dist.core.types import Codes, Gaussian
from srae_dist.runtime import checkpoint
from srae_dist.translation.fitting import EXEMPLARS, STEPS, fit_domain_code
from srae_dist.translation.inputs import open_images
from srae_dist.translation.translator import Translator, load
from tests.translation.tiny import DOMAINS, SIZE, picture, save_pictures, save_run, translate

NAMES = ["a.png", "b.png", "c.png"]


def add_domain(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["add-domain", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def batch(count: int) -> np.ndarray:
    return np.stack([np.asarray(picture(seed)) for seed in range(count)])


def error(translator: Translator, images: np.ndarray, code: torch.Tensor) -> float:
    """Mean absolute error of pixels in [0, 1] of images drawn with a domain code."""
    content = translator.encode(images).content.mean
    drawn = translator.decode(content, code.expand(len(images), -1))
    wanted = torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1
    return float((drawn - wanted).abs().mean()) / 2


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_pictures(tmp_path / "exemplars", NAMES)


@pytest.mark.parametrize("count", [1, 20])  # 20: more than are decoded at a time
def test_the_fitted_code_draws_the_images_better_than_any_start(run: Path, count: int) -> None:
    translator = load(run, device="cpu")
    images = batch(count)
    fit = fit_domain_code(translator, images, steps=40)
    assert set(fit.before) == {EXEMPLARS, *DOMAINS}
    assert fit.error < min(fit.before.values())
    assert fit.start in fit.before
    assert error(translator, images, fit.code) == pytest.approx(fit.error, abs=1e-4)
    for name, code in zip(DOMAINS, translator.mean_codes, strict=True):
        assert error(translator, images, code) == pytest.approx(fit.before[name], abs=1e-4)
    own = translator.encode(images).domain.mean.mean(dim=0)
    assert error(translator, images, own) == pytest.approx(fit.before[EXEMPLARS], abs=1e-4)


def test_the_command_takes_the_steps_that_were_measured() -> None:
    """It names the number itself, so that asking for help loads no network."""
    assert inspect.signature(command.add_domain).parameters["steps"].default == STEPS


def test_a_code_that_drew_the_images_is_found_again(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Content codes that answer to no domain code, so that the hidden code is the only unknown."""
    translator = load(run, device="cpu")
    hidden = torch.tensor([0.9, -0.4, 0.3])
    images = batch(4)
    content = translator.encode(images).content.mean.clone()
    drawn = translator.decode(content, hidden.expand(4, -1)).clone()
    codes = translator.autoencoder.encode(drawn)

    def answer(x: torch.Tensor) -> Codes:
        return Codes(Gaussian(content[: len(x)], codes.content.sigma[: len(x)]), codes.domain)

    monkeypatch.setattr(translator.autoencoder, "encode", answer)
    fit = fit_domain_code(translator, drawn, steps=400)
    assert fit.error < 0.1 * min(fit.before.values())


def test_fitting_changes_no_weight_and_no_code_of_the_model(run: Path) -> None:
    translator = load(run, device="cpu")
    before = {name: value.clone() for name, value in translator.autoencoder.state_dict().items()}
    table = translator.mean_codes.clone()
    fit_domain_code(translator, batch(2), steps=3)
    assert all(p.grad is None for p in translator.autoencoder.parameters())
    after = translator.autoencoder.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(table, translator.mean_codes)


def test_the_file_translates_to_the_new_domain_and_to_the_old_ones(
    run: Path, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "models" / "more.safetensors"
    said = add_domain(run, folder, "--name", "blueprint", "--out", out, "--steps", 20)
    model, grown = load(run, device="cpu"), load(out, device="cpu")
    assert grown.domains == (*DOMAINS, "blueprint")
    assert torch.equal(grown.mean_codes[:-1], model.mean_codes)
    images = np.stack([np.asarray(Image.open(folder / name)) for name in NAMES])
    fit = fit_domain_code(model, images, steps=20)
    assert torch.allclose(grown.mean_codes[-1], fit.code, atol=1e-4)
    assert f"{fit.error:.4f} by the fitted code" in said and "3 of 3 images" in said
    assert "3 exemplars are few: with 16 it was measured" in said
    assert torch.equal(
        torch.as_tensor(grown.translate(images, to="anime")),
        torch.as_tensor(model.translate(images, to="anime")),
    )
    assert translate(out, folder, "--to", "blueprint", "--out", tmp_path / "there") == 0
    assert np.array_equal(
        np.asarray(Image.open(tmp_path / "there" / "a.png")),
        grown.translate(Image.open(folder / "a.png"), to="blueprint"),
    )
    metadata = checkpoint.read_tensors(out)[1]
    assert metadata["added_domains"]["blueprint"]["exemplars"] == 3
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_a_second_domain_joins_the_first(run: Path, folder: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    add_domain(run, folder, "--name", "ink", "--out", one, "--steps", 2)
    add_domain(one, folder, "--name", "oil", "--out", two, "--steps", 2)
    assert load(two, device="cpu").domains == (*DOMAINS, "ink", "oil")
    assert set(checkpoint.read_tensors(two)[1]["added_domains"]) == {"ink", "oil"}


def test_exemplars_of_shards_are_one_domains_and_evenly_spaced(
    run: Path, face_shards: Path, tmp_path: Path
) -> None:
    out = tmp_path / "more.safetensors"
    options = ("--from", "photo", "--limit", 4, "--steps", 1)
    said = add_domain(run, face_shards, "--name", "new", "--out", out, *options)
    photos = open_images(face_shards, domain="photo")
    assert f"4 of {len(photos):,} images" in said


@pytest.mark.parametrize(
    ("name", "message"),
    [("anime", "is a domain of the model already"), ("../x", "is no name"), ("", "is no name")],
)
def test_a_bad_name_is_refused(
    run: Path, folder: Path, tmp_path: Path, name: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        add_domain(run, folder, "--name", name, "--out", tmp_path / "m.safetensors")
    assert not (tmp_path / "m.safetensors").exists()


def test_what_cannot_be_read_is_named_and_nothing_is_written(
    run: Path, folder: Path, tmp_path: Path
) -> None:
    (folder / "b.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"Exemplar b\.png cannot be read"):
        add_domain(run, folder, "--name", "x", "--out", tmp_path / "m.safetensors")
    assert not list(tmp_path.glob("*.safetensors"))


def test_another_image_size_is_refused(run: Path) -> None:
    with pytest.raises(UserError, match=f"uint8 .N, {SIZE}, {SIZE}, 3."):
        fit_domain_code(load(run, device="cpu"), np.zeros((1, 16, 16, 3), np.uint8))
