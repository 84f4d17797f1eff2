"""A run of a tiny untrained model of two domains, and the command in this process."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pytest
import torch
import typer

from srae_dist.model.build import build_autoencoder
from srae_dist.recipe.schema import Model
from srae_dist.runtime import checkpoint
from srae_dist.runtime.command import run

DOMAINS = ("photo", "anime")
MODEL = Model(
    code_size=4, content_channels=4, domain_channels=3, width=8, max_width=16, discriminator_width=8
)


def save_run(
    root: Path,
    *,
    domains: tuple[str, ...] = DOMAINS,
    size: int = 32,
    vgg: str = "random",
    step: int = 7,
    data: dict[str, float] | None = None,
) -> Path:
    """A run folder with one checkpoint."""
    autoencoder = build_autoencoder(MODEL, image_size=size, seed=step)
    codes = torch.arange(3.0 * len(domains)).reshape(-1, 3) - 4.0  # far apart: domains differ
    perceptual = {"weights": vgg, "layers": ["relu1_2"], "layer_weights": None}
    checkpoint.save(
        root / "checkpoints",
        step,
        tensors={checkpoint.EMA: {**autoencoder.state_dict(), checkpoint.MEAN_CODES: codes}},
        metadata={
            "version": checkpoint.VERSION,
            "step": step,
            "domains": list(domains),
            "image_size": size,
            "recipe": {
                "name": "tiny",
                "model": MODEL.model_dump(mode="json"),
                "data": data or {},
                "perceptual": perceptual,
            },
        },
        state={"step": step},
    )
    return root


def evaluate(*args: object) -> int:
    """Run ``evaluate`` on one thread; return its exit code."""
    from accelerate.state import PartialState

    from srae_dist.core import machine
    from srae_dist.evaluate.command import evaluate as command
    from srae_dist.runtime import launch

    PartialState._reset_state()
    app = typer.Typer(add_completion=False)
    app.command()(command)
    one = [patch.object(module, "available_cores", return_value=1) for module in (launch, machine)]
    with one[0], one[1], pytest.raises(SystemExit) as end:
        run(app, [*map(str, args)])
    return int(end.value.code or 0)
