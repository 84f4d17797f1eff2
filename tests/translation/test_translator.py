"""`srae_dist.load` and the model it returns."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import srae_dist
from srae_dist.core.errors import UserError
from srae_dist.runtime import checkpoint
from srae_dist.translation.translator import Translator
from tests.translation.tiny import DOMAINS, SIZE, picture, save_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_run(tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture(scope="module")
def model(run: Path) -> Translator:
    return srae_dist.load(run, device="cpu")


@pytest.fixture(scope="module")
def batch() -> np.ndarray:
    return np.stack([np.asarray(picture(seed)) for seed in range(3)])


def test_load_finds_the_newest_checkpoint_however_it_is_named(run: Path, tmp_path: Path) -> None:
    folder = run / "checkpoints" / "step-00000007"
    alone = tmp_path / "model.safetensors"
    shutil.copy(folder / "ema.safetensors", alone)
    for path in (run, str(run), run / "latest", run / "checkpoints", folder, alone):
        model = srae_dist.load(path)
        assert (model.step, model.domains, model.image_size) == (7, DOMAINS, SIZE)
    assert srae_dist.load(run / "checkpoints" / "step-00000003").step == 3


def test_a_file_alone_gives_the_same_model(run: Path, tmp_path: Path, batch: np.ndarray) -> None:
    alone = tmp_path / "ema.safetensors"
    shutil.copy(run / "checkpoints" / "step-00000007" / "ema.safetensors", alone)
    here, there = (srae_dist.load(path, device="cpu") for path in (run, alone))
    assert np.array_equal(here.translate(batch, to="clay"), there.translate(batch, to="clay"))


def test_encode_and_decode(model: Translator, batch: np.ndarray) -> None:
    codes = model.encode(batch)
    assert codes.content.mean.shape == codes.content.sigma.shape == (3, 4, 8, 8)
    assert codes.domain.mean.shape == (3, 3)
    assert bool((codes.content.sigma > 0).all())
    images = model.decode(codes.content.mean, codes.domain.mean)
    assert images.shape == (3, 3, SIZE, SIZE)
    assert images.dtype == torch.float32
    assert images.abs().max() <= 1


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ("a.png", r"'a\.png' is a path, not an image; open it with PIL\.Image\.open"),
        (Path("a.png"), "is a path"),
        (["a.png", "b.png"], "'a.png' is a path"),
        (None, "type NoneType"),
        ([[1, 2]], "type list"),
    ],
)
def test_what_is_no_image_is_refused(model: Translator, images: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        model.translate(images, to="anime")
    with pytest.raises(UserError, match=message):
        model.translate(picture(0), reference=images if images is not None else [None])


def test_translate_returns_the_form_that_came_in(model: Translator, batch: np.ndarray) -> None:
    array = model.translate(batch, to="anime")
    assert array.dtype == np.uint8
    assert array.shape == batch.shape
    one = model.translate(picture(0), to="anime")
    assert one.size == (SIZE, SIZE)
    many = model.translate([picture(0), picture(1)], to="anime")
    tensor = model.translate(torch.from_numpy(batch), to="anime")
    assert tensor.dtype == torch.uint8
    floats = torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 127.5 - 1
    shown = model.translate(floats, to="anime")
    assert shown.shape == floats.shape
    # one translation, in all forms
    assert np.abs(np.asarray(one).astype(int) - array[0]).max() <= 1
    assert np.abs(np.asarray(many[1]).astype(int) - array[1]).max() <= 1
    assert np.array_equal(tensor.numpy(), array)
    assert np.allclose((shown.permute(0, 2, 3, 1).numpy() + 1) * 127.5, array, atol=0.51)


def test_the_domain_decides(model: Translator, batch: np.ndarray) -> None:
    shown = [model.translate(batch, to=name) for name in DOMAINS]
    assert not np.array_equal(shown[0], shown[1])
    assert not np.array_equal(shown[1], shown[2])


def test_a_reference_lends_its_domain_code(model: Translator, batch: np.ndarray) -> None:
    codes = model.encode(batch)
    wanted = model.decode(codes.content.mean, model.encode(picture(9)).domain.mean.expand(3, -1))
    shown = model.translate(batch, reference=picture(9))
    assert np.allclose((wanted.permute(0, 2, 3, 1).numpy() + 1) * 127.5, shown, atol=0.51)


def test_a_style_is_kept_when_a_code_moves(model: Translator, batch: np.ndarray) -> None:
    photo, anime, clay = model.mean_codes
    own = torch.tensor([[0.3, -0.2, 0.1], [0.0, 0.4, -0.3]])
    moved = model.move_code(photo + own, to="clay")  # the nearest mean is photo's
    torch.testing.assert_close(moved, clay + own)
    told = model.move_code(photo + own, to="clay", source="anime")
    torch.testing.assert_close(told, photo + own - anime + clay)
    mixed = torch.stack([photo, anime])
    torch.testing.assert_close(model.move_code(mixed, to="anime"), torch.stack([anime, anime]))

    codes = model.encode(batch)
    for source in (None, "anime"):
        moved = model.move_code(codes.domain.mean, to="clay", source=source)
        wanted = model.decode(codes.content.mean, moved)
        shown = model.translate(batch, to="clay", keep_style=True, source=source)
        assert np.allclose((wanted.permute(0, 2, 3, 1).numpy() + 1) * 127.5, shown, atol=0.51)


def test_a_reversed_view_of_an_array_is_taken(model: Translator, batch: np.ndarray) -> None:
    """OpenCV's BGR, turned round as everyone does."""
    bgr = np.ascontiguousarray(batch[..., ::-1])
    assert torch.equal(model.prepare(bgr[..., ::-1]), model.prepare(batch))


