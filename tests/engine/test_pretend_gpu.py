"""Training steps on a GPU that is not there: tensors with shapes and a device, but no values.

Such tensors refuse what only a GPU would tell: two devices in one operation, and a host that reads
a value, which would make it wait for the device at each step.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from srae_dist.engine.players import clip_players, make_optimizer, players
from srae_dist.model.build import build_autoencoder
from srae_dist.model.ema import Ema
from srae_dist.objective.build import build_objective
from srae_dist.objective.objective import Objective
from srae_dist.recipe.load import load_recipe
from srae_dist.recipe.schema import Recipe

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))
IMAGES = 24


@pytest.fixture
def pretended() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Accessing the data pointer of FakeTensor")
        with FakeTensorMode():
            yield


def networks(path: Path) -> tuple[Recipe, Objective, int]:
    """A shipped recipe's networks, its perceptual one random, and the image size."""
    recipe = load_recipe(path).recipe
    size = recipe.data.image_size or 64
    objective = build_objective(
        build_autoencoder(recipe.model, image_size=size, seed=0),
        model=recipe.model,
        objective=recipe.objective,
        perceptual=recipe.perceptual.model_copy(update={"weights": "random"}),
        num_domains=len(recipe.data.domains or ("a", "b")),
        data=recipe.data,
        seed=0,
    )
    return recipe, objective, size


def there(tensor: torch.Tensor) -> torch.Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cuda")


def send(module: nn.Module) -> None:
    """Give a module's parameters and buffers the shapes they have, on the pretended GPU."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                part._parameters[name] = nn.Parameter(there(parameter), parameter.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = there(buffer)


@pytest.mark.parametrize("half", [None, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_step_stays_on_the_device_and_nobody_waits(
    path: Path,
    half: torch.dtype | None,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    recipe, objective, size = networks(path)
    average = Ema(objective.autoencoder)
    request.getfixturevalue("pretended")
    send(objective)
    send(average.module)
    images = torch.empty(IMAGES, size, size, 3, dtype=torch.uint8, device="cuda")
    domains, slots = torch.empty(2, IMAGES, dtype=torch.int64, device="cuda")
    weights = torch.empty(len(objective.term_names), device="cuda")

    with torch.autocast("cuda", half, enabled=half is not None):
        assert torch.is_autocast_enabled("cuda") == (half is not None)
        total, measures = objective(images, domains, slots, weights)
    assert (total.device.type, total.dtype) == ("cuda", torch.float32)
    assert {(value.device.type, value.dtype) for value in measures.values()} == {
        ("cuda", torch.float32)
    }

    groups = players(objective)
    optimizer = make_optimizer(groups, recipe.train)
    for parameter in (one for members in groups.values() for one in members):
        parameter.grad = torch.empty_like(parameter)  # the engine asks a real GPU for its streams
    norms = clip_players(groups, recipe.train.clip)
    spoilt = (~torch.stack(list(norms.values())).isfinite()).any().to(torch.float32)
    optimizer.found_inf = spoilt  # type: ignore[attr-defined]
    optimizer.step()
    average.update(objective.autoencoder, 0.9, counts=1 - spoilt)
    assert {p.device.type for p in average.module.parameters()} == {"cuda"}


def test_the_pretended_gpu_refuses_what_a_real_one_would(pretended: None) -> None:
    near, far = torch.zeros(2), torch.zeros(2, device="cuda")
    with pytest.raises(RuntimeError, match="devices"):
        near + far
    with pytest.raises(DataDependentOutputException):
        bool((far > 0).all())
