"""The perceptual network: its layers, its weights, and what it says when they do not fit."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import VGG16_Weights, vgg16
from torchvision.transforms.functional import normalize

from srae_dist.core.errors import UserError
from srae_dist.model.vgg import IMAGENET_MEAN, IMAGENET_STD, LAYERS, PerceptualNetwork

SHALLOW = ["relu1_1", "relu1_2"]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """VGG-16's first block, random, under torchvision's names."""
    path = tmp_path_factory.mktemp("vgg") / "vgg.safetensors"
    save_file(weights_of(SHALLOW), path)
    return path


def weights_of(layers: list[str]) -> dict[str, Tensor]:
    net = PerceptualNetwork(layers, weights="random")
    state = {name: p.clone() for name, p in net.features.state_dict(prefix="features.").items()}
    return {name: tensor + 0.01 for name, tensor in state.items()}  # not the "random" ones


def test_names_are_those_of_vgg16() -> None:
    """Each name's index is a rectifier, and as many convolutions as the name says lie before it."""
    with torch.device("meta"):
        features = vgg16(weights=None).features
    block, number = 1, 0
    for index, module in enumerate(features):
        if isinstance(module, nn.ReLU):
            number += 1
            assert LAYERS[f"relu{block}_{number}"] == index
        if isinstance(module, nn.MaxPool2d):
            block, number = block + 1, 0
    assert len(LAYERS) == 13


def test_features_come_in_the_order_asked_for() -> None:
    x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    forward = PerceptualNetwork(["relu1_2", "relu2_1", "relu2_2"], weights="random")(x)
    assert [tuple(f.shape[1:]) for f in forward] == [(64, 32, 32), (128, 16, 16), (128, 16, 16)]
    names = ["relu2_2", "relu1_2", "relu1_2", "relu2_1"]
    mixed = PerceptualNetwork(names, weights="random")(x)
    for got, expected in zip(mixed, (forward[2], forward[0], forward[0], forward[1]), strict=True):
        torch.testing.assert_close(got, expected)


def test_features_are_rectified_and_not_overwritten() -> None:
    x = torch.rand(1, 3, 16, 16) * 2 - 1
    one, two = PerceptualNetwork(SHALLOW, weights="random")(x)
    assert float(one.min()) == float(two.min()) == 0
    assert torch.equal(one, PerceptualNetwork(["relu1_1"], weights="random")(x)[0])


def test_random_weights_are_the_same_everywhere() -> None:
    before = torch.random.get_rng_state()
    one, two = PerceptualNetwork(SHALLOW, weights="random"), None
    two = PerceptualNetwork(["relu2_1"], weights="random")
    assert torch.equal(torch.random.get_rng_state(), before)
    for index in (0, 2):
        assert torch.equal(one.features[index].weight, two.features[index].weight)
    spread = float(two.features[2].weight.std())
    assert spread == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)  # He et al. 2015


def test_nothing_learns_and_the_image_does() -> None:
    net = PerceptualNetwork(["relu1_2"], weights="random")
    assert not any(p.requires_grad for p in net.parameters())
    x = torch.zeros(1, 3, 8, 8, requires_grad=True)
    net(x)[0].sum().backward()
    assert x.grad is not None
    assert x.grad.abs().any()


def test_images_are_normalised_as_torchvision_does() -> None:
    net = PerceptualNetwork(["relu1_1"], weights="random")
    x = torch.rand(2, 3, 4, 4)
    expected = net.features[0](normalize(x, list(IMAGENET_MEAN), list(IMAGENET_STD)))
    torch.testing.assert_close(net(x * 2 - 1)[0], expected.relu(), rtol=1e-4, atol=1e-5)
    transforms = VGG16_Weights.IMAGENET1K_V1.transforms()
    assert tuple(transforms.mean) == IMAGENET_MEAN
    assert tuple(transforms.std) == IMAGENET_STD


def test_an_unknown_layer_is_named_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"no layer 'relu3-3'.*Did you mean 'relu3_3'"):
        PerceptualNetwork(["relu1_2", "relu3-3"], weights="random")


def test_a_file_s_weights_are_used(file: Path) -> None:
    net = PerceptualNetwork(["relu1_2"], weights=str(file))
    expected = weights_of(SHALLOW)
    assert torch.equal(net.features[2].weight, expected["features.2.weight"])
    assert torch.equal(net.features[0].bias, expected["features.0.bias"])


def test_a_file_that_ends_too_early_says_where(file: Path) -> None:
    with pytest.raises(UserError, match=r"vgg\.safetensors lacks features\.5.*up to relu1_2"):
        PerceptualNetwork(["relu1_2", "relu2_1"], weights=str(file))


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"conv1.weight": torch.zeros(1)}, path)
    with pytest.raises(UserError, match=r"lacks features\.0\.weight.*no layer"):
        PerceptualNetwork(["relu1_1"], weights=str(path))


def test_wrong_shapes_are_named(tmp_path: Path) -> None:
    path = tmp_path / "vgg.safetensors"
    save_file(weights_of(SHALLOW) | {"features.2.weight": torch.zeros(64, 64, 1, 1)}, path)
    with pytest.raises(UserError, match=r"features\.2\.weight.*\(64, 64, 1, 1\).*\(64, 64, 3, 3\)"):
        PerceptualNetwork(SHALLOW, weights=str(path))


def test_a_missing_file_names_the_choices(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"does not exist.*'torchvision'.*'random'"):
        PerceptualNetwork(["relu1_1"], weights=str(tmp_path / "nowhere.safetensors"))


@pytest.mark.parametrize("content", [b"", b"no tensors at all, but long enough to look like some"])
def test_no_safetensors_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "vgg.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match="no safetensors file"):
        PerceptualNetwork(["relu1_1"], weights=str(path))


def test_no_network_names_the_two_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(VGG16_Weights, "get_state_dict", offline)
    with pytest.raises(
        UserError, match=r"no route.*perceptual\.weights=.*perceptual\.weights=random"
    ):
        PerceptualNetwork(["relu1_1"], weights="torchvision")


def test_the_download_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The digest and the safe reader are asked for; what comes back is used."""
    asked: dict[str, object] = {}

    def get(_: object, **options: object) -> dict[str, Tensor]:
        asked.update(options)
        return weights_of(["relu1_1"])

    monkeypatch.setattr(VGG16_Weights, "get_state_dict", get)
    net = PerceptualNetwork(["relu1_1"], weights="torchvision")
    assert asked["check_hash"] is True
    assert asked["weights_only"] is True
    assert torch.equal(net.features[0].weight, weights_of(["relu1_1"])["features.0.weight"])


@pytest.mark.skipif("SRAE_DATA" not in os.environ, reason="SRAE_DATA names no folder of real data")
def test_real_weights_reach_relu3_3_and_no_further() -> None:
    path = Path(os.environ["SRAE_DATA"]) / "vgg16_conv1-3.safetensors"
    net = PerceptualNetwork(["relu3_3"], weights=str(path))
    assert net(torch.zeros(1, 3, 32, 32))[0].shape == (1, 256, 8, 8)
    with pytest.raises(UserError, match=r"needs; it reaches up to relu3_3\."):
        PerceptualNetwork(["relu4_1"], weights=str(path))