def test_pil_images_of_any_size_and_mode_are_prepared(model: Translator) -> None:
    wide = picture(0, width=90, height=40)
    assert model.prepare([wide, wide.convert("L"), wide.convert("RGBA")]).shape == (3, 3, 32, 32)
    turned = picture(0).transpose(2)  # Transpose.ROTATE_90
    turned.getexif()[0x0112] = 6  # says how to turn it back
    assert torch.equal(model.prepare(turned), model.prepare(picture(0)))


def test_mistakes_are_told(model: Translator, batch: np.ndarray) -> None:
    with pytest.raises(UserError, match="Did you mean 'anime'"):
        model.translate(batch, to="amine")
    with pytest.raises(UserError, match="either to=DOMAIN or reference"):
        model.translate(batch)
    with pytest.raises(UserError, match="either to=DOMAIN or reference"):
        model.translate(batch, to="anime", reference=picture(0))
    for words in ({"reference": picture(0), "keep_style": True}, {"to": "clay", "source": "photo"}):
        with pytest.raises(UserError, match="takes keep_style with to=DOMAIN"):
            model.translate(batch, **words)
    with pytest.raises(UserError, match="Did you mean 'photo'"):
        model.translate(batch, to="clay", keep_style=True, source="phto")
    with pytest.raises(UserError, match="one reference"):
        model.translate(batch, reference=batch)
    with pytest.raises(UserError, match="no image"):
        model.encode([])
    for wrong in (batch[0], batch[:, :16], batch.astype(np.int64), torch.zeros(1, SIZE, SIZE, 3)):
        with pytest.raises(UserError, match="do not fit"):
            model.encode(wrong)


def test_what_is_no_checkpoint_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        srae_dist.load(tmp_path / "none")
    with pytest.raises(UserError, match="no complete checkpoint"):
        srae_dist.load(tmp_path)


def test_a_damaged_file_is_told(run: Path, tmp_path: Path) -> None:
    data = (run / "checkpoints" / "step-00000007" / "ema.safetensors").read_bytes()
    for name, content in {
        "cut": data[: len(data) // 2],
        "empty": b"",
        "noise": bytes(range(256)) * 9,
        "other version": data.replace(
            b'\\"version\\": %d' % checkpoint.VERSION, b'\\"version\\": 9'
        ),
        "fewer domains": data.replace(b'\\"anime\\", ', b" " * 11),
    }.items():
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(content)
        with pytest.raises(UserError) as error:
            srae_dist.load(path)
        assert str(path) in str(error.value)


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path: Path) -> None:
    run = save_run(tmp_path / "run")
    file = run / "checkpoints" / "step-00000007" / "ema.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    assert srae_dist.load(run).step == 3
    with pytest.raises(UserError, match="damaged"):
        srae_dist.load(file.parent)


def test_a_mean_code_that_is_no_number_is_refused(tmp_path: Path) -> None:
    run = save_run(tmp_path / "run")
    file = max(run.glob("checkpoints/*/ema.safetensors"))
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    tensors = load_file(file)
    tensors[checkpoint.MEAN_CODES][1, 0] = float("nan")
    save_file(tensors, tmp_path / "nan.safetensors", metadata)
    with pytest.raises(UserError, match="numbers that are not finite"):
        srae_dist.load(tmp_path / "nan.safetensors")
