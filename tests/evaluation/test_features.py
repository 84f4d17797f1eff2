"""Feature extractors: what they compute, and how they say that weights are missing."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from srae_dist.core.errors import UserError
from srae_dist.core.randomness import generator
from srae_dist.core.tensors_only import tensors_only
from srae_dist.evaluation import features
from srae_dist.evaluation.features import InceptionFeatures, VggFeatures
from srae_dist.evaluation.perceptual import Lpips
from srae_dist.evaluation.weights import ALEXNET, INCEPTION, read_known, require
from srae_dist.model.pixels import to_float
from srae_dist.model.vgg import PerceptualNetwork

CPU = torch.device("cpu")


def pictures(count: int, size: int = 16) -> features.Pixels:
    return generator(0, "pictures").integers(0, 256, (count, size, size, 3), np.uint8)


def test_vgg_is_the_pooled_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "BATCH", 2)
    pixels = pictures(5)
    (maps,) = PerceptualNetwork(["relu2_2"], weights="random")(to_float(pixels, CPU))
    found = VggFeatures("random", layer="relu2_2")(pixels)
    assert found.shape == (5, 128)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, maps.mean(dim=(2, 3)), rtol=1e-5, atol=1e-6)
    both = VggFeatures("random", layer="relu2_2", pooling="mean-std")(pixels)
    np.testing.assert_allclose(both[:, :128], found, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(both[:, 128:], maps.flatten(2).numpy().std(axis=2), rtol=1e-4)


def test_names_say_layer_pooling_and_weights(tmp_path: Path) -> None:
    random = VggFeatures("random", layer="relu1_2", pooling="mean-std")
    assert random.name == "vgg16random-relu1_2-mean-std"
    assert "random weights" in random.weights
    file = tmp_path / "mine.safetensors"
    network = PerceptualNetwork(["relu1_1"], weights="random")
    tensors = {f"features.{name}": value for name, value in network.features.state_dict().items()}
    save_file(tensors, file, metadata={"origin": "VGG-16 of my own"})
    mine = VggFeatures(str(file), layer="relu1_1")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert mine.name == "vgg16-relu1_1-mean"
    assert mine.weights == f"VGG-16 of my own: mine.safetensors, SHA-256 {digest}"
    with pytest.raises(UserError, match=r"reaches up to relu1_1"):
        VggFeatures(str(file), layer="relu1_2")


def test_missing_vgg_is_told_with_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(UserError, match=rf"curl .*{tmp_path}.*vgg16-397923af\.pth https://"):
        VggFeatures("torchvision")
    assert not list(tmp_path.iterdir())  # nothing was fetched
    with pytest.raises(UserError, match=r"nothing\.safetensors do not exist.*--vgg"):
        VggFeatures(str(tmp_path / "nothing.safetensors"))


@pytest.mark.parametrize(
    ("build", "known", "option"),
    [(InceptionFeatures, INCEPTION, "--inception"), (Lpips, ALEXNET, "--lpips")],
)
def test_missing_and_foreign_files_are_told_at_once(
    tmp_path: Path, build: Any, known: Any, option: str
) -> None:
    start = time.perf_counter()
    with pytest.raises(UserError, match=rf"{option}: No file is named.*{known.name}"):
        build(None)
    with pytest.raises(UserError, match=r"absent\.pth does not exist.*`(curl|python)"):
        build(tmp_path / "absent.pth")
    (tmp_path / "other.pth").write_bytes(b"other weights")
    with pytest.raises(UserError, match=rf"is not {known.title.split('(')[0]}.*{known.sha256}"):
        build(tmp_path / "other.pth")
    assert time.perf_counter() - start < 1.0


def test_missing_packages_are_told_with_their_command() -> None:
    require("numpy", option="--x", installs="numpy")
    with pytest.raises(UserError, match=r"--x needs .*`pip install some-thing`"):
        require("no_such_package", option="--x", installs="some-thing")


def test_a_known_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "known.pth"
    file.write_bytes(b"known")
    known = dataclasses.replace(ALEXNET, sha256=hashlib.sha256(b"known").hexdigest())
    assert read_known(file, known, option="--x") == b"known"


class Harmful:
    """Unpickled, it makes a folder."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.place),)


def test_nothing_but_tensors_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", raising=False)
    data = io.BytesIO()
    torch.save({"weight": Harmful(tmp_path / "harm")}, data)
    with tensors_only(), pytest.raises(Exception, match=r"[Ww]eights"):
        torch.load(io.BytesIO(data.getvalue()), weights_only=False)  # as torch-fidelity does
    assert not (tmp_path / "harm").exists()
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


def save_known(tensors: dict[str, torch.Tensor], file: Path, known: Any) -> Any:
    torch.save(tensors, file)
    return dataclasses.replace(known, sha256=hashlib.sha256(file.read_bytes()).hexdigest())


def test_inception_is_torch_fidelitys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    monkeypatch.setattr("torch.nn.init.trunc_normal_", lambda x, *_, **__: x)  # slow, not needed
    network_type = module.FeatureExtractorInceptionV3
    empty = io.BytesIO()
    torch.save({}, empty)
    empty.seek(0)
    with monkeypatch.context() as patched:
        patched.setattr(network_type, "load_state_dict", lambda *_: None)
        network = network_type("x", ["2048"], feature_extractor_weights_path=empty)
    file = tmp_path / "inception.pth"
    known = save_known(network.state_dict(), file, INCEPTION)
    monkeypatch.setattr(features, "INCEPTION", known)
    pixels = pictures(1)
    found = InceptionFeatures(file)(pixels)
    assert found.shape == (1, 2048)
    with torch.inference_mode():
        expected = network(torch.from_numpy(pixels).permute(0, 3, 1, 2))[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert known.sha256 in InceptionFeatures(file).weights


def test_lpips_takes_the_local_backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lpips = pytest.importorskip("lpips")
    from srae_dist.evaluation import perceptual

    with warnings.catch_warnings(action="ignore"):  # lpips asks torchvision in an old way
        reference = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    tensors = {
        f"features.{name.split('.', 1)[1]}": value
        for name, value in reference.net.state_dict().items()
    }
    file = tmp_path / "alexnet.pth"
    monkeypatch.setattr(perceptual, "ALEXNET", save_known(tensors, file, ALEXNET))
    first, second = pictures(3, 64), pictures(6, 64)[3:]
    found = Lpips(file)(first, second)
    with torch.inference_mode():
        expected = reference(to_float(first, CPU), to_float(second, CPU)).flatten()
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    np.testing.assert_allclose(Lpips(file)(first, first), 0.0, atol=1e-7)
