"""A tiny untrained checkpoint, a folder of pictures, and the command run in this process."""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
import typer
from PIL import Image

from srae_dist.model.build import build_autoencoder
from srae_dist.recipe.schema import Model
from srae_dist.runtime import checkpoint
from srae_dist.runtime.command import run

DOMAINS = ("photo", "anime", "clay")
SIZE = 32
MODEL = Model(
    code_size=8, content_channels=4, domain_channels=3, width=8, max_width=16, discriminator_width=8
)


def save_run(root: Path, *, steps: tuple[int, ...] = (3, 7), model: Model = MODEL) -> Path:
    """A run folder with a checkpoint for each step, weights drawn from the step."""
    for step in steps:
        autoencoder = build_autoencoder(model, image_size=SIZE, seed=step)
        codes = torch.arange(9.0).reshape(3, 3) - 4.0  # far apart, so that domains differ
        checkpoint.save(
            root / "checkpoints",
            step,
            tensors={checkpoint.EMA: {**autoencoder.state_dict(), checkpoint.MEAN_CODES: codes}},
            metadata={
                "version": checkpoint.VERSION,
                "step": step,
                "domains": list(DOMAINS),
                "image_size": SIZE,
                "recipe": {"model": model.model_dump(mode="json")},
            },
            state={"step": step},
        )
    return root


def picture(seed: int, *, width: int = SIZE, height: int = SIZE) -> Image.Image:
    """A smooth picture of its own."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def save_pictures(root: Path, names: list[str]) -> Path:
    """A folder of pictures, each its own by its place."""
    for seed, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(seed).save(path)
    return root


def translate(*args: object) -> int:
    """Run ``batch-translate`` in fp32 on one thread; return its exit code."""
    from accelerate.state import PartialState

    from srae_dist.batch_translate import batch_translate
    from srae_dist.runtime import launch

    PartialState._reset_state()
    app = typer.Typer(add_completion=False)
    app.command()(batch_translate)
    one_core = patch.object(launch, "available_cores", return_value=1)
    with one_core, pytest.raises(SystemExit) as end:
        run(app, [*map(str, args), "--precision", "fp32"])
    return int(end.value.code or 0)


def lines(path: Path) -> list[dict[str, object]]:
    """A JSON lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def files(root: Path) -> dict[str, bytes]:
    """Every file below a folder, by its relative path."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def pixels(path: Path) -> np.ndarray:
    """An image file as int H W 3."""
    return np.asarray(Image.open(path)).astype(int)
